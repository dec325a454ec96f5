#pragma once

/// Starts a child of this same program, by fork and exec. Linux only.

#include <signal.h>
#include <sys/types.h>

#include <string>
#include <vector>

#include "weir/message/ids.hpp"

namespace weir::worker {

/// The lowest descriptor that is kept for children. A child finds its own descriptors below it.
inline constexpr int files_from = 10;

struct ChildStart {
  const std::string& executable;
  const std::vector<std::string>& arguments;  ///< without the program's name
  const ProcessToken& token;                  ///< goes through a pipe, with `text`, where no other process sees it
  const std::string& text;
  int recorder;             ///< the flight recorder's file
  int plugin_lock;          ///< -1: none
  const sigset_t& blocked;  ///< the child's signal mask
};

/// Starts the child, and returns its process id, which is also its process group. The child gets SIGTERM when this
/// process dies.
/// Throws: Error. Thread: the main one, as parent-death signals follow the thread that forked.
[[nodiscard]] pid_t start_child(const ChildStart& start);

}  // namespace weir::worker
