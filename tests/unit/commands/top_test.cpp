/// The screens of `weir top`, as they are at 80 columns and 24 lines.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "table.hpp"
#include "top_screen.hpp"

namespace weir::cli {
namespace {

using testing::Each;
using testing::HasSubstr;
using testing::SizeIs;
using testing::StartsWith;

constexpr Top::Size small{80, 24};

v1::Queues::Queue queue_of(const std::string& name, std::uint64_t ready, std::uint64_t published) {
  v1::Queues::Queue queue;
  queue.set_name(name);
  queue.set_in_file(true);
  queue.set_ready(ready);
  queue.set_published(published);
  queue.set_acked(published / 2);
  queue.set_workers(2);
  return queue;
}

Seen few(double at) {
  Seen seen;
  const auto since = static_cast<std::uint64_t>(at);
  seen.queues = {queue_of("orders", 12, since * 1000), queue_of("emails", 345'678, since * 10),
                 queue_of("audit", 0, 5)};
  seen.queues[0].set_leased(64);
  seen.queues[1].set_dead(3);
  seen.queues[2].set_in_file(false);
  v1::Workers::Worker worker;
  worker.set_group("shop");
  worker.set_host("host");
  worker.set_pid(4711);
  worker.add_queues("orders");
  worker.set_alive(true);
  worker.set_connected(true);
  worker.set_consuming(true);
  worker.set_held_messages(64);
  worker.set_window_messages(256);
  worker.set_last_seen_us(250'000);
  seen.workers = {worker, worker};
  seen.workers[1].set_shard(1);
  seen.workers[1].set_stuck(true);
  seen.workers[1].set_running("shop.Order orders/1.17 for 40 s");
  seen.at = at;
  return seen;
}

std::string text_of(const std::vector<std::string>& lines) {
  std::string text;
  for (const std::string& line : lines) text += line + "\n";
  while (text.find("\n\n\n") != std::string::npos) text.erase(text.find("\n\n\n"), 1);
  return text;
}

TEST(TopScreen, ShowsQueuesWithTheirRates) {
  Top top("weir://127.0.0.1:7733");
  top.saw(few(10));
  top.saw(few(12));

  EXPECT_EQ(text_of(top.screen(small, false, 12)),
            "weir top  3 queues, 2 sessions  weir://127.0.0.1:7733\n"
            "ready 345,690  delayed 0  leased 64  dead 3  in 1,010/s  acked 505/s\n"
            "\n"
            "QUEUE     READY  DELAYED  LEASED  DEAD   IN/S  ACKED/S  SESSIONS\n"
            "audit         0        0       0     0      0        0         2  not in file\n"
            "emails  345,678        0       0     3     10        5         2\n"
            "orders       12        0      64     0  1,000      500         2\n"
            "\n"
            "q quit  Tab workers  s sort: QUEUE  r reverse  / search\n");
}

TEST(TopScreen, ShowsWorkersAndWhoIsStuck) {
  Top top("weir://127.0.0.1:7733");
  top.saw(few(10));
  top.press(Top::Key::tab);

  EXPECT_EQ(text_of(top.screen(small, false, 10)),
            "weir top  3 queues, 2 sessions  weir://127.0.0.1:7733\n"
            "ready 345,690  delayed 0  leased 64  dead 3  in 0/s  acked 0/s\n"
            "\n"
            "WORKER              HELD  LAST SEEN  QUEUES  STATE\n"
            "shop/host/4711/0  64/256     250 ms       1  consuming\n"
            "shop/host/4711/1  64/256     250 ms       1  stuck: shop.Order orders/1.17 for …\n"
            "\n"
            "q quit  Tab queues  s sort: WORKER  r reverse  / search\n");
}

TEST(TopScreen, SortsByTheNextColumnAndTurnsTheOrder) {
  Top top("weir://127.0.0.1:7733");
  top.saw(few(10));
  top.press(Top::Key::sort);
  EXPECT_THAT(top.screen(small, false, 10)[4], StartsWith("emails"));
  EXPECT_THAT(top.screen(small, false, 10).back(), HasSubstr("sort: READY"));

  top.press(Top::Key::reverse);
  EXPECT_THAT(top.screen(small, false, 10)[4], StartsWith("audit"));
}

TEST(TopScreen, SearchesWhileItIsTyped) {
  Top top("weir://127.0.0.1:7733");
  top.saw(few(10));
  top.press(Top::Key::search);
  for (const char c : std::string("order")) top.type(c);

  EXPECT_THAT(top.screen(small, false, 10)[4], StartsWith("orders"));
  EXPECT_EQ(top.screen(small, false, 10)[5], "");
  EXPECT_THAT(top.screen(small, false, 10).back(), StartsWith("/order▏"));

  top.press(Top::Key::escape);
  EXPECT_THAT(top.screen(small, false, 10)[6], StartsWith("orders"));
}

TEST(TopScreen, HoldsAThousandQueuesInEightyColumnsAndTwentyFourLines) {
  Seen seen;
  for (int i = 0; i < 1000; ++i) {
    const std::string number = std::to_string(1000 + i).substr(1);
    seen.queues.push_back(queue_of("tenant-" + number + "-with-a-name-of-some-length", 1'234'567, 9));
    seen.queues.back().set_leased(65'536);
    seen.queues.back().set_unknown(12'345);
  }
  Top top("weir://broker-with-a-long-name.example.internal:7733");
  top.saw(seen);

  for (const auto key : {Top::Key::home, Top::Key::page_down, Top::Key::end, Top::Key::down}) {
    top.press(key);
    const auto lines = top.screen(small, false, 0);
    EXPECT_THAT(lines, SizeIs(24));
    for (const std::string& line : lines) EXPECT_LE(width_of(line), 80U) << line;
  }
  EXPECT_THAT(top.screen(small, false, 0)[22], StartsWith("tenant-999"));
  top.failed("no broker answers");
  EXPECT_THAT(top.screen(small, false, 5)[0], HasSubstr("no broker answers; as it was 5.0 s ago"));
  top.press(Top::Key::home);
  top.press(Top::Key::page_down);
  EXPECT_THAT(top.screen(small, false, 0)[4], StartsWith("tenant-019"));
}

TEST(TopScreen, KeepsWhatItSawWhileTheBrokerIsAwayAndGoesOnAfterwards) {
  Top top("weir://127.0.0.1:7733");
  EXPECT_THAT(top.screen(small, false, 0)[0], HasSubstr("asking …"));
  top.saw(few(10));
  top.failed("no broker answers");

  EXPECT_THAT(top.screen(small, false, 15)[0], HasSubstr("no broker answers; as it was 5.0 s ago"));
  EXPECT_THAT(top.screen(small, false, 15)[4], StartsWith("audit"));

  top.saw(few(9));  // another broker's totals may be lower
  EXPECT_THAT(top.screen(small, false, 16)[0], HasSubstr("3 queues"));
  EXPECT_THAT(top.screen(small, false, 16)[1], HasSubstr("in 0/s"));
}

TEST(TopScreen, NamesThatWouldSteerTheTerminalDoNot) {
  Top top("weir://127.0.0.1:7733");
  Seen seen;
  seen.queues = {queue_of("bad\x1b[2J\u009b", 1, 1)};
  top.saw(seen);

  EXPECT_THAT(top.screen(small, false, 0), Each(testing::Not(HasSubstr("\x1b"))));
}

}  // namespace
}  // namespace weir::cli
