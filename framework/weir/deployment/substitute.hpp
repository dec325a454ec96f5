#pragma once

/// `${NAME}` and `${NAME:-default}` from the environment.

#include <string>
#include <string_view>
#include <variant>

#include "weir/deployment/deployment.hpp"

namespace weir::deployment {

/// What could not be substituted, and why.
struct Unsubstituted {
  std::string why;
};

/// `text` with its variables replaced, in one pass: what a variable holds is not looked into. `$${` is a plain `${`.
/// As in a shell, the default also stands in for a variable that is set but empty.
[[nodiscard]] std::variant<std::string, Unsubstituted> substitute(std::string_view text,
                                                                  const Environment& environment);

/// `yaml` with what is special to YAML replaced inside each `${…}` of one line and without quotes, place by place, so
/// that a variable may stand unquoted in `{ first: ${FIRST:-1s}, … }` and no line or column changes. What was read then
/// is unmasked.
[[nodiscard]] std::string mask_variables(std::string yaml);
[[nodiscard]] std::string unmask_variables(std::string scalar);

}  // namespace weir::deployment
