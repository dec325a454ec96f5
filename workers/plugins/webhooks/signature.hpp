#pragma once

/// Signs deliveries, so that a subscriber knows that they are ours and unchanged.

#include <string>
#include <string_view>

namespace webhooks {

/// Returns `sha256=` and the HMAC-SHA256 of the body under the secret, in lower-case hex.
std::string signature_of(std::string_view secret, std::string_view body);

}  // namespace webhooks
