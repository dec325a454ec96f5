#pragma once

/// A child of this same program with pipes to its standard input and output, for benchmarks.

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

namespace weir::cli {

/// Makes Child::line() throw at Ctrl-C and SIGTERM from now on, so that started children and made files are removed.
void unwind_on_signals();

/// A child that is killed when this program dies, or when this object is destroyed while it still runs.
class Child {
 public:
  /// `arguments` are for this program. Throws: Error.
  Child(std::string name, std::vector<std::string> arguments);
  ~Child();
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  /// Returns the next line of its standard output. Throws: Error if it ends, if `limit` is over, or at a
  /// signal.
  [[nodiscard]] std::string line(std::chrono::seconds limit);
  /// Returns its CPU time so far.
  [[nodiscard]] double cpu_seconds() const;
  /// Returns a figure of /proc/PID/status, in bytes: `VmHWM`, `RssAnon`.
  [[nodiscard]] std::uint64_t memory(const std::string& figure) const;
  /// Ends its standard input, or sends SIGTERM, and waits. Throws: Error if it did not end well.
  void finish();
  void terminate();
  /// False if it has ended by itself, which is an error.
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
