#pragma once

/// What handlers do with processes: start some and leave them, stop their own. For the tests' own plugin.

#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/post.hpp>
#include <cerrno>
#include <stdexcept>
#include <string>

namespace forks {

/// The plugin's, of the shard that was registered last.
inline boost::asio::any_io_executor loop;

[[noreturn]] inline void sleep_for_ever() {
  for (;;) ::pause();
}

/// Another's child by the time this returns, in a session of its own.
inline void daemon() {
  const pid_t child = ::fork();
  if (child == 0) {
    ::setsid();
    if (::fork() == 0) sleep_for_ever();
    ::_exit(0);
  }
  ::waitpid(child, nullptr, 0);
}

/// Children of nobody but the worker's parent by the time this returns, which have ended or are about to.
inline void orphans(int count) {
  const pid_t child = ::fork();
  if (child == 0) {
    for (int i = 0; i < count; ++i) {
      if (::fork() == 0) ::_exit(0);
    }
    ::_exit(0);
  }
  ::waitpid(child, nullptr, 0);
}

/// As to a log or a peer that has hung up. Throws: what it is, unless the write fails and no more happens.
inline void broken_pipe() {
  int ends[2];
  if (::pipe(ends) != 0) throw std::runtime_error("no pipe");
  ::close(ends[0]);
  const ssize_t wrote = ::write(ends[1], "x", 1);
  const int error = errno;
  ::close(ends[1]);
  if (wrote >= 0 || error != EPIPE) throw std::runtime_error("a write that nobody reads did not fail");
}

inline void spawn(const char* program, const char* argument) {
  char* const words[] = {const_cast<char*>(program), const_cast<char*>(argument), nullptr};
  pid_t child = 0;
  (void)::posix_spawnp(&child, program, nullptr, nullptr, words, environ);
}

/// False: not one of these.
inline bool take(const std::string& kind) {
  if (kind == "sigstop") {
    ::raise(SIGSTOP);
  } else if (kind == "fork_comes_back") {
    (void)::fork();
  } else if (kind == "fork_on_the_loop") {
    boost::asio::post(loop, [] { (void)::fork(); });
  } else if (kind == "fork_left") {
    if (::fork() == 0) sleep_for_ever();
  } else if (kind == "fork_deaf") {
    if (::fork() == 0) {
      ::signal(SIGTERM, SIG_IGN);
      sleep_for_ever();
    }
  } else if (kind == "fork_exec") {
    if (::fork() == 0) {
      ::execlp("sleep", "sleep", "1000", nullptr);
      ::_exit(127);
    }
  } else if (kind == "fork_stopped") {
    if (::fork() == 0) {
      ::raise(SIGSTOP);
      sleep_for_ever();
    }
  } else if (kind == "spawn") {
    spawn("sleep", "1000");
  } else if (kind == "daemon") {
    daemon();
  } else if (kind == "orphans") {
    orphans(15);
  } else if (kind == "broken_pipe") {
    broken_pipe();
  } else {
    return false;
  }
  return true;
}

}  // namespace forks
