#pragma once

/// What is wrong with a deployment as a whole, and where it stands in the file.

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "weir/deployment/deployment.hpp"

namespace weir::deployment {

/// A line and a column, from 1; 0: the file as a whole.
struct Position {
  std::size_t line{};
  std::size_t column{};
};

/// Gathers findings, and remembers where each value stood for those that are found later.
class Findings {
 public:
  void error(Position at, std::string text) { add(at, true, std::move(text)); }
  void warning(Position at, std::string text) { add(at, false, std::move(text)); }

  /// `place` as people write it: `workers.shop.window.messages`.
  void set_place(const std::string& place, Position at) { places_[place] = at; }
  [[nodiscard]] bool has_place(const std::string& place) const { return places_.contains(place); }
  /// Where `place`, or else the nearest section round it, stands.
  [[nodiscard]] Position place(std::string place) const;

  [[nodiscard]] bool any_error() const;
  [[nodiscard]] std::vector<Finding> sorted() const;

 private:
  void add(Position at, bool is_error, std::string text);

  std::vector<Finding> findings_;
  std::map<std::string, Position> places_;
};

/// Checks what no single key shows, and completes what follows from other keys: paths, the broker's address.
void complete(Deployment& deployment, const std::filesystem::path& folder, Findings& findings);

/// Whether each group's plugin is there, is one, and was built for this Weir; as far as its file shows.
void check_plugins(const Deployment& deployment, Findings& findings);

/// Whether each group's plugin registers what the group needs. Runs its code, in a process of its own, of this very
/// program; `file` is the deployment file. Thread: the process's only one. Throws: Error where it can start none.
void rehearse_plugins(const Deployment& deployment, const std::filesystem::path& file, Findings& findings);

}  // namespace weir::deployment
