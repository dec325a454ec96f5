#include "weir/inherited/stop_words.hpp"

#include <csignal>

#include "weir/inherited/hang_up.hpp"
#include "weir/telemetry/log.hpp"

namespace weir::inherited {

std::vector<int> stop_signals() {
  std::vector<int> signals{SIGTERM, SIGINT};
  if (hang_up() != HangUp::ignored) signals.push_back(SIGHUP);
  return signals;
}

StopWords::Says StopWords::hear(int signal, bool stopping) {
  if (signal != SIGHUP) {
    if (stopping && !hung_up_) return Says::stop_at_once;
    hung_up_ = false;
    return stopping ? Says::nothing : Says::drain;
  }
  if (hang_up() == HangUp::kept) {
    log::warn("hang_up_kept",
              {{"signal", signal}, {"text", "nothing is read again yet, and the work goes on; SIGTERM drains"}});
    return Says::nothing;
  }
  if (stopping) return Says::nothing;
  hung_up_ = true;
  return Says::drain;
}

}  // namespace weir::inherited
