// What a client can say wrong: it is answered in words and ended, or goes on; its neighbours never notice.
#include <gmock/gmock.h>

#include "core_harness.hpp"

namespace weir::broker::core::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr Connection neighbour = 1;
constexpr Connection stranger = 2;
constexpr Connection worker = 3;
constexpr Connection publisher = 4;

/// A broker with a publisher that goes on, whatever others say.
class BadFrames : public ::testing::Test {
 protected:
  BadFrames() { broker_.open_publisher(neighbour); }
  ~BadFrames() override {
    broker_.publish(neighbour, 1, 3);
    broker_.commit();
    EXPECT_EQ(broker_.confirmed(neighbour), 3U) << "the neighbour was harmed";
  }

  const v1::Error& answer_to(v1::Frame frame, std::string run = {}) {
    broker_.say(stranger, std::move(frame), std::move(run));
    return broker_.last(stranger).error();
  }
  void be_welcomed() { broker_.open_publisher(stranger, 8); }
  /// The session is gone: what follows is a stranger's.
  void expect_ended() {
    EXPECT_TRUE(broker_.last(stranger).error().fatal());
    EXPECT_THAT(broker_.closed_connections, ::testing::Contains(stranger));
    EXPECT_THAT(answer_to({}).message(), StartsWith("a frame before HELLO"));
  }
  static v1::Frame hello(v1::Kind kind) {
    v1::Frame frame;
    auto& hello = *frame.mutable_hello();
    hello.set_magic(protocol::magic);
    hello.set_version_lowest(protocol::version_lowest);
    hello.set_version_highest(protocol::version_highest);
    hello.set_kind(kind);
    return frame;
  }
  /// A part of a worker's HELLO that names `runs` runs of `count` messages.
  static v1::Frame hello_part(int runs, std::uint32_t count, bool more) {
    v1::Frame frame = hello(v1::WORKER);
    frame.mutable_hello()->set_process_token(std::string(token(9).view()));
    frame.mutable_hello()->add_attach()->set_queue("orders");
    frame.mutable_hello()->set_more(more);
    for (int i = 0; i < runs; ++i) {
      auto& claim = *frame.mutable_hello()->add_held();
      claim.set_queue(1);
      claim.set_segment(static_cast<std::uint64_t>(i));
      claim.set_count(count);
      claim.set_incarnation(1);
    }
    return frame;
  }

  Broker broker_;
};

TEST_F(BadFrames, ARepeatedFrameEndsTheSession) {
  be_welcomed();
  v1::Frame again = broker_.publish_frame(1, 1);
  answer_to(again, std::string(10, 'x'));
  --broker_.frames_out[stranger];

  EXPECT_EQ(answer_to(again, std::string(10, 'x')).message(),
            "frame 2 came after frame 2; frames count from 1 without a gap");

  expect_ended();
}

TEST_F(BadFrames, AFrameBeforeHelloSaysWhatToSayFirst) {
  EXPECT_EQ(answer_to(broker_.publish_frame(1, 1)).message(),
            "a frame before HELLO; say HELLO first (the session may have ended)");
  expect_ended();
}

TEST_F(BadFrames, AnotherVersionIsToldBothRanges) {
  v1::Frame frame = hello(v1::CONTROL);
  frame.mutable_hello()->set_version_lowest(8);
  frame.mutable_hello()->set_version_highest(9);

  EXPECT_EQ(answer_to(frame).message(), "no protocol version in common: you speak 8 to 9, this broker 2 to 2");

  expect_ended();
}

TEST_F(BadFrames, AnotherProtocolsHelloIsToldWhoListensHere) {
  v1::Frame frame = hello(v1::CONTROL);
  frame.mutable_hello()->set_magic(0xbadU);

  EXPECT_EQ(answer_to(frame).message(), "HELLO: wrong magic; this is a Weir broker");

  expect_ended();
}

TEST_F(BadFrames, AHelloOfNoKindSaysWhichThereAre) {
  EXPECT_EQ(answer_to(hello(v1::KIND_UNSPECIFIED)).message(),
            "HELLO: kind must be WORKER, PUBLISHER, CONTROL or KEEP_ALIVE");
  expect_ended();
}

