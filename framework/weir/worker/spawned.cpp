#include "weir/worker/spawned.hpp"

#include <dlfcn.h>
#include <spawn.h>

#include <atomic>

namespace weir::worker {
namespace {

using Spawn = int (*)(pid_t*, const char*, const posix_spawn_file_actions_t*, const posix_spawnattr_t*, char* const[],
                      char* const[]);

std::atomic<const sigset_t*> defaults{nullptr};

/// Returns the C library's function.
Spawn next_of(const char* name) { return reinterpret_cast<Spawn>(dlsym(RTLD_NEXT, name)); }

/// The arguments of posix_spawn.
struct Start {
  const char* program;
  const posix_spawn_file_actions_t* actions;
  const posix_spawnattr_t* attributes;
  char* const* words;
  char* const* environment;
};

int spawn(Spawn real, pid_t* pid, const Start& start) {
  const auto& [program, actions, given, words, environment] = start;
  const sigset_t* const ours = defaults;
  if (ours == nullptr) return real(pid, program, actions, given, words, environment);
  posix_spawnattr_t attributes;
  if (given != nullptr) {
    attributes = *given;
  } else {
    posix_spawnattr_init(&attributes);
  }
  short flags = 0;
  posix_spawnattr_getflags(&attributes, &flags);
  sigset_t set;
  sigemptyset(&set);
  if ((flags & POSIX_SPAWN_SETSIGDEF) != 0) posix_spawnattr_getsigdefault(&attributes, &set);
  sigorset(&set, &set, ours);
  posix_spawnattr_setsigdefault(&attributes, &set);
  posix_spawnattr_setflags(&attributes, static_cast<short>(flags | POSIX_SPAWN_SETSIGDEF));
  return real(pid, program, actions, &attributes, words, environment);
}

}  // namespace

void default_in_what_is_spawned(const sigset_t& signals) { defaults = &signals; }

}  // namespace weir::worker

extern "C" {

[[gnu::visibility("default")]] int posix_spawn(pid_t* pid, const char* path, const posix_spawn_file_actions_t* actions,
                                               const posix_spawnattr_t* attributes, char* const words[],
                                               char* const environment[]) {
  static const auto real = weir::worker::next_of("posix_spawn");
  return weir::worker::spawn(real, pid, {path, actions, attributes, words, environment});
}

[[gnu::visibility("default")]] int posix_spawnp(pid_t* pid, const char* file, const posix_spawn_file_actions_t* actions,
                                                const posix_spawnattr_t* attributes, char* const words[],
                                                char* const environment[]) {
  static const auto real = weir::worker::next_of("posix_spawnp");
  return weir::worker::spawn(real, pid, {file, actions, attributes, words, environment});
}

}  // extern "C"
