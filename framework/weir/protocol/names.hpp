#pragma once

/// The names of an index: runs of (publisher, first number, count), so that they cost nothing per message.

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "weir/message/name.hpp"
#include "weir/protocol/frame.hpp"

namespace weir::protocol {

using Names = google::protobuf::RepeatedPtrField<v1::NameRun>;

/// True if the runs name each of the index's messages once. Error: MALFORMED.
[[nodiscard]] Result<void> check_names(const v1::Index& index);

/// Reads one run, which was checked.
[[nodiscard]] NameRun name_run(const v1::NameRun& run);
/// The name of message `at` (below the index's size) of checked names.
[[nodiscard]] MessageName name_at(const Names& names, std::uint32_t at);
[[nodiscard]] MessageName name_at(std::span<const NameRun> names, std::uint32_t at);

/// Appends the names of messages [first, first + count) of `from`. Runs that go on with the last one are joined.
void slice_names(const Names& from, std::uint32_t first, std::uint32_t count, Names& to);
void slice_names(std::span<const NameRun> from, std::uint32_t first, std::uint32_t count, Names& to);

/// A single name, as a record has it: 24 bytes. read_name() returns nothing if there are not so many.
void put_name(const MessageName& name, std::string& to);
[[nodiscard]] std::optional<MessageName> read_name(std::string_view name);

}  // namespace weir::protocol
