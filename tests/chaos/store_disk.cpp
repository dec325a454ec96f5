#include "store_disk.hpp"

#include <dlfcn.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <fstream>
#include <iterator>

namespace weir::chaos {
namespace {

constexpr std::size_t sector = 512;  // what a disk writes whole or not at all

Disk* watching = nullptr;

}  // namespace

Disk::Disk(std::filesystem::path file, std::atomic<Stage>& stage, bool keeps_image)
    : path_(std::move(file)), stage_(stage), keeps_image_(keeps_image) {
  if (std::ifstream in(path_, std::ios::binary); keeps_image_ && in) durable_.assign(std::istreambuf_iterator(in), {});
  watching = this;
}

Disk::~Disk() { watching = nullptr; }

void Disk::begin(std::uint32_t at, Fault fault, std::uint64_t seed) {
  calls_ = 0;
  fault_at_ = at;
  fault_ = fault;
  hit_ = taken_ = false;
  random_.seed(seed);
}

bool Disk::watches(int file) const {
  struct stat opened {};
  struct stat named {};
  return ::fstat(file, &opened) == 0 && S_ISREG(opened.st_mode) && ::stat(path_.c_str(), &named) == 0 &&
         opened.st_ino == named.st_ino && opened.st_dev == named.st_dev;
}

void Disk::put(std::string& image, std::int64_t at, std::string_view bytes) {
  const auto begin = static_cast<std::size_t>(at);
  if (image.size() < begin + bytes.size()) image.resize(begin + bytes.size());
  std::copy(bytes.begin(), bytes.end(), image.begin() + at);
}

void Disk::take_image(const std::vector<Pending>& all) {
  image_ = durable_;
  // Sometimes none of it has reached the disk, sometimes all, mostly some.
  const std::uint64_t of_ten = std::array<std::uint64_t, 5>{0, 1, 5, 9, 10}[random_() % 5];
  for (const Pending& write : all) {
    const std::string_view bytes = write.bytes;
    for (std::size_t i = 0; i < bytes.size(); i += sector) {
      if (random_() % 10 < of_ten) put(image_, write.at + static_cast<std::int64_t>(i), bytes.substr(i, sector));
    }
  }
  taken_ = true;
}

bool Disk::comes(Fault fault) {
  const bool is_it = fault_ == fault && calls_ == fault_at_;
  hit_ = hit_ || is_it;
  return is_it;
}

long Disk::write(int file, std::string bytes, std::int64_t at, const std::function<long()>& real) {
  // LMDB writes the page that ends a commit through a descriptor of its own, which syncs each write.
  const bool is_synced = (::fcntl(file, F_GETFL) & O_DSYNC) != 0;
  ++calls_;
  stage_ = is_synced ? Stage::writing_its_end : Stage::writing_pages;
  if (keeps_image_ && comes(Fault::power_loss)) {
    std::vector<Pending> all = pending_;
    all.push_back({at, bytes});
    take_image(all);
  }
  if (keeps_image_ && comes(Fault::error)) {
    pending_.clear();
    errno = EIO;
    return -1;
  }
  const long written = real();
  if (written > 0 && keeps_image_) {
    bytes.resize(static_cast<std::size_t>(written));
    if (is_synced) {
      put(durable_, at, bytes);
    } else {
      pending_.push_back({at, std::move(bytes)});
    }
  }
  if (is_synced) stage_ = Stage::after;
  return written;
}

long Disk::sync(const std::function<long()>& real) {
  ++calls_;
  stage_ = Stage::syncing;
  if (keeps_image_ && comes(Fault::power_loss)) take_image(pending_);
  if (keeps_image_ && comes(Fault::error)) {
    pending_.clear();
    errno = EIO;
    return -1;
  }
  const long status = real();
  if (status == 0 && keeps_image_) {
    for (const Pending& write : pending_) put(durable_, write.at, write.bytes);
    pending_.clear();
  }
  stage_ = Stage::synced;
  return status;
}

namespace {

/// The next definition of a symbol, of the type of `same`.
template <class F>
F* next(F*, const char* name) {
  return reinterpret_cast<F*>(::dlsym(RTLD_NEXT, name));
}

}  // namespace
}  // namespace weir::chaos

extern "C" {

ssize_t pwrite(int file, const void* data, size_t size, off_t at) {
  static auto* const real = weir::chaos::next(&::pwrite, "pwrite");
  weir::chaos::Disk* const disk = weir::chaos::watching;
  if (disk == nullptr || !disk->watches(file)) return real(file, data, size, at);
  return disk->write(file, std::string(static_cast<const char*>(data), size), at,
                     [&] { return real(file, data, size, at); });
}
ssize_t writev(int file, const iovec* parts, int count) {
  static auto* const real = weir::chaos::next(&::writev, "writev");
  weir::chaos::Disk* const disk = weir::chaos::watching;
  if (disk == nullptr || !disk->watches(file)) return real(file, parts, count);
  std::string all;
  for (int i = 0; i < count; ++i) all.append(static_cast<const char*>(parts[i].iov_base), parts[i].iov_len);
  const off_t at = ::lseek(file, 0, SEEK_CUR);
  return disk->write(file, std::move(all), at, [&] { return real(file, parts, count); });
}
int fsync(int file) {
  static auto* const real = weir::chaos::next(&::fsync, "fsync");
  weir::chaos::Disk* const disk = weir::chaos::watching;
  if (disk == nullptr || !disk->watches(file)) return real(file);
  return static_cast<int>(disk->sync([&] { return real(file); }));
}
int fdatasync(int file) {
  static auto* const real = weir::chaos::next(&::fdatasync, "fdatasync");
  weir::chaos::Disk* const disk = weir::chaos::watching;
  if (disk == nullptr || !disk->watches(file)) return real(file);
  return static_cast<int>(disk->sync([&] { return real(file); }));
}
}
