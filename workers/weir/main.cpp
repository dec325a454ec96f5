/// The command line program: reads what was typed, runs the command, reports what it throws.

#include <google/protobuf/stubs/logging.h>
#include <malloc.h>

#include <cstdlib>
#include <exception>
#include <iostream>
#include <string>

#include "commands.hpp"
#include "parse.hpp"
#include "weir/deployment/deployment.hpp"
#include "weir/telemetry/log.hpp"

namespace {

/// An exception that nobody caught: of a plugin's own thread, say.
[[noreturn]] void end_of_an_exception() {
  std::string what = "something that is no std::exception was thrown, and nobody caught it";
  try {
    if (const auto thrown = std::current_exception()) std::rethrow_exception(thrown);
    what = "std::terminate was called";
  } catch (const std::exception& error) {
    what = std::string("an exception that nobody caught: ") + error.what();
  } catch (...) {
  }
  weir::log::last_words("weir", what);
  std::abort();
}

/// Of a payload that is not UTF-8 where it should be, say: names fields, never shows what is in them.
void words_of_protobuf(google::protobuf::LogLevel level, const char*, int, const std::string& text) {
  static weir::log::Limit limit;
  if (level == google::protobuf::LOGLEVEL_INFO) return;
  weir::log::warn(limit, "protobuf", {{"text", text}});
}

/// A broker's commit takes a few MiB for LMDB's new pages and gives them back, and so does each batch of frames and
/// each large message, here and in workers. Given back to the kernel each time, as malloc would, they cost a page fault
/// every 4 KiB: an eighth of a broker's time, a quarter of all with messages of 1 MiB. Up to 16 MiB a heap are kept.
void keep_freed_memory() {
  ::mallopt(M_MMAP_THRESHOLD, 8 * 1024 * 1024);
  ::mallopt(M_TRIM_THRESHOLD, 16 * 1024 * 1024);
}

}  // namespace

int main(int count, char** words) {
  using namespace weir;
  keep_freed_memory();
  const cli::CommandLine line = cli::parse(count, words);
  if (!line.run) return line.exit_code;
  log::configure({.json = line.log.json, .level = *log::parse_level(line.log.level)});
  std::set_terminate(end_of_an_exception);
  google::protobuf::SetLogHandler(words_of_protobuf);
  const auto findings = [&](const std::string& lines) {
    if (line.log.json) {
      log::error("deployment_is_wrong", {{"findings", lines}});
    } else {
      std::cerr << lines;  // a line a finding
    }
  };
  try {
    return line.run();
  } catch (const deployment::FileError& error) {
    findings(error.what());
    return cli::wrong_usage;
  } catch (const cli::UsageError& error) {
    log::last_words("weir", error.what());
    return cli::wrong_usage;
  } catch (const std::exception& error) {
    log::last_words("weir", error.what());
    return cli::failed;
  }
}
