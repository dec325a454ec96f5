// The broker's data folder in an operator's hands: it is copied, wiped, and put back from a copy.
#include <algorithm>
#include <limits>

#include "broker_host.hpp"

namespace weir::simulation {

void BrokerHost::began(std::uint32_t parent, bool wiped) {
  heard_us_.clear();
  generations_.push_back({parent, wiped ? 0 : store_.commits(), wiped ? 0 : copy_->life});
  clients_.store = static_cast<std::uint32_t>(generations_.size() - 1);
  if (!wiped) return;
  StoreId id;
  Random bits(stage_.scenario.seed, 9000 + clients_.store);
  for (auto& byte : id.bytes) byte = static_cast<unsigned char>(bits.next());
  store_ = engine::memory::MemoryStore(id);
}

void BrokerHost::copy_now_and_then() {
  if (!stage_.scenario.stores_change || !copies_.percent(8)) return;
  copy_.emplace(Copy{store_, stage_.ledger.disk(), clients_.store, life()});
  stage_.say("operator", "copies the data folder, with its %llu commits",
             static_cast<unsigned long long>(store_.commits()));
}

void BrokerHost::wipe() {
  stage_.say("operator", "wipes the data folder");
  began(0, true);
  copy_.reset();
  stage_.ledger.put_back(nullptr);
}

bool BrokerHost::put_back() {
  if (!copy_) return false;
  stage_.say("operator", "puts back the copy with %llu commits, instead of %llu",
             static_cast<unsigned long long>(copy_->store.commits()),
             static_cast<unsigned long long>(store_.commits()));
  store_ = copy_->store;
  began(copy_->generation, false);
  stage_.ledger.put_back(copy_->disk.get());
  return true;
}

/// It is what this store was copied from, and was heard of no later than the copy was made: no commit, and no start,
/// since that gave leases other names.
bool BrokerHost::is_of_this_store(const StoreHeard& heard) const {
  if (heard.store == 0) return true;
  std::uint64_t most = std::numeric_limits<std::uint64_t>::max();
  std::uint32_t last = std::numeric_limits<std::uint32_t>::max();
  for (std::uint32_t at = clients_.store; at != 0; at = generations_[at].parent) {
    if (at == heard.store) return heard.commits <= most && heard.life <= last;
    most = std::min(most, generations_[at].commits);
    last = std::min(last, generations_[at].life);
  }
  return false;
}

void BrokerHost::heard_hello(Line& line, const Endpoint& from) {
  line.may_be_in_doubt = doubted_.contains(line.endpoint);
  if (line.speaks_of.store == 0 || is_of_this_store(line.speaks_of)) return;
  line.of_another_store = line.may_be_in_doubt = true;
  if (from.worker != nobody) stage_.ledger.speaks_of_another_store(from.worker);
}

void BrokerHost::check_welcome(const Line& line, const v1::Welcome& welcome) const {
  if (!line.of_another_store) return;
  const Endpoint& to = *clients_.all[line.endpoint];
  const bool stale = std::all_of(welcome.claims().begin(), welcome.claims().end(),
                                 [](const v1::ClaimAnswer& answer) { return answer.stale(); });
  if (!stale) {
    throw Broken("of_another_store_nothing_is_claimed",
                 to.name() +
                     " speaks of a store that was wiped, or of commits that the copy does not have, and is "
                     "granted what it claims");
  }
  if (to.is_publisher() && welcome.publisher_known()) {
    throw Broken("of_another_store_all_is_in_doubt",
                 to.name() +
                     " speaks of a store that was wiped, or of commits that the copy does not have, and is told "
                     "to send again what it has unanswered");
  }
}

}  // namespace weir::simulation
