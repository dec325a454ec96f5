// libchaos_shim.so, for LD_PRELOAD: a disk that fails and a wall clock that jumps.
//
// $CHAOS_SHIM names a file of a Control, which is mapped and may change at any time. Syncs and writes of regular files
// on the device $CHAOS_SHIM_DEVICE (a number, as stat(2) has it) fail with the errno that it holds (0: none); the wall
// clock is off by so many microseconds. Steady clocks are not touched.
//
// A failed sync may be final: it is said once, what was written since the last sync is lost, and the next one succeeds,
// as Linux has it. Or untold: all of that, but for the error. And the disk may say that it has no more than so many
// bytes free.
//
// What is real is asked of the kernel, not of the next definition: dlsym allocates, and AddressSanitizer's allocator
// asks for the time while it holds its locks.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

namespace {

/// What a failed sync does to what was written since the last one.
enum class Loss : std::int64_t { none, told, untold };

struct Control {
  std::atomic<std::int64_t> wall_offset_us;
  std::atomic<std::int32_t> sync_errno;
  std::atomic<std::int32_t> write_errno;
  std::atomic<std::int64_t> failed;        ///< calls that were made to fail
  std::atomic<std::int64_t> synced_after;  ///< syncs that succeeded after one that failed
  std::atomic<Loss> loss;
  std::atomic<std::int64_t> free_most;  ///< bytes free; 0: what is true
};
static_assert(sizeof(Control) == 48);

Control* control() {
  static Control* const mapped = [] {
    const char* path = std::getenv("CHAOS_SHIM");
    const int file = path == nullptr ? -1 : ::open(path, O_RDWR | O_CLOEXEC);
    void* at = file < 0 ? MAP_FAILED : ::mmap(nullptr, sizeof(Control), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (file >= 0) ::close(file);
    return at == MAP_FAILED ? nullptr : static_cast<Control*>(at);
  }();
  return mapped;
}

ssize_t real_pwrite(int file, const void* data, std::size_t size, off_t at) {
  return ::syscall(SYS_pwrite64, file, data, size, at);
}

dev_t the_disk() {
  static const dev_t device = [] {
    const char* number = std::getenv("CHAOS_SHIM_DEVICE");
    return number == nullptr ? dev_t{} : static_cast<dev_t>(std::strtoull(number, nullptr, 10));
  }();
  return device;
}

bool is_of_the_disk(int file) {
  struct stat about {};
  return ::fstat(file, &about) == 0 && S_ISREG(about.st_mode) && about.st_dev == the_disk();
}

/// True where the call is to fail; errno says how.
bool fails(int file, std::atomic<std::int32_t> Control::*which) {
  Control* const c = control();
  const int error = c == nullptr ? 0 : (c->*which).load(std::memory_order_relaxed);
  if (error == 0 || !is_of_the_disk(file)) return false;
  c->failed.fetch_add(1);
  errno = error;
  return true;
}

/// Writes that were not synced yet, with what stood there before. Kept only while a loss is asked for.
class Unsynced {
 public:
  void add(int file, std::size_t size, off_t at) {
    const Control* const c = control();
    if (c == nullptr || c->loss.load() == Loss::none || !is_of_the_disk(file) ||
        (::fcntl(file, F_GETFL) & O_DSYNC) != 0)
      return;
    Before before{inode(file), at, std::string(size, '\0')};
    static_cast<void>(::pread(file, before.bytes.data(), size, at));
    const std::lock_guard lock(mutex_);
    writes_.push_back(std::move(before));
  }
  void forget(int file) {
    const std::lock_guard lock(mutex_);
    std::erase_if(writes_, [of = inode(file)](const Before& write) { return write.inode == of; });
  }
  void lose(int file) {
    const std::lock_guard lock(mutex_);
    for (auto write = writes_.rbegin(); write != writes_.rend(); ++write) {
      if (write->inode == inode(file))
        static_cast<void>(real_pwrite(file, write->bytes.data(), write->bytes.size(), write->at));
    }
    std::erase_if(writes_, [of = inode(file)](const Before& write) { return write.inode == of; });
  }

 private:
  struct Before {
    ino_t inode{};
    off_t at{};
    std::string bytes;
  };
  static ino_t inode(int file) {
    struct stat about {};
    return ::fstat(file, &about) == 0 ? about.st_ino : 0;
  }
  std::mutex mutex_;
  std::vector<Before> writes_;
};
Unsynced unsynced;

/// One sync, by this system call; or its failure.
int sync_or_fail(int file, long call) {
  Control* const c = control();
  const bool of_the_disk = c != nullptr && is_of_the_disk(file);
  if (of_the_disk && c->loss.load() != Loss::none && c->sync_errno.load() != 0) {
    errno = c->sync_errno.exchange(0);
    c->failed.fetch_add(1);
    unsynced.lose(file);
    return c->loss.load() == Loss::told ? -1 : 0;
  }
  if (fails(file, &Control::sync_errno)) return -1;
  const int status = static_cast<int>(::syscall(call, file));
  if (of_the_disk && status == 0) {
    unsynced.forget(file);
    if (c->failed.load() > 0) c->synced_after.fetch_add(1);
  }
  return status;
}

std::int64_t offset_us() {
  return control() == nullptr ? 0 : control()->wall_offset_us.load(std::memory_order_relaxed);
}

}  // namespace

extern "C" {

int fsync(int file) { return sync_or_fail(file, SYS_fsync); }
int fdatasync(int file) { return sync_or_fail(file, SYS_fdatasync); }
int statvfs(const char* path, struct statvfs* out) noexcept {
  const int folder = ::open(path, O_PATH | O_CLOEXEC);
  const int status = folder < 0 ? -1 : ::fstatvfs(folder, out);
  struct stat about {};
  const bool of_the_disk = status == 0 && ::fstat(folder, &about) == 0 && about.st_dev == the_disk();
  if (folder >= 0) ::close(folder);
  const std::int64_t most = control() == nullptr ? 0 : control()->free_most.load();
  if (!of_the_disk || most == 0) return status;
  const fsblkcnt_t blocks = static_cast<fsblkcnt_t>(most) / out->f_frsize;
  out->f_bavail = std::min(out->f_bavail, blocks);
  out->f_bfree = std::min(out->f_bfree, blocks);
  return status;
}
ssize_t write(int file, const void* data, size_t size) {
  return fails(file, &Control::write_errno) ? -1 : ::syscall(SYS_write, file, data, size);
}
ssize_t pwrite(int file, const void* data, size_t size, off_t at) {
  if (fails(file, &Control::write_errno)) return -1;
  unsynced.add(file, size, at);
  return real_pwrite(file, data, size, at);
}
ssize_t writev(int file, const iovec* parts, int count) {
  if (fails(file, &Control::write_errno)) return -1;
  std::size_t size = 0;
  for (int i = 0; i < count; ++i) size += parts[i].iov_len;
  unsynced.add(file, size, ::lseek(file, 0, SEEK_CUR));
  return ::syscall(SYS_writev, file, parts, count);
}

int clock_gettime(clockid_t clock, timespec* out) noexcept {
  const int status = static_cast<int>(::syscall(SYS_clock_gettime, clock, out));
  if (status == 0 && clock == CLOCK_REALTIME) {
    const std::int64_t ns = out->tv_sec * 1'000'000'000 + out->tv_nsec + offset_us() * 1000;
    out->tv_sec = ns / 1'000'000'000;
    out->tv_nsec = ns % 1'000'000'000;
  }
  return status;
}
time_t time(time_t* out) noexcept {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  if (out != nullptr) *out = now.tv_sec;
  return now.tv_sec;
}
int gettimeofday(timeval* out, void*) noexcept {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  *out = {now.tv_sec, now.tv_nsec / 1000};
  return 0;
}
}
