#include "weir/worker/recorder/symbols.hpp"

#include <cxxabi.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <map>
#include <memory>
#include <string_view>
#include <utility>

#include "weir/worker/recorder/elf.hpp"

namespace weir::worker::recorder {
namespace {

/// A file's bytes, which are read when they are used; none if the file cannot be read.
class FileBytes {
 public:
  explicit FileBytes(const std::string& path) {
    const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (file < 0) return;
    struct stat status {};
    if (fstat(file, &status) == 0 && S_ISREG(status.st_mode) && status.st_size > 0) {
      void* const at = mmap(nullptr, static_cast<std::size_t>(status.st_size), PROT_READ, MAP_PRIVATE, file, 0);
      if (at != MAP_FAILED) bytes_ = {static_cast<const std::byte*>(at), static_cast<std::size_t>(status.st_size)};
    }
    close(file);
  }
  FileBytes(const FileBytes&) = delete;
  FileBytes& operator=(const FileBytes&) = delete;
  ~FileBytes() {
    if (!bytes_.empty()) munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
  }
  [[nodiscard]] std::span<const std::byte> view() const { return bytes_; }

 private:
  std::span<const std::byte> bytes_;
};

std::string demangled(std::string_view mangled) {
  const std::string name(mangled);
  int status = 0;
  const std::unique_ptr<char, void (*)(void*)> text(abi::__cxa_demangle(name.c_str(), nullptr, nullptr, &status),
                                                    std::free);
  std::string readable = text == nullptr ? name : text.get();
  constexpr std::string_view dear = "std::__cxx11::basic_string<char, std::char_traits<char>, std::allocator<char> >";
  for (auto at = readable.find(dear); at != std::string::npos; at = readable.find(dear, at)) {
    readable.replace(at, dear.size(), "std::string");
  }
  return readable;
}

std::string hex(std::uint64_t value) {
  char text[32];
  std::snprintf(text, sizeof text, "0x%llx", static_cast<unsigned long long>(value));
  return text;
}

}  // namespace

std::vector<std::string> names_of(const MemoryMap& map, std::span<const std::uint64_t> frames) {
  std::map<std::string, FileBytes> files;
  std::vector<std::string> names;
  for (std::size_t i = 0; i < frames.size(); ++i) {
    const auto place = map.find(frames[i]);
    if (!place) {
      names.push_back(hex(frames[i]));
      continue;
    }
    const auto& file = files.try_emplace(place->file, place->file).first->second;
    // A call may be a function's last instruction, so look one byte before the return address.
    const std::string_view function = function_at(file.view(), i > 0 && place->at > 0 ? place->at - 1 : place->at);
    const std::string in = place->file.substr(place->file.rfind('/') + 1);
    names.push_back(function.empty() ? in + "+" + hex(place->at) : demangled(function) + " in " + in);
  }
  return names;
}

std::vector<std::string> readable_stack(std::vector<std::string> names, std::size_t name_bytes_most) {
  constexpr std::size_t frames_told = 32;
  std::vector<std::string> out;
  for (std::size_t i = 0; i < names.size() && out.size() < frames_told;) {
    std::string name = names[i].substr(0, name_bytes_most);
    std::size_t times = 1;
    while (i + times < names.size() && names[i + times] == names[i]) ++times;
    i += times;
    for (char& c : name) {
      if (c < ' ' || c > '~') c = '?';
    }
    if (times > 1) name += " (" + std::to_string(times) + " times)";
    out.push_back(std::move(name));
  }
  return out;
}

MemoryMap own_map() {
  std::ifstream file("/proc/self/maps");
  return MemoryMap(std::string(std::istreambuf_iterator<char>(file), {}));
}

}  // namespace weir::worker::recorder
