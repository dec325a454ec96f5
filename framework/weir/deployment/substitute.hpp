#pragma once

/// Replaces `${NAME}` and `${NAME:-default}` by values from the environment.

#include <string>
#include <string_view>
#include <variant>

#include "weir/deployment/deployment.hpp"

namespace weir::deployment {

/// A variable that could not be substituted, and why.
struct Unsubstituted {
  std::string why;
};

/// Returns `text` with its variables replaced, in one pass: variables in a variable's value are not replaced. `$${` is
/// a plain `${`.
/// As in a shell, the default also replaces a variable that is set but empty.
[[nodiscard]] std::variant<std::string, Unsubstituted> substitute(std::string_view text,
                                                                  const Environment& environment);

/// Returns `yaml` with YAML's special characters replaced, one by one, inside each `${…}` that is on one line and has
/// no quotes. So a variable may be unquoted in `{ first: ${FIRST:-1s}, … }`, and no line or column changes. Unmask each
/// value that was read.
[[nodiscard]] std::string mask_variables(std::string yaml);
[[nodiscard]] std::string unmask_variables(std::string scalar);

}  // namespace weir::deployment
