#pragma once

/// What one commit brings, and what is sent and done once it is on disk.

#include <boost/container/flat_set.hpp>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "weir/broker/core/session.hpp"

namespace weir::broker::core {

/// An answer that a publisher gets once the commit is on disk.
struct Answer {
  PublisherId publisher;
  std::uint64_t first{};
  std::uint32_t count{};
  std::uint64_t bytes{};
  Place place;          ///< of the first message; segment 0: none
  QueueId window_of{};  ///< the queue whose window it frees; 0: none (a resend)
  std::string refused;  ///< empty: confirmed
};

/// The messages that this commit brings to one lane, while small frames still join them.
struct OpenSegment {
  std::shared_ptr<Contents> contents;
  Instant since;  ///< when its first message was taken
  std::uint64_t bytes{};
  Bits settled;                 ///< messages that are records from the start
  bool closed = false;          ///< no message joins it any more
  bool appeared = false;        ///< its lane has it, ahead of its commit
  bool bears_outputs = false;   ///< an ack of its messages leaves with outputs: the confirmation waits for their commit
  bool needed = false;          ///< this commit reads a message of it from the store
  std::vector<Answer> answers;  ///< sent once it is on disk, or once it need never be
};

struct Pending {
  Instant since;  ///< when a frame brought the first part of it
  std::vector<Write> writes;
  std::set<SegmentKey> settled;                ///< segments whose settled bits have changed
  boost::container::flat_set<QueueId> queues;  ///< whose state has changed
  std::set<PublisherId> publishers;
  std::map<SegmentKey, OpenSegment> segments;

  std::vector<Answer> answers;
  struct Settled {
    Connection connection{};
    std::uint64_t frame{};
  };
  std::vector<Settled> settled_frames;
  std::vector<std::pair<Connection, v1::Settled>> stale;
  std::vector<std::pair<ProcessToken, std::uint32_t>> noted;
  /// Leases of sessions whose end this commits, one entry per session: their messages are ready again afterwards.
  std::vector<Leases> returning;
  /// Sessions that the restart waits for, and whose end this commits.
  std::size_t given_up{};
  struct Moved {
    Place place;
    std::int64_t due_us{};  ///< 0: gone, or dead
    DueBy due_by{};
    std::optional<RecordHead> head{};  ///< as it will be; nothing: it is read from the store when it is due
  };
  std::vector<Moved> moved;  ///< records that were loaded, or are new
  struct Mark {
    QueueId queue{};
    Lane lane{};
    SegmentNumber mark{};
  };
  std::vector<Mark> marks;
  struct Reply {
    Connection to{};
    v1::ControlReply reply;
  };
  std::vector<Reply> replies;
  std::vector<Connection> buried;                                      ///< death reports to answer
  std::vector<std::pair<PublisherId, std::uint64_t>> publisher_marks;  ///< as this commit has them

  [[nodiscard]] bool empty() const {
    return writes.empty() && settled.empty() && queues.empty() && publishers.empty() && segments.empty() &&
           answers.empty() && settled_frames.empty() && stale.empty() && noted.empty() && returning.empty() &&
           moved.empty() && marks.empty() && replies.empty() && buried.empty();
  }
  /// True if there is more than publishes, acks of messages in segments, and counts.
  [[nodiscard]] bool has_more() const {
    return !writes.empty() || !answers.empty() || !stale.empty() || !noted.empty() || !returning.empty() ||
           !moved.empty() || !marks.empty() || !replies.empty() || !buried.empty();
  }
};

}  // namespace weir::broker::core
