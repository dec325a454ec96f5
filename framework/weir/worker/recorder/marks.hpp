#pragma once

/// Marks of a thread that dies, and the stack of one that hangs.
///
/// A handler of deadly signals writes into the line of the thread that took it: signal, address, where it was, the
/// frames; then the signal does what it would have done. It runs on a stack of its own, so that an overflow is seen
/// too; that stack is a thread's, so each shard and each thread of offload makes itself known here.

#include <sys/types.h>

#include <cstdint>
#include <vector>

#include "weir/worker/recorder/recorder.hpp"

namespace weir::worker::recorder {

/// Installs the handlers, for the whole process and for good; `recorder` outlives everything. Once, before the threads.
///
/// All of Weir's own signals are blocked in this thread, and so in those that it starts (libzmq's, a plugin's): only
/// threads that make themselves known take them.
void install(Recorder& recorder);
[[nodiscard]] bool is_installed();

/// Notes who called exit(), before anything is torn down, and ends the process then and there: its other threads must
/// not run into what is gone. After the plugin was loaded, so that its static objects are not first.
void mark_exits();

/// This thread is known: it has a line, a stack for the handler, and takes signals. For the thread's life. Harmless
/// where nothing is installed.
void make_known();
/// What this thread writes into; null: nothing.
struct Own {
  Recorder* recorder = nullptr;
  ThreadLine* line = nullptr;
};
void set_own(Own own);
[[nodiscard]] Own own();

/// The stack of the thread that has this line, as it takes it itself: innermost first. Empty if it does not within
/// 100 ms, or nothing is installed. Its blocking calls are interrupted (SIGURG; restarted where they can be).
/// Thread: any, one at a time.
[[nodiscard]] std::vector<std::uint64_t> stack_of(const ThreadLine& line);

/// The thread's delivery, as `on_cpu` saw it, is stuck; `waits`: in a call that blocks, not on the CPU.
void mark_stuck(ThreadLine& line, const OnCpu& on_cpu, bool waits, const std::vector<std::uint64_t>& frames);

}  // namespace weir::worker::recorder
