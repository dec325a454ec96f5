// Names: those of a segment, and those of outputs.
#include "weir/broker/core/names.hpp"

#include <sodium.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <string>

namespace weir::broker::core {
namespace {

/// Not a secret: names must differ, not be hard to guess.
constexpr std::array<unsigned char, crypto_shorthash_siphashx24_KEYBYTES> hash_key{
    'w', 'e', 'i', 'r', ' ', 'o', 'u', 't', 'p', 'u', 't', ' ', 'n', 'a', 'm', 'e'};

void append(std::uint64_t number, std::string& to) {
  for (int shift = 0; shift < 64; shift += 8) to.push_back(static_cast<char>(number >> shift));
}

PublisherId hash_of(std::string_view input) {
  PublisherId hash;
  crypto_shorthash_siphashx24(hash.bytes.data(), reinterpret_cast<const unsigned char*>(input.data()), input.size(),
                              hash_key.data());
  return hash;
}

}  // namespace

void append(const NameRun& run, NameRuns& to) {
  if (!to.empty() && to.back().publisher == run.publisher && to.back().first + to.back().count == run.first) {
    to.back().count += run.count;
  } else {
    to.push_back(run);
  }
}

MessageName name_of_place(const Place& place) {
  std::string input(1, '\2');  // unlike an output's
  append(place.queue, input);
  append(place.segment, input);
  return {hash_of(input), place.index};
}

SegmentNames::SegmentNames(const protocol::Names& names) {
  for (const auto& run : names) add(protocol::name_run(run));
}

SegmentNames::SegmentNames(std::span<const NameRun> names) {
  for (const NameRun& run : names) add(run);
}

MessageName SegmentNames::at(std::uint32_t index) const {
  const auto run = std::upper_bound(runs_.begin(), runs_.end(), index,
                                    [](std::uint32_t wanted, const Run& each) { return wanted < each.end; });
  return {run->names.publisher, run->names.first + (index - (run->end - run->names.count))};
}

MessageName OutputNames::of(const MessageName& source, std::uint32_t ordinal) {
  const bool further = ordinal > 0;
  Known& known = further ? further_ : first_;
  const MessageName from{source.publisher, further ? source.number : 0};
  if (known.source != from) known = {from, hash(from, further)};
  return {known.derived, further ? ordinal : source.number};
}

PublisherId OutputNames::hash(const MessageName& source, bool further) const {
  std::string input;
  input.reserve(2 + 16 + 8 + queue_.size());
  input.push_back(further ? 1 : 0);
  input.push_back(static_cast<char>(lane_));
  input.append(source.publisher.view());
  append(source.number, input);
  input.append(queue_);
  return hash_of(input);
}

}  // namespace weir::broker::core
