/// Loads and registers each group's plugin in a process of its own.

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <optional>

#include "weir/deployment/check.hpp"
#include "weir/inherited/limits.hpp"
#include "weir/telemetry/log.hpp"
#include "weir/worker/rehearsal.hpp"

namespace weir::deployment {
namespace {

using Clock = std::chrono::steady_clock;

/// A plugin may take long to load (a model, a large index). After 3 s a line says so to the person who waits for `weir
/// up`.
constexpr auto rehearsal_most = std::chrono::seconds(60);
constexpr auto told_after = std::chrono::seconds(3);

struct Rehearsal {
  std::string lines;          ///< as worker::rehearse() writes them
  std::optional<int> status;  ///< from waitpid(); nothing: it took too long, and was killed
};

[[noreturn]] void become_rehearsal(const std::string& file, const std::string& group, int pipe, pid_t parent) {
  setpgid(0, 0);  // so that programs that it starts can be ended with it
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(1);
  if (pipe == worker::findings_fd) {
    fcntl(pipe, F_SETFD, 0);
  } else {
    dup2(pipe, worker::findings_fd);
  }
  execl("/proc/self/exe", "weir", "worker-rehearsal", file.c_str(), group.c_str(), nullptr);
  _exit(127);
}

/// Reads until the other end is closed or has written its last line, or until `end`. Returns false at `end`.
bool read_all(int pipe, Clock::time_point end, std::string& into) {
  for (;;) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - Clock::now()).count();
    pollfd wait{.fd = pipe, .events = POLLIN, .revents = 0};
    const int ready = left > 0 ? poll(&wait, 1, static_cast<int>(left)) : 0;
    if (ready == 0) return false;
    if (ready < 0 && errno == EINTR) continue;
    char buffer[4096];
    const ssize_t got = ::read(pipe, buffer, sizeof buffer);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return true;
    into.append(buffer, static_cast<std::size_t>(got));
    if (into.ends_with(std::string("\n") + worker::rehearsed_line + "\n")) return true;
  }
}

Rehearsal rehearse(const std::string& file, const std::string& group) {
  inherited::need("loading a plugin", {.descriptors = 32, .threads = 2, .memory = Bytes{16 << 20}});
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) throw Error(std::string("pipe: ") + std::strerror(errno));
  const pid_t self = getpid();
  const pid_t child = fork();
  if (child < 0) throw Error(std::string("fork: ") + std::strerror(errno));
  if (child == 0) become_rehearsal(file, group, ends[1], self);
  setpgid(child, child);
  close(ends[1]);
  Rehearsal out{.lines = "\n", .status = {}};
  const auto begin = Clock::now();
  bool closed = read_all(ends[0], begin + told_after, out.lines);
  if (!closed) {
    log::warn("registration_takes_long", {{"worker", group}, {"most", Duration(rehearsal_most)}});
    closed = read_all(ends[0], begin + rehearsal_most, out.lines);
  }
  close(ends[0]);
  // The process ends by itself now, unless it took too long. Programs that it left must not outlive it.
  int status = 0;
  if (!closed) kill(-child, SIGKILL);
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  kill(-child, SIGKILL);
  if (closed) out.status = status;
  return out;
}

std::string how_it_ended(int status) {
  if (WIFSIGNALED(status))
    return std::string("ended by signal ") + std::to_string(WTERMSIG(status)) + " (" + strsignal(WTERMSIG(status)) +
           ")";
  return "ended with exit code " + std::to_string(WEXITSTATUS(status));
}

}  // namespace

void rehearse_plugins(const Deployment& deployment, const std::filesystem::path& file, Findings& findings) {
  for (const worker::GroupSettings& group : deployment.groups) {
    const std::string place = "workers." + group.name;
    const Position at = findings.place(place + ".plugin");
    const Rehearsal rehearsal = rehearse(file.string(), group.name);
    if (!rehearsal.status) {
      findings.warning(at, place + ": registering the plugin's handlers takes more than " +
                               std::to_string(rehearsal_most.count()) + " s; whether they are right was not found out");
      continue;
    }
    bool is_whole = false;
    for (std::size_t begin = 1; begin < rehearsal.lines.size();) {
      const std::size_t end = rehearsal.lines.find('\n', begin);
      const std::string line = rehearsal.lines.substr(begin, end - begin);
      begin = end == std::string::npos ? end : end + 1;
      is_whole = is_whole || line == worker::rehearsed_line;
      const auto tab = line.find('\t');
      if (tab == std::string::npos) continue;
      const std::string text = line.substr(tab + 1);
      findings.error(findings.place(place + "." + line.substr(0, tab)),
                     text.starts_with(place + ".") ? text : place + ": " + text);
    }
    if (!is_whole) {
      findings.error(at, place + ": while the plugin's handlers were registered, the process " +
                             how_it_ended(*rehearsal.status) + "; so would its workers");
    }
  }
}

}  // namespace weir::deployment
