#pragma once

/// A broker core with a store in memory, played by hand: tests say what arrives, when it is committed, and what time it
/// is.

#include <gtest/gtest.h>

#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "weir/broker/core/core.hpp"
#include "weir/engine/memory/delivery.hpp"
#include "weir/engine/memory/memory_store.hpp"
#include "weir/protocol/frame.hpp"
#include "weir/protocol/names.hpp"

namespace weir::broker::core::testing {

using namespace std::chrono_literals;

inline ProcessToken token(unsigned char n) {
  ProcessToken id;
  id.bytes.fill(n);
  return id;
}

/// Most rules are tested without delivery ahead of the commit: then what happens when is plain.
inline QueuePolicy written_first() {
  QueuePolicy policy;
  policy.ahead = false;
  return policy;
}

struct Broker {
  explicit Broker(std::vector<QueueConfig> queues = {{"orders", written_first()}}) {
    config.build = "test";
    config.queues = std::move(queues);
    start();
  }

  void start() {
    Recovered recovered = store.recover();
    start_id = recovered.starts.back().id;
    core = std::make_unique<Core>(config, std::move(recovered), store, now);
    frames_out.clear();
  }
  /// As after kill -9: what was sealed and not committed is gone.
  void restart() {
    core.reset();
    sealed.reset();
    inbox.clear();
    start();
  }

  void pass(Duration time) {
    now.instant += time;
    now.wall += time;
    Actions actions;
    core->tick(now, actions);
    if (core->has_work()) core->go_on(now, actions);
    carry_out(actions);
  }

  /// A frame from `from`; its number is counted here.
  void say(Connection from, v1::Frame frame, std::string run = {}) {
    frame.set_number(++frames_out[from]);
    // Unless a test says otherwise, what a client speaks of is of this store.
    if (frame.has_hello() && frame.hello().store().empty()) {
      frame.mutable_hello()->set_store(std::string(store_id.view()));
    }
    if (frame.has_hello() && frame.hello().start().empty()) {
      frame.mutable_hello()->set_start(std::string(start_id.view()));
    }
    Actions actions;
    core->frame(now, from, frame, Slice::of(std::move(run)), actions);
    const std::size_t closed = closed_connections.size();
    carry_out(actions);
    if (closed_connections.size() > closed) pass(0s);  // the shell has closed it: what comes next is somebody else's
  }

  bool seal() {
    if (sealed || !core->wants_commit()) return false;
    sealed = core->seal(now);
    return true;
  }
  void finish_commit() {
    store.commit(*sealed);
    sealed.reset();
    Actions actions;
    core->committed(now, actions);
    carry_out(actions);
  }
  /// Commits until there is nothing to write.
  void commit() {
    while (seal()) finish_commit();
  }
  /// And until all that frames have begun is done.
  void finish() {
    for (commit(); core->has_work(); commit()) {
      Actions actions;
      core->go_on(now, actions);
      carry_out(actions);
    }
  }

  void carry_out(Actions& actions) {
    for (auto& action : actions) {
      if (auto* sent = std::get_if<Send>(&action)) inbox[sent->to].push_back(std::move(sent->frame));
      if (auto* delivery = std::get_if<SendDelivery>(&action)) {
        v1::Frame frame;
        EXPECT_TRUE(protocol::decode(engine::memory::deliver_frame(*delivery, *store.snapshot()), frame).has_value());
        inbox[delivery->to].push_back(std::move(frame));
      }
      if (auto* closed = std::get_if<Close>(&action)) closed_connections.push_back(closed->connection);
      if (auto* note = std::get_if<Note>(&action)) notes.push_back(std::move(*note));
    }
    actions.clear();
  }

