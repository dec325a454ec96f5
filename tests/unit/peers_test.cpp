// Who may stay, by what the kernel says of each connection; the kernel is played.
#include "weir/broker/peers.hpp"

#include <gmock/gmock.h>

#include <map>

#include "weir/broker/admission.hpp"

namespace weir::broker {
namespace {

using namespace std::chrono_literals;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

constexpr std::uint64_t mib = 1024 * 1024;

class PlayedTcp final : public Tcp {
 public:
  struct Line {
    TcpLook look;
    std::uint64_t unread{};
    bool shut = false;
  };
  std::map<int, Line> lines;

  std::string peer_of(int descriptor) override {
    return lines.contains(descriptor) ? "127.0.0.1:" + std::to_string(40'000 + descriptor) : std::string();
  }
  std::optional<TcpLook> look(int descriptor) override { return lines.at(descriptor).look; }
  std::uint64_t unread(int descriptor) override { return lines.at(descriptor).unread; }
  void shut(int descriptor, const std::string& peer) override {
    EXPECT_EQ(peer, peer_of(descriptor));
    lines.at(descriptor).shut = true;
  }
};

class ThePeers : public testing::Test {
 protected:
  PlayedTcp tcp_;
  Instant now_{1h};
  Peers peers_{{.connections = 3, .strangers = 4, .unfinished_most = Bytes{17 * mib}, .patience = 10s}, tcp_};

