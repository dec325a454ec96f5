#include "weir/worker/recorder/blame.hpp"

#include <signal.h>

#include <algorithm>
#include <cstdio>
#include <cstring>

namespace weir::worker::recorder {
namespace {

std::string signal_name(std::int32_t signal) {
  const char* const short_name = sigabbrev_np(signal);
  return short_name != nullptr ? std::string("SIG") + short_name : "signal " + std::to_string(signal);
}

/// `1.234s`.
std::string seconds(std::chrono::nanoseconds time) {
  char text[32];
  std::snprintf(text, sizeof text, "%.3fs", std::chrono::duration<double>(time).count());
  return text;
}

/// True if another process sent the signal. Then the thread that took it proves nothing.
bool is_foreign(const Marked& mark) {
  if (mark.kind != MarkKind::signal) return false;
  return (mark.code == SI_USER || mark.code == SI_QUEUE || mark.code == SI_TKILL) && mark.sender != 0;
}

std::string error_of(const Marked& mark, const HowItDied& death, std::chrono::nanoseconds ran) {
  if (mark.kind == MarkKind::exited) return "ended its process: exit code " + std::to_string(death.exit_code);
  if (mark.kind == MarkKind::stuck) {
    return std::string("stuck: ") + (mark.code == 1 ? "waiting in a call that blocks its thread" : "on the CPU") +
           " past its timeout, " + seconds(ran) + " after it started";
  }
  std::string text = "killed its process: " + signal_name(mark.signal);
  if (mark.signal == SIGSEGV || mark.signal == SIGBUS) {
    char at[32];
    std::snprintf(at, sizeof at, " at 0x%llx", static_cast<unsigned long long>(mark.address));
    text += at;
  }
  return text;
}

Blamed blamed(const Record& record, const Delivery& delivery, Part part, std::chrono::nanoseconds at) {
  Blamed out{.delivery = delivery, .part = part, .error = {}, .started_at = record.wall(delivery.started)};
  const std::chrono::nanoseconds ran(static_cast<std::int64_t>(static_cast<std::uint64_t>(at.count()) -
                                                               static_cast<std::uint64_t>(delivery.started.count())));
  out.duration = std::max(Duration{0}, std::chrono::duration_cast<Duration>(ran));
  if (delivery.memory > 0 && record.memory > 0) {
    out.memory_grown = static_cast<std::int64_t>(record.memory - delivery.memory);
  }
  return out;
}

}  // namespace

Verdict blame(const Record& record, const HowItDied& death) {
  Verdict verdict;
  const auto at_of = [&](const Marked& mark) { return mark.at.count() != 0 ? mark.at : death.at; };
  for (const Marked& mark : record.marks) {
    const Delivery* const delivery = mark.slot && !is_foreign(mark) ? record.find(*mark.slot) : nullptr;
    // A stuck handler may have ended after all, while the other handlers drained.
    if (delivery == nullptr || (mark.slot_state != 0 && mark.slot_state != delivery->slot_state)) continue;
    if (std::ranges::any_of(verdict.started, [&](const Blamed& other) { return other.delivery == *delivery; }))
      continue;
    Blamed culprit = blamed(record, *delivery, Part::culprit, at_of(mark));
    culprit.error = error_of(mark, death, culprit.duration);
    culprit.frames = mark.frames;
    verdict.started.push_back(std::move(culprit));
  }
  if (!verdict.started.empty()) return verdict;
  if (record.ending || death.by_its_parent) {
    verdict.on_purpose = true;
    return verdict;
  }
  const bool exited = death.signal == 0;
  const auto stray = std::ranges::find_if(
      record.marks, [](const Marked& mark) { return !mark.slot && mark.kind != MarkKind::stuck && !is_foreign(mark); });
  const bool by_a_stray = stray != record.marks.end();
  if (by_a_stray) verdict.frames = stray->frames;
  if (exited && record.on_cpu.size() == 1 && !by_a_stray) {
    if (const Delivery* const delivery = record.find(record.on_cpu.front())) {
      Blamed culprit = blamed(record, *delivery, Part::culprit, death.at);
      culprit.error = "ended its process: exit code " + std::to_string(death.exit_code);
      verdict.started.push_back(std::move(culprit));
      return verdict;
    }
  }
  for (const EndedDelivery& ended : record.ended) {
    Blamed left{.delivery = {}, .part = Part::ended, .error = {}, .started_at = {}};
    left.delivery.queue = ended.queue;
    left.delivery.segment = ended.segment;
    left.delivery.index = ended.index;
    verdict.started.push_back(std::move(left));
  }
  for (const Delivery& delivery : record.started) {
    const bool on_cpu = !by_a_stray && std::ranges::find(record.on_cpu, delivery.slot) != record.on_cpu.end();
    verdict.started.push_back(blamed(record, delivery, on_cpu ? Part::on_cpu : Part::suspended, death.at));
    if (!on_cpu) continue;
    verdict.started.back().error = exited ? "its process ended: exit code " + std::to_string(death.exit_code)
                                          : "its process was killed: " + signal_name(death.signal);
  }
  return verdict;
}

}  // namespace weir::worker::recorder
