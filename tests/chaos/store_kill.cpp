// store_kill [--kills N] [--losses N] [--seed N] [--plant torn|unsynced]: the real store, killed and robbed of its
// disk.
//
// Kills: a child process commits batch after batch of every kind of write and tells when it begins one and when it has
// returned; its parent ends it by SIGKILL in the midst of one, opens the folder, and compares all that it reads with a
// model of plain maps. That must hold every batch that returned and, whole or not at all, the one that was under way.
//
// Losses: store_losses.cpp.
//
// Plants are faults, to be found: a batch in two transactions; a store that does not sync. Exits 1 at what is wrong.
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>
#include <optional>
#include <random>
#include <string>
#include <string_view>

#include "store_check.hpp"
#include "store_disk.hpp"

namespace weir::chaos {
namespace {

using broker::LmdbStore;

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
