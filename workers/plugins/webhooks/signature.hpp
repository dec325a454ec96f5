#pragma once

/// How a subscriber knows that a delivery is ours and unchanged.

#include <string>
#include <string_view>

namespace webhooks {

/// `sha256=` and the HMAC-SHA256 of the body under the secret, in lower-case hex.
std::string signature_of(std::string_view secret, std::string_view body);

}  // namespace webhooks
