#include "weir/inherited/hang_up.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <csignal>

namespace weir::inherited {
namespace {

bool has_terminal() {
  const int terminal = open("/dev/tty", O_RDONLY | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
  if (terminal < 0) return false;
  close(terminal);
  return true;
}

HangUp judge() {
  struct sigaction now {};
  if (sigaction(SIGHUP, nullptr, &now) == 0 && now.sa_handler == SIG_IGN) return HangUp::ignored;
  return has_terminal() ? HangUp::stops : HangUp::kept;
}

}  // namespace

HangUp hang_up() {
  static const HangUp meaning = judge();
  return meaning;
}

}  // namespace weir::inherited
