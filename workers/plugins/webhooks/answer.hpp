#pragma once

/// What a subscriber's answer means for the delivery. Pure.

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

namespace webhooks {

/// No subscriber may put a delivery off for longer.
inline constexpr std::chrono::hours retry_after_most{24};

struct Verdict {
  enum class What { ack, retry, reject } what = What::ack;
  /// Retry: what the subscriber asked for; absent: the queue's own backoff.
  std::optional<std::chrono::microseconds> after = {};
  std::string why = {};
};

/// 2xx is done; 408, 429 and 5xx may work later; whatever else it says, it will say again.
Verdict verdict_of(unsigned status, std::string_view retry_after, std::chrono::system_clock::time_point now);

/// The wait that a Retry-After header asks for: seconds, or a date (`Wed, 21 Oct 2026 07:28:00 GMT`). At most
/// retry_after_most, and 0 for a date that is past. Nothing if it is neither.
std::optional<std::chrono::seconds> wait_of(std::string_view retry_after, std::chrono::system_clock::time_point now);

}  // namespace webhooks
