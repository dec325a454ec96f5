#include "weir/worker/recorder/elf.hpp"

#include <elf.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <type_traits>

namespace weir::worker::recorder {
namespace {

/// Returns the i-th of the structs at `offset`; nothing beyond the end.
template <class T>
std::optional<T> read_at(std::span<const std::byte> bytes, std::uint64_t offset, std::uint64_t i = 0) {
  static_assert(std::is_trivially_copyable_v<T>);
  if (offset > bytes.size() || (bytes.size() - offset) / sizeof(T) <= i) return std::nullopt;
  T value;
  std::memcpy(&value, bytes.data() + offset + i * sizeof(T), sizeof(T));
  return value;
}

std::string_view string_at(std::span<const std::byte> bytes, const Elf64_Shdr& strings, std::uint64_t at) {
  if (strings.sh_offset > bytes.size() || at >= strings.sh_size || bytes.size() - strings.sh_offset <= at) return {};
  const auto* const begin = reinterpret_cast<const char*>(bytes.data()) + strings.sh_offset + at;
  const std::size_t most = std::min<std::uint64_t>(bytes.size() - strings.sh_offset - at, strings.sh_size - at);
  return {begin, strnlen(begin, most)};
}

/// Returns the address of the file's first byte, as the file says it: 0 in a shared object.
std::uint64_t first_address(std::span<const std::byte> bytes, const Elf64_Ehdr& header) {
  for (std::uint64_t i = 0; i < header.e_phnum; ++i) {
    const auto segment = read_at<Elf64_Phdr>(bytes, header.e_phoff, i);
    if (segment && segment->p_type == PT_LOAD) return segment->p_vaddr - segment->p_offset;
  }
  return 0;
}

std::string_view function_in(std::span<const std::byte> bytes, const Elf64_Shdr& table, const Elf64_Shdr& strings,
                             std::uint64_t address) {
  for (std::uint64_t i = 0; i < table.sh_size / sizeof(Elf64_Sym); ++i) {
    const auto symbol = read_at<Elf64_Sym>(bytes, table.sh_offset, i);
    if (!symbol) return {};
    if (ELF64_ST_TYPE(symbol->st_info) != STT_FUNC || symbol->st_shndx == SHN_UNDEF) continue;
    if (address < symbol->st_value || address - symbol->st_value >= symbol->st_size) continue;
    return string_at(bytes, strings, symbol->st_name);
  }
  return {};
}

}  // namespace

std::string_view function_at(std::span<const std::byte> bytes, std::uint64_t at) {
  const auto header = read_at<Elf64_Ehdr>(bytes, 0);
  if (!header || std::memcmp(header->e_ident, ELFMAG, SELFMAG) != 0 || header->e_ident[EI_CLASS] != ELFCLASS64)
    return {};
  const std::uint64_t address = first_address(bytes, *header) + at;
  // The whole table, if it was not stripped; else the exported symbols.
  for (const std::uint32_t kind : {SHT_SYMTAB, SHT_DYNSYM}) {
    for (std::uint64_t i = 0; i < header->e_shnum; ++i) {
      const auto table = read_at<Elf64_Shdr>(bytes, header->e_shoff, i);
      if (!table || table->sh_type != kind) continue;
      const auto strings = read_at<Elf64_Shdr>(bytes, header->e_shoff, table->sh_link);
      if (!strings) continue;
      if (const auto name = function_in(bytes, *table, *strings, address); !name.empty()) return name;
    }
  }
  return {};
}

}  // namespace weir::worker::recorder
