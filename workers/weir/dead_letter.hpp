#pragma once

/// A dead letter, for people and for programs.

#include <boost/json.hpp>
#include <optional>
#include <string>

#include "table.hpp"
#include "weir/v1/control.pb.h"

namespace weir::cli {

/// What is shown of a payload.
struct ShownPayload {
  std::optional<std::string> json;  ///< decoded
  std::string why_not;              ///< else
};

/// As JSON; with `payload` it too, in base64 and, if it could be decoded, as it is.
[[nodiscard]] boost::json::object dead_json(const v1::DeadSummary& dead);
[[nodiscard]] boost::json::object dead_json(const v1::DeadLetter& letter, const std::optional<ShownPayload>& payload);

/// All but the payload: what it is, its attempts, and of those that ended their process the stack, once if it is the
/// same, how memory grew, and what the process had logged of this message.
[[nodiscard]] std::string text_of(const v1::DeadLetter& letter, const Terminal& to);

/// Of `lines`, those that name message `id`.
[[nodiscard]] std::vector<std::string> lines_about(const google::protobuf::RepeatedPtrField<std::string>& lines,
                                                   const std::string& id);

}  // namespace weir::cli