  // What clients say.
  static v1::Frame worker_hello(ProcessToken process, std::uint64_t window, std::uint64_t epoch,
                                const std::string& queue = "orders") {
    v1::Frame frame;
    auto& hello = *frame.mutable_hello();
    hello.set_magic(protocol::magic);
    hello.set_version_lowest(protocol::version_lowest);
    hello.set_version_highest(protocol::version_highest);
    hello.set_kind(v1::WORKER);
    hello.set_process_token(std::string(process.view()));
    hello.set_group("shop");
    hello.add_attach()->set_queue(queue);
    hello.mutable_window()->set_epoch(epoch);
    hello.mutable_window()->set_messages(window);
    hello.mutable_window()->set_bytes(1 << 20);
    return frame;
  }
  void attach(Connection from, ProcessToken process, std::uint64_t window = 100, std::vector<v1::Claim> held = {},
              std::vector<v1::Claim> settled = {}, std::string queue = "orders", std::string type = {}) {
    v1::Frame frame = worker_hello(process, window, 1, queue);
    auto& hello = *frame.mutable_hello();
    if (!type.empty()) hello.mutable_attach(0)->add_types(type);
    for (auto& claim : held) *hello.add_held() = claim;
    for (auto& claim : settled) *hello.add_settled() = claim;
    say(from, std::move(frame));
  }
  static v1::Frame publisher_hello(unsigned char id = 7, std::uint64_t lowest_unanswered = 1) {
    v1::Frame frame;
    auto& hello = *frame.mutable_hello();
    hello.set_magic(protocol::magic);
    hello.set_version_lowest(protocol::version_lowest);
    hello.set_version_highest(protocol::version_highest);
    hello.set_kind(v1::PUBLISHER);
    hello.set_publisher(std::string(token(id).view()));
    hello.set_lowest_unanswered(lowest_unanswered);
    return frame;
  }
  void open_publisher(Connection from, unsigned char id = 7, std::uint64_t lowest_unanswered = 1) {
    v1::Frame frame = publisher_hello(id, lowest_unanswered);
    frame.mutable_hello()->add_publish_to("orders");
    say(from, std::move(frame));
    for (const auto& info : last(from).welcome().queues()) epoch = info.window().epoch();
  }
  v1::Frame publish_frame(std::uint64_t first, int count, std::uint64_t delay_us = 0, const std::string& type = "T") {
    v1::Frame frame;
    auto* group = frame.mutable_publish()->add_groups();
    group->set_queue(1);
    group->set_first_number(first);
    group->set_epoch(epoch);
    for (int i = 0; i < count; ++i) {
      group->mutable_index()->add_lengths(10);
      if (delay_us > 0) group->mutable_index()->add_delay_us(delay_us);
    }
    group->mutable_index()->add_types(type);
    return frame;
  }
  void publish(Connection from, std::uint64_t first, int count, std::uint64_t delay_us = 0,
               const std::string& type = "T") {
    say(from, publish_frame(first, count, delay_us, type), std::string(static_cast<std::size_t>(count) * 10, 'x'));
  }
  /// So many times 256 messages, a segment each, in the hands of a worker.
  void give_segments(std::uint64_t n, Connection to, ProcessToken process) {
    constexpr Connection from = 1;
    open_publisher(from);
    for (std::uint64_t i = 0; i < n; ++i) {
      publish(from, 1 + i * 256, 256);
      commit();
    }
    attach(to, process, n * 256);
    commit();
  }
  void settle(Connection from, std::uint64_t lease, std::uint32_t count, v1::Outcome outcome,
              std::optional<std::uint64_t> delay_us = std::nullopt, const std::string& error = "went wrong") {
    v1::Frame frame;
    auto* run = frame.mutable_settle()->add_runs();
    run->set_lease(lease);
    run->set_count(count);
    run->set_outcome(outcome);
    run->set_error(error);
    run->set_duration_us(lease);
    if (delay_us) run->set_delay_us(*delay_us);
    say(from, std::move(frame));
  }

  /// A publisher's `count` messages are in the hands of a worker.
  void give(int count, Connection to, ProcessToken process) {
    constexpr Connection from = 1;
    open_publisher(from);
    publish(from, 1, count);
    commit();
    attach(to, process);
    commit();
  }

