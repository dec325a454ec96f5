#pragma once

/// Finds the names of functions in the symbol tables of a program or shared object.
///
/// Pure, and bounds-checked, as the file may be another one than the file that crashed, or no ELF file. (libbacktrace,
/// which knows lines too, was tried. For each file that it is asked about it reads the symbols of all loaded files,
/// which takes 2 s per crash on a busy machine. A release has no lines.)

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace weir::worker::recorder {

/// Returns the linker's name of the function that covers `at`, counted from the file's first byte in memory. Empty if
/// the file names no function there.
[[nodiscard]] std::string_view function_at(std::span<const std::byte> elf, std::uint64_t at);

}  // namespace weir::worker::recorder
