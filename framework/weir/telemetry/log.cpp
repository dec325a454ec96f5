#include "weir/telemetry/log.hpp"

#include <spdlog/logger.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/stdout_color_sinks.h>

#include <array>
#include <cmath>
#include <cstdio>
#include <memory>
#include <type_traits>
#include <vector>

#include "weir/telemetry/characters.hpp"

namespace weir::log {
namespace {

constexpr std::array<std::string_view, 4> words{"debug", "info", "warn", "error"};
constexpr std::array<std::string_view, 4> shouts{"DEBUG", "INFO", "WARN", "ERROR"};

spdlog::level::level_enum level_of(Level level) {
  constexpr std::array levels{spdlog::level::debug, spdlog::level::info, spdlog::level::warn, spdlog::level::err};
  return levels[static_cast<std::size_t>(level)];
}

/// The level in a pattern, as `%*`, by this project's names (spdlog says `warning`).
class LevelName final : public spdlog::custom_flag_formatter {
 public:
  explicit LevelName(bool json) : json_(json) {}
  void format(const spdlog::details::log_msg& line, const std::tm&, spdlog::memory_buf_t& out) override {
    std::size_t at = 0;
    while (at + 1 < words.size() && level_of(static_cast<Level>(at)) != line.level) ++at;
    const std::string_view name = json_ ? words[at] : shouts[at];
    out.append(name.data(), name.data() + name.size());
  }
  [[nodiscard]] std::unique_ptr<custom_flag_formatter> clone() const override {
    return spdlog::details::make_unique<LevelName>(json_);
  }

 private:
  bool json_;
};

struct Output {
  bool json = false;
  std::shared_ptr<spdlog::logger> logger;
};

Output make_output(Options options) {
  auto format = std::make_unique<spdlog::pattern_formatter>(spdlog::pattern_time_type::utc);
  format->add_flag<LevelName>('*', options.json);
  format->set_pattern(options.json ? R"({"time":"%Y-%m-%dT%H:%M:%S.%eZ","level":"%*",%v})"
                                   : "%Y-%m-%dT%H:%M:%S.%eZ %^%*%$ %v");
  // The sink's mode `automatic` colours only a terminal.
  auto sink = std::make_shared<spdlog::sinks::stderr_color_sink_mt>();
  sink->set_formatter(std::move(format));
  auto logger = std::make_shared<spdlog::logger>("weir", std::move(sink));
  logger->set_level(spdlog::level::trace);  // `enabled` decides
  return {options.json, std::move(logger)};
}

Output& output() {
  // Never destroyed: threads may still log while the process ends.
  static auto& made = *new Output(make_output({}));
  return made;
}

std::atomic<Level> lowest{Level::info};

struct Copy {
  void (*copy)(void* where, std::string_view line) = nullptr;
  void* where = nullptr;
};
Copy copied_to;

/// Appends `text` in quotes, as JSON, so that a peer's bytes can neither end the line nor control a terminal.
void append_quoted(std::string_view text, std::string& out) {
  out += '"';
  while (!text.empty()) {
    const Character character = first_character(text);
    if (character.code == '"' || character.code == '\\') {
      out += '\\';
      out += text.front();
    } else if (character.code == '\n') {
      out += "\\n";
    } else if (character.code == '\t') {
      out += "\\t";
    } else if (character.kind == Character::Kind::harmless) {
      out += text.substr(0, character.length);
    } else {
      append_escaped(character, out);
    }
    text.remove_prefix(character.length);
  }
  out += '"';
}

/// True if `text` needs no quotes on a readable line.
bool is_plain(std::string_view text) {
  if (text.empty()) return false;
  for (const char c : text) {
    if (c <= ' ' || c > '~' || c == '"' || c == '\\' || c == '=') return false;
  }
  return true;
}

void append_number(double number, std::string& out) {
  if (!std::isfinite(number)) {
    out += "null";
    return;
  }
  std::array<char, 32> text{};
  const int size = std::snprintf(text.data(), text.size(), "%.6g", number);
  out.append(text.data(), static_cast<std::size_t>(size));
}

/// Appends a duration with at most 4 digits, in the unit that makes the number lie between 1 and 1,000; above, whole
/// seconds.
void append_duration(Duration time, bool json, std::string& out) {
  const auto us = static_cast<double>(time.count());
  if (json) return append_number(us / 1e6, out);  // seconds, as a number to sort by
  const double size = std::abs(us);
  const double unit = size < 1e3 ? 1 : size < 1e6 ? 1e3 : 1e6;
  std::array<char, 32> text{};
  const int length = std::snprintf(text.data(), text.size(), size < 1e9 ? "%.4g" : "%.0f", us / unit);
  out.append(text.data(), static_cast<std::size_t>(length));
  out += unit == 1 && time.count() != 0 ? "us" : unit == 1e3 ? "ms" : "s";
}

void append_value(const Value& value, bool json, std::string& out) {
  std::visit(
      [&](const auto& held) {
        using T = std::decay_t<decltype(held)>;
        if constexpr (std::is_same_v<T, std::string_view>) {
          if (!json && is_plain(held)) {
            out += held;
          } else {
            append_quoted(held, out);
          }
        } else if constexpr (std::is_same_v<T, bool>) {
          out += held ? "true" : "false";
        } else if constexpr (std::is_same_v<T, double>) {
          append_number(held, out);
        } else if constexpr (std::is_same_v<T, Duration>) {
          append_duration(held, json, out);
        } else {
          out += std::to_string(held);
        }
      },
      value.held());
}

}  // namespace

std::optional<Level> parse_level(std::string_view text) {
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (words[i] == text) return static_cast<Level>(i);
  }
  return std::nullopt;
}