TEST_F(BadFrames, ATokenOrAnIdOfAnotherLengthIsNamed) {
  v1::Frame frame = hello(v1::WORKER);
  frame.mutable_hello()->set_process_token("short");
  EXPECT_EQ(answer_to(frame).message(), "HELLO of a worker: process_token must be 16 bytes");
  expect_ended();

  broker_.frames_out[stranger] = 0;
  EXPECT_EQ(answer_to(hello(v1::PUBLISHER)).message(), "HELLO of a publisher: publisher must be 16 bytes");
  expect_ended();
}

TEST_F(BadFrames, ASecondHelloEndsTheSession) {
  be_welcomed();
  EXPECT_EQ(answer_to(hello(v1::CONTROL)).message(), "a second HELLO in one session");
  expect_ended();
}

TEST_F(BadFrames, AFrameAmongThePartsOfAHelloEndsTheSession) {
  v1::Frame part = Broker::worker_hello(token(5), 10, 1);
  part.mutable_hello()->set_more(true);
  broker_.say(stranger, part);
  v1::Frame window;
  window.mutable_window()->set_epoch(2);
  broker_.say(stranger, window);
  EXPECT_EQ(broker_.last(stranger).error().message(), "a frame before HELLO was complete");
  EXPECT_TRUE(broker_.last(stranger).error().fatal());
}

TEST_F(BadFrames, APublishToAQueueThatItsHelloDidNotNameIsTaken) {
  constexpr Connection other = stranger + 20;
  broker_.say(other, Broker::publisher_hello(9));
  broker_.publish(other, 1, 1);
  broker_.commit();
  EXPECT_EQ(broker_.confirmed(other), 1U);
}

TEST_F(BadFrames, WhatIsNotForThisKindOfSessionIsNamed) {
  be_welcomed();
  v1::Frame settle;
  settle.mutable_settle();
  EXPECT_EQ(answer_to(settle).message(), "SETTLE is not for this kind of session");
  expect_ended();
}

TEST_F(BadFrames, AnUnknownQueueIsNamedAndTheSessionOfAPublisherLives) {
  be_welcomed();
  v1::Frame interest;
  interest.mutable_interest()->add_publish_to("odrers");
  EXPECT_EQ(answer_to(interest).message(), "unknown queue 'odrers'");
  EXPECT_FALSE(broker_.last(stranger).error().fatal());

  broker_.publish(stranger, 1, 2);
  broker_.commit();
  EXPECT_EQ(broker_.confirmed(stranger), 2U);
}

TEST_F(BadFrames, AWorkerOfAnUnknownQueueIsToldWhichThereAre) {
  v1::Frame frame = hello_part(0, 0, false);
  frame.mutable_hello()->mutable_attach(0)->set_queue("odrers");
  EXPECT_EQ(answer_to(frame).message(), "unknown queue 'odrers'; this broker has: orders");
  expect_ended();
}

TEST_F(BadFrames, AKeepAliveOrDeathReportUnderAWrongTokenChangesNothing) {
  broker_.open_publisher(publisher, 5);
  broker_.publish(publisher, 1, 3);
  broker_.commit();
  broker_.attach(worker, token(1));
  broker_.commit();
  answer_to(hello(v1::KEEP_ALIVE));
  for (const std::string& wrong : {std::string(token(2).view()), std::string("short"), std::string()}) {
    v1::Frame alive;
    alive.mutable_keep_alive()->set_process_token(wrong);
    EXPECT_EQ(answer_to(alive).message(), "keep-alive: no session of this broker bears this process token");
    EXPECT_FALSE(broker_.last(stranger).error().fatal());
    v1::Frame death;
    death.mutable_death()->set_process_token(wrong);
    EXPECT_EQ(answer_to(death).message(), "death report: no session of this broker bears this process token");
    EXPECT_FALSE(broker_.last(stranger).error().fatal());
  }
  broker_.commit();

  EXPECT_EQ(broker_.queue().leased(), 3U);
  broker_.settle(worker, broker_.deliveries(worker).front().lease(), 3, v1::ACK);
  broker_.commit();
  EXPECT_EQ(broker_.queue().acked(), 3U);
}

