#pragma once

/// The outputs of handlers, grouped by lane for one settle frame.

#include <cstdint>
#include <string>
#include <vector>

#include "weir/engine/engine.hpp"
#include "weir/v1/wire.pb.h"

namespace weir::engine::weir_broker {

class Outputs {
 public:
  /// `output` must live until finish(). It leaves with the ack of `lease`.
  void add(const Output& output, std::uint32_t queue, std::uint64_t lease);
  /// Appends the groups to `settle` and their Bodies to `run`, in the same order.
  void finish(v1::Settle& settle, std::string& run);

 private:
  struct Group {
    v1::Group head;
    std::uint64_t bytes{};
    std::vector<std::string_view> bodies;
  };
  std::vector<Group> groups_;
};

/// The most bytes that an output takes beside its Body: its place in every column, and its group's share.
[[nodiscard]] std::uint64_t head_bytes(const Output& output);
/// Appends one message to a group's columns. Absent columns stay absent for as long as no message uses them.
void append_message(v1::Index& index, const Outgoing& message);
[[nodiscard]] Outgoing view_of(const Output& output);

}  // namespace weir::engine::weir_broker
