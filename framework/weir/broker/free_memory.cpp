#include "weir/broker/free_memory.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <vector>

// Functions of tcmalloc, if this program is linked with it.
extern "C" {
[[gnu::weak]] int MallocExtension_GetNumericProperty(const char* property, std::size_t* value);
[[gnu::weak]] void MallocExtension_ReleaseToSystem(std::size_t num_bytes);
}

namespace weir::broker {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t kept_most = std::size_t{64} << 20;
constexpr std::size_t slice = std::size_t{16} << 20;
constexpr auto looked_at_every = 1s;
/// So many looks in a row must find too much before any is given back.
constexpr int looks_before = 5;
constexpr auto between_slices = 5ms;

/// Bytes that tcmalloc has free, and has not given back to the system.
std::size_t free_bytes() {
  std::size_t bytes = 0;
  return MallocExtension_GetNumericProperty("tcmalloc.pageheap_free_bytes", &bytes) != 0 ? bytes : 0;
}

/// A block that tcmalloc had free, and whose pages are given back to the system; nullptr if there is none so large.
///
/// tcmalloc itself gives a whole free span back, however large, under its lock. So a span is taken piece by piece, as
/// blocks that are never written to, and each is given back here without any lock.
void* take_slice() {
  const std::size_t before = free_bytes();
  void* const block = std::malloc(slice);
  if (block == nullptr) return nullptr;
  if (free_bytes() + slice / 2 > before) {  // new from the system: tcmalloc had no such block
    std::free(block);
    return nullptr;
  }
  const auto page = static_cast<std::uintptr_t>(sysconf(_SC_PAGESIZE));
  const std::uintptr_t first = (reinterpret_cast<std::uintptr_t>(block) + page - 1) / page * page;
  const std::uintptr_t last = (reinterpret_cast<std::uintptr_t>(block) + slice) / page * page;
  madvise(reinterpret_cast<void*>(first), last - first, MADV_DONTNEED);
  return block;
}

}  // namespace

FreeMemory::FreeMemory() {
  if (MallocExtension_GetNumericProperty == nullptr || MallocExtension_ReleaseToSystem == nullptr) return;
  thread_ = std::thread([this] { run(); });
}

FreeMemory::~FreeMemory() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  if (thread_.joinable()) thread_.join();
}

bool FreeMemory::rest() {
  std::unique_lock lock(mutex_);
  return !wake_.wait_for(lock, looked_at_every, [this] { return stopping_; });
}

void FreeMemory::run() {
  for (int looks = 0; rest();) {
    looks = free_bytes() > kept_most ? looks + 1 : 0;
    if (looks < looks_before) continue;
    looks = 0;
    give_back();
  }
}

void FreeMemory::give_back() {
  std::vector<void*> taken;
  while (free_bytes() > kept_most + slice) {
    void* const block = take_slice();
    if (block == nullptr) break;
    taken.push_back(block);
    std::this_thread::sleep_for(between_slices);
  }
  // The blocks are tcmalloc's again, which takes them for memory in use. It gives them back once more, which is quick,
  // as they have no pages.
  for (void* block : taken) std::free(block);
  if (!taken.empty()) MallocExtension_ReleaseToSystem(taken.size() * slice);
  for (int slices = 0; slices < 1024 && free_bytes() > kept_most; ++slices) {
    const std::size_t before = free_bytes();
    MallocExtension_ReleaseToSystem(slice);
    if (free_bytes() >= before) break;
    std::this_thread::sleep_for(between_slices);
  }
}

}  // namespace weir::broker
