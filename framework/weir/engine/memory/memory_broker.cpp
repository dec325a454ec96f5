#include "weir/engine/memory/memory_broker.hpp"

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <future>
#include <map>
#include <mutex>
#include <thread>
#include <utility>

#include "weir/engine/memory/delivery.hpp"
#include "weir/engine/memory/memory_store.hpp"
#include "weir/engine/weir/clients.hpp"
#include "weir/protocol/bounds.hpp"
#include "weir/protocol/names.hpp"

namespace weir::engine::memory {
namespace {

namespace asio = boost::asio;
using broker::core::Connection;
using weir_broker::Connector;
using weir_broker::Transport;
using weir_broker::TransportOwner;

Now now() { return {weir_broker::now(), std::chrono::time_point_cast<Duration>(std::chrono::system_clock::now())}; }

/// The client's end of a connection. The broker shares it, as do functions that are posted to the client's loop.
class Line : public std::enable_shared_from_this<Line> {
 public:
  Line(asio::any_io_executor executor, TransportOwner& owner) : executor_(std::move(executor)), owner_(&owner) {}

  /// Thread: the broker's.
  void push(std::string frame) {
    const std::lock_guard lock(mutex_);
    frames_.push_back(std::move(frame));
    schedule();
  }
  void end(const std::string& why) {
    const std::lock_guard lock(mutex_);
    ended_ = why;
    schedule();
  }
  /// Thread: the client's. Afterwards the owner is not called, and nothing is posted to its loop, which may end.
  void drop() {
    owner_ = nullptr;
    const std::lock_guard lock(mutex_);
    dropped_ = true;
  }

 private:
  void schedule() {
    if (dropped_ || std::exchange(scheduled_, true)) return;
    asio::post(executor_, [self = shared_from_this()] { self->hand_over(); });
  }
  void hand_over() {
    std::vector<std::string> frames;
    std::string ended;
    {
      const std::lock_guard lock(mutex_);
      scheduled_ = false;
      frames.swap(frames_);
      ended.swap(ended_);
    }
    for (std::string& frame : frames) {
      if (owner_ != nullptr) owner_->on_frame(Slice::of(std::move(frame)));
    }
    if (owner_ != nullptr) owner_->on_turn();
    if (owner_ != nullptr && !ended.empty()) owner_->on_ended(ended);
  }

  asio::any_io_executor executor_;
  TransportOwner* owner_;
  std::mutex mutex_;
  std::vector<std::string> frames_;
  std::string ended_;
  bool scheduled_ = false;
  bool dropped_ = false;
};

}  // namespace

class MemoryBroker::Loop final : public Connector {
 public:
  explicit Loop(broker::core::Config config) : config_(std::move(config)), timer_(context_) {
    start();
    thread_ = std::thread([this] { context_.run(); });
  }
  ~Loop() override {
    call([this] {
      timer_.cancel();
      end_lines();
      core_.reset();
    });
    context_.stop();
    thread_.join();
  }

  /// Runs `work` on the broker's thread, and waits for it.
  template <class Work>
  void call(Work work) {
    std::promise<void> done;
    asio::post(context_, [&] {
      work();
      done.set_value();
    });
    done.get_future().wait();
  }

  void start() {
    auto recovered = store_.recover();
    core_ = std::make_unique<broker::core::Core>(config_, std::move(recovered), store_, now());
    turn();
  }
  void restart() {
    end_lines();
    core_.reset();
    start();
  }
  void end_lines() {
    for (auto& [connection, line] : lines_) line->end("the broker stopped");
    lines_.clear();
  }

  [[nodiscard]] std::unique_ptr<Transport> connect(const asio::any_io_executor& executor,
                                                   TransportOwner& owner) override;
  [[nodiscard]] std::string name() const override { return "memory://"; }

  /// The client dropped its end. Thread: the client's.
  void hang_up(Connection connection) {
    asio::post(context_, [this, connection] {
      admit();
      if (lines_.erase(connection) == 0 || core_ == nullptr) return;
      core_->disconnected(now(), connection, actions_);
      turn();
    });
  }
  /// Thread: the client's.
  void send(Connection from, std::string frame) {
    const std::lock_guard lock(mutex_);
    inbox_.emplace_back(from, std::move(frame));
    if (std::exchange(scheduled_, true)) return;
    asio::post(context_, [this] { read(); });
  }

