#include "weir/engine/publishable.hpp"

#include <google/protobuf/stubs/common.h>

#include <string>

#include "weir/message/error.hpp"
#include "weir/protocol/limits.hpp"

namespace weir::engine {
namespace {

/// 100 years. Added to the present time they still fit the stored field.
constexpr Duration delay_most = std::chrono::hours(24) * 365 * 100;

std::string to(std::string_view queue) { return "publish to '" + std::string(queue) + "': "; }

[[noreturn]] void throw_too_large(std::string_view queue, const char* what, std::size_t size, std::size_t most) {
  throw TooLarge(to(queue) + what + " of " + std::to_string(size) + " bytes; at most " + std::to_string(most));
}

// Inlined, as it is asked for each message.
inline void check_size(std::string_view queue, const char* what, std::string_view value, std::size_t most) {
  if (value.size() > most) throw_too_large(queue, what, value.size(), most);
}

}  // namespace

void check_type(std::string_view queue, std::string_view type) {
  check_size(queue, "a type", type, protocol::type_bytes_most);
  if (!google::protobuf::internal::IsStructurallyValidUTF8(type.data(), static_cast<int>(type.size()))) {
    throw Error(to(queue) + "its type is not UTF-8; it is the message's full Protobuf name");
  }
}

void check_publishable(const Outgoing& message) {
  check_size(message.queue, "a key", message.key, protocol::key_bytes_most);
  check_size(message.queue, "a unique_id", message.unique_id, protocol::key_bytes_most);
  if (message.priority >= lanes_most) {
    throw Error(to(message.queue) + "priority " + std::to_string(message.priority) + "; it goes from 0 to 9");
  }
  if (message.delay > delay_most) throw TooLarge(to(message.queue) + "a delay of more than a hundred years");
  if (message.deliver_at && message.deliver_at->time_since_epoch() > 3 * delay_most) {
    throw TooLarge(to(message.queue) + "a deliver_at more than three hundred years after 1970");
  }
}

}  // namespace weir::engine
