#include <gtest/gtest.h>

#include <weir/testing.hpp>

#include "bakery/bakery.pb.h"

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

}  // namespace
