#include "stack.hpp"

#include <algorithm>
#include <array>
#include <sstream>

namespace weir::cli {
namespace {

constexpr std::array<std::string_view, 5> of_libraries{"boost::asio::", "boost_asio_handler_",
                                                       "boost::context::", "std::", "__gnu_cxx::"};
/// The frames that are below every handler.
constexpr std::array<std::string_view, 5> of_workers{"weir::worker::", "weir::async::", "libstdc++.so", "libc.so",
                                                     "_start in weir"};

/// Returns `text` without the characters between `open` and its `close`; the two stay.
std::string emptied(std::string_view text, char open, char close) {
  std::string out;
  int depth = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    // `operator<`, `operator->` and similar ones are names.
    const bool named = text.substr(0, i).ends_with("operator") || text.substr(0, i).ends_with("operator<") ||
                       text.substr(0, i).ends_with("operator-") || text.substr(0, i).ends_with("operator>");
    if (named && (c == '<' || c == '>')) {
      if (depth == 0) out += c;
    } else if (c == open) {
      if (depth++ == 0) out += c;
    } else if (c == close && depth > 0) {
      if (--depth == 0) out += c;
    } else if (depth == 0) {
      out += c;
    }
  }
  return out;
}

void remove_all(std::string& text, std::string_view what) {
  for (auto at = text.find(what); at != std::string::npos; at = text.find(what, at)) text.erase(at, what.size());
}

void remove_clones(std::string& text) {
  for (auto at = text.find(" [clone "); at != std::string::npos; at = text.find(" [clone ", at)) {
    const auto end = text.find(']', at);
    text.erase(at, end == std::string::npos ? end : end + 1 - at);
  }
}

}  // namespace

std::string short_frame(std::string_view frame) {
  // The part behind the name: the file, or how often.
  const auto in = std::min(frame.rfind(" in "), frame.size());
  std::string name(frame.substr(0, in));
  remove_all(name, "(anonymous namespace)::");
  remove_clones(name);
  name = emptied(emptied(name, '<', '>'), '(', ')');
  remove_all(name, "<>");
  return name + std::string(frame.substr(in));
}

namespace {

/// Returns the name without its parameters, and without the return type before a template's name.
std::string name_of(std::string_view frame) {
  std::string name = short_frame(frame);
  name.erase(std::min(name.find(" in "), name.size()));
  name.erase(std::min(name.find('('), name.size()));
  const auto space = name.rfind(' ');
  return space == std::string::npos ? name : name.substr(space + 1);
}

template <std::size_t size>
bool is_of(std::string_view frame, const std::array<std::string_view, size>& whose) {
  const std::string name = name_of(frame);
  return std::ranges::any_of(
      whose, [&](std::string_view begins) { return frame.starts_with(begins) || name.starts_with(begins); });
}

}  // namespace

std::vector<std::string> short_stack(const std::string& stack) {
  std::vector<std::string> frames;
  std::istringstream lines(stack);
  for (std::string frame; std::getline(lines, frame);) frames.push_back(frame);
  const auto is_below = [](const std::string& frame) { return is_of(frame, of_libraries) || is_of(frame, of_workers); };
  auto end = frames.end();
  while (end != frames.begin() && is_below(*std::prev(end))) --end;
  const bool has_below = end != frames.begin() && end != frames.end();
  if (has_below) frames.erase(end, frames.end());

  std::vector<std::string> out;
  std::size_t skipped = 0;
  for (const std::string& frame : frames) {
    // The first frame is the program counter.
    if (!out.empty() && is_of(frame, of_libraries)) {
      ++skipped;
      continue;
    }
    if (skipped > 0) out.push_back("… " + std::to_string(skipped) + " of Asio and the standard library");
    skipped = 0;
    out.push_back(short_frame(frame));
  }
  if (skipped > 0) out.push_back("… " + std::to_string(skipped) + " of Asio and the standard library");
  if (has_below) out.emplace_back("… and the worker's own below it (--json has all)");
  return out;
}

}  // namespace weir::cli
