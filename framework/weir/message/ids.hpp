#pragma once

/// Identity: places, leases, process tokens, publishers, stores.

#include <array>
#include <bit>
#include <compare>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace weir {

using QueueId = std::uint32_t;
using SegmentNumber = std::uint64_t;
/// A queue's priority, 0 to 9; the default is 4. A lane is queue × priority.
using Lane = std::uint8_t;
inline constexpr Lane default_lane = 4;
inline constexpr Lane lanes_most = 10;

/// Where a message is, for ever: through retry, delay and dead letter. It is the message's id.
struct Place {
  QueueId queue{};
  SegmentNumber segment{};
  std::uint32_t index{};
  friend constexpr auto operator<=>(const Place&, const Place&) = default;
  /// For Boost's containers, which mix it themselves.
  friend constexpr std::size_t hash_value(const Place& place) {
    return (place.segment << 24U) ^ (std::uint64_t{place.index} << 8U) ^ place.queue;
  }
};

/// `orders/4f2a1.17`: queue name, segment in hex, index in decimal.
[[nodiscard]] std::string print_id(std::string_view queue, SegmentNumber segment, std::uint32_t index);

/// Segment and index of a printed id, with or without its queue's name; nothing if it is no id.
struct ParsedId {
  std::string queue;  ///< empty if the text had none
  SegmentNumber segment{};
  std::uint32_t index{};
};
[[nodiscard]] std::optional<ParsedId> parse_id(std::string_view text);

/// An old lease cannot settle another session's message: the incarnation is raised at each start.
struct LeaseId {
  std::uint32_t incarnation{};
  std::uint64_t counter{};
  friend constexpr auto operator<=>(const LeaseId&, const LeaseId&) = default;
};

/// 128 random bits. A ProcessToken is a secret: never printed or logged.
template <class Kind>
struct RandomId {
  std::array<unsigned char, 16> bytes{};
  /// In the order of the bytes, eight at a time: ids are compared for each message.
  friend constexpr std::strong_ordering operator<=>(const RandomId& a, const RandomId& b) {
    const auto first = a.number(0) <=> b.number(0);
    return first != 0 ? first : a.number(1) <=> b.number(1);
  }
  friend constexpr bool operator==(const RandomId& a, const RandomId& b) {
    return a.number(0) == b.number(0) && a.number(1) == b.number(1);
  }
  [[nodiscard]] std::string_view view() const { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }
  /// Nothing if `text` is not 16 bytes.
  [[nodiscard]] static std::optional<RandomId> from(std::string_view text) {
    if (text.size() != 16) return std::nullopt;
    RandomId id;
    for (std::size_t i = 0; i < 16; ++i) id.bytes[i] = static_cast<unsigned char>(text[i]);
    return id;
  }

 private:
  /// Half of the bytes, as a big-endian number.
  [[nodiscard]] constexpr std::uint64_t number(std::size_t half) const {
    const std::uint64_t native = std::bit_cast<std::array<std::uint64_t, 2>>(bytes)[half];
    return std::endian::native == std::endian::big ? native : __builtin_bswap64(native);
  }
};
using ProcessToken = RandomId<struct ProcessKind>;
using PublisherId = RandomId<struct PublisherKind>;
/// Made with a store. Places and leases of another store mean nothing in this one.
using StoreId = RandomId<struct StoreKind>;
/// Names one start of a broker, drawn anew at each start. If a store was copied and the copy was put back, its two
/// histories may repeat each other's incarnations and counts, but not these ids.
using StartId = RandomId<struct StartKind>;

/// Bits from std::random_device, which is the operating system's. Throws: std::exception if that has none.
[[nodiscard]] std::array<unsigned char, 16> random_bits();
template <class Id>
[[nodiscard]] Id random_id() {
  return Id{random_bits()};
}

}  // namespace weir

template <class Kind>
struct std::hash<weir::RandomId<Kind>> {
  std::size_t operator()(const weir::RandomId<Kind>& id) const noexcept {
    return std::hash<std::string_view>{}(id.view());
  }
};
