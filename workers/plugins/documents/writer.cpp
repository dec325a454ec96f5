#include "writer.hpp"

#include <boost/asio/execution/outstanding_work.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/prefer.hpp>
#include <boost/asio/this_coro.hpp>
#include <span>
#include <stdexcept>

namespace documents {
namespace asio = boost::asio;
namespace {

std::exception_ptr try_write(Index& index, std::span<const Index::Row> rows) {
  try {
    index.write(rows);
    return nullptr;
  } catch (...) {
    return std::current_exception();
  }
}

}  // namespace

Writer::Writer(std::string file) : file_(std::move(file)), thread_([this] { run(); }) {}

Writer::~Writer() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  changed_.notify_one();
  thread_.join();
}

asio::awaitable<void> Writer::write(Index::Row row) {
  const auto loop = co_await asio::this_coro::executor;
  // It is named, and captures references only, as g++ 12 destroys other closures in a co_await expression twice.
  auto hand_over = [this, &row, &loop](auto done) {
    push({.row = std::move(row),
          .done = Done(std::move(done)),
          .loop = asio::prefer(loop, asio::execution::outstanding_work.tracked)});
  };
  asio::use_awaitable_t<> token;
  co_await asio::async_initiate<asio::use_awaitable_t<>, void(std::exception_ptr)>(hand_over, token);
}

void Writer::push(Waiting waiting) {
  {
    const std::lock_guard lock(mutex_);
    waiting_.push_back(std::move(waiting));
  }
  changed_.notify_one();
}

void Writer::run() {
  std::unique_ptr<Index> index;
  std::vector<Waiting> batch;
  std::vector<Index::Row> rows;
  while (true) {
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [this] { return ending_ || !waiting_.empty(); });
      if (waiting_.empty()) return;
      batch.swap(waiting_);
    }
    rows.clear();
    for (Waiting& waiting : batch) rows.push_back(std::move(waiting.row));
    std::exception_ptr failure;
    try {
      if (!index) index = std::make_unique<Index>(file_, Index::Mode::write);
      failure = try_write(*index, rows);
    } catch (...) {
      failure = std::current_exception();  // tried again with the next batch
    }
    for (std::size_t i = 0; i < batch.size(); ++i) {
      // A row that SQLite refuses must not make its neighbours fail.
      auto its_failure =
          failure && index && rows.size() > 1 ? try_write(*index, std::span(rows).subspan(i, 1)) : failure;
      asio::post(batch[i].loop,
                 [done = std::move(batch[i].done), its_failure]() mutable { std::move(done)(its_failure); });
    }
    batch.clear();
  }
}

}  // namespace documents
