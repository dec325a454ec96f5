#include "weir/worker/token.hpp"

#include <sodium.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "weir/message/error.hpp"

namespace weir::worker {

ProcessToken random_token() {
  if (sodium_init() < 0) throw Error("libsodium does not start");
  ProcessToken token;
  randombytes_buf(token.bytes.data(), token.bytes.size());
  return token;
}

void hand_over(int fd, const ProcessToken& token, std::string_view text) {
  const std::string all = std::string(token.view()) + std::string(text);
  const ssize_t wrote = write(fd, all.data(), all.size());
  if (wrote != static_cast<ssize_t>(all.size()) && errno != EPIPE) {
    throw Error(std::string("cannot hand the token to the worker process: ") + std::strerror(errno));
  }
}

HandedOver take_over(int fd) {
  std::string all;
  char some[4096];
  ssize_t got = 0;
  while ((got = read(fd, some, sizeof some)) > 0) all.append(some, static_cast<std::size_t>(got));
  close(fd);
  HandedOver handed;
  if (got < 0 || all.size() < handed.token.bytes.size()) {
    throw Error("no process token at file descriptor " + std::to_string(fd) +
                ": this command is started by `weir worker`, not by hand");
  }
  std::memcpy(handed.token.bytes.data(), all.data(), handed.token.bytes.size());
  handed.text = all.substr(handed.token.bytes.size());
  return handed;
}

}  // namespace weir::worker
