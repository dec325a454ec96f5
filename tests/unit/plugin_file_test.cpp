#include "weir/handler/plugin_file.hpp"

#include <gmock/gmock.h>
#include <google/protobuf/descriptor.pb.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "weir/handler/abi.hpp"

namespace weir::handler {
namespace {

using testing::HasSubstr;

std::string error_of(const std::function<void()>& what) {
  try {
    what();
  } catch (const PluginError& error) {
    return error.what();
  }
  return "no error";
}

/// A file of the test's own.
class File {
 public:
  explicit File(const std::string& bytes) {
    path_ = std::filesystem::temp_directory_path() / ("weir-plugin-test-" + std::to_string(getpid()) + ".so");
    std::ofstream(path_, std::ios::binary) << bytes;
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  ~File() { std::filesystem::remove(path_); }
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

std::string read_all(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

TEST(PluginFile, SaysWhatItWasBuiltWithAndWhichTypesItBrings) {
  const PluginFile file = read_plugin_file(WEIR_TEST_PLUGIN);

  EXPECT_EQ(file.abi.number, abi_number);
  EXPECT_EQ(error_of([&] { check_abi(WEIR_TEST_PLUGIN, file.abi); }), "no error");
  google::protobuf::FileDescriptorSet descriptors;
  ASSERT_TRUE(descriptors.ParseFromString(file.descriptors));
  ASSERT_EQ(descriptors.file_size(), 1);
  EXPECT_EQ(descriptors.file(0).name(), "shop/shop.proto");
}

TEST(PluginFile, ThatIsMissingIsNamed) {
  EXPECT_EQ(
      error_of([] { (void)read_plugin_file("/nowhere/shop.so"); }),
      "cannot open plugin /nowhere/shop.so: No such file or directory; build it with weir_add_plugin, or correct the "
      "group's `plugin`");
}

TEST(PluginFile, ThatIsNoPluginIsNamed) {
  const File text("#!/bin/sh\nexit 0\n" + std::string(100, '#'));
  EXPECT_THAT(error_of([&] { (void)read_plugin_file(text.path()); }), HasSubstr("is not an ELF file"));
  const File empty("");
  EXPECT_THAT(error_of([&] { (void)read_plugin_file(empty.path()); }), HasSubstr("is not an ELF file"));
  EXPECT_THAT(error_of([] { (void)read_plugin_file("/"); }), HasSubstr("plugin / is a directory"));
  EXPECT_THAT(error_of([] { (void)read_plugin_file(WEIR_TEST_NO_PLUGIN); }), HasSubstr("has no WEIR_PLUGIN"));
}

TEST(PluginFile, ThatIsTruncatedIsNamedWhereverItWasCut) {
  const std::string whole = read_all(WEIR_TEST_PLUGIN);
  for (const std::size_t size : {65UL, 1000UL, whole.size() / 2, whole.size() - 1}) {
    const File cut(whole.substr(0, size));
    EXPECT_THAT(error_of([&] { (void)read_plugin_file(cut.path()); }), HasSubstr("is truncated or broken")) << size;
  }
}

TEST(PluginFile, WithRandomlyChangedBytesIsReadOrRefused) {
  const std::string whole = read_all(WEIR_TEST_PLUGIN);
  std::uint64_t random = 1;
  for (int round = 0; round < 50; ++round) {
    std::string bytes = whole;
    // In the head and in the table of sections, which ends the file.
    for (int i = 0; i < 8; ++i) {
      random = random * 6364136223846793005ULL + 1442695040888963407ULL;
      const std::size_t at = (random >> 33) % 2048;
      bytes[i % 2 == 0 ? at % 64 : bytes.size() - 1 - at] = static_cast<char>(random >> 20);
    }
    const File file(bytes);
    try {
      (void)read_plugin_file(file.path());
    } catch (const PluginError&) {
    }
  }
}

TEST(PluginFile, BuiltWithSomethingElseIsRefusedByName) {
  const auto built = [](auto change) {
    Abi abi = this_abi;
    change(abi);
    return error_of([&] { check_abi("shop.so", abi); });
  };
  EXPECT_EQ(built([](Abi&) {}), "no error");
  EXPECT_THAT(built([](Abi& abi) { ++abi.number; }),
              HasSubstr("was built with Weir's plugin interface " + std::to_string(abi_number + 1) +
                        ", this weir with " + std::to_string(abi_number)));
  EXPECT_THAT(built([](Abi& abi) { abi.compiler = 11, abi.clang = 0; }),
              HasSubstr("was built with g++ 11, this weir with"));
  EXPECT_THAT(built([](Abi& abi) { abi.clang = 99; }), HasSubstr("was built with clang 99, this weir with"));
  EXPECT_THAT(built([](Abi& abi) { abi.library = 11; }), HasSubstr("was built with libstdc++ 11, this weir with"));
  if (this_abi.clang == 0) {
    EXPECT_EQ(built([](Abi& abi) { abi.compiler = 4, abi.clang = 16; }), "no error");
    EXPECT_THAT(built([](Abi& abi) { abi.compiler = 4, abi.clang = 15; }), HasSubstr("was built with clang 15"));
  }
  EXPECT_THAT(built([](Abi& abi) { abi.boost = 107400; }), HasSubstr("was built with Boost 1.74, this weir with 1.81"));
  EXPECT_THAT(built([](Abi& abi) { abi.protobuf = 3012004; }), HasSubstr("was built with Protobuf 3.12.4"));
  EXPECT_THAT(built([](Abi& abi) { abi.cxx11_abi = 0; }), HasSubstr("_GLIBCXX_USE_CXX11_ABI=0"));
  EXPECT_THAT(built([](Abi& abi) { abi.sanitizer = 1 - (abi.sanitizer & 1); }), HasSubstr("sanitizer"));
}

}  // namespace
}  // namespace weir::handler