TEST_F(BadFrames, AMessageOverTheLimitIsToldTheLimit) {
  be_welcomed();
  const std::size_t size = broker_.config.message_most.value + 1;
  v1::Frame frame = broker_.publish_frame(1, 1);
  frame.mutable_publish()->mutable_groups(0)->mutable_index()->set_lengths(0, static_cast<std::uint32_t>(size));

  const v1::Error& error = answer_to(frame, std::string(size, 'x'));

  EXPECT_EQ(error.code(), v1::Error::TOO_LARGE);
  EXPECT_THAT(error.message(), HasSubstr(std::to_string(broker_.config.message_most.value)));
  expect_ended();
  EXPECT_EQ(broker_.queue().published(), 0U);
}

TEST_F(BadFrames, ANumberThatGoesBackIsNotTakenForOneThatIsThere) {
  be_welcomed();
  broker_.publish(stranger, 5, 2);

  EXPECT_EQ(answer_to(broker_.publish_frame(3, 1), std::string(10, 'x')).message(),
            "PUBLISH: message 3 came after 6; in a session numbers go up, also of what is sent again");

  expect_ended();
  broker_.commit();
  EXPECT_EQ(broker_.queue().published(), 2U);
}

// Before any of the frame is taken.
TEST_F(BadFrames, APublishIsToldWhichOfItsGroupsIsWrong) {
  const auto answer_to_broken = [&](auto&& break_it, std::size_t run_bytes = 10) {
    broker_.frames_out[stranger] = 0;
    broker_.open_publisher(stranger, 8);
    v1::Frame frame = broker_.publish_frame(1, 1);
    break_it(*frame.mutable_publish()->mutable_groups(0));
    const std::string said = answer_to(frame, std::string(run_bytes, 'x')).message();
    EXPECT_TRUE(broker_.last(stranger).error().fatal()) << said;
    return said;
  };

  EXPECT_EQ(answer_to_broken([](auto& group) { group.mutable_index()->set_lengths(0, 11); }),
            "PUBLISH: group 1: its lengths go beyond the run");
  EXPECT_EQ(answer_to_broken([](auto& group) { group.mutable_index()->clear_types(); }),
            "PUBLISH: group 1: group without `types`");
  EXPECT_EQ(answer_to_broken([](auto& group) { group.set_queue(77); }), "PUBLISH: group 1: unknown queue id 77");
  EXPECT_EQ(answer_to_broken([](auto& group) { group.set_first_number(0); }),
            "PUBLISH: group 1: first_number 0 of 1 messages; numbers go from 1 to 18446744073709551614");
  EXPECT_EQ(answer_to_broken([](auto& group) { group.set_priority(10); }),
            "PUBLISH: group 1: priority 10 is not 0 to 9");
  const auto two_from = [](std::uint64_t first) {
    return [first](auto& group) {
      group.set_first_number(first);
      group.mutable_index()->set_lengths(0, 5);
      group.mutable_index()->add_lengths(5);
    };
  };
  EXPECT_EQ(answer_to_broken(two_from(0xffffffffffffffffU)),
            "PUBLISH: group 1: first_number 18446744073709551615 of 2 messages; numbers go from 1 to "
            "18446744073709551614");
  EXPECT_EQ(answer_to_broken([](auto& group) { group.set_first_number(0xffffffffffffffffU); }),
            "PUBLISH: group 1: first_number 18446744073709551615 of 1 messages; numbers go from 1 to "
            "18446744073709551614");
  EXPECT_EQ(answer_to_broken([](auto& group) { group.mutable_index()->set_types(0, std::string(513, 't')); }),
            "PUBLISH: group 1: type of 513 bytes; at most 512");
  EXPECT_EQ(answer_to_broken([](auto& group) { group.mutable_index()->add_key(std::string(4097, 'k')); }),
            "PUBLISH: group 1: key or unique_id of 4097 bytes; at most 4096");
  EXPECT_EQ(answer_to_broken([](auto&) {}, 12), "PUBLISH: the run has 12 bytes, the groups 10");
  broker_.commit();
  EXPECT_EQ(broker_.queue().published(), 0U);
}

TEST_F(BadFrames, LeaseZeroWasNeverGranted) {
  broker_.attach(worker, token(1));
  broker_.commit();
  broker_.settle(worker, 0, 1, v1::ACK);
  EXPECT_THAT(broker_.last(worker).error().message(), StartsWith("SETTLE: leases 0 and 1 more"));
  EXPECT_TRUE(broker_.last(worker).error().fatal());
}

