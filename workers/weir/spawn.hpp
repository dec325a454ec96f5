#pragma once

/// A child of this very program, with its standard input and output in hand: for benchmarks.

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

namespace weir::cli {

/// From now on Ctrl-C and SIGTERM make Child::line() throw, so that what was started and made is cleared away.
void unwind_on_signals();

/// Killed when this program dies, or when this object does and it still runs.
class Child {
 public:
  /// `arguments` of this program. Throws: Error.
  Child(std::string name, std::vector<std::string> arguments);
  ~Child();
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  /// The next line of its standard output. Throws: Error when it ends, when `limit` is over, or at a
  /// signal.
  [[nodiscard]] std::string line(std::chrono::seconds limit);
  /// What it has used of the CPU so far.
  [[nodiscard]] double cpu_seconds() const;
  /// A figure of /proc/PID/status, in bytes: `VmHWM`, `RssAnon`.
  [[nodiscard]] std::uint64_t memory(const std::string& figure) const;
  /// Ends its standard input, or sends SIGTERM, and waits. Throws: Error when it did not end well.
  void finish();
  void terminate();
  /// Whether it has ended by itself, which is an error of its own.
  [[nodiscard]] bool running();

 private:
  void wait();

  std::string name_;
  pid_t pid_ = 0;
  int input_ = -1;
  int output_ = -1;
  std::string read_;
  int status_ = 0;
};

}  // namespace weir::cli
