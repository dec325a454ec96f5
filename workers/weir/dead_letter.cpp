#include "dead_letter.hpp"

#include <algorithm>

#include "json.hpp"
#include "stack.hpp"

namespace weir::cli {
namespace {

constexpr std::string_view indent = "             ";

/// True if the attempt ended its process. Then more is known of it, above all the process's last log lines.
bool ended_its_process(const v1::Attempt& attempt) {
  return !attempt.stack().empty() || attempt.log_size() > 0 || attempt.memory_grown_bytes() != 0;
}

std::string memory_of(const v1::Attempt& attempt) {
  const std::int64_t grown = attempt.memory_grown_bytes();
  return grown > 0 ? "grew by " + size_of(static_cast<std::uint64_t>(grown)) : "did not grow";
}

/// Adds ` stack a`, with further lines below the first.
void add_lines(std::string_view title, const std::vector<std::string>& lines, std::size_t width, std::string& text) {
  std::string before = "  " + std::string(title);
  before.resize(indent.size(), ' ');
  for (const std::string& line : lines) {
    const std::string shown = harmless(line);
    text += before + (width > indent.size() ? cut(shown, width - indent.size()) : shown) + "\n";
    before = indent;
  }
}

/// Adds the attempts that ended their process. Those that did so at the same place are shown together.
void add_ends(const v1::DeadLetter& letter, std::size_t width, std::string& text) {
  std::vector<std::pair<std::vector<std::string>, std::vector<const v1::Attempt*>>> places;
  for (const v1::Attempt& attempt : letter.history()) {
    if (!ended_its_process(attempt)) continue;
    const auto stack = short_stack(attempt.stack());
    const auto same = std::ranges::find(places, stack, [](const auto& place) { return place.first; });
    if (same == places.end()) {
      places.push_back({stack, {&attempt}});
    } else {
      same->second.push_back(&attempt);
    }
  }
  for (const auto& [stack, attempts] : places) {
    std::string which;
    for (std::size_t i = 0; i < attempts.size(); ++i) {
      const bool last = i > 0 && i + 1 == attempts.size();
      which += (i == 0 ? " " : last ? " and " : ", ") + std::to_string(attempts[i]->number());
    }
    text += "\nattempt" + std::string(attempts.size() > 1 ? "s" : "") + which +
            (attempts.size() > 1 ? " ended their processes at one place\n" : " ended its process\n");
    std::vector<std::string> memory;
    std::vector<std::string> log;
    for (const v1::Attempt* attempt : attempts) {
      if (std::ranges::find(memory, memory_of(*attempt)) == memory.end()) memory.push_back(memory_of(*attempt));
      for (std::string& line : lines_about(attempt->log(), letter.summary().id())) log.push_back(std::move(line));
    }
    add_lines("memory", memory, width, text);
    add_lines("stack", stack, width, text);
    add_lines("log", log, width, text);
  }
}

std::string attempts_of(const v1::DeadLetter& letter, const Terminal& to) {
  std::vector<std::vector<Cell>> rows;
  for (const v1::Attempt& attempt : letter.history()) {
    const std::string stamped = stamp(attempt.started_at_us());
    if (attempt.replayed()) {
      rows.push_back({"–", stamped, "", "", "replayed: attempts count from 1 again"});
    } else {
      rows.push_back({std::uint64_t{attempt.number()}, stamped, time_of(attempt.duration_us()), attempt.worker(),
                      attempt.error()});
    }
  }
  return render({{"ATTEMPT", Align::right}, {"STARTED"}, {"TOOK", Align::right}, {"WORKER", Align::left, 1}, {"ERROR"}},
                std::move(rows), to.colour, to.width);
}

boost::json::object json_of(const v1::Attempt& attempt, const std::string& id) {
  if (attempt.replayed()) return {{"replayed_at", stamp(attempt.started_at_us())}};
  boost::json::object object{{"number", attempt.number()},
                             {"started_at", stamp(attempt.started_at_us())},
                             {"duration_us", attempt.duration_us()},
                             {"worker", attempt.worker()},
                             {"error", attempt.error()}};
  if (!attempt.stack().empty()) object["stack"] = attempt.stack();
  if (ended_its_process(attempt)) object["memory_grown_bytes"] = attempt.memory_grown_bytes();
  if (const auto lines = lines_about(attempt.log(), id); !lines.empty()) {
    object["log"] = boost::json::array(lines.begin(), lines.end());
  }
  return object;
}

}  // namespace

std::vector<std::string> lines_about(const google::protobuf::RepeatedPtrField<std::string>& lines,
                                     const std::string& id) {
  std::vector<std::string> out;
  for (const std::string& line : lines) {
    const auto at = line.find(id);
    if (at == std::string::npos) continue;
    // orders/1.17 must not match in orders/1.170, nor in my-orders/1.17.
    const char before = at == 0 ? ' ' : line[at - 1];
    const char after = at + id.size() == line.size() ? ' ' : line[at + id.size()];
    const auto ends = [](char c) { return c == ' ' || c == '=' || c == '"' || c == '\'' || c == ',' || c == ':'; };
    if (ends(before) && ends(after)) out.push_back(line);
  }
  return out;
}

boost::json::object dead_json(const v1::DeadSummary& dead) {
  return {{"id", dead.id()},
          {"name", dead.name()},
          {"type", dead.type()},
          {"attempts", dead.attempts()},
          {"last_error", dead.last_error()},
          {"dead_since", stamp(dead.dead_since_us())},
          {"bytes", dead.bytes()}};
}

boost::json::object dead_json(const v1::DeadLetter& letter, const std::optional<ShownPayload>& payload) {
  boost::json::object object = dead_json(letter.summary());
  object["key"] = base64(letter.key());
  object["priority"] = letter.priority();
  object["published_at"] = stamp(letter.published_at_us());
  boost::json::array history;
  for (const v1::Attempt& attempt : letter.history()) history.push_back(json_of(attempt, letter.summary().id()));
  object["history"] = std::move(history);
  boost::json::object headers;
  boost::json::object raw;
  for (const v1::Header& header : letter.headers()) {
    headers[header.name()] = header.value();
    if (!is_utf8(header.value())) raw[header.name()] = base64(header.value());
  }
  object["headers"] = std::move(headers);
  if (!raw.empty()) object["headers_base64"] = std::move(raw);
  if (payload) {
    object["payload_base64"] = base64(letter.payload());
    // A message may be nested deeper than this JSON reader allows. The base64 has it all the same.
    boost::system::error_code error;
    if (payload->json) {
      boost::json::value value = boost::json::parse(*payload->json, error);
      if (!error) object["payload"] = std::move(value);
    }
  }
  return object;
}

std::string text_of(const v1::DeadLetter& letter, const Terminal& to) {
  const v1::DeadSummary& summary = letter.summary();
  std::string text = summary.id() + "\n";
  const auto add = [&](std::string_view title, const std::string& words) {
    std::string before = "  " + std::string(title);
    before.resize(indent.size(), ' ');
    text += before + harmless(words) + "\n";
  };
  add("name", summary.name());
  add("type", summary.type());
  add("published", stamp(letter.published_at_us()));
  add("dead since", stamp(summary.dead_since_us()));
  add("attempts", std::to_string(summary.attempts()));
  add("size", size_of(summary.bytes()));
  if (!letter.key().empty()) add("key", letter.key());
  add("error", summary.last_error());
  for (const v1::Header& header : letter.headers()) add("header", header.name() + "=" + header.value());
  text += "\n" + attempts_of(letter, to);
  add_ends(letter, to.width, text);
  return text;
}

}  // namespace weir::cli
