/// `weir compact`: a stopped store's file, written anew.

#include <gmock/gmock.h>

#include <fstream>

#include "../store_fixture.hpp"
#include "weir/broker/store/check_store.hpp"
#include "weir/broker/store/compact_store.hpp"

namespace weir::broker {
namespace {

using testing::HasSubstr;

class Compaction : public StoreTest {
 protected:
  /// As a broker has it: the file is looked at more strictly at its next start.
  [[nodiscard]] StoreSettings synced() const {
    StoreSettings of = settings();
    of.durability = Durability::fsync;
    return of;
  }
  /// Filled once, and empty again but for one message.
  core::Recovered fill() {
    LmdbStore store(synced());
    core::Recovered recovered = store.recover();
    store.commit(batch_of(queue_of(1, "orders"), segment_of({1, 0, 1}, {std::string(8 << 20, 'x')})));
    store.commit(batch_of(core::DropSegment{{1, 0, 1}}, segment_of({1, 0, 2}, {"kept"})));
    return recovered;
  }
};

std::string why_not(const std::filesystem::path& folder) {
  try {
    (void)compact_store(folder);
  } catch (const StoreError& error) {
    return error.what();
  }
  return "nothing was thrown";
}

TEST_F(Compaction, KeepsTheStoreAndGivesTheDiskBack) {
  const core::Recovered before = fill();

  const Compacted sizes = compact_store(synced().data);

  EXPECT_GT(sizes.before.value, 8U << 20);
  EXPECT_LT(sizes.after.value, 1U << 20);
  EXPECT_EQ(std::filesystem::file_size(synced().data / "data.mdb"), sizes.after.value);
  EXPECT_FALSE(std::filesystem::exists(synced().data / "compacting"));
  LmdbStore store(synced());
  const core::Recovered after = store.recover();
  EXPECT_EQ(after.store, before.store);
  EXPECT_EQ(after.commits, 2U);
  EXPECT_EQ(after.incarnation, before.incarnation + 1);
  EXPECT_TRUE(store.snapshot()->segment({1, 0, 2}).has_value());
}

TEST_F(Compaction, OfWhatWasLeftByOneThatWasKilledBeginsAnew) {
  fill();
  std::filesystem::create_directory(synced().data / "compacting");
  std::ofstream(synced().data / "compacting" / "data.mdb") << "half a file";

  (void)compact_store(synced().data);

  EXPECT_TRUE(check_store(synced().data).whole());
}

TEST_F(Compaction, IsRefusedWhileABrokerHasTheStore) {
  fill();
  const LmdbStore store(synced());

  EXPECT_THAT(why_not(synced().data), HasSubstr("is in use by a broker"));
}

TEST_F(Compaction, OfADamagedStoreIsRefusedAndChangesNothing) {
  fill();
  const auto file = synced().data / "data.mdb";
  std::filesystem::resize_file(file, 3 * 4096);

  EXPECT_THAT(why_not(synced().data), HasSubstr("is damaged: weir check-store"));
  EXPECT_EQ(std::filesystem::file_size(file), 3U * 4096U);
}

TEST_F(Compaction, OfWhatIsNoStoreMakesNothing) {
  const auto folder = folder_ / "nothing";

  EXPECT_THAT(why_not(folder), HasSubstr("has no data.mdb"));
  EXPECT_FALSE(std::filesystem::exists(folder));
}

}  // namespace
}  // namespace weir::broker
