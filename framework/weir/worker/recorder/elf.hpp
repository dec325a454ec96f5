#pragma once

/// The names of functions in a program or shared object: what its symbol tables say.
///
/// Pure, and bounds-checked: the file may be another than the one that crashed, or none at all. (libbacktrace, which
/// knows lines too, was tried: it reads the symbols of everything that is loaded for each file that it is asked about,
/// 2 s a crash on a busy machine; and a release has no lines.)

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace weir::worker::recorder {

/// The name, as the linker knows it, of the function that covers `at`, counted from where the file's first byte lies in
/// memory. Empty if the file names none there.
[[nodiscard]] std::string_view function_at(std::span<const std::byte> elf, std::uint64_t at);

}  // namespace weir::worker::recorder
