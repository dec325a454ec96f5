#pragma once

/// A publisher's session with the broker, without I/O.
///
/// Messages gather in one open group a lane; a group gets its numbers when it leaves, so what waits for one queue holds
/// back no other. What was sent is kept until it is answered and, after a reconnect, sent again under the same numbers:
/// the broker stores none of them twice.
///
/// Few messages make a frame that costs as much as a full one. So while eight such frames are unanswered, messages
/// gather, for two milliseconds at most, until one of them is answered (as Nagle has it for TCP, RFC 896, but with
/// several on their way, and bounded): who publishes seldom waits for nothing, who publishes much sends larger frames,
/// and nobody waits for a disk that is slow to sync.

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

  /// See engine::Producer::offer. Nothing without credit, or without a connection.
  /// Throws: UnknownQueue, TooLarge.
  [[nodiscard]] std::optional<std::uint64_t> offer(const Outgoing& message);
  /// What is gathered leaves: now, or within two milliseconds if several small frames are unanswered.
  void flush(Instant now);
  /// What is gathered leaves now.
  void flush_at_once();
  /// Whether the queue's window has room for what was last offered in vain. Throws: UnknownQueue, Refused.
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
    std::optional<std::uint32_t> id;  ///< nothing: the broker has none of that name
    bool in_file = true;
    bool named = false;  ///< the broker was told in this session that we publish to it
    std::uint64_t epoch{};
    Load window;
    Load outstanding;
    Bytes refused_size{1};                  ///< of the message that was last offered in vain
    std::array<Group*, lanes_most> open{};  ///< in open_, by lane
  };
  /// Neighbouring numbers of one lane.
  struct Group {
    Queue* queue{};
    Lane lane{};
    std::uint64_t first{};  ///< its first number on the wire, once it has left
    std::uint64_t epoch{};  ///< of the window that let it in; an older session's needs no credit any more
    v1::Index index;
    std::string run;
    std::size_t columns{};  ///< bytes of keys and ids
    /// The caller's numbers: runs of (first, count), in the group's order.
    std::vector<std::pair<std::uint64_t, std::uint32_t>> callers;
    std::bitset<protocol::segment_messages_most> answered;
    std::uint32_t answered_count{};
    std::uint32_t count{};  ///< the index itself may be lent to a frame
  };
  using GroupPtr = std::unique_ptr<Group>;

  Queue& queue(std::string_view name);
  /// Its id, as WELCOME listed it; nullptr if it did not.
  const v1::QueueInfo* name_as_known(Queue& queue);
  void check_known(const Queue& queue) const;
  void express_interest(Queue& queue);
  GroupPtr new_group(Queue& queue, Lane lane);
  /// An open group is full.
  void send_alone(Group& group);
  /// Numbers a group, and keeps it for its answer.
  Group& number(GroupPtr group);
  /// Puts messages [first, first + count) of a group into the frame being made.
  void put(Group& group, std::uint32_t first, std::uint32_t count);
  void send_frame();
  // resending.cpp
  void resend();
  /// What was numbered and is not sent in this session yet, as far as the probe allows.
  void resend_some();
  [[nodiscard]] bool holds_back() const { return put_until_ < next_number_; }
  void confirmed(const v1::Confirmed::Run& run);
  /// Messages [first, first + count) of a group are answered; those that were before are left out.
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
  Queue* last_queue_ = nullptr;  // nearly always the next message's, too
  std::vector<GroupPtr> open_;
  std::deque<GroupPtr> sent_;          // by first number
  std::deque<std::uint64_t> flushed_;  // small frames that are unanswered: the number after each one's last
  Instant flush_by_ = Instant::max();  // when what waits for their answers leaves without
  std::vector<GroupPtr> spare_;
  std::uint64_t next_number_ = 1;
  std::uint64_t next_for_caller_ = 1;
  std::uint64_t unanswered_ = 0;
  std::uint64_t put_until_ = 1;  // in this session; all above is yet to be sent again
  std::uint64_t under_way_ = 0;  // of what was sent again, while it is counted
  Probe probe_;
  std::vector<Confirmation> answers_;
  Bytes message_most_;
  std::map<std::string, v1::QueueInfo> known_;  // as WELCOME listed them
  std::map<std::uint32_t, Queue*> by_id_;
  Instant left_at_ = Instant::max();  // when the last session ended
  v1::Frame head_;
  v1::Frame interest_;                 // and what else is said seldom
  std::vector<std::string_view> run_;  // of the frame being made, by group
  std::size_t run_bytes_ = 0;
  std::size_t columns_ = 0;      // and of its keys and ids
  std::size_t fields_ = 0;       // at most; see protocol/bounds.hpp
  std::vector<Group*> swapped_;  // whose index is lent to head_
};

}  // namespace weir::engine::weir_broker
