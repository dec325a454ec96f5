// What g++ 12 miscompiles is found in sources, and what it compiles well is let pass.
#include "awaits.hpp"

#include <gmock/gmock.h>

namespace weir::awaits {
namespace {

using testing::HasSubstr;
using testing::SizeIs;

/// Within a coroutine, on line 2.
std::vector<Finding> found(const std::string& statement) {
  return check("task<> f() {\n" + statement + "\n}\n", "shop.cpp").findings;
}

TEST(Awaits, WhatIsDestroyedTwiceIsFoundWithItsLine) {
  for (const char* statement : {
           "co_await post(Request{.url = s});",
           "co_await post({.url = s});",
           "co_await weir::timeout(1s, post({.url = s}));",
           "co_await post({\"http://a\", 1});",
           "co_await f(Agg{s, 1});",
           "co_await f(Agg{});",
           "co_await f(std::array<std::string, 2>{s, s});",
           "co_await retry(p, [msg] { return send(msg); });",
           "co_await retry(p, [=] { return send(msg); });",
           "co_await retry(p, [m = std::move(msg)] { return send(m); });",
           "if (co_await f([msg] { return *msg; })) return;",
           "co_await co_spawn(ex, [msg]() -> task<> { co_return; }, use_awaitable);",
           "co_spawn(co_await this_coro::executor, [msg] {}, detached);",
           "Agg a{co_await g(), 1};",
           "const auto h = [v = co_await g()] {};",
           "co_return Agg{co_await g()};",
           "auto [b, c] = Agg{co_await g(), 2};",
           "std::string x = n ? co_await g() : std::string();",
           "co_await f(n > 0 ? std::string(s) : std::string());",
           "for (auto& each : co_await all(Agg{s, 1})) use(each);",
       }) {
    const auto findings = found(statement);
    ASSERT_THAT(findings, SizeIs(1)) << statement;
    EXPECT_EQ(findings[0].file, "shop.cpp");
    EXPECT_EQ(findings[0].line, 2) << statement;
  }
}

TEST(Awaits, WhatIsCompiledWellIsLetPass) {
  for (const char* statement : {
           "auto op = f([msg] { return msg; }); co_await std::move(op);",
           "const auto named = [msg] { return post({.url = \"x\"}); }; co_await retry(p, named);",
           "const Request request{.url = s}; co_await post(request);",
           "co_await weir::retry({.tries = 3, .first = 1s}, [&] { return post(r); });",
           "co_await publisher.publish(\"q\", m, {.key = s, .headers = {{\"a\", \"b\"}}});",
           "co_await f(std::string(s), std::pair{s, n}, std::string{s});",
           "co_await f(std::array<int, 2>{1, 2});",
           "co_await f({});",
           "co_await weir::offload([&, this, p = &n] { return p; });",
           "co_await f([n = 3] { return n; });",
           "co_await f(n ? 1 : 2, n ? std::chrono::seconds(1) : std::chrono::seconds(2));",
           "co_await f(Agg{s, 1});  // weir: trivial",
           "auto [d, e] = co_await pair(); [[maybe_unused]] const auto got = co_await f(1);",
           "for (int i = 0; i < 3; ++i) co_await post(request);",
           "if (xs[0] > 0) { co_await f(xs[1]); }",
           "switch (n) { case 1: { co_await f(1); break; } default: break; }",
           "int n{co_await number()}; std::string s{co_await text()};",
           "co_return Agg{\"a\", 1};",
           "// co_await post(Request{.url = s});",
           "log(R\"(co_await post({.url = s}))\");",
       }) {
    for (const Finding& each : found(statement)) ADD_FAILURE() << statement << ": " << each.text;
  }
  const std::string around =
      "namespace a::b { enum class E { one, two }; template <> struct X<int> { int v{}; }; }\n"
      "struct Host : Base { Host() : a_{1}, b_{s} {} int a_{3}; task<> run() override { co_await f(a_); } };\n"
      "auto later() -> weir::task<> { co_await f(1); }\n";
  for (const Finding& each : check(around, "host.cpp").findings) ADD_FAILURE() << each.line << ": " << each.text;
}

TEST(Awaits, AFindingSaysWhatToWriteInstead) {
  EXPECT_THAT(found("co_await post(Request{.url = s});")[0].text,
              HasSubstr("`Request{…}` is a temporary of this co_await; name it first: `const Request it{…};`"));
  EXPECT_THAT(found("co_await retry(p, [msg] { return send(msg); });")[0].text,
              HasSubstr("a lambda that captures by value (msg) is a temporary of this co_await; name it first"));
}

TEST(Awaits, ALineDirectiveCountsAndIncludesAreTold) {
  const Found all =
      check("#include \"mail.hpp\"\n#line 10 \"README.md\"\ntask<> f() { co_await post({.url = s}); }\n", "x.cpp");
  ASSERT_THAT(all.findings, SizeIs(1));
  EXPECT_EQ(all.findings[0].file + ":" + std::to_string(all.findings[0].line), "README.md:10");
  EXPECT_THAT(all.includes, testing::ElementsAre("mail.hpp"));
}

}  // namespace
}  // namespace weir::awaits
