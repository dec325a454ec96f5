// What a worker process that went wrong may leave in its flight recorder; and the symbols of a file that is no program.
#include <algorithm>
#include <array>
#include <cstring>
#include <set>
#include <vector>

#include "input.hpp"
#include "targets.hpp"
#include "weir/worker/recorder/blame.hpp"
#include "weir/worker/recorder/elf.hpp"
#include "weir/worker/recorder/map.hpp"
#include "weir/worker/recorder/record.hpp"

namespace weir::fuzz {
namespace {

namespace files = worker::recorder;

std::span<const std::byte> as_bytes(std::string_view text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

/// A file of the right size, and the input's bytes written over it, wherever it says.
std::vector<std::byte> file_of(Input& in) {
  const files::Shape shape{in.below(4), in.below(16), in.below(4), in.byte()};
  std::vector<std::byte> file(shape.bytes());
  files::HeaderOf<files::Plain> header{};
  header.magic = files::magic;
  header.version = files::version;
  header.shards = shape.shards;
  header.slots = shape.slots;
  header.pool = shape.pool;
  header.names_bytes = shape.names_bytes;
  header.map_bytes = in.number16();
  std::memcpy(file.data(), &header, sizeof header);
  while (!in.empty()) {
    const std::uint32_t where = in.byte();
    const std::size_t i = in.byte();
    std::size_t at = 0;
    switch (where % 8) {
      case 0:
        at = i;
        break;
      case 1:
        at = shape.log_at() + i % files::log_lines * sizeof(files::LogLine);
        break;
      case 2:
        at = shape.threads_at() + i % shape.threads() * sizeof(files::ThreadLine);
        break;
      case 3:
        at = shape.threads_at() + i % shape.threads() * sizeof(files::ThreadLine) + offsetof(files::ThreadLine, mark);
        break;
      case 4:
        at = shape.slots_at() + i % std::max<std::size_t>(1, shape.all_slots()) * sizeof(files::SlotLine);
        break;
      case 5:
        at = shape.names_at();
        break;
      case 6:
        at = shape.map_at();
        break;
      default:
        at = i * 256 + in.byte();
    }
    at += in.byte();
    const std::string_view bytes = in.take(in.byte());
    if (at < file.size()) std::memcpy(file.data() + at, bytes.data(), std::min(bytes.size(), file.size() - at));
  }
  return file;
}

bool is_printable(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c >= ' ' && c <= '~'; });
}

void read(std::span<const std::byte> file) {
  const auto record = files::read_record(file);
  if (!record) return;
  require(record->started.size() + record->marks.size() <= file.size() / sizeof(files::SlotLine),
          "more was read than the file has room for");
  std::set<std::uint32_t> slots;
  for (const auto& delivery : record->started) {
    require(slots.insert(delivery.slot).second, "a slot has two deliveries");
    require(record->find(delivery.slot) == &delivery, "a delivery is not found by its slot");
    require(is_printable(delivery.queue), "a queue's name that is not printable");
    (void)record->wall(delivery.started);
  }
  for (const auto& one : record->ended) require(is_printable(one.queue), "a queue's name that is not printable");
  for (const auto slot : record->on_cpu) require(slots.contains(slot), "nobody's delivery was on the CPU");
  for (const auto& line : record->log) require(is_printable(line), "a line of log that is not printable");
  const files::MemoryMap map(record->map);
  for (const auto& mark : record->marks) {
    require(mark.frames.size() <= files::frames_most, "a stack that is too deep");
    for (const auto frame : mark.frames) (void)map.find(frame);
  }
  for (const files::HowItDied& death :
       {files::HowItDied{.signal = 9}, files::HowItDied{.signal = 11, .at = std::chrono::hours(1)},
        files::HowItDied{.exit_code = 3}, files::HowItDied{.signal = -1, .by_its_parent = true}}) {
    const files::Verdict verdict = files::blame(*record, death);
    std::set<std::uint32_t> blamed;
    for (const auto& one : verdict.started) {
      if (one.part == files::Part::ended) continue;
      require(slots.contains(one.delivery.slot), "a delivery is blamed that had not started");
      require(blamed.insert(one.delivery.slot).second, "a delivery is blamed twice");
      require(one.duration.count() >= 0, "a handler ran for less than no time");
      require(one.part != files::Part::culprit || !one.error.empty(), "a culprit without an error");
    }
    const auto ended = std::ranges::count(verdict.started, files::Part::ended, &files::Blamed::part);
    require(ended <= static_cast<std::ptrdiff_t>(record->ended.size()), "more is blamed than had ended");
    require(!verdict.on_purpose || verdict.started.empty(), "a death on purpose with suspects");
  }
}

}  // namespace

void recorder(std::string_view bytes) {
  Input in(bytes);
  switch (in.below(8)) {
    case 0:
      return read(as_bytes(in.rest()));
    case 1: {
      const std::uint64_t at = in.number();
      const std::string_view name = files::function_at(as_bytes(in.rest()), at);
      require(name.empty() || (name.data() >= bytes.data() && name.data() + name.size() <= bytes.data() + bytes.size()),
              "a name from outside of its file");
      return;
    }
    case 2: {
      const std::uint64_t at = in.number();
      (void)files::MemoryMap(in.rest()).find(at);
      return;
    }
    default:
      read(file_of(in));
  }
}

}  // namespace weir::fuzz
