#include "weir/deployment/invisible.hpp"

#include <algorithm>

namespace weir::deployment {
namespace {

constexpr std::string_view utf8_mark = "\xef\xbb\xbf";

}  // namespace

std::optional<Invisible> find_byte_order_mark(std::string_view text) {
  if (text.starts_with("\xff\xfe") || text.starts_with("\xfe\xff")) {
    return Invisible{{}, "not YAML: it is UTF-16; save it as UTF-8"};
  }
  const auto at = text.find(utf8_mark, 1);
  if (at == std::string_view::npos) return std::nullopt;
  const auto before = text.substr(0, at);
  const auto line_begins = before.rfind('\n') + 1;  // npos + 1 is 0
  return Invisible{{static_cast<std::size_t>(std::ranges::count(before, '\n')) + 1, at - line_begins + 1},
                   "a byte order mark (U+FEFF), which no editor shows: delete it"};
}

std::optional<Invisible> find_tab(std::string_view text, std::size_t line) {
  if (line == 0) return std::nullopt;
  for (std::size_t skipped = 1; skipped < line; ++skipped) {
    const auto end = text.find('\n');
    if (end == std::string_view::npos) return std::nullopt;
    text.remove_prefix(end + 1);
  }
  const auto indentation = text.substr(0, text.find_first_not_of(" \t"));
  const auto tab = indentation.find('\t');
  if (tab == std::string_view::npos) return std::nullopt;
  return Invisible{{line, tab + 1}, "not YAML: a tab in the indentation; only spaces may stand there"};
}

}  // namespace weir::deployment
