#include "tokens.hpp"

#include <cctype>
#include <cstdlib>

namespace weir::awaits {
namespace {

bool is_of_word(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_'; }

class Lexer {
 public:
  explicit Lexer(std::string_view source) : source_(source) {}

  Tokens run() {
    bool line_begins = true;
    while (at_ < source_.size()) {
      const char c = source_[at_];
      if (c == '\n') {
        ++line_;
        ++at_;
        line_begins = true;
      } else if (std::isspace(static_cast<unsigned char>(c)) != 0) {
        ++at_;
      } else if (c == '#' && line_begins) {
        directive();
      } else if (source_.substr(at_).starts_with("//")) {
        comment(source_.find('\n', at_));
      } else if (source_.substr(at_).starts_with("/*")) {
        const auto end = source_.find("*/", at_ + 2);
        comment(end == std::string_view::npos ? end : end + 2);
      } else {
        line_begins = false;
        token(c);
      }
    }
    return std::move(out_);
  }

 private:
  void add(Token::Kind kind, std::size_t end) {
    end = std::min(end, source_.size());
    out_.all.push_back({kind, source_.substr(at_, end - at_), line_});
    skip_to(end);
  }
  void skip_to(std::size_t end) {
    for (; at_ < end && at_ < source_.size(); ++at_) {
      if (source_[at_] == '\n') ++line_;
    }
  }

  void comment(std::size_t end) {
    end = std::min(end, source_.size());
    if (source_.substr(at_, end - at_).find("weir: trivial") != std::string_view::npos) out_.trivial.insert(line_);
    skip_to(end);
  }

  void directive() {
    std::size_t end = at_;
    do {
      end = source_.find('\n', end + 1);
    } while (end != std::string_view::npos && source_[end - 1] == '\\');
    end = std::min(end, source_.size());
    const std::string text(source_.substr(at_ + 1, end - at_ - 1));
    skip_to(end);
    const auto word = text.find_first_not_of(" \t");
    if (word == std::string::npos) return;
    const auto opens = text.find('"');
    const auto closes = opens == std::string::npos ? opens : text.find('"', opens + 1);
    const std::string quoted = closes == std::string::npos ? "" : text.substr(opens + 1, closes - opens - 1);
    if (text.compare(word, 7, "include") == 0) {
      if (!quoted.empty()) out_.includes.push_back(quoted);
    } else if (text.compare(word, 4, "line") == 0) {
      line_ = std::atoi(text.c_str() + word + 4) - 1;
      if (!quoted.empty()) out_.named = quoted;
    }
  }

  void token(char c) {
    if (raw_text()) return;
    if (c == '"' || c == '\'') {
      std::size_t end = at_ + 1;
      while (end < source_.size() && source_[end] != c && source_[end] != '\n') end += source_[end] == '\\' ? 2 : 1;
      return add(Token::Kind::text, end + 1);
    }
    if (std::isdigit(static_cast<unsigned char>(c)) != 0) {
      std::size_t end = at_ + 1;
      while (end < source_.size() &&
             (is_of_word(source_[end]) || source_[end] == '.' ||
              (source_[end] == '\'' && end + 1 < source_.size() && is_of_word(source_[end + 1])))) {
        ++end;
      }
      return add(Token::Kind::number, end);
    }
    if (is_of_word(c)) {
      std::size_t end = at_ + 1;
      while (end < source_.size() && is_of_word(source_[end])) ++end;
      return add(Token::Kind::word, end);
    }
    const std::string_view two = source_.substr(at_, 2);
    add(Token::Kind::sign, at_ + (two == "::" || two == "->" ? 2 : 1));
  }

  /// R"x(…)x"
  bool raw_text() {
    if (!source_.substr(at_).starts_with("R\"")) return false;
    const auto opens = source_.find('(', at_);
    if (opens == std::string_view::npos || opens > at_ + 18) return false;
    const std::string close = ")" + std::string(source_.substr(at_ + 2, opens - at_ - 2)) + "\"";
    const auto end = source_.find(close, opens);
    add(Token::Kind::text, end == std::string_view::npos ? end : end + close.size());
    return true;
  }

  std::string_view source_;
  std::size_t at_ = 0;
  int line_ = 1;
  Tokens out_;
};

}  // namespace

Tokens tokens_of(std::string_view source) { return Lexer(source).run(); }

}  // namespace weir::awaits
