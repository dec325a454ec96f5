#include "weir/engine/weir/producer_machine.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "weir/protocol/bounds.hpp"
#include "weir/protocol/frame.hpp"
#include "weir/protocol/limits.hpp"

namespace weir::engine::weir_broker {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

constexpr std::uint32_t orders = 7;
constexpr std::uint32_t emails = 8;

/// The broker's side, played by hand.
class Play {
 public:
  Play() : machine({}, PublisherId{}) { machine.start(now); }

  void say(v1::Frame frame) {
    frame.set_number(++number);
    machine.frame(now, Slice::of(protocol::encode(frame)));
  }
  v1::Hello open() {
    number = 0;
    now += 2s;
    machine.opened(now);
    return hear().at(0).hello();
  }
  void welcome(Load window = {Messages{1000}, Bytes{1'000'000}}, bool known = true, std::uint64_t mark = 0) {
    v1::Frame frame;
    auto& welcome = *frame.mutable_welcome();
    welcome.set_publisher_known(known);
    welcome.set_publisher_mark(mark);
    welcome.set_store(store);
    welcome.set_start(start);
    welcome.set_store_is_older(store_is_older);
    welcome.set_commits(commits);
    welcome.set_message_most_bytes(1'000'000);
    ++epoch;
    for (const std::uint32_t id : {orders, emails}) {
      auto* queue = welcome.add_queues();
      queue->set_id(id);
      queue->set_name(id == orders ? "orders" : "emails");
      queue->set_in_file(true);
      queue->mutable_window()->set_epoch(epoch);
      queue->mutable_window()->set_messages(window.messages.value);
      queue->mutable_window()->set_bytes(window.bytes.value);
    }
    say(frame);
  }
  std::optional<std::uint64_t> offer(const std::string& queue, const std::string& body, Lane priority = default_lane) {
    Outgoing message;
    message.queue = queue;
    message.type = "a.B";
    message.body = body;
    message.priority = priority;
    return machine.offer(message);
  }
  void confirm(std::uint64_t first, std::uint32_t count, std::uint64_t segment = 5, std::uint32_t index = 0) {
    v1::Frame frame;
    auto* run = frame.mutable_confirmed()->add_runs();
    run->set_first(first);
    run->set_count(count);
    run->set_queue(orders);
    run->set_segment(segment);
    run->set_index(index);
    frame.mutable_confirmed()->set_commits(commits);
    say(frame);
  }
  std::vector<v1::Frame> hear() {
    std::vector<v1::Frame> frames;
    for (const auto& bytes : machine.outbox) frames.emplace_back().ParseFromString(bytes);
    machine.outbox.clear();
    return frames;
  }
  /// So many messages, each flushed by itself.
  void leave_unanswered(int count) {
    for (int i = 0; i < count; ++i) {
      offer("orders", "x");
      machine.flush(now);
    }
  }
  /// Connected, with both queues named.
  void ready(Load window = {Messages{1000}, Bytes{1'000'000}}) {
    (void)machine.has_room("orders");
    (void)machine.has_room("emails");
    open();
    welcome(window);
  }

