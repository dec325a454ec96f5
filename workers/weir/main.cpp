/// The command line program. It reads the command line, runs the command, and reports its exceptions.

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

/// Ends the process for an uncaught exception, such as one in a plugin's own thread.
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

/// Logs Protobuf's words, such as those about a payload that is not UTF-8. They name fields, and never show their
/// values.
void words_of_protobuf(google::protobuf::LogLevel level, const char*, int, const std::string& text) {
  static weir::log::Limit limit;
  if (level == google::protobuf::LOGLEVEL_INFO) return;
  weir::log::warn(limit, "protobuf", {{"text", text}});
}

/// Bounds the freed small objects that all threads together keep. With tcmalloc's own 32 MiB a broker with 10 million
/// messages needed up to half of its allowed memory, and was no faster.
void bound_thread_caches() {
#ifdef WEIR_TCMALLOC
  MallocExtension::instance()->SetNumericProperty("tcmalloc.max_total_thread_cache_bytes", std::size_t{8} << 20U);
#endif
}

/// True if standard output is a pipe whose reader is gone. A reader that leaves, as `head` does, has read what it
/// wanted.
bool reader_left() {
  pollfd standard_output{.fd = STDOUT_FILENO, .events = POLLOUT, .revents = 0};
  return poll(&standard_output, 1, 0) == 1 && (standard_output.revents & POLLERR) != 0;
}

/// Returns the exit code of a command that ended with `code`. Its output is its result, so a command whose standard
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

/// Runs the command, and prints its exception on standard error.
int run(const weir::cli::CommandLine& line) {
  using namespace weir;
  try {
    inherited::need("this command", inherited::of_a_command);
    return line.run();
  } catch (const deployment::FileError& error) {
    if (line.log.json) {
      log::error("deployment_is_wrong", {{"findings", error.what()}});
    } else {
      std::cerr << error.what();  // one line per finding
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
