#pragma once

/// A data folder of its own for each test, and short ways to say what is written.

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <numeric>
#include <string>
#include <vector>

#include "weir/broker/store/lmdb_store.hpp"

namespace weir::broker {

class StoreTest : public testing::Test {
 protected:
  explicit StoreTest(const std::filesystem::path& within = std::filesystem::temp_directory_path()) {
    std::string name = (within / "weir-store-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp failed");
    folder_ = name;
  }
  ~StoreTest() override {
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }

  /// Small reserve: a test needs no 64 MiB.
  [[nodiscard]] StoreSettings settings() const {
    return {.data = folder_ / "data", .durability = Durability::none, .reserve = {1024 * 1024}};
  }

  std::filesystem::path folder_;
};

inline core::PutQueue queue_of(QueueId id, const std::string& name) {
  core::PutQueue put;
  put.queue = id;
  put.state.set_name(name);
  return put;
}

/// A segment of these bodies (as they stand in the run), all of type `t.T`.
inline core::PutSegment segment_of(core::SegmentKey key, const std::vector<std::string>& bodies,
                                   std::int64_t published_at_us = 1) {
  auto contents = std::make_shared<core::Contents>();
  std::string run;
  for (const std::string& body : bodies) {
    contents->index.add_lengths(static_cast<std::uint32_t>(body.size()));
    run += body;
  }
  contents->index.add_types("t.T");
  contents->names = {
      {*PublisherId::from("its publisher id"), key.segment * 1000, static_cast<std::uint32_t>(bodies.size())}};
  contents->published_at_us = published_at_us;
  const std::size_t bytes = run.size();
  contents->run = {Slice::of(std::move(run))};
  return {key, std::move(contents), bytes, {}};
}

template <class... Writes>
core::Batch batch_of(Writes... writes) {
  core::Batch batch;
  (batch.writes.push_back(std::move(writes)), ...);
  return batch;
}

}  // namespace weir::broker
