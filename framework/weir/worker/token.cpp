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

// 16 bytes fit into a pipe, whole, at once. A reader that is gone already will be reaped.
void write_token(int fd, const ProcessToken& token) {
  const ssize_t wrote = write(fd, token.bytes.data(), token.bytes.size());
  if (wrote != static_cast<ssize_t>(token.bytes.size()) && errno != EPIPE) {
    throw Error(std::string("cannot hand the token to the worker process: ") + std::strerror(errno));
  }
}

ProcessToken read_token(int fd) {
  ProcessToken token;
  const ssize_t got = read(fd, token.bytes.data(), token.bytes.size());
  close(fd);
  if (got != static_cast<ssize_t>(token.bytes.size())) {
    throw Error("no process token at file descriptor " + std::to_string(fd) +
                ": this command is started by `weir worker`, not by hand");
  }
  return token;
}

}  // namespace weir::worker
