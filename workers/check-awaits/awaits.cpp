#include "awaits.hpp"

#include <algorithm>
#include <array>
#include <initializer_list>
#include <utility>

#include "tokens.hpp"

namespace weir::awaits {
namespace {

using Words = std::initializer_list<std::string_view>;

bool is_one_of(std::string_view word, Words words) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

/// True for members of Weir's own options. All are trivial, so they are safe in braces.
bool is_option_of_weirs(std::string_view name) {
  return is_one_of(name, {"key", "unique_id", "delay", "deliver_at", "priority", "headers",  //
                          "tries", "first", "factor", "most"});
}

/// A full expression, as far as it has been read.
struct Expression {
  bool awaits = false;
  std::vector<Finding> risky;  ///< these are findings if the expression awaits
};

class Reader {
 public:
  Reader(const Tokens& tokens, const std::string& file)
      : tokens_(tokens), t_(tokens.all), file_(tokens.named.empty() ? file : tokens.named) {}

  std::vector<Finding> run() {
    while (at_ < t_.size()) block();
    std::stable_sort(found_.begin(), found_.end(), [](const Finding& a, const Finding& b) { return a.line < b.line; });
    return std::move(found_);
  }

 private:
  [[nodiscard]] bool is(std::size_t i, std::string_view what) const { return i < t_.size() && t_[i].is(what); }
  [[nodiscard]] bool now(std::string_view what) const { return is(at_, what); }

  void risk(Expression& into, std::size_t at, std::string text) const {
    if (!tokens_.trivial.contains(t_[at].line)) into.risky.push_back({file_, t_[at].line, std::move(text)});
  }
  void finish(Expression& expression) {
    if (expression.awaits) {
      found_.insert(found_.end(), expression.risky.begin(), expression.risky.end());
    }
    expression = {};
    begin_ = at_;
  }

  /// Reads statements, to the end of the opened block.
  void block() {
    const std::size_t outer_begin = std::exchange(begin_, at_);
    Expression current;
    int depth = 0;
    std::vector<int> heads;  // the depths of the parentheses that close the head of an if, a loop or a switch
    for (; at_ < t_.size();) {
      if (now("}")) break;
      if (t_[at_].is_word() && is_one_of(t_[at_].text, {"if", "while", "for", "switch"})) heads.push_back(depth);
      if (now("(")) ++depth;
      if (now(")") && --depth >= 0 && !heads.empty() && heads.back() == depth) {
        heads.pop_back();
        ++at_;
        finish(current);
      } else if (now(";")) {
        ++at_;
        finish(current);
      } else if (now("{") && opens_block()) {
        finish(current);
        ++at_;
        block();
        depth = 0;
        finish(current);
      } else {
        part(current);
      }
    }
    finish(current);
    if (at_ < t_.size()) ++at_;  // its brace
    begin_ = outer_begin;
  }

  /// Reads one token, or a whole lambda or braced list.
  void part(Expression& current) {
    if (now("co_await")) {
      current.awaits = true;
      ++at_;
    } else if (now("[") && opens_lambda()) {
      lambda(current);
    } else if (now("{")) {
      braces(current);
    } else {
      if (now("?")) conditional(current);
      ++at_;
    }
  }

  // The meaning of a `{` or `[`.

