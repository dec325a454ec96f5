// The store within one process, by power loss (any of the sectors that were not synced are lost) or a disk that fails a
// write or a sync (what was not synced is lost). A commit that met a failure must throw, whatever comes after.
#include <array>
#include <atomic>
#include <chrono>
#include <fstream>
#include <optional>
#include <random>
#include <thread>

#include "store_check.hpp"
#include "store_disk.hpp"

namespace weir::chaos {

using broker::LmdbStore;
using broker::StoreBroken;

namespace {

void replace(const std::filesystem::path& file, const std::string& image) {
  std::ofstream(file, std::ios::binary | std::ios::trunc) << image;
  std::filesystem::remove(file.parent_path() / "lock.mdb");
}

/// A store gets its name once it is whole and synced: what is played comes after.
void make(const broker::StoreSettings& settings) { const LmdbStore made(settings); }

}  // namespace

std::string losses(const Options& options, Count& count) {
  const Folder folder(memory());  // its disk is played
  make(folder.settings(options));
  std::mt19937_64 random(options.seed);
  Known known;
  std::atomic<Stage> stage = Stage::outside;
  std::uint32_t usual_calls = 4;
  std::array<std::uint64_t, 3> met{};  // by Fault; none: after the commit had returned
  std::uint64_t landed = 0;
  for (std::uint64_t round = 0; round < options.losses; ++round) {
    ++count.losses;
    std::string image;
    bool under_way = false;
    {
      Disk disk(folder.data_file(), stage, true);
      LmdbStore store(folder.settings(options));
      known.incarnation = store.recover().incarnation;
      for (std::uint64_t left = random() % 4; left > 0; --left) {
        const core::Batch batch = known.next(options.seed);
        disk.begin(0, Fault::none, 0);
        commit(store, batch, options);
        usual_calls = disk.calls();
        known.add(batch);
      }
      const core::Batch batch = known.next(options.seed);
      const Fault fault = random() % 3 == 0 ? Fault::error : Fault::power_loss;
      disk.begin(static_cast<std::uint32_t>(1 + random() % (usual_calls + 1)), fault, random());
      bool threw = false;
      try {
        commit(store, batch, options);
      } catch (const StoreBroken&) {
        threw = true;
      }
      if (threw != (disk.hit() && fault == Fault::error)) {
        throw Wrong(threw ? "a commit failed without a cause" : "a commit met an error, and returned as if it had not");
      }
      under_way = disk.hit();
      ++met[static_cast<std::size_t>(disk.hit() ? fault : Fault::none)];
      image = disk.image();
      if (!under_way) known.add(batch);
    }
    replace(folder.data_file(), image);
    const std::uint64_t before = known.number;
    check_what_is_there(folder, options, known, under_way);
    if (known.number > before) ++landed;
  }
  const auto of = [&](Fault fault) { return std::to_string(met[static_cast<std::size_t>(fault)]); };
  return of(Fault::power_loss) + " power losses in the midst of a commit, " + of(Fault::none) + " after it, " +
         of(Fault::error) + " failed writes or syncs (" + std::to_string(landed) + " were there, whole), " +
         std::to_string(known.number) + " batches";
}

/// A start's incarnation is on the disk when recover() has returned, whatever the durability.
std::string starts(const Options& options, Count& count) {
  const Folder folder(memory());
  broker::StoreSettings settings = folder.settings(options);
  settings.durability = broker::Durability::os;
  make(settings);
  std::atomic<Stage> stage = Stage::outside;
  std::uint32_t before = 0;
  for (int round = 0; round < 10; ++round) {
    ++count.losses;
    std::string image;
    {
      const Disk disk(folder.data_file(), stage, true);
      const std::uint32_t incarnation = LmdbStore(settings).recover().incarnation;
      if (incarnation <= before) throw Wrong("incarnation " + std::to_string(incarnation) + " came again");
      before = incarnation;
      image = disk.image();
    }
    replace(folder.data_file(), image);
  }
  return std::to_string(before) + " power losses right after a start";
}

/// With `durability: os` a power loss takes no more than what was committed in the last second of work.
std::string lazy_syncs(const Options& options, Count& count) {
  constexpr int rounds = 3;
  const Folder folder(memory());
  broker::StoreSettings settings = folder.settings(options);
  settings.durability = broker::Durability::os;
  make(settings);
  std::atomic<Stage> stage = Stage::outside;
  Known known;
  for (int round = 0; round < rounds; ++round) {
    ++count.losses;
    std::string image;
    {
      const Disk disk(folder.data_file(), stage, true);
      LmdbStore store(settings);
      known.incarnation = store.recover().incarnation;
      for (int i = 0; i < 3; ++i) {
        const core::Batch batch = known.next(options.seed);
        store.commit(batch);
        known.add(batch);
      }
      // The store goes by its own clock: once a second.
      std::this_thread::sleep_for(std::chrono::milliseconds(1'010));
      store.commit(known.next(options.seed));  // what came before it is older than a second
      image = disk.image();
    }
    replace(folder.data_file(), image);
    check_what_is_there(folder, options, known, true);
  }
  return std::to_string(rounds) + " power losses of a store that syncs once a second";
}

}  // namespace weir::chaos
