#include "weir/handler/plugin_file.hpp"

#include <elf.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <optional>
#include <string_view>
#include <vector>

namespace weir::handler {
namespace {

using std::to_string;

constexpr std::size_t section_most = 64 * 1024 * 1024;

/// The sections of an ELF file. Each offset is checked, as the file may be anything.
class Elf {
 public:
  explicit Elf(const std::filesystem::path& path) : path_(path), file_(path, std::ios::binary) {
    if (std::filesystem::is_directory(path_)) throw PluginError("plugin " + path_.string() + " is a directory");
    if (!file_) {
      const int error = errno;
      throw PluginError("cannot open plugin " + path_.string() + ": " + std::strerror(error) +
                        "; build it with weir_add_plugin, or correct the group's `plugin`");
    }
    file_.seekg(0, std::ios::end);
    size_ = static_cast<std::uint64_t>(file_.tellg());
    Elf64_Ehdr head{};
    if (size_ < sizeof head) throw not_elf();
    read(0, &head, sizeof head);
    if (std::memcmp(head.e_ident, ELFMAG, SELFMAG) != 0) throw not_elf();
    if (head.e_ident[EI_CLASS] != ELFCLASS64 || head.e_type != ET_DYN) {
      throw PluginError("plugin " + path_.string() + " is no shared object of 64 bits");
    }
    if (head.e_shentsize != sizeof(Elf64_Shdr) || head.e_shnum == 0 || head.e_shstrndx >= head.e_shnum) throw broken();
    sections_.resize(head.e_shnum);
    read(head.e_shoff, sections_.data(), sections_.size() * sizeof(Elf64_Shdr));
    names_ = bytes(sections_[head.e_shstrndx]);
  }

  [[nodiscard]] std::optional<std::string> section(std::string_view name) {
    for (const Elf64_Shdr& each : sections_) {
      if (each.sh_name >= names_.size() || names_.c_str() + each.sh_name != name) continue;
      return bytes(each);
    }
    return std::nullopt;
  }

 private:
  [[nodiscard]] PluginError not_elf() const {
    return PluginError("plugin " + path_.string() + " is not an ELF file; build it with weir_add_plugin");
  }
  [[nodiscard]] PluginError broken() const {
    return PluginError("plugin " + path_.string() + " is truncated or broken; build it again");
  }
  void read(std::uint64_t offset, void* to, std::uint64_t count) {
    if (offset > size_ || count > size_ - offset) throw broken();
    file_.seekg(static_cast<std::streamoff>(offset));
    file_.read(static_cast<char*>(to), static_cast<std::streamsize>(count));
    if (!file_) throw broken();
  }
  [[nodiscard]] std::string bytes(const Elf64_Shdr& section) {
    if (section.sh_type == SHT_NOBITS || section.sh_size > section_most) throw broken();
    std::string out(section.sh_size, '\0');
    read(section.sh_offset, out.data(), out.size());
    return out;
  }

  std::filesystem::path path_;
  std::ifstream file_;
  std::uint64_t size_ = 0;
  std::vector<Elf64_Shdr> sections_;
  std::string names_;
};

std::string run_path_of(const std::string& dynamic, const std::string& strings) {
  std::string paths;
  for (std::size_t at = 0; at + sizeof(Elf64_Dyn) <= dynamic.size(); at += sizeof(Elf64_Dyn)) {
    Elf64_Dyn entry{};
    std::memcpy(&entry, dynamic.data() + at, sizeof entry);
    if (entry.d_tag == DT_NULL) break;
    if ((entry.d_tag != DT_RUNPATH && entry.d_tag != DT_RPATH) || entry.d_un.d_val >= strings.size()) continue;
    paths += (paths.empty() ? "" : ":") + std::string(strings.c_str() + entry.d_un.d_val);
  }
  return paths;
}

std::string compiler(const Abi& abi) {
  return abi.clang != 0 ? "clang " + to_string(abi.clang) : "g++ " + to_string(abi.compiler);
}
std::string boost(std::uint32_t version) { return to_string(version / 100000) + "." + to_string(version / 100 % 1000); }
std::string protobuf(std::uint32_t version) {
  return to_string(version / 1000000) + "." + to_string(version / 1000 % 1000) + "." + to_string(version % 1000);
}
std::string sanitizer(std::uint32_t code) {
  return code == 0 ? "no sanitizer" : code == 1 ? "the address sanitizer" : "the thread sanitizer";
}

}  // namespace

PluginFile read_plugin_file(const std::filesystem::path& path) {
  Elf elf(path);
  const auto abi = elf.section(".weir.abi");
  if (!abi) {
    throw PluginError("plugin " + path.string() +
                      " is no Weir plugin: it has no WEIR_PLUGIN (section .weir.abi); "
                      "build it with weir_add_plugin, with a WEIR_PLUGIN in one of its sources");
  }
  PluginFile file{};
  // Fields that a shorter, older struct lacks stay 0.
  std::memcpy(&file.abi, abi->data(), std::min(abi->size(), sizeof file.abi));
  if (abi->size() < 16 || std::memcmp(file.abi.magic, abi_magic, sizeof abi_magic) != 0) {
    throw PluginError("plugin " + path.string() + " is no Weir plugin: its section .weir.abi is not Weir's");
  }
  file.descriptors = elf.section(".weir.descriptors").value_or("");
  file.run_path = run_path_of(elf.section(".dynamic").value_or(""), elf.section(".dynstr").value_or(""));
  return file;
}

void check_abi(const std::filesystem::path& path, const Abi& abi) {
  const auto refuse = [&path](const std::string& theirs, const std::string& ours) {
    throw PluginError("plugin " + path.string() + " was built with " + theirs + ", this weir with " + ours +
                      "; build the plugin again with what this weir was built with");
  };
  if (abi.number != this_abi.number || abi.size != this_abi.size) {
    refuse("Weir's plugin interface " + to_string(abi.number), to_string(this_abi.number));
  }
  const bool same = abi.clang == this_abi.clang && (abi.clang != 0 || abi.compiler == this_abi.compiler);
  const bool beside = this_abi.clang == 0 && abi.clang == clang_beside_gnu;
  if (!same && !beside) refuse(compiler(abi), compiler(this_abi));
  if (abi.library != this_abi.library) {
    refuse("libstdc++ " + to_string(abi.library), to_string(this_abi.library));
  }
  if (abi.cxx11_abi != this_abi.cxx11_abi) {
    refuse("_GLIBCXX_USE_CXX11_ABI=" + to_string(abi.cxx11_abi), to_string(this_abi.cxx11_abi));
  }
  if (abi.boost != this_abi.boost) refuse("Boost " + boost(abi.boost), boost(this_abi.boost));
  if (abi.protobuf != this_abi.protobuf) refuse("Protobuf " + protobuf(abi.protobuf), protobuf(this_abi.protobuf));
  if (abi.sanitizer != this_abi.sanitizer) refuse(sanitizer(abi.sanitizer), sanitizer(this_abi.sanitizer));
}

}  // namespace weir::handler
