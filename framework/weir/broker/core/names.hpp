#pragma once

/// Permanent names of messages: those of a segment, and how outputs get theirs.

#include <boost/container/small_vector.hpp>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "weir/message/ids.hpp"
#include "weir/message/name.hpp"
#include "weir/protocol/names.hpp"

namespace weir::broker::core {

/// Mostly one: the messages of one frame.
using NameRuns = boost::container::small_vector<NameRun, 1>;
/// Appends a run, or joins it to the last one if it goes on with it.
void append(const NameRun& run, NameRuns& to);

/// The names of a segment's messages, by index.
class SegmentNames {
 public:
  SegmentNames() = default;
  explicit SegmentNames(const protocol::Names& names);
  explicit SegmentNames(std::span<const NameRun> names);
  [[nodiscard]] bool empty() const { return runs_.empty(); }
  [[nodiscard]] MessageName at(std::uint32_t index) const;

 private:
  void add(const NameRun& names) { runs_.push_back({(runs_.empty() ? 0 : runs_.back().end) + names.count, names}); }

  struct Run {
    std::uint32_t end{};  ///< the index of the first message behind it
    NameRun names;
  };
  std::vector<Run> runs_;
};

/// A name that is unlike any other; always the same for the same place.
[[nodiscard]] MessageName name_of_place(const Place& place);

/// The names of outputs to one queue at one priority. Each is derived from the name of its source, so that a settlement
/// that is sent again, and a handler that runs again, give the same name. `ordinal` counts, from 0, what the source
/// publishes to that lane.
///
/// The first output has the number of its source; its publisher is a hash of the source's publisher. So outputs of
/// neighbouring messages are neighbours again: one run of names, as their sources are. A further output has its ordinal
/// as number; its publisher is a hash of the source's whole name. So the further outputs of a source are a run of their
/// own. The hash is SipHash-2-4 with 128 bits (Aumasson, Bernstein; libsodium's): it takes 30 ns, and no two inputs
/// that come up by accident share one.
class OutputNames {
 public:
  OutputNames(std::string_view queue, Lane lane) : queue_(queue), lane_(lane) {}
  [[nodiscard]] MessageName of(const MessageName& source, std::uint32_t ordinal);

 private:
  struct Known {
    std::optional<MessageName> source;
    PublisherId derived;
  };
  /// The number of `source` counts only for further outputs.
  [[nodiscard]] PublisherId hash(const MessageName& source, bool further) const;

  std::string_view queue_;
  Lane lane_;
  Known first_, further_;  ///< the last ones: most outputs in a row share them
};

}  // namespace weir::broker::core
