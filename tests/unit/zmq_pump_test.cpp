#include "weir/async/zmq_pump.hpp"

#include <gtest/gtest.h>

#include <boost/asio/io_context.hpp>
#include <functional>
#include <optional>
#include <thread>
#include <vector>

#include "weir/message/error.hpp"

namespace weir::async {
namespace {

using std::chrono_literals::operator""s;

/// A pump's owner whose callbacks the test names.
struct Owner : PumpOwner {
  std::function<void(std::string_view, ZmqFrame)> frame = [](std::string_view, ZmqFrame) {};
  std::function<void()> turn = [] {};
  std::function<void(std::string_view, std::size_t)> malformed = [](std::string_view, std::size_t) {};
  std::function<void(std::string_view)> unreachable = [](std::string_view) {};
  std::function<void(const MonitorEvent&)> monitor = [](const MonitorEvent&) {};
  void on_frame(std::string_view peer, ZmqFrame f) override { frame(peer, std::move(f)); }
  void on_turn() override { turn(); }
  void on_malformed(std::string_view peer, std::size_t parts) override { malformed(peer, parts); }
  void on_unreachable(std::string_view peer) override { unreachable(peer); }
  void on_monitor(const MonitorEvent& event) override { monitor(event); }
};

/// Both sides count what they get, and send a message more for as long as they have any left.
struct Side {
  Owner owner;
  std::optional<ZmqPump> pump;
  std::string peer;
  int sent = 0;
  int received = 0;
};

void both_ways(const std::string& listen, int messages) {
  ZmqContext context;
  asio::io_context loop{1};
  Side server;
  Side client;
  const auto feed = [&](Side& side) {
    // 512 at most under way: neither side may run far ahead of the other's pump.
    while (side.sent < messages && side.pump->queued() < 512) {
      side.pump->send(side.peer, ZmqFrame(std::string_view("a message")));
      ++side.sent;
    }
    if (server.received == messages && client.received == messages) loop.stop();
  };
  for (Side* side : {&server, &client}) {
    side->owner.frame = [side](std::string_view peer, ZmqFrame) {
      if (side->peer.empty()) side->peer = peer;
      ++side->received;
    };
  }
  server.owner.turn = [&] {
    if (!server.peer.empty()) feed(server);
  };
  client.owner.turn = [&] { feed(client); };
  server.pump.emplace(loop.get_executor(), context, SocketOptions{.kind = SocketKind::router}, server.owner);
  server.pump->bind(listen);
  client.pump.emplace(loop.get_executor(), context, SocketOptions{}, client.owner);
  client.pump->connect(server.pump->endpoint());

  loop.run_for(60s);

  EXPECT_EQ(server.received, messages);
  EXPECT_EQ(client.received, messages);
}

TEST(ZmqPump, NeverHangsWithBothDirectionsBusyInProcess) { both_ways("inproc://busy", 300'000); }

TEST(ZmqPump, NeverHangsWithBothDirectionsBusyOverTcp) { both_ways("tcp://127.0.0.1:*", 300'000); }

TEST(ZmqPump, ReportsAMessageOfTwoBodiesAsMalformedWithItsPeer) {
  ZmqContext context;
  asio::io_context loop{1};
  Owner owner;
  std::string peer;
  std::size_t parts = 0;
  owner.malformed = [&](std::string_view from, std::size_t count) {
    peer = from;
    parts = count;
    loop.stop();
  };
  ZmqPump pump(loop.get_executor(), context, {.kind = SocketKind::router}, owner);
  pump.bind("tcp://127.0.0.1:*");
  void* raw = zmq_socket(context.raw(), ZMQ_DEALER);
  const int none = 0;
  zmq_setsockopt(raw, ZMQ_LINGER, &none, sizeof none);
  zmq_connect(raw, pump.endpoint().c_str());
  zmq_send(raw, "one", 3, ZMQ_SNDMORE);
  zmq_send(raw, "two", 3, 0);

  loop.run_for(10s);
  zmq_close(raw);

  EXPECT_EQ(parts, 2U);
  EXPECT_EQ(peer.size(), 5U);
}

TEST(ZmqPump, SaysWhichPeerIsGone) {
  ZmqContext context;
  asio::io_context loop{1};
  Owner owner;
  std::string gone;
  owner.unreachable = [&](std::string_view peer) {
    gone = peer;
    loop.stop();
  };
  ZmqPump pump(loop.get_executor(), context, {.kind = SocketKind::router}, owner);
  pump.bind("inproc://lonely");
  pump.send("nobody", ZmqFrame(std::string_view("hello")));

  loop.run_for(10s);

  EXPECT_EQ(gone, "nobody");
}

TEST(ZmqPump, TellsItsOwnerThatTheConnectionEnded) {
  ZmqContext context;
  asio::io_context loop{1};
  Owner quiet;
  std::optional<ZmqPump> server;
  server.emplace(loop.get_executor(), context, SocketOptions{.kind = SocketKind::router}, quiet);
  server->bind("tcp://127.0.0.1:*");
  Owner owner;
  std::vector<MonitorEvent::Kind> seen;
  owner.monitor = [&](const MonitorEvent& event) {
    seen.push_back(event.kind);
    if (event.kind == MonitorEvent::Kind::connected) server.reset();
    if (event.kind != MonitorEvent::Kind::connected) loop.stop();
  };
  std::optional<ZmqPump> client;
  client.emplace(loop.get_executor(), context, SocketOptions{.monitor = true}, owner);
  client->connect(server->endpoint());

  loop.run_for(10s);

  ASSERT_GE(seen.size(), 2U);
  EXPECT_EQ(seen.front(), MonitorEvent::Kind::connected);
  EXPECT_NE(seen.back(), MonitorEvent::Kind::connected);
}

TEST(ZmqPump, MayBeDestroyedFromWithinItsCallback) {
  ZmqContext context;
  asio::io_context loop{1};
  Owner owner;
  std::optional<ZmqPump> server;
  server.emplace(loop.get_executor(), context, SocketOptions{.kind = SocketKind::router}, owner);
  owner.frame = [&](std::string_view, ZmqFrame) { server.reset(); };
  server->bind("inproc://short");
  Owner quiet;
  ZmqPump client(loop.get_executor(), context, {}, quiet);
  client.connect("inproc://short");
  client.send(ZmqFrame(std::string_view("one")));
  client.send(ZmqFrame(std::string_view("two")));

  while (server.has_value() && loop.run_one_for(10s) > 0) {
  }

  EXPECT_FALSE(server.has_value());
}

TEST(ZmqPump, ATakenPortIsNamed) {
  ZmqContext context;
  asio::io_context loop{1};
  Owner owner;
  ZmqPump first(loop.get_executor(), context, {.kind = SocketKind::router}, owner);
  first.bind("tcp://127.0.0.1:*");
  ZmqPump second(loop.get_executor(), context, {.kind = SocketKind::router}, owner);

  try {
    second.bind(first.endpoint());
    FAIL() << "bound twice";
  } catch (const Error& error) {
    EXPECT_EQ(std::string(error.what()), "cannot listen on " + first.endpoint() + ": Address already in use");
  }
}

TEST(ZmqFrame, ASmallOneIsKeptByItselfAndALargeOneWhereItLies) {
  for (const std::size_t size : {1'000U, 100'000U}) {
    ZmqFrame frame(std::string(size, 'x'));
    const char* const where = frame.data();

    const Slice kept = ZmqFrame::share(std::move(frame));

    EXPECT_EQ(kept.bytes, std::string(size, 'x'));
    EXPECT_EQ(kept.bytes.data() == where, size > 8192) << size;
  }
}

}  // namespace
}  // namespace weir::async