  /// Vouches for processes, and reports their deaths.
  void open_keeper(Connection from, std::optional<ProcessToken> process = {}) {
    v1::Frame frame;
    auto& hello = *frame.mutable_hello();
    hello.set_magic(protocol::magic);
    hello.set_version_lowest(protocol::version_lowest);
    hello.set_version_highest(protocol::version_highest);
    hello.set_kind(v1::KEEP_ALIVE);
    if (process) hello.set_process_token(std::string(process->view()));
    say(from, std::move(frame));
  }
  void keep_alive(Connection from, ProcessToken process) {
    v1::Frame frame;
    frame.mutable_keep_alive()->set_process_token(std::string(process.view()));
    say(from, std::move(frame));
  }
  /// Time passes, and somebody vouches for the process meanwhile.
  void pass_alive(ProcessToken process, int seconds, Connection keeper = 99) {
    open_keeper(keeper, process);
    for (; seconds > 0; --seconds) {
      keep_alive(keeper, process);
      pass(1s);
    }
  }
  void report(Connection from, ProcessToken process, const std::vector<v1::Started>& started = {}, int signal = 9,
              bool on_purpose = false) {
    v1::Frame frame;
    auto& death = *frame.mutable_death();
    death.set_process_token(std::string(process.view()));
    death.set_signal(signal);
    death.set_on_purpose(on_purpose);
    for (const auto& one : started) *death.add_started() = one;
    say(from, std::move(frame));
  }

  // What clients heard.
  const v1::Frame& last(Connection to) { return inbox[to].back(); }
  std::vector<v1::Delivery> deliveries(Connection to) {
    std::vector<v1::Delivery> all;
    for (const auto& frame : inbox[to]) {
      for (const auto& one : frame.deliver().deliveries()) all.push_back(one);
    }
    return all;
  }
  std::uint64_t delivered(Connection to) {
    std::uint64_t n = 0;
    for (const auto& one : deliveries(to)) n += static_cast<std::uint64_t>(one.index().lengths_size());
    return n;
  }
  /// Of what was delivered, in that order.
  std::vector<MessageName> names(Connection to) {
    std::vector<MessageName> all;
    for (const auto& one : deliveries(to)) {
      EXPECT_TRUE(protocol::check_names(one.index()).has_value());
      for (int i = 0; i < one.index().lengths_size(); ++i) {
        all.push_back(protocol::name_at(one.index().names(), static_cast<std::uint32_t>(i)));
      }
    }
    return all;
  }
  std::uint64_t confirmed(Connection to) {
    std::uint64_t n = 0;
    for (const auto& frame : inbox[to]) {
      for (const auto& run : frame.confirmed().runs()) {
        if (run.answer() == v1::Confirmed::CONFIRMED) n += run.count();
      }
    }
    return n;
  }
  std::uint64_t stale(Connection to) {
    std::uint64_t n = 0;
    for (const auto& frame : inbox[to]) {
      for (const auto& run : frame.settled().runs()) {
        if (run.answer() == v1::Settled::STALE) n += run.count();
      }
    }
    return n;
  }
  v1::Queues::Queue queue(int i = 0) {
    v1::Queues all;
    core->list_queues(all);
    return all.queues(i);
  }
  v1::Record dead(Place place) {
    v1::Record record;
    const auto bytes = store.snapshot()->dead(place);
    EXPECT_TRUE(bytes && record.ParseFromArray(bytes->data(), static_cast<int>(bytes->size())));
    return record;
  }
  v1::Record record(Place place) {
    v1::Record record;
    const auto bytes = store.snapshot()->record(place);
    EXPECT_TRUE(bytes && record.ParseFromArray(bytes->data(), static_cast<int>(bytes->size())));
    return record;
  }
  v1::Claim claim_of(const v1::Delivery& delivery, std::uint32_t incarnation) {
    v1::Claim claim;
    claim.set_queue(delivery.queue());
    claim.set_segment(delivery.segment());
    claim.set_first(delivery.first());
    claim.set_count(static_cast<std::uint32_t>(delivery.index().lengths_size()));
    claim.set_incarnation(incarnation);
    claim.set_lease(delivery.lease());
    return claim;
  }

  Now now{Instant{Duration{1h}}, WallTime{Duration{1'000'000s}}};
  Config config;
  StoreId store_id = random_id<StoreId>();
  StartId start_id;  ///< the last one
  engine::memory::MemoryStore store{store_id};
  std::unique_ptr<Core> core;
  std::optional<Batch> sealed;
  std::map<Connection, std::uint64_t> frames_out;
  std::map<Connection, std::vector<v1::Frame>> inbox;
  std::vector<Connection> closed_connections;
  std::vector<Note> notes;  ///< what was logged
  std::uint64_t epoch = 0;
};

}  // namespace weir::broker::core::testing
