#pragma once

/// One ZeroMQ message part that owns its bytes, and the context that sockets live in.

#include <zmq.h>

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>

#include "weir/message/slice.hpp"

namespace weir::async {

/// Bytes on their way to, or from, a socket. Moving is cheap; there is no copy.
class ZmqFrame {
 public:
  ZmqFrame() noexcept { zmq_msg_init(&msg_); }
  /// `size` bytes, to be written through data(). Throws: std::bad_alloc.
  explicit ZmqFrame(std::size_t size);
  /// A copy of `bytes`.
  explicit ZmqFrame(std::string_view bytes);
  /// Takes `bytes` over without a copy where that pays (from 16 KiB), else copies.
  [[nodiscard]] static ZmqFrame of(std::string bytes);
  ZmqFrame(ZmqFrame&& other) noexcept {
    zmq_msg_init(&msg_);
    zmq_msg_move(&msg_, &other.msg_);
  }
  ZmqFrame& operator=(ZmqFrame&& other) noexcept {
    zmq_msg_move(&msg_, &other.msg_);
    return *this;
  }
  ~ZmqFrame() { zmq_msg_close(&msg_); }

  [[nodiscard]] char* data() noexcept { return static_cast<char*>(zmq_msg_data(&msg_)); }
  [[nodiscard]] std::size_t size() const noexcept { return zmq_msg_size(&msg_); }
  [[nodiscard]] std::string_view bytes() const noexcept {
    return {static_cast<const char*>(zmq_msg_data(const_cast<zmq_msg_t*>(&msg_))), size()};
  }
  /// What the connection says of its peer ("User-Id", "Peer-Address"); empty if nothing.
  [[nodiscard]] std::string_view property(const char* name) const noexcept;
  /// Of the connection that it came by; -1 if unknown. It is libzmq's, and may be another's by now: to look at only.
  [[nodiscard]] int descriptor() const noexcept { return zmq_msg_get(&msg_, ZMQ_SRCFD); }
  [[nodiscard]] zmq_msg_t* raw() noexcept { return &msg_; }

  /// The bytes as a slice that keeps them alive, and below 8 KiB nothing else: small ones are copied. The last slice
  /// frees them, on whatever thread.
  [[nodiscard]] static Slice share(ZmqFrame frame);

 private:
  zmq_msg_t msg_;
};

/// Sockets' context with one I/O thread. Must outlive every socket made in it: its end waits for them.
class ZmqContext {
 public:
  ZmqContext();
  ZmqContext(const ZmqContext&) = delete;
  ZmqContext& operator=(const ZmqContext&) = delete;
  ~ZmqContext();
  [[nodiscard]] void* raw() const noexcept { return context_; }

 private:
  void* context_;
};

}  // namespace weir::async
