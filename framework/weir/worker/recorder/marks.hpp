#pragma once

/// Marks a thread that dies, and takes the stack of a thread that hangs.
///
/// A handler of deadly signals writes into the line of the thread that took the signal: signal, address, program
/// counter, frames. Then the signal has its usual effect. The handler runs on a stack of its own, so that an overflow
/// is seen too. Each thread needs such a stack, so each shard and each thread of offload makes itself known here.

#include <sys/types.h>

#include <cstdint>
#include <vector>

#include "weir/worker/recorder/recorder.hpp"

namespace weir::worker::recorder {

/// Installs the handlers, for the whole process and for good. Call it once, before there are threads. Lifetime:
/// `recorder` outlives everything else.
///
/// It blocks all of Weir's own signals in this thread, and so in threads that it starts (libzmq's, a plugin's). Only
/// threads that make themselves known take them.
void install(Recorder& recorder);
[[nodiscard]] bool is_installed();

/// Notes which thread called exit(), before any object is destroyed, and ends the process at once, as its other threads
/// must not use destroyed objects. Call it after the plugin was loaded, so that the plugin's static objects are not
/// destroyed first.
void mark_exits();

/// Makes this thread known for its whole life: it has a stack for the handler, and takes signals. Harmless if no
/// handler is installed.
void make_known();
/// The recorder and the line that this thread writes to; null if there are none.
struct Own {
  Recorder* recorder = nullptr;
  ThreadLine* line = nullptr;
};
void set_own(Own own);
[[nodiscard]] Own own();

/// Returns the stack of the thread of this line, innermost first. That thread takes it itself. Empty if it does not
/// within 100 ms, or nothing is installed. Its blocking calls are interrupted (SIGURG; restarted where they can be).
/// Thread: any, one at a time.
[[nodiscard]] std::vector<std::uint64_t> stack_of(const ThreadLine& line);

/// Marks the thread's delivery `on_cpu` as stuck. `waits`: it waits in a call that blocks, and does not compute.
void mark_stuck(ThreadLine& line, const OnCpu& on_cpu, bool waits, const std::vector<std::uint64_t>& frames);

}  // namespace weir::worker::recorder
