// chaos_publisher ENGINE QUEUE TYPE: publishes what comes on standard input, each message a little-endian length of
// four bytes and its payload, and says, by their numbers from 1, how many the publisher has taken (before it waits for
// anything, at the latest), and which were answered, as soon as it knows:
//   sent COUNT
//   confirmed FIRST COUNT
//   refused FIRST COUNT
//   in_doubt FIRST COUNT
// Exits 0 at the end of its input, once all are confirmed.
#include "weir/publisher/publisher.hpp"

#include <unistd.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/endian/conversion.hpp>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>

#include "weir/engine/make.hpp"

namespace asio = boost::asio;

namespace {

void say(const std::string& line) {
  if (::write(STDOUT_FILENO, line.data(), line.size()) != static_cast<ssize_t>(line.size())) std::exit(1);
}

/// What the publisher has taken, told once for many.
class Sent {
 public:
  void add() { ++count_; }
  void tell() {
    if (count_ != told_) say("sent " + std::to_string(told_ = count_) + "\n");
  }

 private:
  std::uint64_t count_{};
  std::uint64_t told_{};
};

void answered(const weir::Confirmation& answer) {
  using enum weir::Confirmation::Answer;
  const char* what = answer.answer == confirmed ? "confirmed" : answer.answer == refused ? "refused" : "in_doubt";
  say(std::string(what) + " " + std::to_string(answer.first) + " " + std::to_string(answer.count) + "\n");
}

bool nothing_to_read(asio::posix::stream_descriptor& in) {
  asio::posix::stream_descriptor::bytes_readable bytes;
  in.io_control(bytes);
  return bytes.get() == 0;
}

weir::task<> publish_all(weir::Publisher& publisher, std::string queue, std::string type, Sent& sent) {
  asio::posix::stream_descriptor in(co_await asio::this_coro::executor, ::dup(STDIN_FILENO));
  std::string payload;
  while (true) {
    if (nothing_to_read(in)) sent.tell();
    unsigned char size[4];
    boost::system::error_code error;
    co_await asio::async_read(in, asio::buffer(size), asio::redirect_error(asio::use_awaitable, error));
    if (error) break;
    payload.resize(boost::endian::load_little_u32(size));
    co_await asio::async_read(in, asio::buffer(payload), asio::use_awaitable);
    while (!publisher.try_send(queue, type, payload)) {
      sent.tell();
      co_await publisher.room(queue);
    }
    sent.add();
  }
  sent.tell();
  co_await publisher.flush();
  co_await publisher.close();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  try {
    asio::io_context loop(1);
    const auto engine = weir::engine::make(argv[1]);
    weir::Publisher publisher(*engine, loop.get_executor());
    Sent sent;
    publisher.on_answer([&sent](const weir::Confirmation& answer) {
      sent.tell();
      answered(answer);
    });
    std::exception_ptr failure;
    bool done = false;
    asio::co_spawn(loop, publish_all(publisher, argv[2], argv[3], sent), [&](std::exception_ptr error) {
      failure = error;
      done = true;
      loop.stop();
    });
    loop.run();
    if (failure) std::rethrow_exception(failure);
    return done && publisher.counts().confirmed == publisher.counts().sent ? 0 : 1;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "chaos_publisher: %s\n", error.what());
    return 1;
  }
}