  [[nodiscard]] bool opens_block() const {
    if (at_ == 0) return true;
    const Token& before = t_[at_ - 1];
    if (before.is(")") || before.is(";") || before.is("{") || before.is("}") || before.is("]")) return true;
    if (before.is(":")) return is_one_of(t_[begin_].text, {"case", "default", "public", "private", "protected"});
    const bool type_like = before.is_word() || before.is(">");
    if (!type_like) return before.kind == Token::Kind::text && is(begin_, "extern");
    if (is_one_of(before.text, {"else", "do", "try", "const", "noexcept", "override", "final", "mutable"})) return true;
    if (is_one_of(before.text, {"return", "co_return", "co_await", "co_yield"})) return false;
    return begins_definition() || follows_arrow();
  }
  /// True if the statement so far is the head of a type or a namespace.
  [[nodiscard]] bool begins_definition() const {
    int depth = 0;
    for (std::size_t i = begin_; i < at_; ++i) {
      if (t_[i].is("(") || t_[i].is("<")) ++depth;
      if (t_[i].is(")") || t_[i].is(">")) --depth;
      if (t_[i].is("=") && depth == 0) return false;
      if (depth == 0 && is_one_of(t_[i].text, {"struct", "class", "union", "enum", "namespace", "concept"}))
        return true;
    }
    return false;
  }
  /// `) -> task<> {`
  [[nodiscard]] bool follows_arrow() const {
    const std::size_t type = path_begin(at_);
    return type > 0 && is(type - 1, "->");
  }
  /// Returns where the name before `end` begins: `std::vector<int>`.
  [[nodiscard]] std::size_t path_begin(std::size_t end) const {
    std::size_t i = end;
    while (i > 0) {
      if (t_[i - 1].is(">")) {
        int depth = 0;
        do {
          --i;
          if (t_[i].is(">")) ++depth;
          if (t_[i].is("<")) --depth;
        } while (i > 0 && depth > 0);
      } else if (t_[i - 1].is_word() && (i == end || is(i, "::") || is(i, "<"))) {
        --i;
      } else if (t_[i - 1].is("::")) {
        --i;
      } else {
        break;
      }
    }
    return i;
  }

  [[nodiscard]] bool opens_lambda() const {
    if (is(at_ + 1, "[")) return false;  // an attribute
    if (at_ == 0) return true;
    const Token& before = t_[at_ - 1];
    if (before.is(")") || before.is("]") || before.is("[")) return false;
    if (before.is("&") && at_ >= 2) {
      std::size_t i = at_ - 1;
      while (i > 0 && t_[i].is("&")) --i;
      return !t_[i].is("auto");
    }
    return !before.is_word() || is_one_of(before.text, {"return", "co_return", "co_await", "co_yield", "case"});
  }

  // Lambdas.

  void lambda(Expression& current) {
    const std::size_t opens = at_;
    ++at_;
    std::vector<std::string> by_value;
    while (at_ < t_.size() && !now("]")) {
      const std::size_t begin = at_;
      int depth = 0;
      for (; at_ < t_.size() && (depth > 0 || (!now(",") && !now("]"))); ++at_) {
        if (now("(") || now("{") || now("[")) ++depth;
        if (now(")") || now("}") || now("]")) --depth;
        if (now("co_await")) current.awaits = true;
      }
      if (captures_value(begin, at_)) by_value.emplace_back(t_[begin].text);
      if (now(",")) ++at_;
    }
    if (!by_value.empty()) {
      std::string names;
      for (const std::string& each : by_value) names += (names.empty() ? "" : ", ") + each;
      risk(current, opens,
           "a lambda that captures by value (" + names + ") is a temporary of this co_await; name it first: " +
               "`const auto f = [" + names + "]…;`, then await with `f`");
    }
    if (at_ < t_.size()) ++at_;
    // Its parameters, and all else before its body, belong to no expression.
    int depth = 0;
    for (; at_ < t_.size(); ++at_) {
      if (depth == 0 && (now("{") || now(";") || now(")") || now(","))) break;
      if (now("(") || now("[")) ++depth;
      if (now(")") || now("]")) --depth;
    }
    if (!now("{")) return;
    ++at_;
    block();
  }
  /// True for `x`, `=`, `x = …`, `*this`; not for `&…`, `this`, `p = &x`, `n = 3`.
  [[nodiscard]] bool captures_value(std::size_t begin, std::size_t end) const {
    if (begin == end || t_[begin].is("&") || t_[begin].is("this")) return false;
    if (end - begin > 2 && t_[begin + 1].is("=")) {
      return !t_[begin + 2].is("&") && !(end - begin == 3 && t_[begin + 2].kind == Token::Kind::number);
    }
    return true;
  }

  // Braced lists.

