#pragma once

/// `weir top` without a terminal: makes lines of the broker's answers and the typed keys.

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "weir/v1/control.pb.h"

namespace weir::cli {

/// The broker's answer at one moment.
struct Seen {
  std::vector<v1::Queues::Queue> queues;
  std::vector<v1::Workers::Worker> workers;
  double at{};  ///< in seconds, by any steady clock
};

/// Messages per second between the last two looks.
struct Rates {
  double published{};
  double acked{};
};

class Top {
 public:
  enum class Key { tab, sort, reverse, search, escape, enter, erase, up, down, page_up, page_down, home, end };

  explicit Top(std::string engine) : engine_(std::move(engine)) {}

  void saw(Seen seen);
  /// The broker did not answer. The screen keeps the last answer, and says so.
  void failed(std::string why) { problem_ = std::move(why); }

  void press(Key key);
  /// Takes a typed character of the search text, in which no character is a key.
  void type(char character);
  [[nodiscard]] bool is_typing() const { return typing_; }

  struct Size {
    std::size_t columns = 80;
    std::size_t lines = 24;
  };
  /// Returns exactly `size.lines` lines, none wider than `size.columns`. `now` is by the clock of Seen::at.
  [[nodiscard]] std::vector<std::string> screen(Size size, bool colour, double now);

 private:
  struct Listed {
    std::vector<std::string> lines;  ///< the titles first
    std::size_t all{};
  };
  [[nodiscard]] Listed listed_queues(Size size, bool colour) const;
  [[nodiscard]] Listed listed_workers(Size size, bool colour) const;
  [[nodiscard]] std::string headline(double now) const;
  [[nodiscard]] std::string totals() const;
  [[nodiscard]] std::string foot() const;
  [[nodiscard]] bool is_wanted(const std::string& name) const;

  std::string engine_;
  std::optional<Seen> seen_;
  std::map<std::string, Rates> rates_;  ///< by queue
  std::string problem_;
  bool of_workers_ = false;
  std::size_t queues_by_ = 0;
  std::size_t workers_by_ = 0;
  bool reversed_ = false;
  bool typing_ = false;
  std::string search_;
  std::size_t first_ = 0;  ///< the row that is shown first
  std::size_t page_ = 1;   ///< the rows on the screen when it was last made
};

}  // namespace weir::cli