  broker::core::Core& core() { return *core_; }
  MemoryStore& store() { return store_; }
  void turn();

 private:
  void admit();
  void read();
  void carry_out();
  void arm();

  broker::core::Config config_;
  MemoryStore store_;
  asio::io_context context_{1};
  asio::executor_work_guard<asio::io_context::executor_type> work_{context_.get_executor()};
  asio::steady_timer timer_;
  std::unique_ptr<broker::core::Core> core_;
  broker::core::Actions actions_;
  std::map<Connection, std::shared_ptr<Line>> lines_;
  v1::Frame head_;
  std::mutex mutex_;
  std::vector<std::pair<Connection, std::string>> inbox_;
  std::vector<std::pair<Connection, std::shared_ptr<Line>>> new_lines_;
  bool scheduled_ = false;
  Connection next_connection_ = 1;
  std::thread thread_;
};

class MemoryTransport final : public Transport {
 public:
  MemoryTransport(MemoryBroker::Loop& loop, Connection connection, std::shared_ptr<Line> line)
      : loop_(loop), connection_(connection), line_(std::move(line)) {}
  ~MemoryTransport() override {
    line_->drop();
    loop_.hang_up(connection_);
  }
  void send(std::string frame) override { loop_.send(connection_, std::move(frame)); }

