// Identity: whether what a HELLO speaks of is in this store.
//
// Places and leases mean something in one store only. A folder that was wiped repeats the numbers of the one before it.
// A folder that was put back from a copy repeats the numbers that were given since the copy was made, and soon has as
// many commits of its own. So a HELLO says which store it speaks of, which start of the broker welcomed it last, and
// how many commits it has heard of since. The store keeps its starts, each with the number of commits before it. A
// start that it does not know was on commits that the copy lacks. The same is true of commits of a known start that the
// next start did not find. What such a client claims is stale, and what it has unanswered is in doubt. It goes on as a
// new client.
#include <algorithm>

#include "weir/broker/core/state.hpp"

namespace weir::broker::core {
namespace {

/// The most commits that a client can have heard of which that start welcomed; nothing if the store does not know the
/// start, or had it too long ago to keep it.
std::optional<std::uint64_t> commits_of(const State& state, std::string_view start) {
  const auto at = std::ranges::find(state.starts, start, [](const auto& one) { return one.id.view(); });
  if (at == state.starts.end()) return std::nullopt;
  return std::next(at) == state.starts.end() ? state.commits : std::next(at)->commits;
}

}  // namespace

SpeaksOf speaks_of(const State& state, const v1::Hello& hello, bool claims_something) {
  const bool has_nothing = !claims_something && hello.lowest_unanswered() <= 1;
  if (hello.store().empty() && has_nothing) return SpeaksOf::this_store;  // it was never welcomed
  // RULE: another_store_is_told_apart
  if (hello.store() != state.store_id.view()) return SpeaksOf::another_store;
  const auto most = commits_of(state, hello.start());
  // RULE: older_copy_is_told_apart
  return most && hello.heard() <= *most ? SpeaksOf::this_store : SpeaksOf::later_store;
}

void tell_of_store(const State& state, const v1::Hello& hello, SpeaksOf what, const std::string& client, bool& told,
                   Actions& actions) {
  if (what == SpeaksOf::this_store || std::exchange(told, true)) return;
  std::vector<std::pair<std::string, std::string>> fields;
  const bool is_older = what == SpeaksOf::later_store;
  if (is_older) {
    const auto known = commits_of(state, hello.start());
    // If the store does not know the start, it lacks at least the commits that the client has heard of beyond those
    // before the present start.
    const std::uint64_t most = known.value_or(state.starts.back().commits);
    if (hello.heard() > most) fields.emplace_back("by", std::to_string(hello.heard() - most));
    if (!known) fields.emplace_back("start", "unknown");
  }
  fields.emplace_back("client", client);
  fields.emplace_back("doing", "what it holds is stale, and what it has unanswered is in doubt; it goes on as new");
  note(actions, Note::Level::warning, is_older ? "store_is_older" : "store_is_another", std::move(fields));
}

}  // namespace weir::broker::core
