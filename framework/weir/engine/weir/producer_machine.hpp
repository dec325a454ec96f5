#pragma once

/// A publisher's session with the broker, without I/O.
///
/// Messages gather in one open group per lane. A group gets its numbers when it leaves, so that a queue that waits does
/// not hold back another. Sent messages are kept until they are answered. After a reconnect they are sent again under
/// the same numbers, and the broker stores none of them twice.
///
/// A frame with few messages costs as much as a full one. So while 8 such frames are unanswered, messages gather until
/// one of the frames is answered, for at most 2 ms. (This is Nagle's algorithm for TCP, RFC 896, but with several
/// frames on their way, and with a bound.) So a publisher of few messages does not wait, and a publisher of many sends
/// larger frames. A disk that is slow to sync delays no frame beyond the 2 ms.

#include <array>
#include <bitset>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "weir/engine/engine.hpp"
#include "weir/engine/weir/client_machine.hpp"
#include "weir/engine/weir/probe.hpp"
#include "weir/protocol/frame.hpp"

namespace weir::engine::weir_broker {

class ProducerMachine final : public ClientMachine {
 public:
  ProducerMachine(ClientSettings settings, PublisherId publisher);

  /// See engine::Producer::offer. Returns nothing without credit, or without a connection.
  /// Throws: UnknownQueue, TooLarge.
  [[nodiscard]] std::optional<std::uint64_t> offer(const Outgoing& message);
  /// Sends the gathered messages now, or within 2 ms if 8 small frames are unanswered.
  void flush(Instant now);
  /// Sends the gathered messages now.
  void flush_at_once();
  /// True if the queue's window has room for the message that offer() last refused. Throws: UnknownQueue, Refused.
  [[nodiscard]] bool has_room(std::string_view queue);
  [[nodiscard]] bool has_answers() const { return !answers_.empty(); }
  [[nodiscard]] std::vector<Confirmation> take_answers() { return std::exchange(answers_, {}); }
  [[nodiscard]] std::uint64_t unanswered() const { return unanswered_; }

 protected:
  void hello(Instant now) override;
  void welcomed(Instant now, const v1::Welcome& welcome) override;
  void received(Instant now, const std::shared_ptr<Received>& frame) override;
  void disconnected(Instant now) override;
  [[nodiscard]] bool refused(Instant now, const std::string& why) override;
  void ticked(Instant now) override;
  [[nodiscard]] Instant ticks_next() const override;

 private:
  struct Group;
  struct Queue {
    std::string name;
    std::optional<std::uint32_t> id;  ///< nothing: the broker has no queue of that name
    bool in_file = true;
    bool named = false;  ///< the broker was told in this session that this client publishes to it
    std::uint64_t epoch{};
    Load window;
    Load outstanding;
    Bytes refused_size{1};                  ///< of the message that offer() last refused
    std::array<Group*, lanes_most> open{};  ///< its groups in open_, by lane
  };
  /// Messages of one lane with neighbouring numbers.
  struct Group {
    Queue* queue{};
    Lane lane{};
    std::uint64_t first{};  ///< its first number on the wire, once it has left
    std::uint64_t epoch{};  ///< of the window that let it in; a group of an older session needs no credit
    v1::Index index;
    std::string run;
    std::size_t columns{};  ///< bytes of keys and ids
    /// The numbers that the caller knows: runs of (first, count), in the group's order.
    std::vector<std::pair<std::uint64_t, std::uint32_t>> callers;
    std::bitset<protocol::segment_messages_most> answered;
    std::uint32_t answered_count{};
    std::uint32_t count{};  ///< kept here, as the index may be lent to a frame
  };
  using GroupPtr = std::unique_ptr<Group>;

  Queue& queue(std::string_view name);
  /// The queue's entry in WELCOME; nullptr if there is none.
  const v1::QueueInfo* name_as_known(Queue& queue);
  void check_known(const Queue& queue) const;
  void express_interest(Queue& queue);
  GroupPtr new_group(Queue& queue, Lane lane);
  /// Sends an open group that is full.
  void send_alone(Group& group);
  /// Numbers a group, and keeps it for its answer.
  Group& number(GroupPtr group);
  /// Puts messages [first, first + count) of a group into the frame being made.
  void put(Group& group, std::uint32_t first, std::uint32_t count);
  void send_frame();
  // resending.cpp
  void resend();
  /// Sends numbered messages that this session has not sent yet, as far as the probe allows.
  void resend_some();
  [[nodiscard]] bool holds_back() const { return put_until_ < next_number_; }
  void confirmed(const v1::Confirmed::Run& run);
  /// Answers messages [first, first + count) of a group, except those that were answered before.
  void answer(Group& group, std::uint32_t first, std::uint32_t count, const Confirmation& what,
              const v1::Confirmed::Run* place);
  void emit(const Group& group, std::uint32_t first, std::uint32_t count, const Confirmation& what,
            const v1::Confirmed::Run* place);
  void all_in_doubt(const std::string& reason);
  void trim();
  [[nodiscard]] std::uint64_t lowest_unanswered() const;
  void window_changed(Queue& queue, const v1::Window& window);
  void set_window(Queue& queue, const v1::Window& window);

  PublisherId publisher_;
  std::map<std::string, Queue, std::less<>> queues_;
  Queue* last_queue_ = nullptr;  // nearly always the queue of the next message, too
  std::vector<GroupPtr> open_;
  std::deque<GroupPtr> sent_;          // by first number
  std::deque<std::uint64_t> flushed_;  // small unanswered frames: for each the number after its last
  Instant flush_by_ = Instant::max();  // when messages that wait for these answers leave without them
  std::vector<GroupPtr> spare_;
  std::uint64_t next_number_ = 1;
  std::uint64_t next_for_caller_ = 1;
  std::uint64_t unanswered_ = 0;
  std::uint64_t put_until_ = 1;  // numbers from here on have yet to be sent in this session
  std::uint64_t under_way_ = 0;  // counts the messages that were sent again and are unanswered
  Probe probe_;
  std::vector<Confirmation> answers_;
  Bytes message_most_;
  std::map<std::string, v1::QueueInfo> known_;  // the queues in WELCOME
  std::map<std::uint32_t, Queue*> by_id_;
  Instant left_at_ = Instant::max();  // when the last session ended
  v1::Frame head_;
  v1::Frame interest_;                 // reused for this and other rare frames
  std::vector<std::string_view> run_;  // of the frame being made, by group
  std::size_t run_bytes_ = 0;
  std::size_t columns_ = 0;      // bytes of its keys and ids
  std::size_t fields_ = 0;       // the most that it may have; see protocol/bounds.hpp
  std::vector<Group*> swapped_;  // groups whose index is lent to head_
};

}  // namespace weir::engine::weir_broker
