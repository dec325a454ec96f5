#pragma once

/// A client made of nothing but a socket and frames: it can say what Weir's own clients never would.

#include <gtest/gtest.h>
#include <zmq.h>

#include <string>
#include <vector>

#include "weir/protocol/frame.hpp"

namespace weir {

class RawClient {
 public:
  /// `url` as weir://HOST:PORT.
  explicit RawClient(const std::string& url) {
    socket_ = zmq_socket(context_, ZMQ_DEALER);
    const int wait_ms = 10'000;
    zmq_setsockopt(socket_, ZMQ_RCVTIMEO, &wait_ms, sizeof wait_ms);
    const int linger_ms = 0;
    zmq_setsockopt(socket_, ZMQ_LINGER, &linger_ms, sizeof linger_ms);
    zmq_connect(socket_, ("tcp" + url.substr(4)).c_str());
  }
  ~RawClient() {
    zmq_close(socket_);
    zmq_ctx_term(context_);
  }
  RawClient(const RawClient&) = delete;
  RawClient& operator=(const RawClient&) = delete;

  void send_bytes(std::string_view bytes, bool more = false) {
    zmq_send(socket_, bytes.data(), bytes.size(), more ? ZMQ_SNDMORE : 0);
  }
  void send(v1::Frame frame, std::string_view run = {}) {
    frame.set_number(++sent_);
    send_bytes(protocol::encode(frame, run));
  }

  /// The next frame that is no BEAT; an empty one after 10 s of silence. Its run is in run().
  v1::Frame receive() {
    for (;;) {
      v1::Frame frame;
      zmq_msg_t message;
      zmq_msg_init(&message);
      if (zmq_msg_recv(&message, socket_, 0) < 0) {
        ADD_FAILURE() << "no frame came within 10 s";
        return frame;
      }
      const std::string_view bytes(static_cast<const char*>(zmq_msg_data(&message)), zmq_msg_size(&message));
      const auto run = protocol::decode(bytes, frame);
      EXPECT_TRUE(run.has_value());
      if (run) run_ = *run;
      zmq_msg_close(&message);
      if (!frame.has_beat()) return frame;
    }
  }
  [[nodiscard]] const std::string& run() const { return run_; }

  v1::Welcome hello(v1::Hello hello) {
    hello.set_magic(protocol::magic);
    hello.set_version_lowest(protocol::version_lowest);
    hello.set_version_highest(protocol::version_highest);
    hello.set_build("test");
    v1::Frame frame;
    *frame.mutable_hello() = std::move(hello);
    send(std::move(frame));
    const v1::Frame answer = receive();
    EXPECT_TRUE(answer.has_welcome()) << answer.ShortDebugString();
    return answer.welcome();
  }
  v1::Welcome hello_publisher(char id, const std::string& queue, std::uint64_t lowest_unanswered = 1) {
    v1::Hello wanted;
    wanted.set_kind(v1::PUBLISHER);
    wanted.set_publisher(std::string(16, id));
    wanted.set_lowest_unanswered(lowest_unanswered);
    wanted.add_publish_to(queue);
    return hello(std::move(wanted));
  }
  v1::Welcome hello_worker(char token, const std::string& queue, std::uint64_t window = 256) {
    v1::Hello wanted;
    wanted.set_kind(v1::WORKER);
    wanted.set_process_token(std::string(16, token));
    wanted.set_group("group");
    wanted.add_attach()->set_queue(queue);
    wanted.mutable_window()->set_epoch(1);
    wanted.mutable_window()->set_messages(window);
    wanted.mutable_window()->set_bytes(64ULL << 20);
    return hello(std::move(wanted));
  }
  v1::Welcome hello_control() {
    v1::Hello wanted;
    wanted.set_kind(v1::CONTROL);
    return hello(std::move(wanted));
  }

  v1::ControlReply ask(v1::ControlRequest request) {
    request.set_id(++asked_);
    v1::Frame frame;
    *frame.mutable_control() = std::move(request);
    send(std::move(frame));
    const v1::Frame answer = receive();
    EXPECT_TRUE(answer.has_control_reply()) << answer.ShortDebugString();
    EXPECT_EQ(answer.control_reply().id(), asked_);
    return answer.control_reply();
  }

 private:
  void* context_ = zmq_ctx_new();
  void* socket_ = nullptr;
  std::uint64_t sent_ = 0;
  std::uint64_t asked_ = 0;
  std::string run_;
};

}  // namespace weir
