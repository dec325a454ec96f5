#pragma once

/// Decides by a subscriber's answer what happens to the delivery. Pure.

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

namespace webhooks {

/// The longest time for which a subscriber may put a delivery off.
inline constexpr std::chrono::hours retry_after_most{24};

struct Verdict {
  enum class What { ack, retry, reject } what = What::ack;
  /// For a retry: the wait that the subscriber asked for; absent: the queue's own backoff.
  std::optional<std::chrono::microseconds> after = {};
  std::string why = {};
};

/// 2xx is done. After 408, 429 and 5xx a later try may work. Any other answer would come again.
Verdict verdict_of(unsigned status, std::string_view retry_after, std::chrono::system_clock::time_point now);

/// Returns the wait that a Retry-After header asks for: seconds, or a date (`Wed, 21 Oct 2026 07:28:00 GMT`). At most
/// retry_after_most, and 0 for a date in the past. Nothing if it is neither.
std::optional<std::chrono::seconds> wait_of(std::string_view retry_after, std::chrono::system_clock::time_point now);

}  // namespace webhooks
