#include "weir/broker/note_log.hpp"

#include <vector>

#include "weir/telemetry/log.hpp"

namespace weir::broker {
namespace {

constexpr auto span = std::chrono::seconds(10);
constexpr std::uint64_t written_most = 50;

log::Level level_of(core::Note::Level level) {
  switch (level) {
    case core::Note::Level::error:
      return log::Level::error;
    case core::Note::Level::warning:
      return log::Level::warn;
    case core::Note::Level::info:
      break;
  }
  return log::Level::info;
}

}  // namespace

void NoteLog::write(const core::Note& note, std::chrono::steady_clock::time_point now) {
  Rate& rate = rates_[note.event];
  if (now - rate.since >= span) {
    rate.since = now;
    rate.written = 0;
  }
  if (rate.written == written_most) {
    ++rate.left_out;
    return;
  }
  ++rate.written;
  std::vector<log::Field> fields;
  fields.reserve(note.fields.size() + 1);
  for (const auto& [name, value] : note.fields) fields.push_back({name, value});
  if (rate.left_out > 0) fields.push_back({"left_out", std::exchange(rate.left_out, 0)});
  log::write(level_of(note.level), note.event, fields);
}

}  // namespace weir::broker
