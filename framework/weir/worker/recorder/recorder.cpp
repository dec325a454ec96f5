#include "weir/worker/recorder/recorder.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <new>

#include "weir/message/error.hpp"

namespace weir::worker::recorder {
namespace {

std::string names_of(const std::vector<std::string>& queues) {
  std::string names;
  for (const std::string& each : queues) names += each + '\n';
  return names;
}

std::int64_t wall_minus_steady() {
  const auto wall = std::chrono::system_clock::now().time_since_epoch();
  const auto steady = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::nanoseconds>(wall).count() - steady.count();
}

}  // namespace

Recorder::Recorder(const Size& size, std::optional<int> file) {
  const std::string names = names_of(size.queues);
  shape_ = {.shards = size.shards,
            .slots = size.slots,
            .pool = pool_lines,
            .names_bytes = static_cast<std::uint32_t>(std::min(names.size(), names_bytes_most))};
  if (!shape_.is_sane()) throw Error("shards × concurrency is more than 1048576 handlers in one process");
  bytes_ = shape_.bytes();
  // The pages are zero, and take memory only once they are written.
  const int flags = file ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS;
  const bool sized = !file || ftruncate(*file, static_cast<off_t>(bytes_)) == 0;
  void* const at = sized ? mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, flags, file.value_or(-1), 0) : MAP_FAILED;
  const int error = errno;
  if (file) close(*file);
  if (at == MAP_FAILED) throw Error(std::string("no memory for the flight recorder: ") + std::strerror(error));
  memory_ = static_cast<char*>(at);
  header_ = new (memory_) Header;
  log_ = reinterpret_cast<LogLine*>(memory_ + shape_.log_at());
  threads_ = reinterpret_cast<ThreadLine*>(memory_ + shape_.threads_at());
  slots_ = reinterpret_cast<SlotLine*>(memory_ + shape_.slots_at());
  ended_ = reinterpret_cast<EndedRing*>(memory_ + shape_.ended_at());
  std::memcpy(memory_ + shape_.names_at(), names.data(), shape_.names_bytes);
  header_->version = version;
  header_->shards = shape_.shards;
  header_->slots = shape_.slots;
  header_->pool = shape_.pool;
  header_->names_bytes = shape_.names_bytes;
  header_->memory_at_start = resident_bytes();
  sample();
  header_->magic.store(magic, std::memory_order_release);
}

Recorder::~Recorder() { munmap(memory_, bytes_); }

std::optional<std::pair<std::uint64_t, Starts>> Recorder::started(std::uint32_t slot) const {
  const SlotLine& line = slots_[slot];
  const std::uint64_t state = line.state.load(std::memory_order_acquire);
  if (state % 2 == 0) return std::nullopt;
  const std::uint64_t place = line.place.load(std::memory_order_relaxed);
  const std::uint64_t handler = line.handler.load(std::memory_order_relaxed);
  Starts what{.queue = static_cast<std::uint32_t>(place >> 32),
              .segment = line.segment.load(std::memory_order_relaxed),
              .index = static_cast<std::uint32_t>(place),
              .attempt = static_cast<std::uint32_t>(handler >> 32),
              .handler = static_cast<std::uint32_t>(handler),
              .started = Clock::time_point(Clock::duration(line.started.load(std::memory_order_relaxed))),
              .deadline = Clock::time_point(Clock::duration(line.deadline.load(std::memory_order_relaxed)))};
  std::atomic_thread_fence(std::memory_order_acquire);
  if (line.state.load(std::memory_order_relaxed) != state) return std::nullopt;
  return std::pair(state, what);
}

std::optional<OnCpu> Recorder::on_cpu(const ThreadLine& line) const {
  const std::uint64_t running = line.running.load(std::memory_order_acquire);
  const auto number = static_cast<std::uint32_t>(running);
  if (number == 0 || number > shape_.all_slots()) return std::nullopt;
  const Clock::time_point since(Clock::duration(line.since.load(std::memory_order_relaxed)));
  const auto what = started(number - 1);
  std::atomic_thread_fence(std::memory_order_acquire);
  if (!what || line.running.load(std::memory_order_relaxed) != running) return std::nullopt;
  return OnCpu{running, since, number - 1, what->first, what->second};
}

bool Recorder::is_stuck(std::uint32_t shard) {
  for (const ThreadLine& line : threads()) {
    if (line.mark.kind.load(std::memory_order_acquire) != static_cast<std::uint32_t>(MarkKind::stuck)) continue;
    const auto slot = static_cast<std::uint32_t>(line.mark.running) - 1;
    if (slot / shape_.slots == shard && slots_[slot].state == line.mark.slot_state) return true;
  }
  return false;
}

void Recorder::sample() {
  if (const std::uint64_t bytes = resident_bytes(); bytes > 0) header_->memory.store(bytes, std::memory_order_relaxed);
  header_->wall_minus_steady.store(wall_minus_steady(), std::memory_order_relaxed);
}

void Recorder::log(std::string_view text) {
  const std::uint64_t number = header_->log_next.fetch_add(1, std::memory_order_relaxed) + 1;
  LogLine& line = log_[number % log_lines];
  const std::size_t size = std::min(text.size(), line.text.size());
  line.number.store(0, std::memory_order_relaxed);
  std::atomic_thread_fence(std::memory_order_release);
  for (std::size_t i = 0; i < size; ++i) line.text[i].store(text[i], std::memory_order_relaxed);
  line.size.store(static_cast<std::uint32_t>(size), std::memory_order_relaxed);
  line.number.store(number, std::memory_order_release);
}

void Recorder::save_map() {
  if (map_begun_.exchange(true)) {
    // If two threads crash at once, the second must not end the process before the first is done.
    const timespec pause{.tv_sec = 0, .tv_nsec = 1'000'000};
    for (int i = 0; i < 100 && !map_saved_; ++i) nanosleep(&pause, nullptr);
    return;
  }
  const int file = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
  if (file < 0) return;
  char* const at = memory_ + shape_.map_at();
  std::size_t size = 0;
  while (size < map_bytes_most) {
    const ssize_t got = read(file, at + size, map_bytes_most - size);
    if (got <= 0) break;
    size += static_cast<std::size_t>(got);
  }
  close(file);
  header_->map_bytes.store(static_cast<std::uint32_t>(size), std::memory_order_relaxed);
  map_saved_ = true;
}

std::uint64_t resident_bytes() {
  const int file = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
  if (file < 0) return 0;
  char text[128];
  const ssize_t size = read(file, text, sizeof text);
  close(file);
  // The file counts pages: all, resident, …
  std::uint64_t pages = 0;
  ssize_t at = 0;
  while (at < size && text[at] != ' ') ++at;
  for (++at; at < size && text[at] >= '0' && text[at] <= '9'; ++at) {
    pages = pages * 10 + static_cast<std::uint64_t>(text[at] - '0');
  }
  return pages * static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
}

int make_file(int least) {
  const int made = memfd_create("weir-flight-recorder", MFD_CLOEXEC);
  if (made < 0) throw Error(std::string("memfd_create: ") + std::strerror(errno));
  const int file = fcntl(made, F_DUPFD_CLOEXEC, least);
  close(made);
  if (file < 0) throw Error(std::string("cannot keep the flight recorder's file: ") + std::strerror(errno));
  return file;
}

}  // namespace weir::worker::recorder
