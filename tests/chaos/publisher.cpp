// chaos_publisher ENGINE QUEUE TYPE: publishes what comes on standard input, each message a little-endian length of
// four bytes and its payload, and says which messages were answered, by their numbers from 1, as soon as it knows:
//   confirmed FIRST COUNT
//   refused FIRST COUNT
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
#include <cstdio>
#include <exception>
#include <string>

#include "weir/engine/make.hpp"

namespace asio = boost::asio;

namespace {

void answered(const weir::Confirmation& answer) {
  const char* what = answer.answer == weir::Confirmation::Answer::confirmed ? "confirmed" : "refused";
  const std::string line =
      std::string(what) + " " + std::to_string(answer.first) + " " + std::to_string(answer.count) + "\n";
  if (::write(STDOUT_FILENO, line.data(), line.size()) != static_cast<ssize_t>(line.size())) std::exit(1);
}

weir::task<> publish_all(weir::Publisher& publisher, std::string queue, std::string type) {
  asio::posix::stream_descriptor in(co_await asio::this_coro::executor, ::dup(STDIN_FILENO));
  std::string payload;
  while (true) {
    unsigned char size[4];
    boost::system::error_code error;
    co_await asio::async_read(in, asio::buffer(size), asio::redirect_error(asio::use_awaitable, error));
    if (error) break;
    payload.resize(boost::endian::load_little_u32(size));
    co_await asio::async_read(in, asio::buffer(payload), asio::use_awaitable);
    co_await publisher.send(queue, type, payload);
  }
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
    publisher.on_answer(answered);
    std::exception_ptr failure;
    bool done = false;
    asio::co_spawn(loop, publish_all(publisher, argv[2], argv[3]), [&](std::exception_ptr error) {
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