  void accept(int descriptor) {
    tcp_.lines[descriptor];
    peers_.accepted(now_, descriptor);
  }
  PeerId session(int descriptor, core::Connection connection) {
    accept(descriptor);
    const PeerId id = peers_.meet(descriptor, connection);
    peers_.welcomed(id);
    return id;
  }
  std::vector<std::string> look(Duration later = 25ms) {
    now_ += later;
    std::vector<std::string> why;
    for (const auto& ended : peers_.look(now_)) why.push_back(ended.why);
    return why;
  }
};

TEST_F(ThePeers, AMessageWithoutEndIsCutOffAtTheSecondLookThatFindsIt) {
  session(7, 1);
  EXPECT_THAT(look(), IsEmpty());
  tcp_.lines[7].look.received = 20 * mib;
  EXPECT_THAT(look(), IsEmpty()) << "it may have been on its way to the socket";
  EXPECT_EQ(peers_.next_look(), now_ + 2ms);
  EXPECT_THAT(look(2ms), ElementsAre(AllOf(HasSubstr("a message that has no end"), HasSubstr("at most 17825792"))));
  EXPECT_TRUE(tcp_.lines[7].shut);
}

TEST_F(ThePeers, WhoseMessagesAreWholeMaySendWithoutEnd) {
  const PeerId id = session(7, 1);
  for (int i = 0; i < 100; ++i) {
    tcp_.lines[7].look.received += 50 * mib;
    peers_.heard(id);
    EXPECT_THAT(look(), IsEmpty());
  }
  tcp_.lines[7].look.received += 16 * mib;  // the largest message, slowly
  for (int i = 0; i < 100; ++i) EXPECT_THAT(look(), IsEmpty());
}

TEST_F(ThePeers, WhatTheBrokerHasNotReadYetIsNoPartOfAMessage) {
  session(7, 1);
  tcp_.lines[7].look.received = 20 * mib;
  tcp_.lines[7].unread = 6 * mib;
  EXPECT_THAT(look(), IsEmpty());
  EXPECT_THAT(look(), IsEmpty());
}

TEST_F(ThePeers, BeforeASessionAHelloIsAllThatMayCome) {
  accept(7);
  tcp_.lines[7].look.received = 64ULL * 1024;
  look();
  EXPECT_THAT(look(), IsEmpty());
  tcp_.lines[7].look.received = 129ULL * 1024;
  look();
  EXPECT_THAT(look(), ElementsAre(HasSubstr("at most 131072 before a session")));
}

TEST_F(ThePeers, WhoSaysNoHelloGoesAndSoDoesWhoIsNotWelcomed) {
  accept(7);
  accept(8);
  static_cast<void>(peers_.meet(8, 2));  // it said something, and was not welcomed
  session(9, 3);
  for (int i = 0; i < 10; ++i) EXPECT_THAT(look(1s), IsEmpty());
  EXPECT_THAT(look(1s), ElementsAre("no HELLO within 10000 ms"));
  for (int i = 0; i < 19; ++i) EXPECT_THAT(look(1s), IsEmpty());
  EXPECT_THAT(look(1s), ElementsAre("it was without a session for 30000 ms"));
  EXPECT_FALSE(tcp_.lines[9].shut);
}

TEST_F(ThePeers, TheBrokersOwnSleepEndsNobody) {
  accept(7);
  session(8, 1);
  tcp_.lines[8].look.queued = true;
  look();
  EXPECT_THAT(look(60s), IsEmpty());
  EXPECT_THAT(look(2s), IsEmpty());
}

TEST_F(ThePeers, OfTooManyStrangersTheOldestGo) {
  for (int descriptor : {7, 8, 9, 10, 11, 12}) accept(descriptor);
  peers_.welcomed(peers_.meet(8, 1));  // it was among the oldest, but has a session
  EXPECT_THAT(look(), ElementsAre("of more than 4 connections without a session it was the oldest"));
  EXPECT_TRUE(tcp_.lines[7].shut);
  EXPECT_EQ(peers_.strangers(), 4U);
  peers_.pressed();  // no descriptor was left for another
  EXPECT_THAT(look(), SizeIs(2));
}

TEST_F(ThePeers, AreFullOfSessionsNotOfStrangers) {
  const PeerId first = session(7, 1);
  session(8, 2);
  accept(10);
  EXPECT_FALSE(peers_.full());
  session(9, 3);
  EXPECT_TRUE(peers_.full());
  peers_.ended(now_, first);
  EXPECT_FALSE(peers_.full());
}

TEST_F(ThePeers, WhoReadsNothingGoesAndTheCoreIsToldOnceItIsClosed) {
  session(7, 1);
  session(8, 2);
  tcp_.lines[7].look = {.received = 100, .acked = 500, .queued = true};
  for (int i = 0; i < 100; ++i) {
    tcp_.lines[8].look = {.received = 100, .acked = 500U + static_cast<unsigned>(i), .queued = true};  // slowly
    EXPECT_THAT(look(100ms), IsEmpty());
  }
  EXPECT_THAT(look(100ms), IsEmpty());
  EXPECT_THAT(look(100ms), ElementsAre(HasSubstr("it has read nothing of what it was sent for")));
  EXPECT_TRUE(tcp_.lines[7].shut);
  EXPECT_THAT(peers_.take_gone(), IsEmpty());
  peers_.closed(7);
  EXPECT_THAT(peers_.take_gone(), ElementsAre(1U));
}

TEST_F(ThePeers, TellWhatWasReadOfWhatWasSent) {
  const PeerId id = session(7, 1);
  tcp_.lines[7].look.acked = 91;  // ZMTP's own
  look();
  static_cast<void>(peers_.take_read());

  peers_.sent(id, 700 * 1024);
  EXPECT_THAT(peers_.take_read(), IsEmpty());
  tcp_.lines[7].look = {.acked = 400ULL * 1024, .queued = true};
  peers_.sent(id, 700 * 1024);  // more than a MiB since the last look

  const auto read = peers_.take_read();
  ASSERT_THAT(read, SizeIs(1));
  EXPECT_EQ(read[0].connection, 1U);
  EXPECT_EQ(read[0].bytes.value, 400U * 1024 - 91);
}

TEST_F(ThePeers, OfTooMuchUnreadInAllWhoHasTheMostGoes) {
  const PeerId worker = session(7, 1);
  const PeerId one = session(8, 2);
  const PeerId other = session(9, 3);
  for (int i = 0; i < 60; ++i) {
    for (int descriptor : {7, 8, 9}) {
      tcp_.lines[descriptor].look.queued = true;
      ++tcp_.lines[descriptor].look.acked;
    }
    peers_.sent(worker, 16 * mib / 60);
    peers_.sent(one, mib);
    peers_.sent(other, 51 * mib / 60);
    EXPECT_THAT(look(), IsEmpty());
  }
  peers_.sent(one, 2 * mib);
  EXPECT_THAT(look(), ElementsAre(HasSubstr("it has not read 65011")));
  EXPECT_TRUE(tcp_.lines[8].shut);
  peers_.closed(8);
  EXPECT_THAT(look(), IsEmpty());
}

TEST_F(ThePeers, ADescriptorThatIsUsedAgainIsAnother) {
  const PeerId first = session(7, 1);
  peers_.closed(7);
  accept(7);
  peers_.welcomed(first);
  peers_.ended(now_, first);
  EXPECT_EQ(peers_.strangers(), 1U);
  EXPECT_EQ(peers_.size(), 1U);
}

TEST_F(ThePeers, AllAreLookedAtInEightLooks) {
  PlayedTcp tcp;
  Peers many({.connections = 4000, .strangers = 4000, .unfinished_most = Bytes{mib}, .patience = 10s}, tcp);
  for (int descriptor = 0; descriptor < 4000; ++descriptor) {
    tcp.lines[descriptor];
    many.accepted(now_, descriptor);
    many.welcomed(many.meet(descriptor, 1));
  }
  tcp.lines[3999].look.received = 0;
  for (int i = 0; i < 9; ++i) EXPECT_THAT(many.look(now_ += 50ms), IsEmpty());
  tcp.lines[3999].look.received = 3 * mib;
  std::size_t shut = 0;
  for (int i = 0; i < 9; ++i) shut += many.look(now_ += 50ms).size();
  EXPECT_EQ(shut, 1U);
}

TEST(PeerLimit, IsWhatThereAreDescriptorsFor) {
  BrokerSettings settings;
  EXPECT_EQ(peer_limits(settings, 1'048'576).connections, 10'000U);
  EXPECT_EQ(peer_limits(settings, 1'048'576).strangers, 256U);
  const PeerLimits few = peer_limits(settings, 256);
  EXPECT_EQ(few.connections + few.strangers, 208U);
  EXPECT_EQ(few.strangers, 52U);
  const PeerLimits hardly_any = peer_limits(settings, 64);
  EXPECT_EQ(hardly_any.connections + hardly_any.strangers, 32U);
}

}  // namespace
}  // namespace weir::broker
