#pragma once

/// Where a process's files lay in its memory: /proc/PID/maps, read. Pure.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace weir::worker::recorder {

/// A place in a file's code, for whoever knows its symbols.
struct InFile {
  std::string file;
  std::uint64_t at{};  ///< from where the file's first byte lay
};

class MemoryMap {
 public:
  /// `text` is of another process, and may be cut off anywhere; lines that are none are left out.
  explicit MemoryMap(std::string_view text);
  /// Nothing if no file lay there.
  [[nodiscard]] std::optional<InFile> find(std::uint64_t address) const;

 private:
  struct Range {
    std::uint64_t begin{};
    std::uint64_t end{};
    std::uint64_t base{};
    std::string file;
  };
  std::vector<Range> ranges_;  ///< by address
};

}  // namespace weir::worker::recorder
