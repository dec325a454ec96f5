#pragma once

/// Runs a worker group in this process: its engine, its keep-alives and its shards.

#include <stop_token>

#include "weir/engine/make.hpp"
#include "weir/worker/recorder/recorder.hpp"
#include "weir/worker/worker.hpp"

namespace weir::worker {

/// Works until `stop` is requested, then drains.
///
/// The registration may come from a plugin, or from this program (tests, `weir bench`).
/// Throws: handler::PluginError, and what the registration throws; Error if the engine's URL is wrong.
/// Thread: blocks the caller's; shards have their own.
/// Lifetime: `recorder`, of recorder_size, must live until the process ends if a handler would not end.
[[nodiscard]] Ended run(const GroupSettings& settings, const ProcessToken& process, const Registration& registration,
                        const std::stop_token& stop, recorder::Recorder& recorder, engine::MakeOptions options = {});
/// As run() above, with a new token, as a process of its own.
[[nodiscard]] Ended run(const GroupSettings& settings, const Registration& registration, const std::stop_token& stop,
                        engine::MakeOptions options = {});

}  // namespace weir::worker
