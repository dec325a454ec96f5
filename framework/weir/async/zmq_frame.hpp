#pragma once

/// One ZeroMQ message part that owns its bytes, and the context that sockets live in.

#include <zmq.h>

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>

#include "weir/message/slice.hpp"

namespace weir::async {

/// Bytes on their way to or from a socket. A move is cheap; there is no copy.
class ZmqFrame {
 public:
  ZmqFrame() noexcept { zmq_msg_init(&msg_); }
  /// A frame of `size` bytes, to be written through data(). Throws: std::bad_alloc.
  explicit ZmqFrame(std::size_t size);
  /// A copy of `bytes`.
  explicit ZmqFrame(std::string_view bytes);
  /// Takes `bytes` over without a copy from 16 KiB on. Below that it copies, which is as fast.
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
  /// A property of the peer, from its connection ("User-Id", "Peer-Address"); empty if there is none.
  [[nodiscard]] std::string_view property(const char* name) const noexcept;
  /// The descriptor of the connection that the frame came by; -1 if unknown. It is libzmq's, and may belong to another
  /// connection by now: use it only to look.
  [[nodiscard]] int descriptor() const noexcept { return zmq_msg_get(&msg_, ZMQ_SRCFD); }
  [[nodiscard]] zmq_msg_t* raw() noexcept { return &msg_; }

  /// Returns the bytes as a slice that keeps them alive. Below 8 KiB they are copied, so that the slice keeps nothing
  /// else alive. The last slice frees them, on any thread.
  [[nodiscard]] static Slice share(ZmqFrame frame);

 private:
  zmq_msg_t msg_;
};

/// The context of sockets, with one I/O thread. Lifetime: it must outlive its sockets. Its destructor waits for them.
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
