#pragma once

/// The disk below a store, seen call by call: this program's own pwrite, writev, fsync and fdatasync stand before
/// libc's.
///
/// It tells how far a commit has come; and it plays power loss. What was written since the last sync is on the platter
/// or not, sector by sector, in whatever order; what was synced, or written to a file that is opened O_DSYNC, is.

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <random>
#include <string>
#include <utility>
#include <vector>

namespace weir::chaos {

/// How far a commit has come, readable by another process.
enum class Stage : std::uint32_t { outside, before_writing, writing_pages, syncing, synced, writing_its_end, after };
inline constexpr std::size_t stages = 7;

/// What is to happen at one call of a commit.
enum class Fault : std::uint8_t {
  none,
  power_loss,  ///< the disk's image is taken in the middle of it, and all goes on
  error,       ///< it fails with EIO, and what was not synced is dropped, as the kernel may do
};

class Disk {
 public:
  /// Of one file, which has been synced if it is there. At most one Disk watches at a time; `stage` may be shared.
  Disk(std::filesystem::path file, std::atomic<Stage>& stage, bool keeps_image);
  ~Disk();
  Disk(const Disk&) = delete;
  Disk& operator=(const Disk&) = delete;

  /// From here the calls of one commit are counted, from 1; at call `at` there is this fault.
  void begin(std::uint32_t at, Fault fault, std::uint64_t seed);
  /// Calls since begin().
  [[nodiscard]] std::uint32_t calls() const { return calls_; }
  /// True if the fault came to be.
  [[nodiscard]] bool hit() const { return hit_; }
  /// What the file is after the loss: the image of the power_loss, or only what is certain.
  [[nodiscard]] const std::string& image() const { return taken_ ? image_ : durable_; }

  // The calls: what `real` returns, or -1 and errno.
  long write(int file, std::string bytes, std::int64_t at, const std::function<long()>& real);
  long sync(const std::function<long()>& real);
  [[nodiscard]] bool watches(int file) const;

 private:
  struct Pending {
    std::int64_t at{};
    std::string bytes;
  };
  static void put(std::string& image, std::int64_t at, std::string_view bytes);
  /// The file if power is lost now: what is certain, and any of the sectors of `all`.
  void take_image(const std::vector<Pending>& all);
  [[nodiscard]] bool comes(Fault fault);

  std::filesystem::path path_;
  std::atomic<Stage>& stage_;
  bool keeps_image_;
  std::string durable_;  ///< what is certain to be on the disk
  std::vector<Pending> pending_;
  std::uint32_t calls_ = 0;
  std::uint32_t fault_at_ = 0;
  Fault fault_ = Fault::none;
  bool hit_ = false;
  bool taken_ = false;
  std::string image_;
  std::mt19937_64 random_;
};

}  // namespace weir::chaos
