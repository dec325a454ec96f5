#pragma once

/// The permanent name of a message: its publisher, and which of the publisher's messages it is.

#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

#include "weir/message/ids.hpp"

namespace weir {

/// A message's name. It is the same at every attempt. It is also the same if a broker died before it confirmed the
/// message, and the publisher sends it again. (The place is not: a message that was delivered before it was on disk
/// gets another one then.)
///
/// No two messages share a name. The name of an output is derived from its source's name (broker/core/names.hpp).
struct MessageName {
  PublisherId publisher;
  std::uint64_t number{};
  friend constexpr auto operator<=>(const MessageName&, const MessageName&) = default;
  /// `<publisher in hex>.<number>`, 34 to 53 characters of [0-9a-f.]: fit for a database key, a header, a file name.
  [[nodiscard]] std::string text() const;
};

/// The names of `count` neighbouring messages: one publisher's, under neighbouring numbers.
struct NameRun {
  PublisherId publisher;
  std::uint64_t first{};
  std::uint32_t count{};
  friend constexpr auto operator<=>(const NameRun&, const NameRun&) = default;
};

}  // namespace weir

template <>
struct std::hash<weir::MessageName> {
  std::size_t operator()(const weir::MessageName& name) const noexcept {
    return std::hash<weir::PublisherId>{}(name.publisher) ^ (name.number * 0x9E3779B97F4A7C15U);
  }
};
