// Controls: before suspects are charged one after the other, the plugin must show that it lives without them. The first
// suspect in an hour is charged without a control, if that leaves it an attempt. Before the next charge (of another
// message, or after a longer trial of the same one) a process of the group is sent nothing for as long as the trial
// lasted, five minutes at most, and a little longer. The process, or another of the group, must also become older than
// those were that died: a plugin may die at a certain time after its start. If the process lives, the accused are
// charged. If it dies, the plugin itself is at fault: no message is charged, and the group's suspects wait, longer each
// time. For an hour a control must then become four times as old as the one that died: the plugin may die at random.
//
// None of this is written. After a restart of the broker the accused are suspects still, and are tried once more. The
// first charge is free again, and is never a message's last attempt.
#include <algorithm>
#include <array>

#include "weir/broker/core/state.hpp"

namespace weir::broker::core {
namespace {

constexpr Duration remembered = std::chrono::hours(1);
/// How much longer than the trial a control lives, at least: the news of a death takes a while.
constexpr Duration longer_least = std::chrono::milliseconds(250);
constexpr Duration rest_first = std::chrono::seconds(1);
constexpr Duration rest_most = std::chrono::minutes(5);
constexpr int older = 4;
/// How much older a process must be, at least: HELLOs and reports tell ages, and take a while.
constexpr Duration older_least = std::chrono::milliseconds(100);
/// How often to look for a process that has finished what it held.
constexpr Duration look_every = std::chrono::milliseconds(20);

bool is_of(const Process& process, const std::string& group) {
  return std::ranges::any_of(process.workers, [&](const auto& one) { return one.second->group == group; });
}

/// The process of the group that holds least and tries no suspect; nullptr if there is none.
Process* choose(State& state, const std::string& group, Plugin& plugin) {
  Process* chosen = nullptr;
  for (auto& [token, process] : state.processes) {
    const bool is_up = std::ranges::all_of(
        process.workers, [](const auto& one) { return one.second->connection != 0 && one.second->noted; });
    if (!is_of(process, group) || !is_up || tries_any(process)) continue;
    if (chosen != nullptr && held_by(*chosen) <= held_by(process)) continue;
    chosen = &process;
    plugin.control = token;
  }
  if (chosen == nullptr) plugin.control.reset();
  return chosen;
}

/// Delivers to the processes of the group that stood by, or whose suspects waited.
void serve_again(Turn& turn, const std::string& group) {
  for (auto& [token, process] : turn.state.processes) {
    if (!is_of(process, group)) continue;
    for (auto& [shard, worker] : process.workers) dispatch_for(turn, *worker);
  }
}

/// True if the commit that brings the message back from the process that died is not on disk yet.
bool is_on_its_way(const State& state, const Place& place) {
  // Work for later turns may bring it back.
  return !state.work.empty() ||
         std::ranges::any_of(std::array{&state.gathering, &state.sealed}, [&](const Pending* pending) {
           return std::ranges::any_of(pending->moved,
                                      [&](const Pending::Moved& moved) { return moved.place == place; }) ||
                  std::ranges::any_of(pending->returning, [&](const Leases& leases) {
                    return std::ranges::any_of(leases, [&](const auto& lease) {
                      const LeaseRun& run = lease.second;
                      return run.source == Source::record && run.record && run.record->place == place;
                    });
                  });
         });
}

/// Charges those of the accused that are still here. Another group may be trying one.
void charge_accused(Turn& turn, Plugin& plugin) {
  for (Accused& accused : std::exchange(plugin.accused, {})) {
    Queue* const queue = turn.state.find_queue(accused.place.queue);
    load_due(turn.state, turn.now, *queue);
    const auto kind = queue->suspects.find(v1::ALONE);
    if (kind == queue->suspects.end()) continue;
    const auto head = std::ranges::find(kind->second, accused.place, &RecordHead::place);
    if (head == kind->second.end()) continue;
    plugin.charged = accused.place;
    plugin.charged_at = turn.now.instant;
    charge(turn,
           {.key = {head->place.queue, head->lane, head->place.segment},
            .index = head->place.index,
            .source = Source::record,
            .bytes = head->bytes,
            .number = head->attempts + 1,
            .lease = accused.lease,
            .suspicion = v1::ALONE},
           std::move(accused.attempt));
    kind->second.erase(head);
    if (kind->second.empty()) queue->suspects.erase(kind);
  }
}

/// How long a control must live, for a trial that lasted `time`.
Duration longer_than(Duration time) { return time + std::max(time / 4, longer_least); }

/// True if a process of the group lives that is older than those were that died: the plugin does not die of that age.
bool anyone_is_as_old(const State& state, Now now, const std::string& group, const Plugin& plugin) {
  return std::ranges::any_of(state.processes, [&](const auto& one) {
    return is_of(one.second, group) && now.instant - one.second.since >= plugin.oldest + older_least;
  });
}

/// When the control, which holds nothing, will have lived for long enough.
Instant control_due(const State& state, Now now, const std::string& group, const Plugin& plugin,
                    const Process& control) {
  Instant due = std::max(*plugin.empty_since + longer_than(plugin.longest), control.since + plugin.dies_within * older);
  if (!anyone_is_as_old(state, now, group, plugin)) due = std::max(due, control.since + plugin.oldest + older_least);
  for (const Accused& one : plugin.accused) due = std::max(due, one.earliest);
  return due;
}

void lived(Turn& turn, const std::string& group, Plugin& plugin) {
  plugin.lived = turn.now.instant - *plugin.empty_since;
  plugin.lived_until = std::min(turn.now.instant - turn.state.processes.at(*plugin.control).since, age_most);
  note(turn.actions, Note::Level::info, "plugin_lives_without_suspects",
       {{"worker", group}, {"for_ms", std::to_string(plugin.lived.count() / 1000)}});
  plugin.rest = plugin.longest = plugin.oldest = {};
  plugin.control.reset();
  charge_accused(turn, plugin);
  serve_again(turn, group);
}

/// Looks at the control, or for one. Returns when to look again.
Instant watch_control(Turn& turn, const std::string& group, Plugin& plugin) {
  const auto at = plugin.control ? turn.state.processes.find(*plugin.control) : turn.state.processes.end();
  Process* process = at == turn.state.processes.end() ? nullptr : &at->second;
  if (process == nullptr || held_by(*process).value > 0) {
    const auto before = plugin.control;
    process = choose(turn.state, group, plugin);
    plugin.empty_since.reset();
    if (process != nullptr && plugin.control != before) serve_again(turn, group);  // the other processes
    if (process == nullptr || held_by(*process).value > 0) return turn.now.instant + look_every;
  }
  if (!plugin.empty_since) plugin.empty_since = turn.now.instant;
  const Instant due = control_due(turn.state, turn.now, group, plugin, *process);
  if (turn.now.instant < due) return due;
  const auto waits = [&](const Accused& one) { return is_on_its_way(turn.state, one.place); };
  if (std::ranges::any_of(plugin.accused, waits)) return turn.now.instant + look_every;
  lived(turn, group, plugin);
  return Instant::max();
}

}  // namespace

bool may_charge(State& state, Now now, const std::string& group, const Accused& accused, bool last_attempt) {
  Plugin& plugin = state.plugins[group];
  const bool is_first =
      (!plugin.charged_at || now.instant - *plugin.charged_at > remembered) && plugin.dies_within == Duration{};
  const bool may = is_first ? !last_attempt
                            : plugin.charged == accused.place && plugin.lived >= accused.trial &&
                                  (plugin.dies_within == Duration{} || plugin.lived_until >= accused.age);
  if (may) {
    if (is_first) plugin.lived = plugin.lived_until = {};
    plugin.charged = accused.place;
    plugin.charged_at = now.instant;
  }
  return may;
}

void accuse(State& state, Now now, const std::string& group, Accused accused) {
  Plugin& plugin = state.plugins[group];
  plugin.longest = std::max(plugin.longest, accused.trial);
  plugin.oldest = std::max(plugin.oldest, accused.age);
  plugin.accused.push_back(std::move(accused));
  state.next_control = now.instant;
}

void acquit(State& state, const ProcessToken& died_with) {
  for (auto& [group, plugin] : state.plugins)
    std::erase_if(plugin.accused, [&](const Accused& one) { return one.died_with == died_with; });
}

bool tries_suspects(const State& state, Now now, const std::string& group) {
  const auto plugin = state.plugins.find(group);
  if (plugin == state.plugins.end()) return true;
  return plugin->second.accused.empty() && now.instant >= plugin->second.rests_until;
}

bool stands_by(const State& state, const Worker& worker) {
  const auto plugin = state.plugins.find(worker.group);
  if (plugin == state.plugins.end() || plugin->second.accused.empty()) return false;
  const auto& control = plugin->second.control;
  if (control && state.processes.contains(*control)) return *control == worker.token;
  return held_by(*worker.process).value == 0;  // no control is chosen yet: it may be this process
}

bool control_died(Turn& turn, const ProcessToken& token, const std::string& why, const std::string& stack) {
  for (auto& [group, plugin] : turn.state.plugins) {
    if (plugin.control != token) continue;
    plugin.control.reset();
    const auto since = std::exchange(plugin.empty_since, std::nullopt);
    // A message that it had handled just before may have left something behind: that says nothing of the plugin.
    const Process& process = turn.state.processes.at(token);
    if (!since || (process.was_sent && turn.now.instant - *since < longer_least)) return false;
    plugin.dies_within = std::max(plugin.dies_within, std::min(turn.now.instant - process.since, age_most));
    plugin.died_at = turn.now.instant;
    plugin.rest = std::clamp(plugin.rest * 2, rest_first, rest_most);
    plugin.rests_until = turn.now.instant + plugin.rest;
    note(turn.actions, Note::Level::error, "plugin_dies_by_itself",
         {{"worker", group},
          {"why", why},
          {"accused", std::to_string(plugin.accused.size())},
          {"suspects_wait_ms", std::to_string(plugin.rest.count() / 1000)},
          {"stack", stack}});
    plugin.accused.clear();
    plugin.longest = plugin.oldest = {};
    turn.state.next_control = turn.now.instant;
    return true;
  }
  return false;
}

void controls_tick(Turn& turn) {
  if (turn.now.instant < turn.state.next_control) return;
  Instant next = Instant::max();
  for (auto at = turn.state.plugins.begin(); at != turn.state.plugins.end();) {
    auto& [group, plugin] = *at;
    if (!plugin.accused.empty()) next = std::min(next, watch_control(turn, group, plugin));
    if (turn.now.instant < plugin.rests_until) {
      next = std::min(next, plugin.rests_until);
    } else if (std::exchange(plugin.rests_until, Instant{}) != Instant{}) {
      serve_again(turn, group);
    }
    if (turn.now.instant - plugin.died_at > remembered) plugin.dies_within = {};
    const bool kept = !plugin.accused.empty() || plugin.rests_until != Instant{} || plugin.dies_within != Duration{} ||
                      (plugin.charged_at && turn.now.instant - *plugin.charged_at <= remembered);
    at = kept ? std::next(at) : turn.state.plugins.erase(at);
  }
  turn.state.next_control = next;
}

}  // namespace weir::broker::core
