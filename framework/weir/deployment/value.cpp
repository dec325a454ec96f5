#include <algorithm>
#include <array>
#include <charconv>
#include <limits>

#include "weir/deployment/keys.hpp"

namespace weir::deployment {
namespace {

struct Unit {
  std::string_view name;
  std::uint64_t factor;
};
constexpr std::array<Unit, 5> duration_units{
    {{"ms", 1'000}, {"s", 1'000'000}, {"m", 60'000'000}, {"h", 3'600'000'000}, {"d", 86'400'000'000}}};
constexpr std::array<Unit, 5> byte_units{
    {{"B", 1}, {"KiB", 1ULL << 10}, {"MiB", 1ULL << 20}, {"GiB", 1ULL << 30}, {"TiB", 1ULL << 40}}};

std::optional<std::uint64_t> read_count(std::string_view text) {
  std::uint64_t count{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), count);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return count;
}

/// Reads a whole number and a unit, without a gap. Returns it in the smallest unit.
std::optional<std::uint64_t> read_with_unit(std::string_view text, std::span<const Unit> units) {
  const auto digits = std::min(text.find_first_not_of("0123456789"), text.size());
  const auto count = read_count(text.substr(0, digits));
  const auto unit = std::ranges::find(units, text.substr(digits), &Unit::name);
  if (!count || unit == units.end()) return std::nullopt;
  // Durations are signed 64-bit microseconds. All limits in the table are far below that.
  if (*count > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()) / unit->factor) return std::nullopt;
  return *count * unit->factor;
}

std::optional<double> read_ratio(std::string_view text) {
  double ratio{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), ratio, std::chars_format::fixed);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return ratio;
}

/// Reads values of the table as well as values of the file.
template <class T, class Read>
std::optional<T> within(const Key& key, std::string_view text, Read read) {
  const std::optional<T> value = read(text);
  if (!value) return std::nullopt;
  // Written so that NaN is outside every limit.
  if (!key.lowest.empty() && !(*value >= *read(key.lowest))) return std::nullopt;
  if (!key.highest.empty() && !(*value <= *read(key.highest))) return std::nullopt;
  return value;
}

}  // namespace

std::optional<Value> read_value(const Key& key, std::string_view text) {
  Value value;
  switch (key.kind) {
    case Kind::text:
      if (text.empty()) return std::nullopt;
      value.text = text;
      return value;
    case Kind::choice:
      if (std::ranges::find(key.choices, text) == key.choices.end()) return std::nullopt;
      value.text = text;
      return value;
    case Kind::count:
      if (const auto count = within<std::uint64_t>(key, text, read_count)) {
        value.count = *count;
        return value;
      }
      return std::nullopt;
    case Kind::bytes:
      if (const auto bytes =
              within<std::uint64_t>(key, text, [](std::string_view t) { return read_with_unit(t, byte_units); })) {
        value.count = *bytes;
        return value;
      }
      return std::nullopt;
    case Kind::duration:
      if (const auto time =
              within<std::uint64_t>(key, text, [](std::string_view t) { return read_with_unit(t, duration_units); })) {
        value.duration = Duration{static_cast<Duration::rep>(*time)};
        return value;
      }
      return std::nullopt;
    case Kind::ratio:
      if (const auto ratio = within<double>(key, text, read_ratio)) {
        value.ratio = *ratio;
        return value;
      }
      return std::nullopt;
    case Kind::names:
    case Kind::options:
    case Kind::section:
    case Kind::named:
    case Kind::anything:
      return std::nullopt;
  }
  return std::nullopt;
}

}  // namespace weir::deployment
