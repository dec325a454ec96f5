// Identity: whether what a HELLO speaks of is in this store.
//
// Places and leases mean something in one store only. A folder that was wiped repeats the numbers of the one before it;
// one that was put back from a copy repeats those given since the copy was made. So a HELLO says of which store it
// speaks, and how many of its commits it has heard of: a store that has fewer is an older copy. What such a client
// claims is stale, and what it has unanswered is in doubt; it goes on as one that is new.
//
// A copy that was put back goes on counting, and may soon have as many commits of its own. So a client's first HELLO
// after a start is held against what there was at the start: it cannot have heard of this one's commits. What that does
// not find is a client that was cut off over two starts, between which the copy made as many commits as the client had
// heard of beyond it.
#include <algorithm>

#include "weir/broker/core/state.hpp"

namespace weir::broker::core {
namespace {

/// `most`: as many commits as a client of this store can have heard of.
bool is_of_this_store(const State& state, const v1::Hello& hello, bool claims_something, std::uint64_t most) {
  const bool has_nothing = !claims_something && hello.lowest_unanswered() <= 1;
  if (hello.store().empty() && has_nothing) return true;  // it was never welcomed
  return hello.store() == state.store_id.view() && hello.heard() <= most;
}

void tell(const State& state, const v1::Hello& hello, std::uint64_t most, const std::string& client, bool& told,
          Actions& actions) {
  if (std::exchange(told, true)) return;
  std::vector<std::pair<std::string, std::string>> fields;
  const bool is_copy = hello.store() == state.store_id.view();
  if (is_copy) fields.emplace_back("by", std::to_string(std::max(hello.heard(), most) - most));
  fields.emplace_back("client", client);
  fields.emplace_back("doing", "what it holds is stale, and what it has unanswered is in doubt; it goes on as new");
  note(actions, Note::Level::warning, is_copy ? "store_is_older" : "store_is_another", std::move(fields));
}

}  // namespace

bool speaks_of_this_store(const State& state, Worker& worker, const v1::Hello& hello, const Claims& claims,
                          Actions& actions) {
  // Who claims leases of an earlier start has not heard of this one's commits; who is not back yet, nor of its leases.
  const bool has_heard_of_this_start = !worker.recovering && claims.of_this_start;
  const bool claims_what_it_cannot = worker.recovering && claims.of_this_start;
  const std::uint64_t most = has_heard_of_this_start || !claims.any ? state.commits : state.commits_at_start;
  if (!claims_what_it_cannot && worker.heard_elsewhere != hello.heard() &&
      is_of_this_store(state, hello, claims.any, most)) {
    return true;
  }
  worker.heard_elsewhere = hello.heard();
  tell(state, hello, most, print_worker(worker), worker.told_of_store, actions);
  return false;
}

bool speaks_of_this_store(const State& state, Publisher& publisher, const v1::Hello& hello, Actions& actions) {
  const std::uint64_t most = std::exchange(publisher.away, false) ? state.commits_at_start : state.commits;
  if (is_of_this_store(state, hello, false, most)) return true;
  const std::string name = "publisher " + hello.host() + "/" + std::to_string(hello.pid());
  tell(state, hello, most, name, publisher.told_of_store, actions);
  return false;
}

}  // namespace weir::broker::core
