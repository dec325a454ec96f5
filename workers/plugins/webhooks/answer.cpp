#include "answer.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>

namespace webhooks {
namespace {

std::optional<std::chrono::sys_seconds> date_of(const std::string& text) {
  constexpr std::array months = {"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  unsigned day{}, hour{}, minute{}, second{};
  int year{}, end{};
  std::array<char, 4> month{};
  // std::chrono::parse is not in this library. The weekday is skipped, as it follows from the date.
  if (std::sscanf(text.c_str(), "%*3[A-Za-z], %2u %3[A-Za-z] %4d %2u:%2u:%2u GMT%n", &day, month.data(), &year, &hour,
                  &minute, &second, &end) != 6 ||
      static_cast<std::size_t>(end) != text.size() || hour > 23 || minute > 59 || second > 60) {
    return std::nullopt;
  }
  const auto found = std::find(months.begin(), months.end(), std::string_view(month.data()));
  const std::chrono::year_month_day date(std::chrono::year(year),
                                         std::chrono::month(static_cast<unsigned>(found - months.begin()) + 1),
                                         std::chrono::day(day));
  if (!date.ok()) return std::nullopt;
  return std::chrono::sys_days(date) + std::chrono::hours(hour) + std::chrono::minutes(minute) +
         std::chrono::seconds(second);
}

}  // namespace

std::optional<std::chrono::seconds> wait_of(std::string_view retry_after, std::chrono::system_clock::time_point now) {
  const auto bounded = [](std::chrono::seconds wait) {
    return std::clamp<std::chrono::seconds>(wait, std::chrono::seconds(0), retry_after_most);
  };
  const char* const last = retry_after.data() + retry_after.size();
  unsigned seconds{};
  const auto [end, error] = std::from_chars(retry_after.data(), last, seconds);
  if (end == last && error == std::errc::result_out_of_range) return retry_after_most;
  if (end == last && error == std::errc{}) return bounded(std::chrono::seconds(seconds));
  if (const auto date = date_of(std::string(retry_after))) {
    return bounded(std::chrono::ceil<std::chrono::seconds>(*date - now));
  }
  return std::nullopt;
}

Verdict verdict_of(unsigned status, std::string_view retry_after, std::chrono::system_clock::time_point now) {
  const std::string what = "the subscriber answered " + std::to_string(status);
  if (status >= 200 && status < 300) return {};
  if (status == 408 || status == 429 || status >= 500) {
    return {.what = Verdict::What::retry, .after = wait_of(retry_after, now), .why = what};
  }
  if (status >= 300 && status < 400)
    return {.what = Verdict::What::reject, .why = what + ": redirects are not followed"};
  return {.what = Verdict::What::reject, .why = what};
}

}  // namespace webhooks
