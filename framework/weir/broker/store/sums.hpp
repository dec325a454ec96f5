#pragma once

/// Check sums of stored values: what a disk gives back is believed only if it is what was written.
///
/// A sum is CRC32C (Castagnoli's polynomial, as in RFC 3720, B.4) of the key and the value, so that a value that turns
/// up under another key fails too. It follows the value, in 4 bytes. A value with a payload (segment, record, dead
/// letter) has two sums, so that it can be scheduled without its payload being read: one of the bytes before the
/// payload, and one of the payload. Before the sums, 4 bytes say where the payload begins.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace weir::broker::sums {

inline constexpr std::size_t plain_bytes = 4;
inline constexpr std::size_t split_bytes = 12;

/// A sum under way: it begins with the key, and bytes are added. No branch on what the machine can do: libisal chooses.
class Sum {
 public:
  explicit Sum(std::string_view key) { add(key); }
  void add(std::string_view bytes);
  [[nodiscard]] std::uint32_t value() const { return ~state_; }

 private:
  std::uint32_t state_ = ~std::uint32_t{0};
};

/// Writes the sum of the value of `size` bytes behind it, where plain_bytes must be free.
void seal(std::string_view key, char* value, std::size_t size);
/// Writes where the payload begins, and both sums; returns the end. `payload`: the sum of the key and the payload.
char* seal_split(std::string_view key, std::string_view head, const Sum& payload, char* out);

/// The value that was sealed, without its sum; nothing if it is not as it was written.
[[nodiscard]] std::optional<std::string_view> open(std::string_view key, std::string_view stored);
/// The same for a split value. Only `head` may be believed: the bytes behind it have not been looked at.
struct Split {
  std::string_view value;
  std::string_view head;
};
[[nodiscard]] std::optional<Split> open_head(std::string_view key, std::string_view stored);
/// Checks all of it.
[[nodiscard]] std::optional<Split> open_split(std::string_view key, std::string_view stored);
/// True if this is the payload that was sealed, or a copy of it; `value` as open_head() gave it.
[[nodiscard]] bool is_payload(std::string_view key, std::string_view value, std::string_view payload);

}  // namespace weir::broker::sums
