// What an attempt leaves in a message's history. It is bounded, as a message may be tried a thousand times.
#include "weir/broker/core/state.hpp"

namespace weir::broker::core {
namespace {

constexpr std::size_t error_bytes_most = 4096;
constexpr std::size_t stack_bytes_most = 8192;
constexpr std::size_t log_bytes_most = 4096;
constexpr int log_lines_most = 50;
constexpr std::size_t log_line_bytes_most = 512;

/// Cuts text to its first bytes, whole characters: a record with half a character would not parse.
void cut(std::string& text, std::size_t most) {
  if (text.size() <= most) return;
  while (most > 0 && (static_cast<unsigned char>(text[most]) & 0xC0) == 0x80) --most;
  text.resize(most);
}

/// Keeps the last lines: they say most.
void cut(google::protobuf::RepeatedPtrField<std::string>& lines) {
  std::size_t bytes = 0;
  int first = lines.size();
  while (first > 0 && lines.size() - first < log_lines_most) {
    std::string& line = lines[first - 1];
    cut(line, log_line_bytes_most);
    bytes += line.size();
    if (bytes > log_bytes_most) break;
    --first;
  }
  lines.DeleteSubrange(0, first);
}

}  // namespace

void bound(v1::Attempt& attempt) {
  cut(*attempt.mutable_error(), error_bytes_most);
  cut(*attempt.mutable_stack(), stack_bytes_most);
  cut(*attempt.mutable_log());
}

}  // namespace weir::broker::core
