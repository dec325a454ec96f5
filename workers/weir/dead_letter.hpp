#pragma once

/// A dead letter, for people and for programs.

#include <boost/json.hpp>
#include <optional>
#include <string>

#include "table.hpp"
#include "weir/v1/control.pb.h"

namespace weir::cli {

/// The shown form of a payload.
struct ShownPayload {
  std::optional<std::string> json;  ///< decoded
  std::string why_not;              ///< the reason, if there is no `json`
};

/// Returns the dead letter as JSON. With `payload`, the payload is added in base64 and, if it could be decoded, as
/// JSON.
[[nodiscard]] boost::json::object dead_json(const v1::DeadSummary& dead);
[[nodiscard]] boost::json::object dead_json(const v1::DeadLetter& letter, const std::optional<ShownPayload>& payload);

/// Returns all but the payload: the message, its attempts, and for attempts that ended their process the stack (once if
/// it is the same), the growth of memory, and the process's log lines about this message.
[[nodiscard]] std::string text_of(const v1::DeadLetter& letter, const Terminal& to);

/// Returns the lines of `lines` that name message `id`.
[[nodiscard]] std::vector<std::string> lines_about(const google::protobuf::RepeatedPtrField<std::string>& lines,
                                                   const std::string& id);

}  // namespace weir::cli
