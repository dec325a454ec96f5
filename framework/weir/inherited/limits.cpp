#include "weir/inherited/limits.hpp"

#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <string>
#include <vector>

namespace weir::inherited {
namespace {

/// The stack of a trial thread, which only waits.
constexpr std::size_t trial_stack = 64 << 10;

std::string plain(std::uint64_t number) { return std::to_string(number); }
std::string mebibytes(std::uint64_t bytes) { return std::to_string(bytes >> 20) + " MiB"; }

/// `RLIMIT_NOFILE is 64`
std::string limit_of(decltype(RLIMIT_AS) resource, const char* name, std::string (*words)(std::uint64_t)) {
  rlimit limit{};
  const bool known = getrlimit(resource, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY;
  return name + (known ? " is " + words(limit.rlim_cur) : std::string(" is unlimited"));
}

std::size_t stack_of_a_thread() {
  pthread_attr_t attributes;
  std::size_t size = 0;
  pthread_attr_init(&attributes);
  pthread_attr_getstacksize(&attributes, &size);
  pthread_attr_destroy(&attributes);
  return size;
}

void need_descriptors(const std::string& who, std::uint64_t wanted) {
  std::vector<int> taken;
  while (taken.size() < wanted) {
    const int one = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0);
    if (one < 0) break;
    taken.push_back(one);
  }
  for (const int each : taken) close(each);
  if (taken.size() == wanted) return;
  throw LimitReached(who + " needs " + std::to_string(wanted) + " open files more, and may open " +
                     std::to_string(taken.size()) + " (" + limit_of(RLIMIT_NOFILE, "RLIMIT_NOFILE", plain) +
                     "); raise the limit: ulimit -n, or LimitNOFILE for systemd");
}

void need_memory(const std::string& who, std::uint64_t wanted) {
  void* const taken = mmap(nullptr, wanted, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (taken != MAP_FAILED) {
    munmap(taken, wanted);
    return;
  }
  throw LimitReached(who + " needs " + mebibytes(wanted) + " of addresses more, and cannot have them (" +
                     limit_of(RLIMIT_AS, "RLIMIT_AS", mebibytes) + ", " +
                     limit_of(RLIMIT_DATA, "RLIMIT_DATA", mebibytes) +
                     "); raise the limit: ulimit -v and -d unlimited, or LimitAS and LimitDATA for systemd");
}

void* wait_for_end(void* over) {
  static_cast<std::atomic<bool>*>(over)->wait(false);
  return nullptr;
}

void need_threads(const std::string& who, std::uint64_t wanted) {
  std::atomic<bool> over{false};
  std::vector<pthread_t> started;
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, trial_stack);
  pthread_t one{};
  while (started.size() < wanted && pthread_create(&one, &attributes, wait_for_end, &over) == 0) started.push_back(one);
  pthread_attr_destroy(&attributes);
  over = true;
  over.notify_all();
  for (const pthread_t each : started) pthread_join(each, nullptr);
  if (started.size() == wanted) return;
  throw LimitReached(who + " needs " + std::to_string(wanted) + " threads more, and may start " +
                     std::to_string(started.size()) + " (of all that this user runs, " +
                     limit_of(RLIMIT_NPROC, "RLIMIT_NPROC", plain) +
                     "; a container has pids.max); raise the limit: ulimit -u, or LimitNPROC and TasksMax for systemd");
}

}  // namespace

void need(std::string_view name, const Needs& needs) {
  const std::string who(name);
  if (needs.descriptors > 0) need_descriptors(who, needs.descriptors);
  if (const std::uint64_t bytes = needs.memory.value + needs.threads * stack_of_a_thread(); bytes > 0) {
    need_memory(who, bytes);
  }
  if (needs.threads > 0) need_threads(who, needs.threads);
}

}  // namespace weir::inherited
