#include "weir/async/in_line.hpp"

#include <boost/asio/query.hpp>
#include <utility>

namespace weir {
namespace {

std::string text_of(const std::string& limit, Duration waited) {
  const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(waited).count();
  return "waited " + std::to_string(ms) + " ms in line for " +
         (limit.empty() ? "a limit" : "the limit '" + limit + "'") + ", and its turn did not come";
}

}  // namespace

StillInLine::StillInLine(std::string limit, Duration waited, std::uint64_t times)
    : Decided(text_of(limit, waited)), limit_(std::move(limit)), waited_(waited), times_(times) {}

namespace async {

asio::execution_context::id Timekeepers::id;

const Timekeepers::Kept& Timekeepers::of(const asio::any_io_executor& executor) {
  return asio::use_service<Timekeepers>(asio::query(executor, asio::execution::context)).kept_;
}

InLine::InLine(const asio::any_io_executor& executor) : keeper_(Timekeepers::of(executor)) {
  if (*keeper_ == nullptr) return;
  run_ = (*keeper_)->who_runs();
  if (run_.of != nullptr) until_ = (*keeper_)->enters_line(run_);
}

InLine::~InLine() {
  if (run_.of != nullptr && *keeper_ != nullptr) (*keeper_)->leaves_line(run_);
}

Duration InLine::waited() const { return std::chrono::duration_cast<Duration>(Timekeeper::Clock::now() - since_); }

}  // namespace async
}  // namespace weir
