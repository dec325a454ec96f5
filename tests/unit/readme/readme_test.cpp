#include <gtest/gtest.h>

#include <weir/testing.hpp>

#include "bakery/bakery.pb.h"
#include "program.hpp"

namespace {

using weir::acked;
using weir::rejected;
using weir::retried;

weir::testing::Ran run(const std::string& id, const std::vector<std::string>& items) {
  bakery::OrderPlaced order;
  order.set_id(id);
  order.mutable_items()->Assign(items.begin(), items.end());
  return weir::testing::run(weir_plugin_register, order, {.queue = "orders"});
}

TEST(Readme, ItsHandlerDoesWhatItsCommentsSay) {
  EXPECT_EQ(run("7", {}), rejected("no items"));
  EXPECT_EQ(run("slow", {"rye"}), retried("timed out after 2s"));
  const auto ran = run("7", {"rye"});
  EXPECT_EQ(ran, acked());
  ASSERT_EQ(ran.published.size(), 1U);
  EXPECT_EQ(ran.published[0].queue, "emails");
  EXPECT_EQ(ran.published[0].as<bakery::Confirmation>().order(), "7");
}

TEST(Readme, AHandlerStartsAProgramAndItsTimeoutEndsIt) {
  int status = -1;
  const auto starts = [&](const char* script) {
    return [&status, script](weir::Context&, const bakery::OrderPlaced&) -> weir::task<> {
      const std::vector<std::string> words{"sh", "-c", script};
      status = co_await run_program(words);
    };
  };
  EXPECT_EQ(weir::testing::run(starts("exit 7"), bakery::OrderPlaced()), acked());
  EXPECT_EQ(WEXITSTATUS(status), 7);
  const auto too_long =
      weir::testing::run(starts("sleep 12"), bakery::OrderPlaced(), {.timeout = std::chrono::milliseconds(100)});
  EXPECT_EQ(too_long, retried("timed out after 100ms"));
  EXPECT_LT(too_long.took, std::chrono::seconds(5));
  EXPECT_EQ(waitpid(-1, nullptr, WNOHANG), -1) << "it is left";
}

}  // namespace
