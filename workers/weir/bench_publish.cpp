/// The benchmark's publisher: as fast as credit allows, or at a steady rate.

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <iostream>
#include <limits>

#include "bench_message.hpp"
#include "commands.hpp"
#include "weir/engine/make.hpp"
#include "weir/publisher/publisher.hpp"

namespace weir::cli {
namespace {

struct Times {
  std::uint64_t first{};
  std::uint64_t last{};
};

task<> send_all(Publisher& publisher, const BenchPartOptions& options, Times& times) {
  constexpr std::uint64_t turn_every = 256;
  std::string payload(options.size, 'x');
  const auto queues = bench_queues(options.queues);
  for (const auto& queue : queues) co_await publisher.room(queue);  // connects before the clock starts
  times.first = nanoseconds_now();
  const std::string* queue = nullptr;
  for (std::uint64_t i = 0; i < options.messages; ++i) {
    if (i % turn_every == 0 && i > 0) co_await asio::post(asio::use_awaitable);
    if (i % options.in_a_row == 0) queue = &queues[i / options.in_a_row % queues.size()];
    write_digits(payload.data(), i);
    write_digits(payload.data() + bench_digits, nanoseconds_now());
    while (!publisher.try_send(*queue, bench_type, payload)) co_await publisher.room(*queue);
  }
  co_await publisher.flush();
  times.last = nanoseconds_now();
}

/// Message i is due i / rate after the first. Each carries the time at which it was sent, not the time at which it was
/// due.
task<> send_paced(Publisher& publisher, const BenchPartOptions& options, Times& times) {
  std::string payload(options.size, 'x');
  const auto queues = bench_queues(options.queues);
  for (const auto& queue : queues) co_await publisher.room(queue);
  asio::steady_timer timer(co_await asio::this_coro::executor);
  const auto begin = std::chrono::steady_clock::now();
  times.first = nanoseconds_now();
  for (std::uint64_t i = 0; i < options.messages; ++i) {
    const std::chrono::duration<double> after(static_cast<double>(i) / options.rate);
    const auto due = begin + std::chrono::duration_cast<std::chrono::nanoseconds>(after);
    if (std::chrono::steady_clock::now() < due) {
      timer.expires_at(due);
      co_await timer.async_wait(asio::use_awaitable);
    }
    write_digits(payload.data(), i);
    write_digits(payload.data() + bench_digits, nanoseconds_now());
    const std::string& queue = queues[i % queues.size()];
    while (!publisher.try_send(queue, bench_type, payload)) co_await publisher.room(queue);
  }
  co_await publisher.flush();
  times.last = nanoseconds_now();
}

}  // namespace

int bench_publish(const BenchPartOptions& options) {
  asio::io_context loop(1);
  const auto engine = engine::make(options.engine);
  Publisher publisher(*engine, loop.get_executor());
  Times times;
  std::exception_ptr failure;
  const auto ended = [&](std::exception_ptr error) {
    failure = error;
    loop.stop();
  };
  auto* const send = options.rate > 0 ? send_paced : send_all;
  asio::co_spawn(loop, send(publisher, options, times), ended);
  loop.run();
  if (failure) std::rethrow_exception(failure);
  std::cout << "{\"first_ns\": " << times.first << ", \"last_ns\": " << times.last
            << ", \"confirmed\": " << publisher.counts().confirmed << "}" << std::endl;
  // Waits until the parent has read this process's memory and CPU.
  std::cin.ignore(std::numeric_limits<std::streamsize>::max());
  return publisher.counts().confirmed == options.messages ? done : failed;
}

}  // namespace weir::cli
