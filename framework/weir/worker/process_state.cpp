#include "weir/worker/process_state.hpp"

#include <dirent.h>

#include <charconv>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <string>
#include <thread>

namespace weir::worker {

std::optional<ProcessState> process_state(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string line;
  if (!std::getline(file, line)) return std::nullopt;
  // PID (NAME) STATE PARENT GROUP …; a name may contain anything, also parentheses.
  const auto end = line.rfind(')');
  ProcessState out{.pid = pid};
  if (end == std::string::npos ||
      std::sscanf(line.c_str() + end + 1, " %c %d %d", &out.state, &out.parent, &out.group) != 3) {
    return std::nullopt;
  }
  return out;
}

bool thread_waits(pid_t thread) {
  constexpr int looks = 4;
  for (int i = 0; i < looks; ++i) {
    const auto found = process_state(thread);
    if (!found || (found->state != 'S' && found->state != 'D')) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return true;
}

std::vector<ProcessState> all_processes() {
  std::vector<ProcessState> out;
  DIR* const folder = opendir("/proc");
  if (folder == nullptr) return out;
  while (const dirent* const entry = readdir(folder)) {
    pid_t pid = 0;
    const char* const end = entry->d_name + std::strlen(entry->d_name);
    const auto read = std::from_chars(entry->d_name, end, pid);
    if (read.ec != std::errc() || read.ptr != end) continue;
    if (const auto state = process_state(pid)) out.push_back(*state);
  }
  closedir(folder);
  return out;
}

pid_t tracer_of(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/status");
  for (std::string line; std::getline(file, line);) {
    pid_t tracer = 0;
    if (std::sscanf(line.c_str(), "TracerPid: %d", &tracer) == 1) return tracer;
  }
  return 0;
}

}  // namespace weir::worker
