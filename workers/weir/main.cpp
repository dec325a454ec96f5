/// The command line program: reads what was typed, runs the command, reports what it throws.

#include <google/protobuf/stubs/logging.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#ifdef WEIR_TCMALLOC
#include <gperftools/malloc_extension.h>
#endif
#include <exception>
#include <iostream>
#include <new>
#include <string>

#include "commands.hpp"
#include "parse.hpp"
#include "weir/deployment/deployment.hpp"
#include "weir/inherited/inherited.hpp"
#include "weir/inherited/limits.hpp"
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

/// A pipe that nobody reads any more: who left, as `head` does, has read what it wanted.
bool reader_left() {
  pollfd standard_output{.fd = STDOUT_FILENO, .events = POLLOUT, .revents = 0};
  return poll(&standard_output, 1, 0) == 1 && (standard_output.revents & POLLERR) != 0;
}

/// The exit code of a command that ended with `code`: what it prints is what was asked for, so a command whose standard
/// output could not be written has failed.
int once_written(int code) {
  using namespace weir;
  errno = 0;
  std::cout.flush();
  std::fflush(stdout);
  const int error = errno;
  if (std::cout.good() && std::ferror(stdout) == 0) return code;
  if (!reader_left()) {
    log::last_words("weir", std::string("standard output could not be written") +
                                (error != 0 ? std::string(": ") + std::strerror(error) : std::string()));
  }
  return code == cli::done ? cli::failed : code;
}

/// What it throws, it says on standard error.
int run(const weir::cli::CommandLine& line) {
  using namespace weir;
  try {
    inherited::need("this command", inherited::of_a_command);
    return line.run();
  } catch (const deployment::FileError& error) {
    if (line.log.json) {
      log::error("deployment_is_wrong", {{"findings", error.what()}});
    } else {
      std::cerr << error.what();  // a line a finding
    }
    return cli::wrong_usage;
  } catch (const cli::UsageError& error) {
    log::last_words("weir", error.what());
    return cli::wrong_usage;
  } catch (const std::bad_alloc&) {
    log::last_words("weir", "out of memory: the system has none left, or this process may have no more (ulimit -v)");
    return cli::failed;
  } catch (const std::exception& error) {
    log::last_words("weir", error.what());
    return cli::failed;
  }
}

}  // namespace

int main(int count, char** words) {
  using namespace weir;
  inherited::put_right();
  bound_thread_caches();
  const cli::CommandLine line = cli::parse(count, words);
  if (!line.run) return once_written(line.exit_code);
  log::configure({.json = line.log.json, .level = *log::parse_level(line.log.level)});
  std::set_terminate(end_of_an_exception);
  google::protobuf::SetLogHandler(words_of_protobuf);
  return once_written(run(line));
}
