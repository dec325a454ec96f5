/// The command line program: reads what was typed, runs the command, reports what it throws.

#include <google/protobuf/stubs/logging.h>
#include <sys/resource.h>

#include <cstdlib>
#ifdef WEIR_TCMALLOC
#include <gperftools/malloc_extension.h>
#endif
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

/// What threads keep of freed small things, all together: tcmalloc's own 32 MiB made a broker with ten million messages
/// need as much as half of what it may, and were no faster.
void bound_thread_caches() {
#ifdef WEIR_TCMALLOC
  MallocExtension::instance()->SetNumericProperty("tcmalloc.max_total_thread_cache_bytes", std::size_t{8} << 20U);
#endif
}

/// A broker needs a descriptor a connection. The soft limit is 1,024 for the sake of select(), which nobody here calls.
void raise_descriptors() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == limit.rlim_max) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);  // refused: what there is must do, and the broker says how many connections that is
}

}  // namespace

int main(int count, char** words) {
  using namespace weir;
  bound_thread_caches();
  raise_descriptors();
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
