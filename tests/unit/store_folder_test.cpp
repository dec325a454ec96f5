// A data folder that cannot be used says why, and what to do.
#include <gmock/gmock.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <csignal>
#include <cstring>
#include <fstream>
#include <functional>
#include <iostream>
#include <random>
#include <thread>

#include "store_fixture.hpp"
#include "weir/broker/store/layout.hpp"

namespace weir::broker {
namespace {

using testing::AllOf;
using testing::ContainsRegex;
using testing::HasSubstr;

std::string why_not(const StoreSettings& settings) {
  try {
    LmdbStore store(settings);
  } catch (const StoreError& error) {
    return error.what();
  }
  return {};
}

class StoreFolder : public StoreTest {};

void limit_to(int resource, rlim_t most) {
  const rlimit limit{most, most};
  ::setrlimit(static_cast<decltype(RLIMIT_AS)>(resource), &limit);
}

/// Stands for a disk that fails: writing beyond 1 MiB ends with an error while the disk has room.
std::string what_a_failing_disk_says(const StoreSettings& settings) {
  LmdbStore store(settings);
  std::signal(SIGXFSZ, SIG_IGN);
  limit_to(RLIMIT_FSIZE, 1 << 20);
  try {
    store.commit(batch_of(queue_of(1, "orders"), segment_of({1, 4, 1}, {std::string(4 << 20, 'x')})));
  } catch (const StoreBroken& error) {
    return error.what();
  }
  return {};
}

TEST_F(StoreFolder, OneInUseNamesItsHolder) {
  const LmdbStore holder(settings());

  EXPECT_THAT(why_not(settings()), AllOf(HasSubstr("is in use by another broker (pid " + std::to_string(::getpid())),
                                         HasSubstr("name another folder in `broker.data`")));
}

/// A second broker on one store would give out what the first has given out, and each would overwrite the other.
TEST_F(StoreFolder, OneInUseIsRefusedWhateverIsRemovedBesideTheStore) {
  const LmdbStore holder(settings());
  for (const auto& entry : std::filesystem::directory_iterator(folder_ / "data")) {
    if (entry.path().filename() != "data.mdb") std::filesystem::remove_all(entry.path());
  }
  EXPECT_THAT(why_not(settings()), HasSubstr("is in use by another broker (pid " + std::to_string(::getpid())));

  // By another way to the same file, too.
  std::filesystem::create_directory(folder_ / "other");
  std::filesystem::create_hard_link(folder_ / "data" / "data.mdb", folder_ / "other" / "data.mdb");
  StoreSettings other = settings();
  other.data = folder_ / "other";
  EXPECT_THAT(why_not(other), HasSubstr("is in use by another broker (pid " + std::to_string(::getpid())));
}

TEST_F(StoreFolder, OneThatWasLetGoIsFree) {
  { const LmdbStore holder(settings()); }

  EXPECT_EQ(why_not(settings()), "");
}

TEST_F(StoreFolder, OneThatIsAFileIsRefused) {
  std::ofstream(folder_ / "data") << "x";

  EXPECT_THAT(why_not(settings()), AllOf(HasSubstr("cannot be used"), HasSubstr("broker.data")));
}

TEST_F(StoreFolder, OneThatIsNotWritableSaysSo) {
  std::filesystem::create_directory(folder_ / "data");
  std::filesystem::permissions(folder_, std::filesystem::perms::all);
  std::filesystem::permissions(folder_ / "data",
                               std::filesystem::perms::owner_read | std::filesystem::perms::owner_exec |
                                   std::filesystem::perms::others_read | std::filesystem::perms::others_exec);
  testing::FLAGS_gtest_death_test_style = "fast";

  EXPECT_EXIT(
      {
        // Root may write everywhere: ask as somebody else.
        if (::getuid() == 0 && ::setuid(65534) != 0) std::_Exit(4);
        std::cerr << why_not(settings());
        std::_Exit(3);
      },
      testing::ExitedWithCode(3), "is not writable: Permission denied; give the broker's user write access");
}

TEST_F(StoreFolder, OneOfAnotherFormatIsLeftAsItIs) {
  { const LmdbStore store(settings()); }
  MDB_env* env = nullptr;
  ASSERT_EQ(mdb_env_create(&env), 0);
  mdb_env_set_maxdbs(env, 4);
  ASSERT_EQ(mdb_env_open(env, (folder_ / "data").c_str(), 0, 0644), 0);
  {
    lmdb::Transaction txn(env, 0);
    MDB_dbi meta{};
    ASSERT_EQ(mdb_dbi_open(txn.get(), "meta", 0, &meta), 0);
    lmdb::put(txn.get(), meta, "format", layout::key_of(QueueId{7}).view());
    txn.commit();
  }
  mdb_env_close(env);

  EXPECT_THAT(why_not(settings()), AllOf(HasSubstr("is of format 7; this version of weir reads format 2"),
                                         HasSubstr("start the version that wrote it")));
  EXPECT_THAT(why_not(settings()), HasSubstr("is of format 7"));
}

TEST_F(StoreFolder, OneWithAForeignDataFileIsRefused) {
  std::filesystem::create_directory(folder_ / "data");
  std::ofstream(folder_ / "data" / "data.mdb") << std::string(8192, 'x');

  EXPECT_THAT(why_not(settings()), HasSubstr("data.mdb is not a store of Weir, or is damaged"));
}

TEST_F(StoreFolder, AnEmptyOrTruncatedDataFileIsNoNewStore) {
  {
    LmdbStore store(settings());
    static_cast<void>(store.recover());
    for (SegmentNumber i = 1; i < 20; ++i) {
      store.commit(batch_of(queue_of(1, "orders"), segment_of({1, 4, i}, {std::string(30'000, 'x')})));
    }
  }
  const auto file = folder_ / "data" / "data.mdb";
  const auto size = std::filesystem::file_size(file);
  // (No more than that: what stands at the very end may be free.)
  for (const std::uintmax_t left : {size / 2, std::uintmax_t{10'000}, std::uintmax_t{4'096}, std::uintmax_t{100}}) {
    std::filesystem::resize_file(file, left);
    EXPECT_THAT(why_not(settings()), AllOf(HasSubstr("data.mdb is not a store of Weir, or is damaged: "),
                                           HasSubstr("cut off"), HasSubstr("restore it from a backup")));
  }
  std::filesystem::resize_file(file, 0);
  EXPECT_THAT(why_not(settings()), AllOf(HasSubstr("it is empty: cut off"), HasSubstr("a new store has no data.mdb")));
}

TEST_F(StoreFolder, OneWhoseFirstStartDidNotComeToItsEndIsNewStill) {
  std::filesystem::create_directories(folder_ / "data" / "new");
  std::ofstream(folder_ / "data" / "new" / "data.mdb") << "half of it";

  EXPECT_EQ(why_not(settings()), "");
  EXPECT_FALSE(std::filesystem::exists(folder_ / "data" / "new"));
}

/// What is written into a file that has lost its name is gone when the broker ends.
TEST_F(StoreFolder, OneThatIsRemovedOrReplacedIsSeen) {
  const auto why_now = [this](const std::function<void(const std::filesystem::path&)>& what) -> std::string {
    const auto data = folder_ / "data";
    std::filesystem::remove_all(data);
    LmdbStore store(settings());
    store.look();
    what(data);
    try {
      store.look();
    } catch (const StoreBroken& broken) {
      return broken.what();
    }
    return {};
  };
  EXPECT_THAT(why_now([](const auto& data) { std::filesystem::remove_all(data); }),
              HasSubstr("it was removed or replaced"));
  EXPECT_THAT(why_now([](const auto& data) { std::filesystem::remove(data / "data.mdb"); }),
              HasSubstr("its data.mdb was removed or replaced"));
  EXPECT_THAT(why_now([](const auto& data) {
                std::filesystem::copy_file(data / "data.mdb", data / "copy");
                std::filesystem::rename(data / "copy", data / "data.mdb");
              }),
              HasSubstr("its data.mdb was removed or replaced"));
  EXPECT_THAT(why_now([](const auto& data) {
                std::filesystem::rename(data, data.parent_path() / "away");
                std::filesystem::create_directory(data);
              }),
              HasSubstr("it was removed or replaced"));
  EXPECT_THAT(why_now([](const auto& data) { std::filesystem::resize_file(data / "data.mdb", 4096); }),
              HasSubstr("its data.mdb was cut off"));
}

TEST_F(StoreFolder, OneThatIsMadeReadOnlyIsSeen) {
  testing::FLAGS_gtest_death_test_style = "fast";
  std::filesystem::permissions(folder_, std::filesystem::perms::all);
  std::filesystem::create_directory(folder_ / "data");
  std::filesystem::permissions(folder_ / "data", std::filesystem::perms::all);

  EXPECT_EXIT(
      {
        if (::getuid() == 0 && ::setuid(65534) != 0) std::_Exit(4);  // root may write everywhere
        LmdbStore store(settings());
        store.look();
        std::filesystem::permissions(folder_ / "data" / "data.mdb", std::filesystem::perms::owner_read);
        try {
          store.look();
        } catch (const StoreBroken& broken) {
          std::cerr << broken.what();
        }
        std::_Exit(3);
      },
      testing::ExitedWithCode(3), "was made read-only .Permission denied. while the broker ran on it");
}

// The sanitizers need the address space themselves.
#ifndef WEIR_SANITIZED
TEST_F(StoreFolder, ALimitedAddressSpaceIsNamed) {
  testing::FLAGS_gtest_death_test_style = "fast";

  EXPECT_EXIT(
      {
        limit_to(RLIMIT_AS, 8ULL << 30);
        std::cerr << why_not(settings());
        std::_Exit(3);
      },
      testing::ExitedWithCode(3), "may have 8 GiB .RLIMIT_AS.; raise the limit");
}
#endif

TEST_F(StoreFolder, AWriteThatFailsWithRoomLeftBreaksTheStore) {
  testing::FLAGS_gtest_death_test_style = "fast";

  EXPECT_EXIT(
      {
        std::cerr << what_a_failing_disk_says(settings());
        std::_Exit(3);
      },
      testing::ExitedWithCode(3), "writing failed .*check the disk, and start the broker again");
}

/// A file system of 24 MiB.
class SmallDisk : public StoreTest {
 protected:
  void SetUp() override {
    if (::mount("tmpfs", folder_.c_str(), "tmpfs", 0, "size=24m") != 0) {
      GTEST_SKIP() << "needs root and mount(2): " << std::strerror(errno);
    }
    mounted_ = true;
  }
  ~SmallDisk() override {
    if (mounted_) ::umount2(folder_.c_str(), MNT_DETACH);
  }
  [[nodiscard]] StoreSettings small() const {
    return {.data = folder_ / "data", .durability = Durability::fsync, .reserve = {4 * 1024 * 1024}};
  }
  bool mounted_ = false;
};

core::PutSegment full_segment(SegmentNumber number) { return segment_of({1, 4, number}, {std::string(60'000, 'x')}); }

TEST_F(SmallDisk, FullItStopsPublishingNeverSettlingAndRecovers) {
  SegmentNumber published = 0;
  SegmentNumber dropped = 0;
  {
    LmdbStore store(small());
    store.commit(batch_of(queue_of(1, "orders")));
    ASSERT_TRUE(store.tend_room());
    EXPECT_EQ(store.room().ballast, Bytes{4 * 1024 * 1024});

    // Publish while it is allowed: the ballast is given up on the way, and no commit fails.
    while (store.tend_room()) store.commit(batch_of(full_segment(++published)));

    EXPECT_EQ(store.room().ballast, Bytes{0});
    EXPECT_GT(published, 200U);
    EXPECT_LT(store.room().sum(), Bytes{4 * 1024 * 1024});

    // Even filled to the last byte by others, settling goes on.
    std::ofstream(folder_ / "foreign") << std::string(32 << 20, 'f');
    EXPECT_EQ(free_on_disk(folder_), Bytes{0});
    store.commit(batch_of(core::PutSettled{{1, 4, published}, std::string(1, '\1')}));
    while (!store.tend_room() && dropped < published) store.commit(batch_of(core::DropSegment{{1, 4, ++dropped}}));
    ASSERT_LT(dropped, published);
    EXPECT_GE(store.room().pages, Bytes{8 * 1024 * 1024});

    // What became free is used, though the disk itself is still full.
    const SegmentNumber more = published + 20;
    while (published < more) store.commit(batch_of(full_segment(++published)));
    EXPECT_EQ(free_on_disk(folder_), Bytes{0});
  }

  LmdbStore store(small());
  EXPECT_EQ(store.recover().queues[0].segments.size(), published - dropped);
  std::filesystem::remove(folder_ / "foreign");
  while (dropped < published) store.commit(batch_of(core::DropSegment{{1, 4, ++dropped}}));
  EXPECT_TRUE(store.tend_room());
}

TEST_F(SmallDisk, WhatTheBallastGivesUpIsTheStoresAndNobodyElses) {
  LmdbStore store(small());
  store.commit(batch_of(queue_of(1, "orders")));
  std::ofstream(folder_ / "foreign") << std::string(32 << 20, 'f');  // beside the ballast, to the last byte
  store.commit(batch_of(full_segment(1)));                           // which is given up for this
  ASSERT_EQ(store.tend_room(), false);
  ASSERT_EQ(store.room().ballast, Bytes{0});

  std::ofstream(folder_ / "another") << std::string(32 << 20, 'f');

  EXPECT_GE(store.room().sum(), Bytes{3 * 1024 * 1024});
  for (SegmentNumber i = 2; i < 40; ++i) store.commit(batch_of(full_segment(i)));
}

TEST_F(SmallDisk, ACommitWithoutRoomThrowsAndSucceedsOnceThereIs) {
  LmdbStore store(small());
  store.commit(batch_of(queue_of(1, "orders"), full_segment(1)));
  std::ofstream(folder_ / "foreign") << std::string(32 << 20, 'f');
  const core::Batch large = batch_of(segment_of({1, 4, 2}, {std::string(6 << 20, 'x')}));

  EXPECT_THROW(store.commit(large), StoreFull);
  EXPECT_FALSE(store.tend_room());
  EXPECT_EQ(store.snapshot()->segment({1, 4, 2}), std::nullopt);
  std::filesystem::remove(folder_ / "foreign");
  store.commit(large);

  EXPECT_NE(store.snapshot()->segment({1, 4, 2}), std::nullopt);
  EXPECT_TRUE(store.tend_room());
}

TEST_F(SmallDisk, AFullOneStillOpensAnExistingStoreAndNamesItselfForANewOne) {
  {
    LmdbStore store(small());
    store.commit(batch_of(queue_of(1, "orders"), full_segment(1)));
    // A store that has worked has some free pages; one without a single one could not even note its start.
    for (SegmentNumber i = 2; i < 5; ++i) store.commit(batch_of(full_segment(i)));
    for (SegmentNumber i = 2; i < 5; ++i) store.commit(batch_of(core::DropSegment{{1, 4, i}}));
  }
  std::filesystem::remove(folder_ / "data" / "ballast");
  std::ofstream(folder_ / "foreign") << std::string(32 << 20, 'f');

  LmdbStore store(small());
  EXPECT_EQ(store.recover().queues[0].segments.size(), 1U);
  EXPECT_FALSE(store.tend_room());
  store.commit(batch_of(core::DropSegment{{1, 4, 1}}));

  StoreSettings fresh = small();
  fresh.data = folder_ / "fresh";
  EXPECT_THAT(why_not(fresh), ContainsRegex("no room on its disk"));
}

core::PutRecord record_of_number(SegmentNumber number) {
  core::PutRecord put;
  put.place = {1, number, 0};
  put.record.set_type("t.T");
  put.record.set_due_us(static_cast<std::int64_t>(number) * 1000);
  put.body = Slice::of("later");
  return put;
}

/// Commits segment n in batch n, each with a mark of the same number, and says so after each commit; until killed.
[[noreturn]] void commit_until_killed(const StoreSettings& settings, SegmentNumber next, int confirmed) {
  LmdbStore store(settings);
  static_cast<void>(store.recover());
  for (;; ++next) {
    core::PutPublisher mark{PublisherId{{1}}, {}};
    mark.mark.set_mark(next);
    core::Batch batch =
        batch_of(queue_of(1, "orders"), segment_of({1, 4, next}, {std::string(200 + next % 9'000, 'x')}),
                 record_of_number(next), mark);
    if (next > 20) batch.writes.emplace_back(core::DropSegment{{1, 4, next - 20}});
    store.commit(batch);
    if (::write(confirmed, &next, sizeof next) != sizeof next) std::_Exit(1);
  }
}

TEST_F(StoreFolder, NothingConfirmedIsLostByKillMinusNine) {
  constexpr int rounds = 50;
  StoreSettings store_settings = settings();
  store_settings.durability = Durability::fsync;
  std::mt19937 random(7);
  SegmentNumber last = 0;
  for (int round = 0; round < rounds; ++round) {
    int pipe[2];
    ASSERT_EQ(::pipe(pipe), 0);
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      ::close(pipe[0]);
      commit_until_killed(store_settings, last + 1, pipe[1]);
    }
    ::close(pipe[1]);
    SegmentNumber confirmed = 0;
    ASSERT_EQ(::read(pipe[0], &confirmed, sizeof confirmed), static_cast<ssize_t>(sizeof confirmed));
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 5'000));
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    while (::read(pipe[0], &confirmed, sizeof confirmed) == static_cast<ssize_t>(sizeof confirmed)) {
    }
    ::close(pipe[0]);

    LmdbStore store(store_settings);
    const core::Recovered found = store.recover();
    ASSERT_EQ(found.publishers.size(), 1U);
    const SegmentNumber mark = found.publishers[0].mark.mark();
    // All of what was confirmed, and at most the one commit that nobody heard of; all databases in step.
    ASSERT_GE(mark, confirmed);
    ASSERT_LE(mark, confirmed + 1);
    ASSERT_EQ(found.queues[0].segments.size(), std::min<std::uint64_t>(mark, 20));
    ASSERT_EQ(found.queues[0].segments.back().number, mark);
    ASSERT_EQ(found.queues[0].records.messages, Messages{mark});
    ASSERT_EQ(found.incarnation, static_cast<std::uint32_t>(2 * round + 2));
    last = mark;
  }
  EXPECT_GT(last, static_cast<SegmentNumber>(rounds));
}

}  // namespace
}  // namespace weir::broker
