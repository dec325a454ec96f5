#pragma once

/// Reads from /proc/PID/maps where a process's files were in its memory. Pure.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace weir::worker::recorder {

/// A place in a file's code, to find its symbol by.
struct InFile {
  std::string file;
  std::uint64_t at{};  ///< counted from the file's first byte in memory
};

class MemoryMap {
 public:
  /// `text` comes from another process, and may be cut off anywhere. Malformed lines are left out.
  explicit MemoryMap(std::string_view text);
  /// Returns nothing if no file was there.
  [[nodiscard]] std::optional<InFile> find(std::uint64_t address) const;

 private:
  struct Range {
    std::uint64_t begin{};
    std::uint64_t end{};
    std::uint64_t base{};
    std::string file;
  };
  std::vector<Range> ranges_;  ///< in the order of addresses
};

}  // namespace weir::worker::recorder