void configure(Options options) {
  // The colouring sink writes a line in pieces and flushes it. With a buffer that is one write, so that the lines of
  // several processes on one terminal stay whole.
  static std::array<char, 64 * 1024> buffer;
  std::setvbuf(stderr, buffer.data(), _IOLBF, buffer.size());
  output() = make_output(options);
  lowest.store(options.level, std::memory_order_relaxed);
}

void copy_to(void (*copy)(void* where, std::string_view line), void* where) { copied_to = {copy, where}; }

bool enabled(Level level) { return level >= lowest.load(std::memory_order_relaxed); }

void write(Level level, std::string_view event, std::span<const Field> fields) {
  if (!enabled(level)) return;
  const Output& to = output();
  std::string line;
  line.reserve(160);
  if (to.json) {
    line += "\"event\":";
    append_quoted(event, line);
  } else {
    line += event;
  }
  for (const Field& field : fields) {
    if (to.json) {
      line += ',';
      append_quoted(field.name, line);
      line += ':';
    } else {
      line += ' ';
      line += field.name;
      line += '=';
    }
    append_value(field.value, to.json, line);
  }
  if (copied_to.copy != nullptr) copied_to.copy(copied_to.where, line);
  to.logger->log(level_of(level), spdlog::string_view_t(line.data(), line.size()));
}

void last_words(std::string_view who, std::string_view what) {
  if (output().json) {
    error("failed", {{"program", who}, {"error", what}});
    return;
  }
  // The text may come from a broker or from a file.
  const std::string line = std::string(who) + ": " + harmless(what, true) + (what.ends_with('\n') ? "" : "\n");
  std::fwrite(line.data(), 1, line.size(), stderr);
  std::fflush(stderr);
}

std::optional<std::uint64_t> Limit::pass(std::chrono::steady_clock::time_point now) {
  const std::int64_t ticks = now.time_since_epoch().count();
  std::int64_t next = next_.load(std::memory_order_relaxed);
  const auto pause = std::chrono::duration_cast<std::chrono::steady_clock::duration>(every_).count();
  if (ticks < next || !next_.compare_exchange_strong(next, ticks + pause, std::memory_order_relaxed)) {
    left_out_.fetch_add(1, std::memory_order_relaxed);
    return std::nullopt;
  }
  return left_out_.exchange(0, std::memory_order_relaxed);
}

void warn(Limit& limit, std::string_view event, Fields fields) {
  const auto left_out = limit.pass(std::chrono::steady_clock::now());
  if (!left_out) return;
  std::vector<Field> all(fields);
  if (*left_out > 0) all.push_back({"left_out", *left_out});
  write(Level::warn, event, all);
}

}  // namespace weir::log
