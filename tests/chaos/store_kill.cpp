// store_kill [--kills N] [--losses N] [--seed N] [--plant torn|unsynced]: the real store, killed and robbed of its
// disk.
//
// Kills: a child process commits batch after batch of every kind of write and tells when it begins one and when it has
// returned; its parent ends it by SIGKILL in the midst of one, opens the folder, and compares all that it reads with a
// model of plain maps. That must hold every batch that returned and, whole or not at all, the one that was under way.
//
// Losses: the same within one process, by power loss (any of the sectors that were not synced are lost) or a disk that
// fails a write or a sync (what was not synced is lost). A commit that met a failure must throw, whatever comes after.
// And by power loss of a store that does not sync its commits: right after a start, whose incarnation must not come
// again, and with `durability: os` in the midst of work, of which no more than the last second may be lost.
//
// Plants are faults, to be found: a batch in two transactions; a store that does not sync. Exits 1 at what is wrong.
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <new>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>

#include "store_batches.hpp"
#include "store_disk.hpp"
#include "weir/broker/store/lmdb_store.hpp"

namespace weir::chaos {
namespace {

using broker::LmdbStore;
using broker::StoreBroken;

struct Options {
  std::uint64_t kills = 40;
  std::uint64_t losses = 100;
  std::uint64_t seed = 1;
  std::string plant;
};

/// How many there were, for whoever reads what is wrong.
struct Count {
  std::uint64_t kills = 0;
  std::uint64_t losses = 0;
};

struct Wrong : std::runtime_error {
  using std::runtime_error::runtime_error;
};

class Folder {
 public:
  explicit Folder(const std::filesystem::path& in) {
    std::string name = (in / "weir-store-kill-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp failed");
    path_ = name;
  }
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  [[nodiscard]] std::filesystem::path data_file() const { return path_ / "data.mdb"; }
  [[nodiscard]] broker::StoreSettings settings(const Options& options) const {
    return {.data = path_,
            .durability = options.plant == "unsynced" ? broker::Durability::none : broker::Durability::fsync,
            .reserve = {1024 * 1024}};
  }

 private:
  std::filesystem::path path_;
};

void commit(LmdbStore& store, const core::Batch& batch, const Options& options) {
  if (options.plant != "torn") return store.commit(batch);
  core::Batch half = batch;
  const auto middle = half.writes.begin() + static_cast<std::ptrdiff_t>(half.writes.size() / 2);
  core::Batch rest{batch.number, {middle, half.writes.end()}};
  half.writes.erase(middle, half.writes.end());
  store.commit(half);
  store.commit(rest);
}

/// How many entries there are under `name`, read past the store: what lies where no start looks is counted too.
std::size_t entries(MDB_env* env, const char* name) {
  broker::lmdb::Transaction read(env, MDB_RDONLY);
  MDB_dbi database{};
  MDB_stat status{};
  broker::lmdb::check(mdb_dbi_open(read.get(), name, 0, &database), "mdb_dbi_open");
  broker::lmdb::check(mdb_stat(read.get(), database, &status), "mdb_stat");
  return status.ms_entries;
}

void check_nothing_is_left_over(const std::filesystem::path& folder) {
  MDB_env* env = nullptr;
  broker::lmdb::check(mdb_env_create(&env), "mdb_env_create");
  mdb_env_set_maxdbs(env, 16);
  broker::lmdb::check(mdb_env_open(env, folder.c_str(), MDB_RDONLY, 0644), "mdb_env_open");
  const std::size_t segments = entries(env, "segments");
  const std::size_t heads = entries(env, "heads");
  const std::size_t records = entries(env, "records");
  const std::size_t due = entries(env, "due");
  mdb_env_close(env);
  if (segments != heads) throw Wrong(std::to_string(segments) + " segments have " + std::to_string(heads) + " heads");
  if (records != due) throw Wrong(std::to_string(records) + " records have " + std::to_string(due) + " due times");
}

/// What is known of the store: all that was committed.
struct Known {
  Model model;
  std::uint64_t number = 0;       ///< of the last batch
  std::uint32_t incarnation = 0;  ///< of the last start

