#pragma once

/// The Context of one slot. It is reused for delivery after delivery.

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

#include "weir/engine/engine.hpp"
#include "weir/handler/context.hpp"
#include "weir/worker/window.hpp"

namespace weir::worker {

/// The objects that the shard's contexts share.
struct ContextHome {
  Window& window;
  engine::Session& session;
  const std::vector<std::string>& queues;
};

/// Its address differs in each thread, so that two instructions tell threads apart. It has no other use.
inline constinit thread_local char thread_mark = 0;

class DeliveryContext final : public Context {
 public:
  using Clock = std::chrono::steady_clock;

  explicit DeliveryContext(ContextHome home) : home_(home) {}

  /// Begins the next delivery. `payload` is a part of its body. `type` outlives the handler.
  void begin(Place& place, std::string_view payload, std::string_view headers, std::string_view type,
             Clock::time_point deadline) {
    place_ = &place;
    delivery_ = place.delivery;
    place.also = &delivery_;
    type_ = type;
    payload_at_ = static_cast<std::size_t>(payload.data() - delivery_->body.data());
    payload_size_ = payload.size();
    headers_size_ = headers.size();
    deadline_ = deadline;
    pinned_ = headers_parsed_ = false;
    if (buffer_.capacity() > buffer_most) buffer_ = {};
  }
  /// The handler stood in line for that time.
  void put_off(Clock::duration by) { deadline_ += by; }
  /// The delivery was lost: from here on the handler looks at `delivery` without a place.
  void detached() { place_ = nullptr; }
  void end() {
    delivery_ = nullptr;
    if (!outputs_.empty()) outputs_.clear();
    output_bytes_ = output_head_bytes_ = 0;
  }

  [[nodiscard]] const engine::Delivery& delivery() const { return *delivery_; }
  [[nodiscard]] std::vector<engine::Output>& outputs() { return outputs_; }
  [[nodiscard]] std::uint64_t output_bytes() const { return output_bytes_; }

  [[nodiscard]] MessageName name() const override { return delivery_->name; }
  [[nodiscard]] std::string id() const override { return home_.session.id(*delivery_); }
  [[nodiscard]] std::string_view queue() const override { return home_.queues[delivery_->queue]; }
  [[nodiscard]] std::string_view type() const override { return type_; }
  [[nodiscard]] std::uint32_t attempt() const override { return delivery_->attempt; }
  [[nodiscard]] WallTime published_at() const override { return delivery_->published_at; }
  [[nodiscard]] Clock::time_point deadline() const override { return deadline_; }
  [[nodiscard]] std::string_view key() override {
    pin();
    return key_;
  }
  [[nodiscard]] std::string_view payload() override {
    pin();
    return body_.substr(payload_at_, payload_size_);
  }
  [[nodiscard]] std::span<const HeaderView> headers() override;
  void publish(std::string_view queue, const google::protobuf::MessageLite& message,
               const PublishOptions& options) override;
  void publish_raw(std::string_view queue, std::string_view type, std::string_view payload,
                   const PublishOptions& options) override;
  void log(log::Level level, std::string_view event, log::Fields fields) override;

 private:
  /// Called before a view is handed out, as the bytes must stay where they are from then on. The window may move those
  /// of a small message, so they are copied here (10 ns, no allocation).
  void pin() {
    if (pinned_) return;
    if (&thread_mark != thread_) wrong_thread("the message's bytes are looked at");
    pinned_ = true;
    body_ = delivery_->body;
    key_ = delivery_->key;
    if (place_ == nullptr || home_.window.stays(*place_)) return;
    buffer_.assign(body_);
    buffer_.append(key_);
    body_ = std::string_view(buffer_).substr(0, body_.size());
    key_ = std::string_view(buffer_).substr(body_.size());
  }
  /// Throws: Error, which says that `what` was called on a thread that is not the shard's.
  [[noreturn]] static void wrong_thread(const std::string& what);
  void output(std::string_view queue, std::string type, std::string body, const PublishOptions& options);

  static constexpr std::size_t buffer_most = 16 * 1024;  // larger messages are seldom copied

  ContextHome home_;
  const char* const thread_ = &thread_mark;  ///< the shard's thread, which makes the context
  Place* place_ = nullptr;
  const engine::Delivery* delivery_ = nullptr;
  std::string_view type_;
  std::size_t payload_at_ = 0;
  std::size_t payload_size_ = 0;
  std::size_t headers_size_ = 0;
  Clock::time_point deadline_;
  bool pinned_ = false;
  std::string_view body_;  ///< set once it is pinned
  std::string_view key_;
  std::string buffer_;
  bool headers_parsed_ = false;
  std::vector<HeaderView> headers_;
  std::vector<engine::Output> outputs_;
  std::uint64_t output_bytes_ = 0;
  std::uint64_t output_head_bytes_ = 0;
};

}  // namespace weir::worker
