// The kept inputs of every fuzz target (corpus and regressions), in the ordinary build.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "targets.hpp"

namespace weir::fuzz {
namespace {

struct Target {
  const char* name;
  void (*run)(std::string_view bytes);
};

class Fuzzed : public testing::TestWithParam<Target> {};

TEST_P(Fuzzed, KeptInputsHoldItsPromises) {
  const std::filesystem::path folder = WEIR_FUZZ_FOLDER;
  int inputs = 0;
  for (const char* kept : {"corpus", "regressions"}) {
    const auto inside = folder / kept / GetParam().name;
    if (!std::filesystem::exists(inside)) continue;
    for (const auto& file : std::filesystem::directory_iterator(inside)) {
      std::ifstream in(file.path(), std::ios::binary);
      const std::string bytes{std::istreambuf_iterator<char>(in), {}};
      EXPECT_NO_THROW(GetParam().run(bytes)) << file.path();
      ++inputs;
    }
  }
  EXPECT_GT(inputs, 0);
}

INSTANTIATE_TEST_SUITE_P(Targets, Fuzzed,
                         testing::Values(Target{"frame", frame}, Target{"broker", broker}, Target{"worker", worker},
                                         Target{"publisher", publisher}, Target{"stored", stored},
                                         Target{"deployment", deployment}, Target{"lines", lines},
                                         Target{"recorder", recorder}),
                         [](const auto& one) { return std::string(one.param.name); });

}  // namespace
}  // namespace weir::fuzz