  std::string store = "store of 16 bits", start = "start of 16 bits";
  bool store_is_older = false;
  std::uint64_t commits = 0;
  Instant now{10s};
  std::uint64_t number = 0;
  std::uint64_t epoch = 100;
  ProducerMachine machine;
};

TEST(Producer, NumbersAreGivenInFramesAndNeighboursOfALaneAreOneGroup) {
  Play play;
  play.ready();
  EXPECT_EQ(play.offer("orders", "one"), 1U);
  EXPECT_EQ(play.offer("emails", "two"), 2U);
  EXPECT_EQ(play.offer("orders", "three"), 3U);
  EXPECT_THAT(play.hear(), IsEmpty());

  play.machine.flush(play.now);

  const auto heard = play.hear();
  ASSERT_THAT(heard, SizeIs(1));
  const auto& publish = heard[0].publish();
  ASSERT_EQ(publish.groups_size(), 2);
  EXPECT_EQ(publish.groups(0).first_number(), 1U);
  EXPECT_EQ(publish.groups(0).index().lengths_size(), 2);
  EXPECT_EQ(publish.groups(1).first_number(), 3U);
  EXPECT_EQ(publish.groups(0).epoch(), play.epoch);
  EXPECT_EQ(publish.answered_below(), 1U);
  EXPECT_EQ(heard[0].run(), "onethreetwo");
}

TEST(Producer, FramesAreNoLargerThanABrokerTakesHoweverSmallMessagesAndLargeKeysAre) {
  Play play;
  play.ready({Messages{100'000}, Bytes{1'000'000}});
  const std::string key(4096, 'k');
  for (int i = 0; i < 5000; ++i) {
    Outgoing message;
    message.queue = "orders";
    message.type = "a.B";
    message.key = key;
    message.unique_id = key;
    message.body = "x";
    message.deliver_at = WallTime{std::chrono::hours(500'000)};
    message.priority = static_cast<Lane>(i % 10);
    ASSERT_TRUE(play.machine.offer(message));
  }
  play.machine.flush(play.now);
  play.open();
  std::size_t largest = 0;
  play.welcome({Messages{100'000}, Bytes{1'000'000}});  // and all of it is sent again

  for (const std::string& frame : play.machine.outbox) largest = std::max(largest, frame.size());

  EXPECT_GT(largest, 64U * 1024);
  EXPECT_LT(largest, protocol::frame_head_most);
}

TEST(Producer, FramesHaveNoMoreFieldsThanABrokerTakesHoweverTinyTheirMessagesAre) {
  Play play;
  play.ready({Messages{100'000}, Bytes{1'000'000}});
  for (int i = 0; i < 30'000; ++i) {
    Outgoing message;
    message.queue = "orders";
    message.type = i % 2 == 0 ? "A" : "B";
    message.key = message.unique_id = "k";
    message.body = "x";
    message.priority = static_cast<Lane>(i % 10);
    ASSERT_TRUE(play.machine.offer(message));
  }
  play.machine.flush(play.now);
  play.open();
  play.welcome({Messages{100'000}, Bytes{1'000'000}});  // and all of it is sent again
  std::size_t messages = 0;

  for (const std::string& frame : play.machine.outbox) {
    v1::Frame head;
    const auto run = protocol::decode_bounded(frame, head);
    ASSERT_FALSE(run.has_error()) << run.error().message;
    messages += run->size();
  }

  EXPECT_EQ(messages, 30'000U);
  EXPECT_GT(play.machine.outbox.size(), 1U);
}

TEST(Producer, WhatEndedItsSessionTwiceIsTakenApartUntilOneIsFoundAndTheRestGoesOn) {
  Play play;
  play.ready();
  constexpr std::uint64_t bad = 333;
  for (std::uint64_t n = 1; n <= 600; ++n) play.offer("orders", n == bad ? "bad" : "fine", n % 2 == 0 ? 4 : 5);
  play.machine.flush(play.now);
  // The broker confirms a frame after the other, and ends the session at the one with the bad message in it.
  const auto serve = [&] {
    for (auto heard = play.hear(); !heard.empty(); heard = play.hear()) {
      for (const auto& frame : heard) {
        if (frame.run().find("bad") != std::string::npos) {
          v1::Frame refusal;
          refusal.mutable_error()->set_code(v1::Error::TOO_LARGE);
          refusal.mutable_error()->set_message("it is bad");
          refusal.mutable_error()->set_fatal(true);
          return play.say(refusal);
        }
        for (const auto& group : frame.publish().groups()) {
          play.confirm(group.first_number(), static_cast<std::uint32_t>(group.index().lengths_size()));
        }
      }
    }
  };
  serve();
  int sessions = 1;
  for (; sessions < 40 && play.machine.unanswered() > 0; ++sessions) {
    play.open();
    play.welcome();
    serve();
  }

  EXPECT_FALSE(play.machine.failure());
  EXPECT_LT(sessions, 16);
  std::uint64_t confirmed = 0;
  for (const Confirmation& answer : play.machine.take_answers()) {
    if (answer.answer == Confirmation::Answer::confirmed) {
      confirmed += answer.count;
      continue;
    }
    EXPECT_EQ(answer.answer, Confirmation::Answer::refused);
    EXPECT_EQ(answer.first, bad);
    EXPECT_EQ(answer.reason, "it is bad");
  }
  EXPECT_EQ(confirmed, 599U);
  EXPECT_TRUE(play.offer("orders", "afterwards"));
}

TEST(Producer, WhatIsNoQueuesNameGetsIntoNoHello) {
  Play play;
  EXPECT_THROW((void)play.machine.has_room("bad\xff"), UnknownQueue);
  EXPECT_THROW((void)play.machine.has_room(std::string(101, 'q')), UnknownQueue);
  EXPECT_EQ(play.open().publish_to_size(), 0);
}

TEST(Producer, AHelloOfManyQueuesStaysBelow64KiBAndTheOthersAreAskedForLater) {
  Play play;
  for (int i = 0; i < 3000; ++i) (void)play.machine.has_room("queue " + std::string(40, 'q') + std::to_string(i));
  (void)play.machine.has_room("zebras");  // the last of them, by name

  const v1::Hello hello = play.open();

  EXPECT_GT(hello.publish_to_size(), 500);
  EXPECT_LT(hello.ByteSizeLong(), 64U * 1024);
  EXPECT_NE(hello.publish_to(hello.publish_to_size() - 1), "zebras");
}

TEST(Producer, AnswersAreToldByTheCallersOwnNumbers) {
  Play play;
  play.ready();
  play.offer("orders", "one");
  play.offer("emails", "two");
  play.offer("orders", "three");
  play.machine.flush(play.now);

  play.confirm(1, 2, 0xab, 4);  // of orders: the caller's 1 and 3

  const auto answers = play.machine.take_answers();
  ASSERT_THAT(answers, SizeIs(2));
  EXPECT_EQ(answers[0].first, 1U);
  EXPECT_EQ(answers[0].count, 1U);
  EXPECT_EQ(answers[0].id, "orders/ab.4");
  EXPECT_EQ(answers[1].first, 3U);
  EXPECT_EQ(answers[1].id, "orders/ab.5");
  EXPECT_EQ(play.machine.unanswered(), 1U);
}

TEST(Producer, AFullGroupLeavesByItself) {
  Play play;
  play.ready();

  for (int i = 0; i < 300; ++i) play.offer("orders", "x");

  const auto heard = play.hear();
  ASSERT_THAT(heard, SizeIs(1));
  EXPECT_EQ(heard[0].publish().groups(0).index().lengths_size(), 256);
}

TEST(Producer, FramesStayBelow64KiBAndALargeMessageGoesAlone) {
  Play play;
  play.ready();
  play.offer("orders", std::string(40'000, 'a'));
  play.offer("emails", std::string(40'000, 'b'));
  play.offer("orders", std::string(200'000, 'c'));
  play.machine.flush(play.now);

  const auto heard = play.hear();
  ASSERT_THAT(heard, SizeIs(3));
  EXPECT_EQ(heard[0].run().size(), 40'000U);
  EXPECT_EQ(heard[1].run().size(), 200'000U);
  EXPECT_EQ(heard[1].publish().groups(0).index().lengths_size(), 1);
}

TEST(Producer, WhileEightSmallFramesAreUnansweredMessagesGather) {
  Play play;
  play.ready();
  play.leave_unanswered(8);
  ASSERT_THAT(play.hear(), SizeIs(8));
  play.offer("orders", "x");
  play.machine.flush(play.now);
  play.offer("emails", "x");
  play.offer("orders", "x");
  play.machine.flush(play.now);
  EXPECT_THAT(play.hear(), IsEmpty());

  play.confirm(2, 1);  // not the oldest
  EXPECT_THAT(play.hear(), IsEmpty());
  play.confirm(1, 1);

  const auto heard = play.hear();
  ASSERT_THAT(heard, SizeIs(1));
  EXPECT_EQ(heard[0].publish().groups(0).index().lengths_size(), 2);
  EXPECT_EQ(heard[0].publish().groups(1).index().lengths_size(), 1);
}

TEST(Producer, WhatIsGatheredWaitsNoLongerThanTwoMilliseconds) {
  Play play;
  play.ready();
  play.leave_unanswered(8);
  play.hear();
  play.offer("orders", "x");
  play.machine.flush(play.now);
  play.now += 1ms;
  play.offer("orders", "x");
  play.machine.flush(play.now);
  EXPECT_EQ(play.machine.next_tick(), play.now + 1ms);
  play.machine.tick(play.now);
  EXPECT_THAT(play.hear(), IsEmpty());

  play.now += 1ms;
  play.machine.tick(play.now);

  ASSERT_THAT(play.hear(), SizeIs(1));
  EXPECT_GT(play.machine.next_tick(), play.now + 10ms);
}

TEST(Producer, AFullGroupDoesNotWaitForAnswers) {
  Play play;
  play.ready();
  play.leave_unanswered(8);
  play.hear();

  for (int i = 0; i < 256; ++i) {
    play.offer("orders", "x");
    play.machine.flush(play.now);
  }

  EXPECT_THAT(play.hear(), SizeIs(1));
}

TEST(Producer, WhatIsOfferedAfterAnAnswerWaitsForItsOwnFlush) {
  Play play;
  play.ready();
  play.leave_unanswered(9);
  play.confirm(1, 8);
  EXPECT_THAT(play.hear(), SizeIs(9));
  play.offer("orders", "x");

  play.confirm(9, 1);

  EXPECT_THAT(play.hear(), IsEmpty());
}

TEST(Credit, NothingIsTakenBeyondTheWindowAndAQueueHoldsBackNoOther) {
  Play play;
  play.ready({Messages{2}, Bytes{1000}});
  EXPECT_TRUE(play.offer("orders", "1").has_value());
  EXPECT_TRUE(play.offer("orders", "2").has_value());
  EXPECT_FALSE(play.offer("orders", "3").has_value());
  EXPECT_FALSE(play.machine.has_room("orders"));
  EXPECT_TRUE(play.offer("emails", std::string(900, 'x')).has_value());
  EXPECT_FALSE(play.offer("emails", std::string(101, 'x')).has_value());
  play.machine.flush(play.now);

  play.confirm(1, 2);

  EXPECT_TRUE(play.machine.has_room("orders"));
}

TEST(Credit, RoomIsForTheMessageThatWasRefused) {
  Play play;
  play.ready({Messages{10}, Bytes{1000}});
  EXPECT_TRUE(play.offer("orders", std::string(500, 'x')).has_value());
  EXPECT_FALSE(play.offer("orders", std::string(600, 'x')).has_value());

  EXPECT_FALSE(play.machine.has_room("orders"));
}

TEST(Credit, AnOlderWindowIsIgnored) {
  Play play;
  play.ready();
  v1::Frame frame;
  frame.mutable_window()->set_queue(orders);
  frame.mutable_window()->set_epoch(play.epoch - 1);

  play.say(frame);

  EXPECT_TRUE(play.offer("orders", "x").has_value());
}

TEST(Credit, WhatWasGatheredUnderAWindowSaysItsEpoch) {
  Play play;
  play.ready();
  play.offer("orders", "x");
  v1::Frame frame;
  frame.mutable_window()->set_queue(orders);
  frame.mutable_window()->set_epoch(play.epoch + 1);

  play.say(frame);

  const auto heard = play.hear();
  ASSERT_THAT(heard, SizeIs(2));
  EXPECT_EQ(heard[0].publish().groups(0).epoch(), play.epoch);
  EXPECT_FALSE(play.offer("orders", "y").has_value());
  // And that it has seen the smaller one: the broker may promise the room to others.
  EXPECT_EQ(heard[1].window().queue(), orders);
  EXPECT_EQ(heard[1].window().epoch(), play.epoch + 1);
}

TEST(Idempotence, WhatIsUnansweredIsSentAgainUnderItsNumbersAndItsOldEpoch) {
  Play play;
  play.ready();
  for (int i = 0; i < 5; ++i) play.offer("orders", std::to_string(i));
  play.machine.flush(play.now);
  play.hear();
  play.confirm(2, 2);
  play.offer("orders", "5");  // taken, and not yet in a frame
  play.machine.ended(play.now, "cut");
  EXPECT_FALSE(play.offer("orders", "nowhere").has_value());

  EXPECT_EQ(play.open().lowest_unanswered(), 1U);
  play.welcome();

  const auto heard = play.hear();
  ASSERT_THAT(heard, SizeIs(1));
  const auto& publish = heard[0].publish();
  ASSERT_EQ(publish.groups_size(), 3);
  EXPECT_EQ(publish.groups(0).first_number(), 1U);
  EXPECT_EQ(publish.groups(1).first_number(), 4U);
  EXPECT_EQ(publish.groups(1).index().lengths_size(), 2);
  EXPECT_EQ(publish.groups(2).first_number(), 6U);
  EXPECT_EQ(publish.groups(1).epoch(), play.epoch - 1);
  EXPECT_EQ(heard[0].run(), "0345");
}

TEST(Idempotence, AnAnswerHeardTwiceIsToldOnce) {
  Play play;
  play.ready();
  play.offer("orders", "1");
  play.offer("orders", "2");
  play.machine.flush(play.now);
  play.confirm(1, 1);
  play.confirm(1, 2);

  std::uint64_t told = 0;
  for (const auto& answer : play.machine.take_answers()) told += answer.count;

  EXPECT_EQ(told, 2U);
  EXPECT_EQ(play.machine.unanswered(), 0U);
}

TEST(Idempotence, WhatTheBrokerForgotIsInDoubtAndNotSentAgain) {
  Play play;
  play.ready();
  play.offer("orders", "1");
  play.machine.flush(play.now);
  play.confirm(1, 1);
  play.offer("orders", "2");
  play.machine.flush(play.now);
  play.hear();
  (void)play.machine.take_answers();
  play.machine.ended(play.now, "cut");

  EXPECT_EQ(play.open().lowest_unanswered(), 2U);
  play.welcome({Messages{10}, Bytes{1000}}, false, 1);

  EXPECT_THAT(play.hear(), IsEmpty());
  const auto answers = play.machine.take_answers();
  ASSERT_THAT(answers, SizeIs(1));
  EXPECT_EQ(answers[0].answer, Confirmation::Answer::in_doubt);
  EXPECT_EQ(play.offer("orders", "3"), 3U);
}

TEST(Idempotence, HelloSaysOfWhichStoreItSpeaksAndTheHighestCountThatItHeard) {
  Play play;
  EXPECT_EQ(play.open().store(), "");
  play.commits = 7;
  play.welcome();
  play.offer("orders", "1");
  play.offer("orders", "2");
  play.machine.flush(play.now);
  play.commits = 9;
  play.confirm(1, 1);
  play.commits = 0;  // of what was never written
  play.confirm(2, 1);
  play.machine.ended(play.now, "cut");
  v1::Hello hello = play.open();
  EXPECT_EQ(hello.store(), play.store);
  EXPECT_EQ(hello.start(), play.start);
  EXPECT_EQ(hello.heard(), 9U);

  // An older copy, by the broker's word: from now on its count is what was heard.
  play.commits = 4;
  play.welcome();
  play.machine.ended(play.now, "cut");
  EXPECT_EQ(play.open().heard(), 4U);
  play.store = "another one, 16.";
  play.start = "a later start 16";
  play.commits = 2;
  play.welcome();
  play.machine.ended(play.now, "cut");
  hello = play.open();
  EXPECT_EQ(hello.store(), play.store);
  EXPECT_EQ(hello.start(), play.start);
  EXPECT_EQ(hello.heard(), 2U);
}

TEST(Idempotence, WhatIsInDoubtSaysWhatHasBecomeOfTheStore) {
  for (const std::string why : {"another store", "older copy", "forgotten"}) {
    Play play;
    play.commits = 5;
    play.ready();
    play.offer("orders", "1");
    play.machine.flush(play.now);
    play.machine.ended(play.now, "cut");
    play.open();
    if (why == "another store") play.store = "another one, 16.";
    play.store_is_older = why == "older copy";  // though it may have more commits by now
    play.welcome({Messages{10}, Bytes{1000}}, false);
    const auto answers = play.machine.take_answers();
    ASSERT_THAT(answers, SizeIs(1));
    EXPECT_EQ(answers[0].answer, Confirmation::Answer::in_doubt);
    EXPECT_THAT(answers[0].reason, HasSubstr(why));
  }
}

// Simulation, seed 30265439723308: a machine slept for an hour, the broker had ended the session before that and forgot
// the publisher meanwhile; who finds his connection gone only when he wakes was away all that time.
TEST(Idempotence, WhoWasAsleepForAnHourDoesNotSendAgainWhatTheBrokerMayHaveForgotten) {
  Play play;
  play.ready();
  play.offer("orders", "1");
  play.machine.flush(play.now);
  play.hear();
  play.now += 3600s;
  play.machine.ended(play.now, "cut");

  play.open();
  play.welcome();

  EXPECT_THAT(play.hear(), IsEmpty());
  const auto answers = play.machine.take_answers();
  ASSERT_THAT(answers, SizeIs(1));
  EXPECT_EQ(answers[0].answer, Confirmation::Answer::in_doubt);
}

TEST(Refusals, SayWhy) {
  Play play;
  play.ready();
  play.offer("orders", "1");
  play.machine.flush(play.now);
  v1::Frame frame;
  auto* run = frame.mutable_confirmed()->add_runs();
  run->set_first(1);
  run->set_count(1);
  run->set_answer(v1::Confirmed::REFUSED);
  run->set_reason("queue 'orders' is full");

  play.say(frame);

  const auto answers = play.machine.take_answers();
  ASSERT_THAT(answers, SizeIs(1));
  EXPECT_EQ(answers[0].answer, Confirmation::Answer::refused);
  EXPECT_EQ(answers[0].reason, "queue 'orders' is full");
}

TEST(Refusals, AnUnknownQueueAndALargeMessageThrow) {
  Play play;
  play.ready();
  EXPECT_THROW((void)play.offer("nonsense", "x"), UnknownQueue);
  EXPECT_THROW((void)play.machine.has_room("nonsense"), UnknownQueue);
  EXPECT_THROW((void)play.offer("orders", std::string(1'000'001, 'x')), TooLarge);
}

}  // namespace
}  // namespace weir::engine::weir_broker
