#include "store_check.hpp"

namespace weir::chaos {
namespace {

using broker::LmdbStore;

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

}  // namespace

void commit(LmdbStore& store, const core::Batch& batch, const Options& options) {
  if (options.plant != "torn") return store.commit(batch);
  core::Batch half = batch;
  const auto middle = half.writes.begin() + static_cast<std::ptrdiff_t>(half.writes.size() / 2);
  core::Batch rest{batch.number, {middle, half.writes.end()}};
  half.writes.erase(middle, half.writes.end());
  store.commit(half);
  store.commit(rest);
}

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

std::filesystem::path memory() {
  return std::filesystem::is_directory("/dev/shm") ? "/dev/shm" : std::filesystem::temp_directory_path();
}

}  // namespace weir::chaos
