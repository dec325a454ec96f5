// libchaos_shim.so, for LD_PRELOAD: a disk that fails and a wall clock that jumps.
//
// $CHAOS_SHIM names a file of a Control, which is mapped and may change at any time. Syncs and writes of regular files
// on the device $CHAOS_SHIM_DEVICE (a number, as stat(2) has it) fail with the errno that it holds (0: none); the wall
// clock is off by so many microseconds. Steady clocks are not touched.
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstdlib>

namespace {

struct Control {
  std::atomic<std::int64_t> wall_offset_us;
  std::atomic<std::int32_t> sync_errno;
  std::atomic<std::int32_t> write_errno;
  std::atomic<std::int64_t> failed;  ///< calls that were made to fail
};
static_assert(sizeof(Control) == 24);

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

/// The next definition of a symbol, of the type of `same`.
template <class F>
F* next(F*, const char* name) {
  return reinterpret_cast<F*>(::dlsym(RTLD_NEXT, name));
}

bool is_of_the_disk(int file) {
  static const dev_t device = [] {
    const char* number = std::getenv("CHAOS_SHIM_DEVICE");
    return number == nullptr ? dev_t{} : static_cast<dev_t>(std::strtoull(number, nullptr, 10));
  }();
  struct stat about {};
  return ::fstat(file, &about) == 0 && S_ISREG(about.st_mode) && about.st_dev == device;
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

std::int64_t offset_us() {
  return control() == nullptr ? 0 : control()->wall_offset_us.load(std::memory_order_relaxed);
}

}  // namespace

extern "C" {

int fsync(int file) {
  static auto* const real = next(&::fsync, "fsync");
  return fails(file, &Control::sync_errno) ? -1 : real(file);
}
int fdatasync(int file) {
  static auto* const real = next(&::fdatasync, "fdatasync");
  return fails(file, &Control::sync_errno) ? -1 : real(file);
}
ssize_t write(int file, const void* data, size_t size) {
  static auto* const real = next(&::write, "write");
  return fails(file, &Control::write_errno) ? -1 : real(file, data, size);
}
ssize_t pwrite(int file, const void* data, size_t size, off_t at) {
  static auto* const real = next(&::pwrite, "pwrite");
  return fails(file, &Control::write_errno) ? -1 : real(file, data, size, at);
}
ssize_t writev(int file, const iovec* parts, int count) {
  static auto* const real = next(&::writev, "writev");
  return fails(file, &Control::write_errno) ? -1 : real(file, parts, count);
}

int clock_gettime(clockid_t clock, timespec* out) noexcept {
  static auto* const real = next(&::clock_gettime, "clock_gettime");
  const int status = real(clock, out);
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
