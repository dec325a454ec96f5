// What clients may say to the broker's core, in bytes or in words, while time passes, commits end late and it restarts.
#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "input.hpp"
#include "targets.hpp"
#include "weir/broker/control.hpp"
#include "weir/broker/core/core.hpp"
#include "weir/engine/memory/memory_store.hpp"
#include "weir/protocol/bounds.hpp"

namespace weir::fuzz {
namespace {

using namespace std::chrono_literals;
namespace core = broker::core;

constexpr std::uint32_t peers = 5;
/// No count of messages or bytes that an input can bring about is near this; one that went below 0 is above.
constexpr std::uint64_t absurd = std::uint64_t{1} << 40;

std::string id_of(std::uint32_t n) { return std::string(16, static_cast<char>(n)); }

class Play {
 public:
  explicit Play(Input& in) : in_(in) {
    config_.build = "fuzz";
    QueuePolicy bounded;
    bounded.attempts = 2;
    bounded.most = {Messages{20}, Bytes{2000}, OnFull::wait};
    bounded.dead = {1h, Messages{3}, OnDeadFull::oldest};
    bounded.unknown_grace = 5s;
    QueuePolicy refusing;
    refusing.most = {Messages{4}, std::nullopt, OnFull::refuse};
    refusing.dead.most = Messages{1};
    config_.queues = {{"orders", {}}, {"bounded", bounded}, {"refusing", refusing}, {"quiet", {}}};
    config_.message_most = Bytes{100'000};
    start();
  }

  void step();
  void be_served(const std::string& publisher);

 private:
  struct Peer {
    core::Connection connection{};
    std::uint64_t frames_out{};
    std::uint64_t frames_in{};
    std::uint64_t epoch{};
    std::uint64_t published{};
  };
  struct Given {
    std::uint64_t lease{};
    std::uint32_t count{};
    Place place;
  };

  void start() {
    store_.starts_as(StartId{});
    core_ = std::make_unique<core::Core>(config_, store_.recover(), store_, now_);
    control_ = std::make_unique<broker::Control>(*core_, store_);
    for (auto& peer : peers_) leave(peer);
    given_.clear();
  }
  void leave(Peer& peer) { peer = {.connection = ++connections_}; }
  Peer& peer() { return peers_[in_.below(peers)]; }
  Peer* find(core::Connection connection) {
    for (auto& peer : peers_) {
      if (peer.connection == connection) return &peer;
    }
    return nullptr;
  }

  void say(Peer& from, v1::Frame frame, std::string run = {}) {
    frame.set_number(++from.frames_out);
    core_->frame(now_, from.connection, frame, Slice::of(std::move(run)), actions_);
    carry_out();
  }
  void say_bytes(bool number);
  v1::Frame hello(v1::Kind kind) {
    v1::Frame frame;
    auto& hello = *frame.mutable_hello();
    hello.set_magic(protocol::magic);
    hello.set_version_lowest(2);
    hello.set_version_highest(2);
    hello.set_kind(kind);
    hello.set_store(std::string(StoreId{}.view()));
    hello.set_start(std::string(StartId{}.view()));
    return frame;
  }
  std::string queue_name() { return config_.queues[in_.below(static_cast<std::uint32_t>(config_.queues.size()))].name; }
  void hello_worker();
  void hello_publisher(Peer& from, std::string id, const std::string& queue);
  void publish();
  void settle();
  void death();
  void control();
  void pass();
  void seal() {
    if (sealed_ || !core_->wants_commit()) return;
    control_->sealed();
    sealed_ = core_->seal(now_);
  }
  void committed() {
    if (!sealed_) return;
    store_.commit(*sealed_);
    sealed_.reset();
    core_->committed(now_, actions_);
    control_->committed(now_, actions_);
    carry_out();
  }
  void carry_out();
  void carry_out(core::Send& send);
  void carry_out(core::SendDelivery& delivery);
  void check_counts();

  Input& in_;
  Now now_{Instant{Duration{1h}}, WallTime{Duration{1'000'000s}}};
  core::Config config_;
  engine::memory::MemoryStore store_{StoreId{}};  // what its clients speak of
  std::unique_ptr<core::Core> core_;
  std::unique_ptr<broker::Control> control_;
  std::optional<core::Batch> sealed_;
  core::Actions actions_;
  std::array<Peer, peers + 1> peers_;  // the last one is the neighbour that minds its own business
  core::Connection connections_ = 0;
  std::vector<Given> given_;
  std::uint64_t confirmed_ = 0;  // to the neighbour
};

void Play::say_bytes(bool number) {
  Peer& from = peer();
  v1::Frame head;
  const Slice bytes = Slice::of(std::string(in_.block()));
  const auto run = protocol::decode_bounded(bytes.bytes, head);
  if (!run) {
    core_->malformed(now_, from.connection, run.error(), actions_);
    return carry_out();
  }
  ++from.frames_out;
  if (number) head.set_number(from.frames_out);
  core_->frame(now_, from.connection, head, bytes.sub(bytes.bytes.size() - run->size(), run->size()), actions_);
  carry_out();
}

void Play::hello_worker() {
  Peer& from = peer();
  v1::Frame frame = hello(v1::WORKER);
  auto& hello = *frame.mutable_hello();
  hello.set_process_token(id_of(in_.below(4)));
  hello.set_shard(in_.below(2));
  auto* attach = hello.add_attach();
  attach->set_queue(queue_name());
  const std::uint32_t types = in_.below(4);
  if ((types & 1) != 0) attach->add_types("a.A");
  if ((types & 2) != 0) attach->add_types("a.B");
  hello.mutable_window()->set_epoch(1);
  hello.mutable_window()->set_messages(in_.number());
  hello.mutable_window()->set_bytes(in_.number() * 100);
  for (std::uint32_t i = in_.below(4); i > 0; --i) {
    auto& claim = *(in_.below(2) == 0 ? hello.add_held() : hello.add_settled());
    Given given;
    if (!given_.empty())
      given = given_[in_.below(static_cast<std::uint32_t>(std::min<std::size_t>(given_.size(), 256)))];
    claim.set_queue(given.place.queue);
    claim.set_segment(given.place.segment);
    claim.set_first(given.place.index);
    claim.set_lease(given.lease);
    claim.set_count(given.count);
    claim.set_incarnation(static_cast<std::uint32_t>(in_.number()));
    if (in_.below(4) == 0) {
      claim.set_origin_incarnation(static_cast<std::uint32_t>(in_.number()));
      claim.set_origin_lease(in_.number());
    }
  }
  say(from, std::move(frame));
}

void Play::hello_publisher(Peer& from, std::string id, const std::string& queue) {
  v1::Frame frame = hello(v1::PUBLISHER);
  frame.mutable_hello()->set_publisher(std::move(id));
  frame.mutable_hello()->set_lowest_unanswered(1);
  frame.mutable_hello()->add_publish_to(queue);
  say(from, std::move(frame));
}

void Play::publish() {
  Peer& from = peer();
  v1::Frame frame;
  std::string run;
  for (std::uint32_t groups = 1 + in_.below(3); groups > 0; --groups) {
    auto& group = *frame.mutable_publish()->add_groups();
    group.set_queue(1 + in_.below(4));
    group.set_first_number(from.published + 1 + in_.number());
    group.set_epoch(from.epoch);
    if (const std::uint32_t priority = in_.below(16); priority < 10) group.set_priority(priority);
    const std::uint32_t columns = in_.byte();
    const std::uint32_t count = 1 + in_.below(20);
    auto& index = *group.mutable_index();
    index.add_types("a.A");
    if ((columns & 1) != 0 && count > 1) index.add_types("a.B");
    const std::uint32_t length = in_.byte();
    for (std::uint32_t i = 0; i < count; ++i) {
      index.add_lengths(length);
      run.append(length, 'x');
      if (index.types_size() > 1) index.add_type_of(in_.below(2));
      if ((columns & 2) != 0) index.add_delay_us(in_.number() * ((columns & 4) != 0 ? 1'000'000 : 1));
      if ((columns & 8) != 0) index.add_key("k");
      if ((columns & 16) != 0) index.add_unique_id("u");
      if ((columns & 32) != 0) {
        index.add_deliver_at_us(now_.wall.time_since_epoch().count() + static_cast<std::int64_t>(in_.number()));
      }
    }
    from.published = group.first_number() + count - 1;
  }
  say(from, std::move(frame), std::move(run));
}

void Play::settle() {
  Peer& from = peer();
  v1::Frame frame;
  std::string body;
  for (std::uint32_t runs = 1 + in_.below(3); runs > 0; --runs) {
    auto& run = *frame.mutable_settle()->add_runs();
    const std::uint32_t which = in_.byte();
    if (which < given_.size()) {
      run.set_lease(given_[which].lease + in_.below(4));
      run.set_count(std::max<std::uint32_t>(1, in_.below(8) == 0 ? in_.byte() : given_[which].count));
    } else {
      run.set_lease(in_.number());
      run.set_count(static_cast<std::uint32_t>(in_.number()));
    }
    run.set_outcome(static_cast<v1::Outcome>(in_.below(8)));
    const std::uint32_t more = in_.byte();
    if ((more & 1) != 0) run.set_delay_us(in_.number() * 1000);
    if ((more & 2) != 0) run.set_error("went wrong");
    if ((more & 12) != 12) continue;
    auto& output = *frame.mutable_settle()->add_outputs();
    output.set_queue(1 + in_.below(4));
    output.mutable_index()->add_types("a.B");
    output.mutable_index()->add_lengths(3);
    output.add_source(run.lease());
    body += "out";
  }
  say(from, std::move(frame), std::move(body));
}

void Play::death() {
  Peer& from = peer();
  v1::Frame frame;
  auto& death = *frame.mutable_death();
  death.set_process_token(id_of(in_.below(4)));
  death.set_signal(static_cast<std::int32_t>(in_.below(32)));
  death.set_on_purpose(in_.below(8) == 0);
  for (std::uint32_t i = in_.below(6); i > 0 && !given_.empty(); --i) {
    const Given& given = given_[in_.below(static_cast<std::uint32_t>(std::min<std::size_t>(given_.size(), 256)))];
    auto& started = *death.add_started();
    started.set_queue(core_->queue_name(given.place.queue));
    started.set_segment(given.place.segment);
    started.set_index(given.place.index + in_.below(3));
    started.set_part(static_cast<v1::Started::Part>(in_.below(4)));
    if (in_.below(2) == 0) started.mutable_attempt()->set_error("killed its process");
  }
  say(from, std::move(frame));
}

void Play::control() {
  Peer& from = peer();
  v1::Frame frame;
  auto& request = *frame.mutable_control();
  request.set_id(in_.byte());
  const std::string queue = queue_name();
  const auto ids = [&](auto& wanted) {
    wanted.set_queue(queue);
    wanted.set_all(in_.below(3) == 0);
    for (std::uint32_t i = in_.below(3); i > 0; --i) wanted.add_ids(print_id(queue, in_.byte(), in_.byte()));
  };
  switch (in_.below(6)) {
    case 0:
      request.mutable_list_queues();
      break;
    case 1:
      request.mutable_list_workers();
      break;
    case 2:
      request.mutable_list_dead()->set_queue(queue);
      request.mutable_list_dead()->set_most(in_.byte());
      break;
    case 3:
      request.mutable_show_dead()->set_queue(queue);
      request.mutable_show_dead()->set_id(print_id(queue, in_.byte(), in_.byte()));
      request.mutable_show_dead()->set_with_payload(true);
      break;
    case 4:
      ids(*request.mutable_replay_dead());
      break;
    default:
      ids(*request.mutable_purge_dead());
  }
  say(from, std::move(frame));
}

void Play::pass() {
  constexpr std::array<Duration, 8> steps{0us, 1ms, 100ms, 1s, 2500ms, 11s, 1h, 24h};
  const std::uint32_t how = in_.byte();
  const Duration step = steps[how % steps.size()];
  now_.instant += step;
  now_.wall += step;
  if (how >= 0xf0) now_.wall += (how % 2 == 0 ? 1 : -1) * Duration(3h);
  core_->tick(now_, actions_);
  core_->go_on(now_, actions_);
  carry_out();
  require(core_->next_tick() <= now_.instant + config_.session_timeout, "the core wants no tick within its timeout");
}

void Play::carry_out() {
  for (std::size_t i = 0; i < actions_.size(); ++i) {
    core::Action action = std::move(actions_[i]);
    if (auto* send = std::get_if<core::Send>(&action)) carry_out(*send);
    if (auto* delivery = std::get_if<core::SendDelivery>(&action)) carry_out(*delivery);
    if (auto* close = std::get_if<core::Close>(&action)) {
      if (Peer* peer = find(close->connection)) leave(*peer);
    }
    if (auto* ask = std::get_if<core::Ask>(&action)) {
      control_->ask(now_, ask->from, broker::Peer{}, ask->request, actions_);
    }
  }
  actions_.clear();
}

void Play::carry_out(core::Send& send) {
  Peer* const to = find(send.to);
  require(to != nullptr, "a frame was sent to a connection that was closed");
  if (send.frame.number() != 0 || !send.frame.has_error()) {
    require(send.frame.number() == ++to->frames_in, "frames to a client have a gap");
  }
  if (send.frame.body_case() != v1::Frame::kControlReply) {
    require(send.frame.ByteSizeLong() < 16'000'000, "a frame is larger than any client takes");
  }
  for (const auto& queue : send.frame.welcome().queues()) to->epoch = std::max(to->epoch, queue.window().epoch());
  if (send.frame.has_window()) to->epoch = std::max(to->epoch, send.frame.window().epoch());
  if (to != &peers_.back()) return;
  for (const auto& run : send.frame.confirmed().runs()) {
    if (run.answer() == v1::Confirmed::CONFIRMED) confirmed_ += run.count();
  }
}

void Play::carry_out(core::SendDelivery& delivery) {
  Peer* const to = find(delivery.to);
  require(to != nullptr, "messages were sent to a connection that was closed");
  require(delivery.number == ++to->frames_in, "frames to a client have a gap");
  const auto snapshot = store_.snapshot();
  for (const core::Piece& piece : delivery.pieces) {
    require(piece.count > 0, "a delivery of nothing");
    const Place place{piece.key.queue, piece.key.segment, piece.first};
    if (piece.source == core::Source::record) {
      require(snapshot->record(place).has_value(), "a record was delivered that is not in the store");
    } else if (piece.ahead) {
      require(piece.first + piece.count <= static_cast<std::uint32_t>(piece.ahead->index.lengths_size()),
              "messages were delivered ahead that their segment has not");
    } else {
      const auto segment = snapshot->segment(piece.key);
      require(segment.has_value(), "a message was delivered whose segment is not in the store");
      v1::Index index;
      std::int64_t published = 0;
      require(!protocol::decode(*segment, index, published).has_error(), "a segment in the store does not parse");
      require(piece.first + piece.count <= static_cast<std::uint32_t>(index.lengths_size()),
              "messages were delivered that their segment has not");
    }
    given_.push_back({piece.lease, piece.count, place});
  }
}

void Play::check_counts() {
  v1::Queues queues;
  core_->list_queues(queues);
  for (const auto& queue : queues.queues()) {
    for (const std::uint64_t count : {queue.ready(), queue.delayed(), queue.leased(), queue.dead(), queue.bytes(),
                                      queue.unknown(), queue.suspects(), queue.acked(), queue.dead_lettered()}) {
      require(count < absurd, "a queue's count went below 0");
    }
  }
  v1::Workers workers;
  core_->list_workers(now_, workers);
  for (const auto& one : workers.workers()) {
    require(one.held_messages() < absurd && one.held_bytes() < absurd, "what a worker holds went below 0");
  }
}

void Play::step() {
  switch (in_.below(18)) {
    case 0:
      return say_bytes(false);
    case 1:
      return say_bytes(true);
    case 2:
      return hello_worker();
    case 3: {
      Peer& from = peer();
      std::string id = id_of(in_.below(3));
      return hello_publisher(from, std::move(id), queue_name());
    }
    case 4:
      return publish();
    case 5:
      return settle();
    case 6: {
      Peer& from = peer();
      v1::Frame frame;
      frame.mutable_keep_alive()->set_process_token(id_of(in_.below(4)));
      return say(from, std::move(frame));
    }
    case 7:
      return death();
    case 8:
      return control();
    case 9:
      return pass();
    case 10:
      seal();
      return committed();
    case 11:
      return seal();
    case 12:
      return committed();
    case 13:  // as after kill -9: what was sealed is on disk, or not
      if (sealed_ && in_.below(2) == 0) store_.commit(*sealed_);
      sealed_.reset();
      actions_.clear();
      return start();
    case 14: {
      Peer& gone = peer();
      core_->disconnected(now_, gone.connection, actions_);
      leave(gone);
      return carry_out();
    }
    case 15:
      core_->room(now_, in_.below(2) == 0, actions_);
      return carry_out();
    case 16: {
      Peer& from = peer();
      v1::Frame frame;
      if (in_.below(4) == 0) {
        frame.mutable_goodbye();
      } else {
        frame.mutable_window()->set_epoch(in_.number());
        frame.mutable_window()->set_messages(in_.number());
        frame.mutable_window()->set_bytes(in_.number());
        frame.mutable_window()->set_queue(in_.below(5));
      }
      return say(from, std::move(frame));
    }
    default: {
      Peer& from = peer();
      say(from, hello(in_.below(2) == 0 ? v1::KEEP_ALIVE : v1::CONTROL));
    }
  }
}

void Play::be_served(const std::string& publisher) {
  check_counts();
  core_->room(now_, true, actions_);
  carry_out();
  Peer& neighbour = peers_.back();
  hello_publisher(neighbour, publisher, "quiet");
  v1::Frame frame;
  auto& group = *frame.mutable_publish()->add_groups();
  group.set_queue(*core_->queue_id("quiet"));
  group.set_first_number(1);
  group.set_epoch(neighbour.epoch);
  group.mutable_index()->add_types("a.A");
  for (int i = 0; i < 3; ++i) group.mutable_index()->add_lengths(10);
  say(neighbour, std::move(frame), std::string(30, 'x'));
  for (int i = 0; i < 1000 && (sealed_ || core_->wants_commit()); ++i) {
    seal();
    committed();
  }
  require(!sealed_ && !core_->wants_commit(), "there is always something more to commit");
  require(confirmed_ == 3, "a neighbour's messages were not confirmed");
  check_counts();
}

}  // namespace

void broker(std::string_view bytes) {
  Input in(bytes);
  Play play(in);
  for (int steps = 0; !in.empty() && steps < 400; ++steps) play.step();
  // An id that the program does not say: a publisher of the same id is no neighbour.
  std::uint32_t unsaid = 0xee;
  while (bytes.find(id_of(unsaid)) != std::string_view::npos) --unsaid;
  play.be_served(id_of(unsaid));
}

}  // namespace weir::fuzz
