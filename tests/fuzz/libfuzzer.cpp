// libFuzzer's entry, compiled once a target.
#include <cstddef>
#include <cstdint>

#include "targets.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  weir::fuzz::WEIR_FUZZ_TARGET({reinterpret_cast<const char*>(data), size});
  return 0;
}
