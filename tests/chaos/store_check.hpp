#pragma once

/// What is known of a store that is killed (store_kill.cpp) or robbed of its disk (store_losses.cpp), and the look
/// whether it is there.

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <stdexcept>
#include <string>

#include "store_batches.hpp"
#include "weir/broker/store/lmdb_store.hpp"

namespace weir::chaos {

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

/// One batch; or, where that is planted, in two transactions.
void commit(broker::LmdbStore& store, const core::Batch& batch, const Options& options);
/// Opens what is left, and compares. `under_way`: one more batch may be there, whole. Throws: Wrong.
void check_what_is_there(const Folder& folder, const Options& options, Known& known, bool under_way);
/// A file system in memory, where a sync takes no time.
[[nodiscard]] std::filesystem::path memory();

/// Power losses and disks that fail; what was met, for people. Throws: Wrong.
[[nodiscard]] std::string losses(const Options& options, Count& count);
/// Power losses right after a start of a store that does not sync its commits: its incarnation must not come again.
[[nodiscard]] std::string starts(const Options& options, Count& count);
/// Power losses of a store with `durability: os`: no more than the last second is lost.
[[nodiscard]] std::string lazy_syncs(const Options& options, Count& count);

}  // namespace weir::chaos
