#include "weir/async/zmq_frame.hpp"

#include <cstring>
#include <memory>
#include <new>

#include "weir/message/error.hpp"

#ifdef WEIR_THREADS_SANITIZED
#include <sanitizer/tsan_interface.h>
#endif

namespace weir::async {
namespace {

/// Below 16 KiB a copy is as fast as handing the memory over (engineering notes: zero copy pays from 64 KiB).
constexpr std::size_t take_over_from = 16 * 1024;
/// libzmq reads 8,192 bytes at once, and small messages stay in that buffer. A kept message would keep the whole
/// buffer.
constexpr std::size_t read_at_once = 8192;

// libzmq passes the memory to the thread that frees it by atomic operations of its own. It is not instrumented for
// ThreadSanitizer, which is therefore told here.
void hand_over([[maybe_unused]] void* memory) {
#ifdef WEIR_THREADS_SANITIZED
  __tsan_release(memory);
#endif
}
void take([[maybe_unused]] void* memory) {
#ifdef WEIR_THREADS_SANITIZED
  __tsan_acquire(memory);
#endif
}

}  // namespace

ZmqFrame::ZmqFrame(std::size_t size) {
  if (zmq_msg_init_size(&msg_, size) != 0) throw std::bad_alloc();
}

ZmqFrame::ZmqFrame(std::string_view bytes) : ZmqFrame(bytes.size()) {
  if (!bytes.empty()) std::memcpy(data(), bytes.data(), bytes.size());
}

ZmqFrame ZmqFrame::of(std::string bytes) {
  if (bytes.size() < take_over_from) return ZmqFrame(std::string_view(bytes));
  auto kept = std::make_unique<std::string>(std::move(bytes));
  ZmqFrame frame;
  const auto release = [](void*, void* hint) {
    take(hint);
    delete static_cast<std::string*>(hint);
  };
  char* const data = kept->data();
  const std::size_t size = kept->size();
  hand_over(kept.get());
  if (zmq_msg_init_data(&frame.msg_, data, size, release, kept.get()) != 0) throw std::bad_alloc();
  kept.release();
  return frame;
}

std::string_view ZmqFrame::property(const char* name) const noexcept {
  const char* value = zmq_msg_gets(&msg_, name);
  return value == nullptr ? std::string_view{} : std::string_view{value};
}

Slice ZmqFrame::share(ZmqFrame frame) {
  if (frame.size() < read_at_once) return Slice::of(std::string(frame.bytes()));
  auto kept = std::make_shared<ZmqFrame>(std::move(frame));
  const std::string_view bytes = kept->bytes();
  return {std::move(kept), bytes};
}

ZmqContext::ZmqContext() : context_(zmq_ctx_new()) {
  if (context_ == nullptr) throw Error("no ZeroMQ context: " + std::string(zmq_strerror(zmq_errno())));
  // 1,023 sockets by default; a test or a broker with many loops needs more.
  zmq_ctx_set(context_, ZMQ_MAX_SOCKETS, 8192);
}

ZmqContext::~ZmqContext() {
  while (zmq_ctx_term(context_) != 0 && zmq_errno() == EINTR) {
  }
}

}  // namespace weir::async
