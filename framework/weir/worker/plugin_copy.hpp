#pragma once

/// The copy of a plugin's file that a group's processes load.
///
/// A file that is overwritten in place (`cp new.so plug.so`) changes the code of every process that has mapped it, and
/// crashes it. No message is to blame for that. So each content of a plugin has one copy, under the plugin's own file
/// name, which is never overwritten:
///
///     $XDG_RUNTIME_DIR/weir/HASH/plug.so    or, without that folder, $TMPDIR/weir-UID/HASH/plug.so (/tmp)
///
/// A process that uses a copy holds a shared lock on its folder. The last one removes the folder, and a start removes
/// folders that were left behind.
/// A plugin whose run path names $ORIGIN looks for libraries beside itself, so it is loaded in place. So is a plugin if
/// no writable folder allows execution. A file that is loaded in place is watched instead.

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

namespace weir::worker {

class PluginCopy {
 public:
  /// Makes or finds the copy of `plugin`. After any error the plugin is loaded in place. The loader checks whether the
  /// file is a plugin. Thread: one.
  explicit PluginCopy(std::filesystem::path plugin);
  PluginCopy(const PluginCopy&) = delete;
  PluginCopy& operator=(const PluginCopy&) = delete;
  /// Removes the copy, if no other process uses it.
  ~PluginCopy();

  /// The file to load.
  [[nodiscard]] const std::filesystem::path& path() const { return copy_.empty() ? plugin_ : copy_; }
  /// Why there is no copy; empty if there is one.
  [[nodiscard]] const std::string& in_place_because() const { return in_place_because_; }
  /// The descriptor that holds the copy's lock, for the loading child to inherit; -1: none.
  [[nodiscard]] int lock() const { return lock_; }
  /// True if the plugin is loaded in place, and is now another file, or has another size or time than when this was
  /// made.
  [[nodiscard]] bool changed_in_place() const;

 private:
  /// Inode, size and time of last change; nothing if there is no file.
  struct Seen {
    std::uint64_t device{};
    std::uint64_t inode{};
    std::int64_t size{};
    std::int64_t changed_ns{};
    friend bool operator==(const Seen&, const Seen&) = default;
  };
  [[nodiscard]] std::optional<Seen> see() const;
  void copy();

  const std::filesystem::path plugin_;
  const std::optional<Seen> seen_;
  std::filesystem::path copy_;
  std::string in_place_because_;
  int lock_ = -1;
};

}  // namespace weir::worker
