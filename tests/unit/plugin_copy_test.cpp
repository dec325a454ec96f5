#include "weir/worker/plugin_copy.hpp"

#include <gmock/gmock.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <optional>

namespace weir::worker {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

class PluginCopies : public testing::Test {
 protected:
  PluginCopies() {
    fs::create_directory(folder_);
    fs::create_directory(runtime_);
    fs::copy_file(WEIR_TEST_PLUGIN_FREE, plugin_);
    setenv("XDG_RUNTIME_DIR", runtime_.c_str(), 1);
  }
  ~PluginCopies() override {
    unsetenv("XDG_RUNTIME_DIR");
    fs::remove_all(folder_);
  }

  /// The folders of copies, by hash.
  [[nodiscard]] std::vector<fs::path> copies() const {
    if (!fs::exists(runtime_ / "weir")) return {};
    return {fs::directory_iterator(runtime_ / "weir"), {}};
  }
  static std::string read(const fs::path& path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  void append(const std::string& bytes) const { std::ofstream(plugin_, std::ios::binary | std::ios::app) << bytes; }

  const fs::path folder_ = fs::temp_directory_path() / ("weir-plugin-copy-test-" + std::to_string(getpid()));
  const fs::path runtime_ = folder_ / "run";
  const fs::path plugin_ = folder_ / "shop.so";
};

TEST_F(PluginCopies, OfOneContentIsSharedAndRemovedWithTheLast) {
  std::optional<PluginCopy> one(std::in_place, plugin_);
  EXPECT_EQ(one->in_place_because(), "");
  EXPECT_NE(one->path(), plugin_);
  EXPECT_EQ(one->path().filename(), plugin_.filename());
  EXPECT_EQ(read(one->path()), read(plugin_));
  std::optional<PluginCopy> other(std::in_place, plugin_);
  EXPECT_EQ(other->path(), one->path());
  append("another");
  std::optional<PluginCopy> newer(std::in_place, plugin_);
  EXPECT_NE(newer->path(), one->path());
  EXPECT_FALSE(one->changed_in_place());
  const fs::path path = one->path();

  one.reset();
  EXPECT_TRUE(fs::exists(path));
  other.reset();
  EXPECT_FALSE(fs::exists(path.parent_path()));
  newer.reset();
  EXPECT_THAT(copies(), IsEmpty());
}

TEST_F(PluginCopies, LeftBehindIsSweptAndDamagedIsWrittenAnew) {
  const PluginCopy one(plugin_);
  fs::permissions(one.path(), fs::perms::owner_all);
  std::ofstream(one.path(), std::ios::binary) << "half";
  fs::create_directory(runtime_ / "weir" / std::string(32, 'a'));
  EXPECT_THAT(copies(), SizeIs(2));

  const PluginCopy other(plugin_);

  EXPECT_EQ(read(other.path()), read(plugin_));
  EXPECT_THAT(copies(), SizeIs(1));
}

TEST_F(PluginCopies, WithAnOriginInItsRunPathItStaysInPlaceAndIsWatched) {
  fs::copy_file(WEIR_TEST_PLUGIN, plugin_, fs::copy_options::overwrite_existing);
  const PluginCopy one(plugin_);
  EXPECT_EQ(one.path(), plugin_);
  EXPECT_THAT(one.in_place_because(), HasSubstr("$ORIGIN"));
  EXPECT_THAT(copies(), IsEmpty());

  EXPECT_FALSE(one.changed_in_place());
  append("x");
  EXPECT_TRUE(one.changed_in_place());
  EXPECT_FALSE(PluginCopy(plugin_).changed_in_place());
  fs::remove(plugin_);
  EXPECT_TRUE(one.changed_in_place());
}

TEST_F(PluginCopies, AFolderThatOthersMayWriteToIsNotUsed) {
  fs::create_directory(runtime_ / "weir");
  fs::permissions(runtime_ / "weir", fs::perms::all);
  const PluginCopy one(plugin_);
  EXPECT_EQ(one.path(), plugin_);
  EXPECT_THAT(one.in_place_because(), HasSubstr("is not this user's alone"));
}

TEST_F(PluginCopies, WhatIsNoPluginIsLeftToWhoLoadsIt) {
  const PluginCopy missing(folder_ / "none.so");
  EXPECT_EQ(missing.path(), folder_ / "none.so");
  EXPECT_THAT(missing.in_place_because(), HasSubstr("cannot open plugin"));
}

}  // namespace
}  // namespace weir::worker
