#pragma once

/// Connections between clients and the broker: in order within one, each with its own delay. A frame that is lost takes
/// its connection with it, as on TCP; either side may learn of that late.

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "stage.hpp"

namespace weir::simulation {

using LineId = std::uint32_t;  ///< from 1; to the core its Connection

/// What a client has heard of the broker's stores: of which (they are counted from 1; 0: none), how many commits, and
/// who welcomed it last.
struct StoreHeard {
  std::uint32_t store{};
  std::uint64_t commits{};
  std::uint32_t life{};
};

struct Line {
  std::uint32_t endpoint{};
  std::uint32_t life{};  ///< of the broker that it was made to
  std::deque<std::string> up;
  std::deque<std::string> down;
  std::int64_t up_at_us{};  ///< when the last one arrives
  std::int64_t down_at_us{};
  std::int64_t stalled_until_us{};
  std::uint64_t read{};  ///< bytes that arrived at the client, and the broker has not looked
  bool up_cut = false;   ///< nothing more goes in; what is left still arrives
  bool down_cut = false;
  bool reset = false;    ///< the broker's next send finds it gone
  bool refused = false;  ///< the broker has closed it
  bool claims_old_leases = false;
  bool hello_in_parts = false;    ///< none of which names all that is claimed
  StoreHeard speaks_of;           ///< its HELLO
  std::uint32_t store{};          ///< of the broker that it was made to
  bool of_another_store = false;  ///< what it speaks of
  bool may_be_in_doubt = false;   ///< by that, or since it was told so, and published nothing
};

class Network {
 public:
  explicit Network(Stage& stage) : stage_(stage), random_(stage.scenario.seed, 2) { lines_.emplace_back(); }

  LineId open(std::uint32_t endpoint, std::uint32_t life);
  [[nodiscard]] Line& line(LineId id) { return lines_[id]; }
  [[nodiscard]] LineId lines() const { return static_cast<LineId>(lines_.size() - 1); }

  void send_up(LineId id, std::string frame);
  void send_down(LineId id, std::string frame);
  /// The frame whose turn it is; false if it was lost, or waits for its line (`event` is planned again then).
  bool arrive(const Event& event, bool up, std::string& frame);

  /// Nothing is left of it.
  [[nodiscard]] bool is_void(const Event& event) const {
    const Line& one = lines_[event.a];
    return (event.kind == EventKind::frame_at_broker ? one.up : one.down).empty();
  }

  /// The client closes its end. What it sent may still arrive.
  void hang_up(LineId id);
  /// Cuts it: of what is under way a part may arrive still, or nothing. `silent`: neither side is told.
  void cut(LineId id, bool silent);
  /// All of the broker's: it is dead.
  void cut_all(std::uint32_t life);
  void stall(LineId id, std::int64_t for_us);
  /// A frame that is under way comes twice; false if there is none.
  bool repeat(LineId id);
  /// Every line whose ends have not been told is told now.
  void heal();

 private:
  void send(LineId id, bool up, std::string frame);
  void lose(std::deque<std::string>& frames);

  Stage& stage_;
  Random random_;
  std::vector<Line> lines_;
};

}  // namespace weir::simulation