  void braces(Expression& current) {
    const std::size_t opens = at_;
    const bool awaited_before = std::exchange(current.awaits, false);
    ++at_;
    int depth = 0;
    const std::size_t risky_before = current.risky.size();
    for (; at_ < t_.size() && (depth > 0 || !now("}"));) {
      if (now("{")) ++depth;
      if (now("}")) --depth;
      if (now("[") && opens_lambda()) {
        lambda(current);
      } else if (now("co_await")) {
        part(current);
      } else {
        if (now("?")) conditional(current);
        ++at_;
      }
    }
    const std::size_t closes = at_;
    if (at_ < t_.size()) ++at_;
    const bool awaits_inside = current.awaits;
    current.awaits = awaits_inside || awaited_before;
    if (current.risky.size() > risky_before) return;  // reported already
    const std::size_t type = path_begin(opens);
    const bool typed = type < opens;
    const bool declares =
        typed && type > 0 &&
        (t_[type - 1].is_word() || t_[type - 1].is(">") || t_[type - 1].is("&") || t_[type - 1].is("*")) &&
        !is_one_of(t_[type - 1].text, {"return", "co_return", "co_await", "co_yield"});
    const std::size_t said = declares ? path_begin(type) : type;  // the type's name
    if (has_constructors(said)) return;
    const std::string name = typed ? name_of(type, opens) : "";
    if (awaits_inside) {
      risk(current, opens,
           "a co_await stands inside the braces of " + (typed ? "`" + name + "{…}`" : std::string("a list")) +
               "; await first: `auto value = co_await …;`, then list `value`");
    } else if (!declares && !is(opens - 1, "=") && !is_trivial(opens + 1, closes, typed)) {
      risk(current, opens,
           (typed ? "`" + name + "{…}`" : std::string("a list in braces")) +
               " is a temporary of this co_await; name it first: `const " + (typed ? name : "Type") +
               " it{…};`, then pass `it`");
    }
  }
  [[nodiscard]] std::string name_of(std::size_t begin, std::size_t end) const {
    std::string name;
    for (; begin < end && !t_[begin].is("<"); ++begin) name += t_[begin].text;
    return name;
  }
  /// True for types that are known to have constructors, and for numbers.
  [[nodiscard]] bool has_constructors(std::size_t type) const {
    if (is(type, "std") && is(type + 1, "::")) return !is(type + 2, "array");
    return is_one_of(t_[type].text,
                     {"boost", "asio", "auto", "int", "bool", "double", "float", "long", "char", "unsigned"});
  }
  /// True for numbers, enumerators, and Weir's own options.
  [[nodiscard]] bool is_trivial(std::size_t begin, std::size_t end, bool typed) const {
    if (begin == end) return !typed;
    bool designated = false;
    bool only_weirs = true;
    bool only_numbers = true;
    for (std::size_t i = begin; i < end; ++i) {
      const Token& token = t_[i];
      if (token.is(".") && (i == begin || t_[i - 1].is(","))) {
        designated = true;
        if (++i < end) only_weirs = only_weirs && is_option_of_weirs(t_[i].text);
      } else if (token.kind == Token::Kind::text || token.is("(") || token.is("[")) {
        only_numbers = false;
      } else if (token.is_word() && !is_one_of(token.text, {"true", "false", "nullptr"}) && !is(i + 1, "::") &&
                 !(i > begin && t_[i - 1].is("::"))) {
        only_numbers = false;
      }
    }
    return only_numbers || (designated && only_weirs);
  }

  // `c ? a : b`, from the `?` on.

  void conditional(Expression& current) const {
    int depth = 0;
    for (std::size_t i = at_ + 1; i < t_.size(); ++i) {
      if (t_[i].is("(") || t_[i].is("[") || t_[i].is("{")) ++depth;
      if (t_[i].is(")") || t_[i].is("]") || t_[i].is("}")) --depth;
      if (depth < 0 || t_[i].is(";") || (depth == 0 && t_[i].is(","))) return;
      const bool calls = (t_[i].is("(") || t_[i].is("{")) && i > 0 && (t_[i - 1].is_word() || t_[i - 1].is(">"));
      const std::size_t callee = calls ? path_begin(i) : i;
      const bool is_number = calls && is(callee, "std") && is_one_of(t_[callee + 2].text, {"chrono", "min", "max"});
      if ((calls && !is_number) || t_[i].is("co_await")) {
        risk(current, at_,
             "`? :` makes a temporary beside this co_await; use `if`, or name what it gives before it is awaited with");
        return;
      }
    }
  }

  const Tokens& tokens_;
  const std::vector<Token>& t_;
  std::string file_;
  std::size_t at_ = 0;
  std::size_t begin_ = 0;  ///< the beginning of the statement
  std::vector<Finding> found_;
};

}  // namespace

Found check(std::string_view source, const std::string& file) {
  const Tokens tokens = tokens_of(source);
  return {Reader(tokens, file).run(), tokens.includes};
}

}  // namespace weir::awaits