  [[nodiscard]] core::Batch next(std::uint64_t seed) const { return batch_of(seed, number + 1, model); }
  void add(const core::Batch& batch) {
    model.commit(batch);
    ++number;
  }
};

/// Opens what is left, and compares. `under_way`: one more batch may be there, whole.
void check_what_is_there(const Folder& folder, const Options& options, Known& known, bool under_way) {
  Contents found;
  {
    LmdbStore store(folder.settings(options));
    const core::Recovered recovered = store.recover();
    if (recovered.incarnation <= known.incarnation) {
      throw Wrong("incarnation " + std::to_string(recovered.incarnation) + " came again");
    }
    known.incarnation = recovered.incarnation;
    found = contents_of(store, recovered);
  }
  check_nothing_is_left_over(folder.settings(options).data);
  const std::string without = difference(contents_of(known.model), found);
  if (without.empty()) return;
  if (!under_way) throw Wrong("after batch " + std::to_string(known.number) + " had returned: " + without);
  const std::uint64_t before = known.number;
  known.add(known.next(options.seed));
  const std::string with = difference(contents_of(known.model), found);
  if (with.empty()) return;
  throw Wrong("neither all of batch " + std::to_string(before + 1) + " is there (" + with + ") nor none of it (" +
              without + ")");
}

// Kills.

struct Word {
  enum class Kind : std::uint8_t { started, begin, committed } kind{};
  std::uint64_t value{};  ///< incarnation, or number
};

void say(int pipe, Word::Kind kind, std::uint64_t value) {
  Word word{};
  word.kind = kind;
  word.value = value;
  if (::write(pipe, &word, sizeof word) != static_cast<ssize_t>(sizeof word)) std::_Exit(1);
}

[[noreturn]] void commit_until_killed(const Folder& folder, const Options& options, Known known,
                                      std::atomic<Stage>& stage, int pipe) {
  try {
    LmdbStore store(folder.settings(options));
    say(pipe, Word::Kind::started, store.recover().incarnation);
    const Disk disk(folder.data_file(), stage, false);
    while (true) {
      const core::Batch batch = known.next(options.seed);
      stage = Stage::before_writing;
      say(pipe, Word::Kind::begin, batch.number);
      commit(store, batch, options);
      stage = Stage::outside;
      say(pipe, Word::Kind::committed, batch.number);
      known.add(batch);
    }
  } catch (const std::exception& error) {
    std::fprintf(stderr, "the committing child: %s\n", error.what());
  }
  std::_Exit(1);
}

/// The writing child, and what it has told.
class Child {
 public:
  Child(const Folder& folder, const Options& options, const Known& known, std::atomic<Stage>& stage) {
    std::array<int, 2> ends{};
    if (::pipe(ends.data()) != 0) throw std::runtime_error("pipe failed");
    pid_ = ::fork();
    if (pid_ < 0) throw std::runtime_error("fork failed");
    if (pid_ == 0) {
      ::close(ends[0]);
      commit_until_killed(folder, options, known, stage, ends[1]);
    }
    ::close(ends[1]);
    pipe_ = ends[0];
  }
  ~Child() {
    ::close(pipe_);
    if (!dead_) kill();
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  [[nodiscard]] std::optional<Word> hear() const {
    Word word{};
    if (::read(pipe_, &word, sizeof word) != static_cast<ssize_t>(sizeof word)) return std::nullopt;
    return word;
  }
  [[nodiscard]] Word must_hear() const {
    const auto word = hear();
    if (!word) throw Wrong("the committing child ended by itself");
    return *word;
  }
  void kill() {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    dead_ = true;
  }

 private:
  pid_t pid_ = -1;
  int pipe_ = -1;
  bool dead_ = false;
};

/// Waits as exactly as may be: a sleep alone takes 50 µs more than asked, as long as some commits.
void wait_exactly(std::chrono::nanoseconds time) {
  const auto end = std::chrono::steady_clock::now() + time;
  if (time > std::chrono::microseconds(300)) {
    const auto nearly = time - std::chrono::microseconds(200);
    const timespec most{nearly.count() / 1'000'000'000, nearly.count() % 1'000'000'000};
    ::nanosleep(&most, nullptr);
  }
  while (std::chrono::steady_clock::now() < end) {
  }
}

std::string kills(const Options& options, std::uint64_t wanted, const std::filesystem::path& in, Count& count) {
  const Folder folder(in);
  void* const shared =
      ::mmap(nullptr, sizeof(std::atomic<Stage>), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED) throw std::runtime_error("mmap failed");
  auto& stage = *new (shared) std::atomic<Stage>(Stage::outside);
  std::mt19937_64 random(options.seed);
  Known known;
  std::array<std::uint64_t, stages> killed_at{};
  std::uint64_t counted = 0;
  std::uint64_t tried = 0;
  std::uint64_t landed = 0;
  auto usual = std::chrono::nanoseconds(2'000'000);  // of a commit
  while (counted < wanted) {
    if (++tried > 20 * wanted + 100) throw Wrong("hardly a kill comes in the midst of a commit");
    Child child(folder, options, known, stage);
    const Word started = child.must_hear();
    if (started.value <= known.incarnation) throw Wrong("incarnation " + std::to_string(started.value) + " came again");
    known.incarnation = static_cast<std::uint32_t>(started.value);

    const std::uint64_t target = known.number + 1 + random() % 8;
    std::uint64_t begun = 0;
    std::uint64_t committed = known.number;
    auto since = std::chrono::steady_clock::now();
    const auto take = [&](const Word& word) {
      (word.kind == Word::Kind::begin ? begun : committed) = word.value;
      const auto now = std::chrono::steady_clock::now();
      if (word.kind == Word::Kind::committed) usual = (usual * 7 + (now - since)) / 8;
      since = now;
    };
    while (begun < target) take(child.must_hear());
    wait_exactly(usual * static_cast<std::int64_t>(random() % 1'100) / 1'000);
    child.kill();
    ++count.kills;
    const Stage at = stage;
    while (const auto word = child.hear()) take(*word);

    // All that returned, and it may have gone on after the target.
    while (known.number < committed) known.add(known.next(options.seed));
    const bool under_way = begun > committed;
    if (under_way) {
      ++counted;
      ++killed_at[static_cast<std::size_t>(at)];
    }
    check_what_is_there(folder, options, known, under_way);
    if (under_way && known.number == begun) ++landed;
  }
  ::munmap(shared, sizeof(std::atomic<Stage>));
  const auto of = [&](Stage stage_) { return std::to_string(killed_at[static_cast<std::size_t>(stage_)]); };
  return std::to_string(counted) + " kills in the midst of a commit below " + in.string() + " (" +
         of(Stage::before_writing) + " before it wrote, " + of(Stage::writing_pages) + " at its pages, " +
         of(Stage::syncing) + " at their sync, " + of(Stage::synced) + " synced, " + of(Stage::writing_its_end) +
         " at its last page, " + of(Stage::after) + " after that; " + std::to_string(landed) + " were there, whole), " +
         std::to_string(tried - counted) + " outside, " + std::to_string(known.number) + " batches";
}

// Losses.

/// A file system in memory, where a sync takes no time.
std::filesystem::path memory() {
  return std::filesystem::is_directory("/dev/shm") ? "/dev/shm" : std::filesystem::temp_directory_path();
}

void replace(const std::filesystem::path& file, const std::string& image) {
  std::ofstream(file, std::ios::binary | std::ios::trunc) << image;
  std::filesystem::remove(file.parent_path() / "lock.mdb");
}

std::string losses(const Options& options, Count& count) {
  const Folder folder(memory());  // its disk is played
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

std::optional<Options> read(int argc, char** argv) {
  Options options;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string_view key = argv[i];
    if (key == "--kills") {
      options.kills = std::strtoull(argv[i + 1], nullptr, 0);
    } else if (key == "--losses") {
      options.losses = std::strtoull(argv[i + 1], nullptr, 0);
    } else if (key == "--seed") {
      options.seed = std::strtoull(argv[i + 1], nullptr, 0);
    } else if (key == "--plant") {
      options.plant = argv[i + 1];
    } else {
      return std::nullopt;
    }
  }
  return argc % 2 == 1 ? std::optional(options) : std::nullopt;
}

}  // namespace
}  // namespace weir::chaos

int main(int argc, char** argv) {
  const auto options = weir::chaos::read(argc, argv);
  if (!options) {
    std::fprintf(stderr, "store_kill [--kills N] [--losses N] [--seed N] [--plant torn|unsynced]\n");
    return 2;
  }
  weir::chaos::Count count;
  try {
    // On a disk most of a commit is its sync; in memory, most of it is writing pages.
    const std::uint64_t on_disk = options->kills - options->kills / 2;
    const auto tell = [](const std::string& done) {
      std::printf("%s\n", done.c_str());
      std::fflush(stdout);
    };
    if (on_disk > 0) tell(weir::chaos::kills(*options, on_disk, std::filesystem::temp_directory_path(), count));
    if (options->kills > 1) tell(weir::chaos::kills(*options, options->kills / 2, weir::chaos::memory(), count));
    if (options->losses > 0) {
      tell(weir::chaos::starts(*options, count));
      tell(weir::chaos::lazy_syncs(*options, count));
      tell(weir::chaos::losses(*options, count));
    }
    return 0;
  } catch (const std::exception& error) {
    std::printf("after %llu kills, %llu losses: %s\n", static_cast<unsigned long long>(count.kills),
                static_cast<unsigned long long>(count.losses), error.what());
    return 1;
  }
}
