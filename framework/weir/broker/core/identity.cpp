// Identity: whether what a HELLO speaks of is in this store.
//
// Places and leases mean something in one store only. A folder that was wiped repeats the numbers of the one before it;
// one that was put back from a copy repeats those given since the copy was made, and has as many commits of its own
// before long. So a HELLO says of which store it speaks, by which start of the broker it was welcomed last, and how
// many commits it has heard of since. The store keeps its starts, each with the commits before it: a start that it does
// not know was of a broker on what the copy lacks, and so were commits of a start beyond those that the next one found.
// What such a client claims is stale, and what it has unanswered is in doubt; it goes on as one that is new.
#include <algorithm>

#include "weir/broker/core/state.hpp"

namespace weir::broker::core {
namespace {

/// As many commits as a client can have heard of that was welcomed by that start; nothing if this store had none such.
/// (Nor one that is too long ago to be kept.)
std::optional<std::uint64_t> commits_of(const State& state, std::string_view start) {
  const auto at = std::ranges::find(state.starts, start, [](const auto& one) { return one.id.view(); });
  if (at == state.starts.end()) return std::nullopt;
  return std::next(at) == state.starts.end() ? state.commits : std::next(at)->commits;
}

}  // namespace

SpeaksOf speaks_of(const State& state, const v1::Hello& hello, bool claims_something) {
  const bool has_nothing = !claims_something && hello.lowest_unanswered() <= 1;
  if (hello.store().empty() && has_nothing) return SpeaksOf::this_store;  // it was never welcomed
  if (hello.store() != state.store_id.view()) return SpeaksOf::another_store;
  const auto most = commits_of(state, hello.start());
  return most && hello.heard() <= *most ? SpeaksOf::this_store : SpeaksOf::later_store;
}

void tell_of_store(const State& state, const v1::Hello& hello, SpeaksOf what, const std::string& client, bool& told,
                   Actions& actions) {
  if (what == SpeaksOf::this_store || std::exchange(told, true)) return;
  std::vector<std::pair<std::string, std::string>> fields;
  const bool is_older = what == SpeaksOf::later_store;
  if (is_older) {
    const auto known = commits_of(state, hello.start());
    // Of a start that it does not know, by as many at least as the client has heard of beyond what there was before
    // this.
    const std::uint64_t most = known.value_or(state.starts.back().commits);
    if (hello.heard() > most) fields.emplace_back("by", std::to_string(hello.heard() - most));
    if (!known) fields.emplace_back("start", "unknown");
  }
  fields.emplace_back("client", client);
  fields.emplace_back("doing", "what it holds is stale, and what it has unanswered is in doubt; it goes on as new");
  note(actions, Note::Level::warning, is_older ? "store_is_older" : "store_is_another", std::move(fields));
}

}  // namespace weir::broker::core