 private:
  MemoryBroker::Loop& loop_;
  Connection connection_;
  std::shared_ptr<Line> line_;
};

std::unique_ptr<Transport> MemoryBroker::Loop::connect(const asio::any_io_executor& executor, TransportOwner& owner) {
  auto line = std::make_shared<Line>(executor, owner);
  Connection connection = 0;
  {
    const std::lock_guard lock(mutex_);
    connection = next_connection_++;
    // The line goes with the frames, so that the broker knows it when HELLO comes.
    new_lines_.emplace_back(connection, line);
  }
  return std::make_unique<MemoryTransport>(*this, connection, std::move(line));
}

void MemoryBroker::Loop::admit() {
  const std::lock_guard lock(mutex_);
  for (auto& [connection, line] : new_lines_) lines_[connection] = std::move(line);
  new_lines_.clear();
}

void MemoryBroker::Loop::read() {
  std::vector<std::pair<Connection, std::string>> frames;
  {
    const std::lock_guard lock(mutex_);
    scheduled_ = false;
    frames.swap(inbox_);
  }
  // New lines are admitted after the frames were taken, so that each frame's sender is among them.
  admit();
  if (core_ == nullptr) return;
  for (auto& [from, bytes] : frames) {
    if (!lines_.contains(from)) continue;  // its connection was cut
    const Slice slice = Slice::of(std::move(bytes));
    const auto run = protocol::decode_bounded(slice.bytes, head_);
    if (run.has_error()) {
      core_->malformed(now(), from, run.error(), actions_);
    } else {
      core_->frame(now(), from, head_, {slice.owner, *run}, actions_);
    }
  }
  turn();
}

void MemoryBroker::Loop::turn() {
  if (core_ == nullptr) return;
  if (now().instant >= core_->next_tick()) core_->tick(now(), actions_);
  carry_out();
  while (core_->wants_commit() || core_->has_work()) {
    if (core_->has_work()) core_->go_on(now(), actions_);
    if (core_->wants_commit()) {
      store_.commit(core_->seal(now()));
      core_->committed(now(), actions_);
    }
    carry_out();
  }
  arm();
}

void MemoryBroker::Loop::carry_out() {
  // By index: an answer may bring further actions.
  for (std::size_t i = 0; i < actions_.size(); ++i) {
    broker::core::Action action = std::move(actions_[i]);
    if (auto* send = std::get_if<broker::core::Send>(&action)) {
      const auto line = lines_.find(send->to);
      if (line != lines_.end()) line->second->push(protocol::encode(send->frame));
    } else if (auto* delivery = std::get_if<broker::core::SendDelivery>(&action)) {
      const auto line = lines_.find(delivery->to);
      if (line != lines_.end()) line->second->push(deliver_frame(*delivery, *store_.snapshot()));
    } else if (auto* ask = std::get_if<broker::core::Ask>(&action)) {
      v1::ControlReply reply;
      reply.set_id(ask->request.id());
      reply.set_error("memory:// takes no requests: its process looks at it directly");
      core_->reply(ask->from, std::move(reply), actions_);
    } else if (auto* close = std::get_if<broker::core::Close>(&action)) {
      lines_.erase(close->connection);
    }
  }
  actions_.clear();
}

void MemoryBroker::Loop::arm() {
  timer_.expires_at(std::chrono::steady_clock::time_point(core_->next_tick().time_since_epoch()));
  timer_.async_wait([this](const boost::system::error_code& error) {
    if (!error) turn();
  });
}

MemoryBroker::MemoryBroker(broker::core::Config config) : loop_(std::make_unique<Loop>(std::move(config))) {}
MemoryBroker::~MemoryBroker() = default;

Connector& MemoryBroker::connector() { return *loop_; }

void MemoryBroker::restart() {
  loop_->call([this] { loop_->restart(); });
}

void MemoryBroker::cut() {
  loop_->call([this] { loop_->end_lines(); });
}

v1::Queues MemoryBroker::queues() {
  v1::Queues out;
  loop_->call([&] { loop_->core().list_queues(out); });
  return out;
}

v1::Workers MemoryBroker::workers() {
  v1::Workers out;
  loop_->call([&] { loop_->core().list_workers(now(), out); });
  return out;
}

std::vector<v1::DeadLetter> MemoryBroker::dead(const std::string& queue) {
  std::vector<v1::DeadLetter> letters;
  loop_->call([&] {
    const auto id = loop_->core().queue_id(queue);
    if (!id) return;
    const auto snapshot = loop_->store().snapshot();
    std::vector<Place> places;
    snapshot->dead_after(*id, std::nullopt, 1000, places);
    for (const Place& place : places) {
      const auto bytes = snapshot->dead(place);
      v1::Record record;
      if (!bytes || !record.ParseFromArray(bytes->data(), static_cast<int>(bytes->size()))) continue;
      v1::DeadLetter& letter = letters.emplace_back();
      letter.mutable_summary()->set_id(print_id(queue, place.segment, place.index));
      if (const auto name = protocol::read_name(record.name())) letter.mutable_summary()->set_name(name->text());
      letter.mutable_summary()->set_type(record.type());
      letter.mutable_summary()->set_attempts(record.attempts());
      letter.mutable_summary()->set_dead_since_us(record.dead_since_us());
      if (record.history_size() > 0) {
        letter.mutable_summary()->set_last_error(record.history(record.history_size() - 1).error());
      }
      *letter.mutable_history() = record.history();
      letter.set_key(record.key());
      if (const auto body = protocol::decode_body(record.body()); body.has_value()) {
        letter.set_payload(std::string(body->payload));
      }
    }
  });
  return letters;
}

void MemoryBroker::replay(const std::string& queue) {
  loop_->call([&] {
    const auto id = loop_->core().queue_id(queue);
    if (!id) return;
    std::vector<Place> places;
    loop_->store().snapshot()->dead_after(*id, std::nullopt, 1000, places);
    broker::core::Actions unheard;
    (void)loop_->core().replay_dead(now(), 0, 0, places, unheard);
    loop_->turn();
  });
}

void MemoryBroker::bury(const ProcessToken& token) {
  loop_->call([&] {
    // The report has a connection of its own for as long as it takes.
    const Connection reporter = ~Connection{0};
    broker::core::Actions unheard;
    v1::Frame frame;
    frame.set_number(1);
    frame.mutable_hello()->set_magic(protocol::magic);
    frame.mutable_hello()->set_version_lowest(protocol::version_lowest);
    frame.mutable_hello()->set_version_highest(protocol::version_highest);
    frame.mutable_hello()->set_kind(v1::KEEP_ALIVE);
    loop_->core().frame(now(), reporter, frame, {}, unheard);
    frame.set_number(2);
    frame.mutable_death()->set_process_token(std::string(token.view()));
    loop_->core().frame(now(), reporter, frame, {}, unheard);
    loop_->core().disconnected(now(), reporter, unheard);
    loop_->turn();
  });
}

}  // namespace weir::engine::memory
