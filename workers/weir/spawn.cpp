#include "spawn.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <ctime>
#include <fstream>

#include "weir/message/error.hpp"

namespace weir::cli {
namespace {

volatile std::sig_atomic_t signalled = 0;

}  // namespace

void unwind_on_signals() {
  struct sigaction action {};
  action.sa_handler = [](int) { signalled = 1; };  // without SA_RESTART: poll() and read() return
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

Child::Child(std::string name, std::vector<std::string> arguments) : name_(std::move(name)) {
  int input[2];
  int output[2];
  if (pipe2(input, O_CLOEXEC) != 0 || pipe2(output, O_CLOEXEC) != 0)
    throw Error(std::string("pipe: ") + std::strerror(errno));
  std::vector<char*> words{const_cast<char*>("weir")};
  for (std::string& argument : arguments) words.push_back(argument.data());
  words.push_back(nullptr);
  const pid_t parent = getpid();
  pid_ = fork();
  if (pid_ < 0) throw Error(std::string("fork: ") + std::strerror(errno));
  if (pid_ == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(1);
    dup2(input[0], STDIN_FILENO);
    dup2(output[1], STDOUT_FILENO);
    execv("/proc/self/exe", words.data());
    _exit(127);
  }
  close(input[0]);
  close(output[1]);
  input_ = input[1];
  output_ = output[0];
}

Child::~Child() {
  if (pid_ > 0) {
    kill(pid_, SIGKILL);
    wait();
  }
  if (input_ >= 0) close(input_);
  close(output_);
}

std::string Child::line(std::chrono::seconds limit) {
  const auto end = std::chrono::steady_clock::now() + limit;
  while (true) {
    if (signalled != 0) throw Error("interrupted");
    if (const auto at = read_.find('\n'); at != std::string::npos) {
      std::string line = read_.substr(0, at);
      read_.erase(0, at + 1);
      return line;
    }
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - std::chrono::steady_clock::now());
    pollfd waiting{.fd = output_, .events = POLLIN, .revents = 0};
    const int ready = left.count() <= 0 ? 0 : poll(&waiting, 1, static_cast<int>(left.count()));
    if (ready == 0) throw Error("the " + name_ + " said nothing for " + std::to_string(limit.count()) + " s");
    if (ready < 0) continue;  // a signal
    char buffer[4096];
    const ssize_t count = read(output_, buffer, sizeof buffer);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) throw Error("the " + name_ + " ended before its time; its log says why");
    read_.append(buffer, static_cast<std::size_t>(count));
  }
}

double Child::cpu_seconds() const {
  // Not /proc/PID/stat: that counts in hundredths of a second, and a short run may fall between them.
  clockid_t clock{};
  timespec used{};
  if (clock_getcpuclockid(pid_, &clock) != 0 || clock_gettime(clock, &used) != 0) return 0;
  return static_cast<double>(used.tv_sec) + static_cast<double>(used.tv_nsec) * 1e-9;
}

std::uint64_t Child::memory(const std::string& figure) const {
  std::ifstream file("/proc/" + std::to_string(pid_) + "/status");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with(figure + ":")) return std::stoull(line.substr(figure.size() + 1)) * 1024;
  }
  return 0;
}

bool Child::running() {
  if (pid_ > 0 && waitpid(pid_, &status_, WNOHANG) == pid_) pid_ = 0;
  return pid_ > 0;
}

void Child::finish() {
  close(input_);
  input_ = -1;
  wait();
  if (status_ != 0) throw Error("the " + name_ + " failed; its log says why");
}

void Child::terminate() {
  if (pid_ > 0) kill(pid_, SIGTERM);
  wait();
  if (status_ != 0) throw Error("the " + name_ + " failed; its log says why");
}

void Child::wait() {
  while (pid_ > 0 && waitpid(pid_, &status_, 0) < 0 && errno == EINTR) {
  }
  pid_ = 0;
}

}  // namespace weir::cli
