#pragma once

/// Starts a child of this very program: fork and exec. Linux.

#include <signal.h>
#include <sys/types.h>

#include <string>
#include <vector>

#include "weir/message/ids.hpp"

namespace weir::worker {

/// Descriptors that are kept for children are this or above: below lie those that a child finds its own at.
inline constexpr int files_from = 10;

struct ChildStart {
  const std::string& executable;
  const std::vector<std::string>& arguments;  ///< without the program's name
  const ProcessToken& token;                  ///< goes through a pipe, with `text`, seen by nobody else
  const std::string& text;
  int recorder;             ///< the flight recorder's file
  int plugin_lock;          ///< -1: none
  const sigset_t& blocked;  ///< its signal mask
};

/// Returns its process id, which is its process group too. It gets SIGTERM when this process dies.
/// Throws: Error. Thread: the main one: parent-death signals follow the thread that forked.
[[nodiscard]] pid_t start_child(const ChildStart& start);

}  // namespace weir::worker
