// The reporter. It reads a dead process's flight recorder, and tells the broker which message is to blame.
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <string>
#include <vector>

#include "weir/engine/make.hpp"
#include "weir/message/ids.hpp"
#include "weir/telemetry/log.hpp"
#include "weir/worker/process.hpp"
#include "weir/worker/recorder/blame.hpp"
#include "weir/worker/recorder/symbols.hpp"
#include "weir/worker/token.hpp"

namespace weir::worker {
namespace {

using engine::DeadProcess;
using engine::DeathAnswer;
using engine::StartedDelivery;
using recorder::Blamed;

/// Bounds a frame's name, as a template's can fill pages.
constexpr std::size_t frame_bytes_most = 400;

std::vector<std::byte> read_all(int file) {
  struct stat status {};
  if (fstat(file, &status) != 0) return {};
  std::vector<std::byte> bytes(static_cast<std::size_t>(status.st_size));
  std::size_t size = 0;
  while (size < bytes.size()) {
    const ssize_t got = pread(file, bytes.data() + size, bytes.size() - size, static_cast<off_t>(size));
    if (got <= 0) break;
    size += static_cast<std::size_t>(got);
  }
  bytes.resize(size);
  return bytes;
}

StartedDelivery::Part part_of(recorder::Part part) {
  switch (part) {
    case recorder::Part::culprit:
      return StartedDelivery::Part::culprit;
    case recorder::Part::on_cpu:
      return StartedDelivery::Part::on_cpu;
    case recorder::Part::ended:
      return StartedDelivery::Part::ended;
    case recorder::Part::suspended:
      break;
  }
  return StartedDelivery::Part::suspended;
}

/// Returns one line per frame.
std::string stack_of(const recorder::MemoryMap& map, const std::vector<std::uint64_t>& frames, bool with_names) {
  std::vector<std::string> names;
  if (with_names) {
    names = recorder::names_of(map, frames);
  } else {
    for (const std::uint64_t frame : frames) {
      const auto place = map.find(frame);
      names.push_back(place ? place->file + "+" + std::to_string(place->at) : std::to_string(frame));
    }
  }
  std::string text;
  for (const std::string& name : recorder::readable_stack(std::move(names), frame_bytes_most)) text += name + '\n';
  return text;
}

void log_blamed(const std::string& group, const StartedDelivery& blamed, std::uint32_t attempt) {
  log::error("handler_ended_its_process", {{"worker", group},
                                           {"queue", blamed.queue},
                                           {"message", print_id(blamed.queue, blamed.segment, blamed.index)},
                                           {"attempt", attempt},
                                           {"error", blamed.error},
                                           {"ran", blamed.duration},
                                           {"memory_grown", blamed.memory_grown_bytes},
                                           {"stack", blamed.stack}});
}

/// Makes a suspect of each message that would be charged.
void suspect_only(recorder::Verdict& verdict) {
  for (Blamed& each : verdict.started) {
    if (each.part != recorder::Part::culprit) continue;
    each.part = recorder::Part::on_cpu;
    each.error += "; its plugin's file was overwritten while it ran, so that nobody is charged";
  }
}

/// The messages of which one may be to blame, for the log. The broker knows which of them are settled already.
class Suspects {
 public:
  void add(const StartedDelivery& one) {
    ++counts_[static_cast<std::size_t>(one.part)];
    constexpr std::size_t named_most = 10;
    if (named_++ < named_most) names_ += (names_.empty() ? "" : " ") + print_id(one.queue, one.segment, one.index);
  }
  void log(const std::string& group, const std::string& stack) const {
    if (named_ == 0) return;
    log::warn("suspects", {{"worker", group},
                           {"on_cpu", counts_[static_cast<std::size_t>(StartedDelivery::Part::on_cpu)]},
                           {"waited", counts_[static_cast<std::size_t>(StartedDelivery::Part::suspended)]},
                           {"had_ended", counts_[static_cast<std::size_t>(StartedDelivery::Part::ended)]},
                           {"first", names_},
                           {"stack", stack}});
  }

 private:
  std::array<std::size_t, 4> counts_{};
  std::size_t named_ = 0;
  std::string names_;
};

DeadProcess describe(const std::string& group, const Death& death, const recorder::Record& record) {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  recorder::Verdict verdict = recorder::blame(record, {.exit_code = death.exit_code,
                                                       .signal = death.signal,
                                                       .by_its_parent = death.on_purpose,
                                                       .at = std::chrono::nanoseconds(now)});
  if (death.plugin_changed) suspect_only(verdict);
  const recorder::MemoryMap map(record.map);
  DeadProcess dead{.exit_code = death.exit_code,
                   .signal = death.signal,
                   .on_purpose = verdict.on_purpose,
                   .started = {},
                   .stack = stack_of(map, verdict.frames, death.with_names),
                   .log = record.log};
  Suspects suspects;
  for (Blamed& each : verdict.started) {
    StartedDelivery started{.queue = each.delivery.queue,
                            .segment = each.delivery.segment,
                            .index = each.delivery.index,
                            .part = part_of(each.part),
                            .started_at = each.started_at,
                            .duration = each.duration,
                            .error = std::move(each.error),
                            .stack = stack_of(map, each.frames, death.with_names),
                            .memory_grown_bytes = each.memory_grown,
                            .log = {}};
    if (each.part >= recorder::Part::on_cpu) started.log = record.log;
    if (each.part == recorder::Part::culprit) {
      log_blamed(group, started, each.delivery.attempt);
    } else {
      suspects.add(started);
    }
    dead.started.push_back(std::move(started));
  }
  suspects.log(group, dead.stack);
  return dead;
}

}  // namespace

Reported run_report(const std::string& group, const Death& death) {
  const auto [process, url] = take_over(token_fd);
  const auto engine = engine::make(url);
  if (!engine->capabilities().death_reports) return Reported::told;  // it takes no reports
  const auto record = recorder::read_record(read_all(recorder_fd));
  if (!record && !death.on_purpose) {
    // A report would say that no handler had begun. Without a report all messages that the process held are suspects.
    log::error("recorder_unreadable",
               {{"worker", group},
                {"why", "a handler, or memory that is corrupted, wrote over it"},
                {"doing", "once its session's time is out the broker tries all that it held, a few at a time"}});
    return Reported::not_told;
  }
  DeadProcess dead{.exit_code = death.exit_code,
                   .signal = death.signal,
                   .on_purpose = death.on_purpose,
                   .started = {},
                   .stack = {},
                   .log = {}};
  if (record) dead = describe(group, death, *record);
  const DeathAnswer answer = engine->report_death(process, dead, death.limit);
  if (answer == DeathAnswer::no_answer) {
    log::warn("death_not_reported", {{"worker", group}, {"engine", url}, {"tried", death.limit}});
    return Reported::not_told;
  }
  using Part = StartedDelivery::Part;
  const auto count = [&](Part part) { return std::ranges::count(dead.started, part, &StartedDelivery::part); };
  // A message that was alone on a CPU is charged at its next death.
  return count(Part::culprit) > 0 || count(Part::on_cpu) == 1 ? Reported::charged : Reported::told;
}

}  // namespace weir::worker
