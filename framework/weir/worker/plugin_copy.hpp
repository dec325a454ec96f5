#pragma once

/// The copy of a plugin's file that a group's processes load.
///
/// A file that is overwritten in place (`cp new.so plug.so`) changes the code of every process that has mapped it, and
/// crashes it; to blame for that is no message. So each content of a plugin has one copy, under the plugin's own file
/// name, which nobody overwrites:
///
///     $XDG_RUNTIME_DIR/weir/HASH/plug.so    or, without that folder, $TMPDIR/weir-UID/HASH/plug.so (/tmp)
///
/// Who uses a copy holds a shared lock on its folder; the last removes it, and a start removes what was left behind.
/// A plugin whose run path speaks of $ORIGIN looks for libraries beside itself, so it is loaded where it is; so is one
/// where there is no place to write that may be executed. Such a file is watched instead.

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

namespace weir::worker {

class PluginCopy {
 public:
  /// Makes or finds the copy of `plugin`. What goes wrong leaves it in place; whether it is a plugin at all is for who
  /// loads it to say. Thread: one.
  explicit PluginCopy(std::filesystem::path plugin);
  PluginCopy(const PluginCopy&) = delete;
  PluginCopy& operator=(const PluginCopy&) = delete;
  /// Removes the copy, if nobody else uses it.
  ~PluginCopy();

  /// What to load.
  [[nodiscard]] const std::filesystem::path& path() const { return copy_.empty() ? plugin_ : copy_; }
  /// Why there is no copy; empty if there is one.
  [[nodiscard]] const std::string& in_place_because() const { return in_place_because_; }
  /// Holds the copy's lock, to be inherited by who loads it; -1: there is none.
  [[nodiscard]] int lock() const { return lock_; }
  /// In place, and another file now, or of another size or time than when this was made.
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
