#include "weir/broker/store/map_faults.hpp"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <sstream>
#include <string>
#include <string_view>

namespace weir::broker {
namespace {

/// What a signal handler may look at. It is filled before the handler is installed, and never changed by it.
struct Mapped {
  std::uintptr_t from{}, to{};
  std::array<char, 512> file{};
};
std::array<Mapped, 4> mapped_files;
std::size_t mapped_count = 0;

void say(std::string_view text) {
  // If this fails, nothing can be done.
  if (::write(STDERR_FILENO, text.data(), text.size()) < 0) return;
}

void on_fault(int signal, siginfo_t* info, void*) {
  const auto at = reinterpret_cast<std::uintptr_t>(info->si_addr);
  for (std::size_t i = 0; i < mapped_count; ++i) {
    const Mapped& one = mapped_files[i];
    if (at < one.from || at >= one.to) continue;
    say("weir: the broker ends, as its store cannot be read or written any more: ");
    say(one.file.data());
    say(signal == SIGBUS ? " (SIGBUS: its disk failed, or the file was cut off or made read-only)"
                         : " (SIGSEGV: the file was damaged while the broker ran)");
    say("; what was confirmed before is as safe as that file: see what `weir check-store` says of it\n");
    break;
  }
  // The default action is back (SA_RESETHAND). The instruction that faulted runs again, and ends the process. A signal
  // that was sent does not come again by itself.
  if (info->si_code <= 0) ::raise(signal);
}

}  // namespace

void name_map_faults(const std::filesystem::path& folder) {
  std::error_code failed;
  const auto real = std::filesystem::canonical(folder, failed);
  if (failed) return;
  mapped_count = 0;
  // "7f0000000000-7f0000002000 r--s 00000000 fe:00 1234   /path": see proc(5).
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line) && mapped_count < mapped_files.size();) {
    const std::size_t path = line.find('/');
    if (path == std::string::npos) continue;
    const std::string file = line.substr(path);
    if (file != (real / "data.mdb").string() && file != (real / "lock.mdb").string()) continue;
    Mapped& one = mapped_files[mapped_count];
    one = {};
    char dash{};
    std::istringstream(line) >> std::hex >> one.from >> dash >> one.to;
    std::copy_n(file.data(), std::min(file.size(), one.file.size() - 1), one.file.data());
    ++mapped_count;
  }
  struct sigaction action {};
  action.sa_sigaction = on_fault;
  action.sa_flags = SA_SIGINFO | SA_RESETHAND;
  ::sigaction(SIGBUS, &action, nullptr);
  ::sigaction(SIGSEGV, &action, nullptr);
}

}  // namespace weir::broker