TEST_F(BadFrames, AQueueThatIsNamedOftenIsAnsweredOnceAndUnknownOnesTogether) {
  be_welcomed();
  v1::Frame frame;
  for (int i = 0; i < 5'000; ++i) frame.mutable_interest()->add_publish_to("orders");
  for (int i = 0; i < 5'000; ++i) frame.mutable_interest()->add_publish_to("ordres" + std::to_string(i));
  const std::size_t before = broker_.inbox[stranger].size();

  broker_.say(stranger, std::move(frame));

  ASSERT_EQ(broker_.inbox[stranger].size(), before + 2);
  EXPECT_EQ(broker_.inbox[stranger][before].error().message(), "unknown queue 'ordres0' and 4999 more");
  EXPECT_EQ(broker_.last(stranger).window().queue(), 1U);
}

TEST_F(BadFrames, AWorkerThatAttachesAQueueTwiceIsToldWhich) {
  v1::Frame frame = hello(v1::WORKER);
  frame.mutable_hello()->set_process_token(std::string(16, 't'));
  frame.mutable_hello()->add_attach()->set_queue("orders");
  frame.mutable_hello()->add_attach()->set_queue("orders");
  EXPECT_EQ(answer_to(frame).message(),
            "HELLO of a worker: it attaches to queue 'orders' twice; name its types in one place");
  expect_ended();
}

TEST_F(BadFrames, AQuotedNameDoesNotMakeAnErrorLong) {
  be_welcomed();
  v1::Frame frame;
  frame.mutable_interest()->add_publish_to(std::string(60'000, 'q'));
  EXPECT_LE(answer_to(frame).message().size(), 8'192U);
}

TEST_F(BadFrames, AKeepAliveKeepsNothingOfShardsThatTheProcessDoesNotHave) {
  broker_.attach(worker, token(1));
  broker_.open_keeper(stranger, token(1));
  v1::Frame frame;
  frame.mutable_keep_alive()->set_process_token(std::string(token(1).view()));
  for (std::uint32_t i = 0; i < 5'000; ++i) {
    frame.mutable_keep_alive()->add_shards()->set_shard(i);
    frame.mutable_keep_alive()->mutable_shards(static_cast<int>(i))->set_running(std::string(5'000, 'r'));
  }
  broker_.say(stranger, std::move(frame));

  v1::Workers all;
  broker_.core->list_workers(broker_.now, all);
  ASSERT_EQ(all.workers_size(), 1);
  EXPECT_EQ(all.workers(0).running().size(), 1024U);
}

TEST_F(BadFrames, AWorkerThatConsumesNothingIsRefused) {
  v1::Frame frame = hello(v1::WORKER);
  frame.mutable_hello()->mutable_window()->set_messages(16);
  frame.mutable_hello()->set_process_token(std::string(16, 't'));
  EXPECT_EQ(answer_to(frame).message(), "HELLO of a worker: it attaches to no queue");
  expect_ended();
}

TEST_F(BadFrames, AnOutputWithoutItsAckIsNotStored) {
  broker_.open_publisher(publisher, 5);
  broker_.publish(publisher, 1, 2);
  broker_.commit();
  broker_.attach(worker, token(1));
  broker_.commit();
  const auto lease = broker_.deliveries(worker).front().lease();
  for (const auto& [source, outcome] :
       {std::pair{lease + 1, v1::ACK}, std::pair{lease + 99'999, v1::ACK}, std::pair{lease, v1::RETRY}}) {
    v1::Frame frame;
    auto* run = frame.mutable_settle()->add_runs();
    run->set_lease(lease);
    run->set_count(1);
    run->set_outcome(outcome);
    auto* group = frame.mutable_settle()->add_outputs();
    group->set_queue(1);
    group->mutable_index()->add_lengths(1);
    group->mutable_index()->add_types("T");
    group->add_source(source);
    broker_.say(worker, frame, "a");
    EXPECT_EQ(broker_.last(worker).error().message(), "SETTLE: an output names lease " + std::to_string(source) +
                                                          " as its source, which this frame does not ack; they leave "
                                                          "together");
    broker_.frames_out[worker] = 0;
    broker_.attach(worker, token(1));
    broker_.commit();
  }
  EXPECT_EQ(broker_.queue().acked(), 0U);
  EXPECT_EQ(broker_.queue().published(), 2U);
}

TEST_F(BadFrames, ASettlementOfBillionsOfLeasesIsAnsweredAtOnce) {
  broker_.attach(worker, token(1));
  broker_.commit();
  broker_.settle(worker, 1, 0xffffffffU, v1::ACK);
  broker_.commit();
  EXPECT_LE(broker_.stale(worker), 0xffffffffU);
  EXPECT_EQ(broker_.queue().acked(), 0U);
}

TEST_F(BadFrames, AHelloThatNamesBillionsOfMessagesIsRefusedBeforeTheyAreCounted) {
  EXPECT_EQ(answer_to(hello_part(1, 0xffffffffU, false)).message(),
            "HELLO: it names 4294967295 messages as held or settled; at most 262144");
  expect_ended();
}

TEST_F(BadFrames, AHelloWithoutEndIsRefusedAtItsBound) {
  int parts = 0;
  do {
    broker_.say(stranger, hello_part(2'000, 1, true));
  } while (broker_.inbox[stranger].empty() && ++parts < 1'000);

  EXPECT_EQ(parts, 262'144 / 2'000);
  EXPECT_THAT(broker_.last(stranger).error().message(), StartsWith("HELLO: it names 264000 messages"));
  expect_ended();
}

TEST_F(BadFrames, APartOfAHelloOver64KiBIsRefused) {
  v1::Frame frame = hello_part(20'000, 1, true);
  frame.mutable_hello()->set_store(std::string(broker_.store_id.view()));
  frame.mutable_hello()->set_start(std::string(broker_.start_id.view()));
  EXPECT_EQ(answer_to(frame).message(), "HELLO: a part of " + std::to_string(frame.hello().ByteSizeLong()) +
                                            " bytes; at most 65536; the rest may follow in further parts (`more`)");
  EXPECT_EQ(broker_.last(stranger).error().code(), v1::Error::TOO_LARGE);
  expect_ended();
}

TEST_F(BadFrames, AHelloThatAttachesWithoutEndIsRefusedAtItsBound) {
  v1::Frame frame = hello_part(1, 1, true);
  for (int i = 0; i < 5'000; ++i) frame.mutable_hello()->mutable_attach(0)->add_types("t");
  int parts = 0;
  do {
    broker_.say(stranger, frame);
  } while (broker_.inbox[stranger].empty() && ++parts < 100);

  EXPECT_EQ(parts, 6);
  EXPECT_EQ(broker_.last(stranger).error().message(),
            "HELLO: it attaches to 35007 queues and types together; at most 32768: spread the queues over several "
            "groups");
  EXPECT_EQ(broker_.last(stranger).error().code(), v1::Error::TOO_LARGE);
  expect_ended();
}

TEST_F(BadFrames, WhoLeavesInTheMidstOfAHelloIsForgottenAfterTheSessionTimeout) {
  broker_.say(stranger, hello_part(100, 1, true));
  const Duration step = broker_.config.session_timeout / 8;
  for (Duration passed{}; passed < broker_.config.session_timeout; passed += step) broker_.pass(step);
  EXPECT_TRUE(broker_.inbox[stranger].empty()) << "it has until its time is out";

  for (int i = 0; i < 3; ++i) broker_.pass(step);

  ASSERT_FALSE(broker_.inbox[stranger].empty());
  EXPECT_EQ(broker_.last(stranger).error().message(),
            "HELLO was not complete within 10000 ms of its first part; its last part has `more: false`");
  expect_ended();
}

TEST_F(BadFrames, AHelloInPartsThatIsCompleteInTimeIsWelcome) {
  broker_.say(stranger, hello_part(100, 1, true));
  broker_.pass(broker_.config.session_timeout / 2);
  broker_.say(stranger, hello_part(100, 1, false));

  ASSERT_FALSE(broker_.inbox[stranger].empty());
  EXPECT_EQ(broker_.last(stranger).welcome().claims_size(), 200);
}

}  // namespace
}  // namespace weir::broker::core::testing
