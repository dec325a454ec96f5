#pragma once

/// Checks a deployment as a whole, and says where in the file an error is.

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "weir/deployment/deployment.hpp"

namespace weir::deployment {

/// A line and a column, each from 1; 0 means the file as a whole.
struct Position {
  std::size_t line{};
  std::size_t column{};
};

/// Gathers findings, and remembers the position of each value for findings that come later.
class Findings {
 public:
  void error(Position at, std::string text) { add(at, true, std::move(text)); }
  void warning(Position at, std::string text) { add(at, false, std::move(text)); }

  /// `place` is what people write: `workers.shop.window.messages`.
  void set_place(const std::string& place, Position at) { places_[place] = at; }
  [[nodiscard]] bool has_place(const std::string& place) const { return places_.contains(place); }
  /// Returns the position of `place`, or else of the nearest section around it.
  [[nodiscard]] Position place(std::string place) const;

  [[nodiscard]] bool any_error() const;
  [[nodiscard]] std::vector<Finding> sorted() const;

 private:
  void add(Position at, bool is_error, std::string text);

  std::vector<Finding> findings_;
  std::map<std::string, Position> places_;
};

/// Checks the rules over several keys, and completes values that follow from other keys: paths, the broker's address.
void complete(Deployment& deployment, const std::filesystem::path& folder, Findings& findings);

/// Checks that each group's plugin exists, is a plugin, and was built for this Weir, as far as its file shows.
void check_plugins(const Deployment& deployment, Findings& findings);

/// Checks that each group's plugin registers what the group needs. Runs the plugin's code in a process of its own,
/// which runs this same program. `file` is the deployment file. Thread: the process's only one. Throws: Error if no
/// process can be started.
void rehearse_plugins(const Deployment& deployment, const std::filesystem::path& file, Findings& findings);

}  // namespace weir::deployment
