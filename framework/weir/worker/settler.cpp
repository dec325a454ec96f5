#include "weir/worker/settler.hpp"

#include <algorithm>
#include <boost/asio/post.hpp>
#include <utility>

namespace weir::worker {
namespace {

constexpr std::size_t reason_most = 1000;

/// The bytes of the UTF-8 character that starts at `at`; 0 if none starts there.
std::size_t character(std::string_view text, std::size_t at) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(at);
  if (first < 0x80) return 1;
  const std::size_t size = first >= 0xF0 && first <= 0xF4 ? 4 : first >= 0xE0 ? 3 : first >= 0xC2 ? 2 : 0;
  if (size == 0 || first > 0xF4 || at + size > text.size()) return 0;
  for (std::size_t i = 1; i < size; ++i) {
    if ((byte(at + i) & 0xC0) != 0x80) return 0;
  }
  // Overlong forms, surrogates, above U+10FFFF.
  if ((first == 0xE0 && byte(at + 1) < 0xA0) || (first == 0xED && byte(at + 1) > 0x9F) ||
      (first == 0xF0 && byte(at + 1) < 0x90) || (first == 0xF4 && byte(at + 1) > 0x8F)) {
    return 0;
  }
  return size;
}

}  // namespace

std::string printable_reason(std::string_view text) {
  const auto is_ascii = [](char byte) { return static_cast<unsigned char>(byte) < 0x80; };
  if (text.size() <= reason_most && std::all_of(text.begin(), text.end(), is_ascii)) return std::string(text);
  std::string out;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t size = character(text, at);
    if (out.size() + std::max<std::size_t>(size, 1) > reason_most) break;
    if (size == 0) {
      out.push_back('?');
      ++at;
    } else {
      out.append(text.substr(at, size));
      at += size;
    }
  }
  return out;
}

Settler::Settler(asio::any_io_executor executor, engine::Session& session, Bytes output_bytes_most)
    : executor_(std::move(executor)), session_(session), output_bytes_most_(output_bytes_most.value) {}

void Settler::ack(engine::Ticket ticket, std::vector<engine::Output> outputs, std::uint64_t output_bytes) {
  auto detail = std::make_unique<engine::SettlementDetail>();
  detail->outputs = std::move(outputs);
  gathered_output_bytes_ += output_bytes;
  add(engine::Settlement{ticket, Outcome::ack, std::move(detail)});
}

void Settler::settle(engine::Ticket ticket, const End& end, std::chrono::steady_clock::duration took) {
  auto detail = std::make_unique<engine::SettlementDetail>();
  detail->delay = end.delay();
  detail->error = printable_reason(end.why());
  detail->duration = std::chrono::duration_cast<Duration>(took);
  detail->started_at = std::chrono::time_point_cast<Duration>(std::chrono::system_clock::now()) - detail->duration;
  add(engine::Settlement{ticket, end.outcome(), std::move(detail)});
}

void Settler::add(engine::Settlement settlement) {
  switch (settlement.outcome) {
    case Outcome::ack:
      ++settled_.acked;
      break;
    case Outcome::retry:
      ++settled_.retried;
      break;
    case Outcome::reject:
      ++settled_.rejected;
      break;
    case Outcome::release:
      ++settled_.released;
      break;
    case Outcome::defer:
    case Outcome::throttled:
      ++settled_.deferred;
      break;
  }
  if (gathered_.empty()) asio::post(executor_, [this] { flush(); });
  gathered_.push_back(std::move(settlement));
}

void Settler::flush() {
  if (gathered_.empty()) return;
  session_.settle(gathered_);
  gathered_.clear();
  gathered_output_bytes_ = 0;
}

std::uint64_t Settler::room() const {
  const engine::Unconfirmed unconfirmed = session_.unconfirmed();
  const std::uint64_t settlements = unconfirmed.settlements + gathered_.size();
  // RULE: unconfirmed_settlements_are_bounded
  if (settlements >= unconfirmed_most) return 0;
  if (unconfirmed.output_bytes + gathered_output_bytes_ >= output_bytes_most_) return 0;
  return unconfirmed_most - settlements;
}

}  // namespace weir::worker
