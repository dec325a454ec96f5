/// What `weir dead` prints of a dead letter.

#include "dead_letter.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

#include "json.hpp"
#include "stack.hpp"

namespace weir::cli {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

constexpr const char* crash =
    "abort in libc.so.6\n"
    "shop::(anonymous namespace)::charge(shop::Order const&, std::vector<std::string, std::allocator<std::string > >) "
    "[clone .actor] in shop.so\n"
    "boost::asio::detail::awaitable_thread<boost::asio::any_io_executor>::pump() in weir\n"
    "std::__invoke_impl<void>(void (*&&)()) in weir\n"
    "shop::place(shop::Order const&) in shop.so\n"
    "void weir::worker::Slots::run_as<int>() in weir\n"
    "boost::asio::detail::scheduler::run() in weir\n"
    "libc.so.6+0x891f5\n";

v1::DeadLetter letter_of(std::uint32_t attempts) {
  v1::DeadLetter letter;
  letter.mutable_summary()->set_id("orders/1.17");
  letter.mutable_summary()->set_type("shop.Order");
  letter.mutable_summary()->set_last_error("signal 11");
  for (std::uint32_t n = 1; n <= attempts; ++n) {
    v1::Attempt& attempt = *letter.add_history();
    attempt.set_number(n);
    attempt.set_error("signal 11");
    attempt.set_worker("shop/host/1/0");
    // How the loop came to the handler differs.
    attempt.set_stack(std::string(crash) + (n == 2 ? "std::thread::run() in libstdc++.so.6\n" : ""));
    attempt.add_log("charging message=orders/1.17 attempt=" + std::to_string(n));
    attempt.add_log("charging message=orders/1.170 attempt=1");
    attempt.add_log("connected engine=weir://127.0.0.1:7733");
  }
  return letter;
}

std::size_t count_of(const std::string& text, const std::string& what) {
  std::size_t n = 0;
  for (auto at = text.find(what); at != std::string::npos; at = text.find(what, at + 1)) ++n;
  return n;
}

TEST(Stacks, AreToldWithoutTemplatesParametersAndAsio) {
  EXPECT_THAT(short_stack(crash),
              ElementsAre("abort in libc.so.6", "shop::charge() in shop.so", "… 2 of Asio and the standard library",
                          "shop::place() in shop.so", "… and the worker's own below it (--json has all)"));
  EXPECT_THAT(short_stack("weir::worker::Shard::run() in weir\nlibc.so.6+0x1\n"),
              ElementsAre("weir::worker::Shard::run() in weir", "libc.so.6+0x1"));
  EXPECT_EQ(short_frame("bool shop::operator< <int>(A<int> const&) in a.so"), "bool shop::operator< () in a.so");
  EXPECT_EQ(short_frame("shop::Task::operator()(int) (3 times)"), "shop::Task::operator()() ()");
  EXPECT_EQ(short_frame("libc.so.6+0x8a2f1"), "libc.so.6+0x8a2f1");
  EXPECT_THAT(short_stack(""), ElementsAre());
}

TEST(DeadLetters, TellTheSameStackOnceAndOnlyTheirOwnLog) {
  const std::string text = text_of(letter_of(3), Terminal{});

  EXPECT_EQ(count_of(text, "shop::charge() in shop.so"), 1U) << text;
  EXPECT_THAT(text, HasSubstr("attempts 1, 2 and 3 ended their processes at one place\n"));
  EXPECT_EQ(count_of(text, "charging message=orders/1.17 "), 3U) << text;
  EXPECT_THAT(text, Not(HasSubstr("orders/1.170")));
  EXPECT_THAT(text, Not(HasSubstr("connected")));
}

TEST(DeadLetters, FitATerminal) {
  const std::string text = text_of(letter_of(2), Terminal{.width = 60});

  std::istringstream lines(text.substr(text.find("TOOK")));
  for (std::string line; std::getline(lines, line);) EXPECT_LE(width_of(line), 60U) << line;
}

TEST(DeadLetters, SayThatTheyWereReplayed) {
  v1::DeadLetter letter = letter_of(1);
  v1::Attempt& mark = *letter.add_history();
  mark.set_replayed(true);
  mark.set_error("replayed");
  mark.set_started_at_us(1'700'000'000'000'000);
  *letter.add_history() = letter.history(0);

  EXPECT_THAT(text_of(letter, Terminal{}), HasSubstr("2023-11-14T22:13:20.000Z                       replayed: "));
  EXPECT_THAT(text_of(dead_json(letter, std::nullopt)), HasSubstr(R"({"replayed_at":"2023-11-14T22:13:20.000Z"})"));
}

TEST(DeadLetters, AreJsonWhateverTheirHeadersAndErrorsHold) {
  v1::DeadLetter letter = letter_of(1);
  v1::Header& header = *letter.add_headers();
  header.set_name("raw\xff");
  header.set_value("a\xfe\u009b");
  letter.set_payload("\x01\xff");
  letter.mutable_summary()->set_last_error("bad \u202e");

  const std::string text = text_of(dead_json(letter, ShownPayload{.json = R"({"id":"7"})", .why_not = {}}));

  const boost::json::object read = boost::json::parse(text).as_object();
  EXPECT_EQ(read.at("headers").as_object().at("raw\ufffd").as_string(), "a\ufffd\u009b");
  EXPECT_EQ(read.at("headers_base64").as_object().at("raw\ufffd").as_string(), "Yf7Cmw==");
  EXPECT_EQ(read.at("payload").as_object().at("id").as_string(), "7");
  EXPECT_EQ(read.at("payload_base64").as_string(), "Af8=");
  const std::string deep = std::string(100, '[') + std::string(100, ']');
  EXPECT_FALSE(dead_json(letter, ShownPayload{.json = deep, .why_not = {}}).contains("payload"));
  EXPECT_EQ(text.find("\u009b"), std::string::npos) << "a terminal would take it for a command";
}

}  // namespace
}  // namespace weir::cli
