#pragma once

/// `a() && b()` and `a() || b()` for tasks: awaits both, or the first that succeeds.
///
///     co_await (reserve(order) && charge(order));
///
/// These are Asio's operators (boost/asio/experimental/awaitable_operators.hpp), except for what they throw if both
/// branches end by an exception, as when one fails and the other is cancelled for it. Asio's operators throw
/// multiple_exceptions then, and all but one exception are lost. These throw the strongest decision among the
/// exceptions: a Reject, else a Retry with its time, else a Throttled or Defer. If there is no decision, they throw
/// multiple_exceptions with the first exception, which is the message's reason.

#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/multiple_exceptions.hpp>
#include <exception>
#include <tuple>
#include <utility>
#include <variant>

#include "weir/async/in_line.hpp"
#include "weir/async/task.hpp"
#include "weir/handler/end.hpp"

namespace weir::handler {

/// The exceptions that ended the branches of one expression. Both branches share it. It outlives both.
class BranchEnds {
 public:
  /// Notes the exception that is being handled. Call it only in a catch block.
  void note() {
    if (!first_) first_ = std::current_exception();
    try {
      throw;
    } catch (const EndedBy& ended) {
      decided(rank(ended.end().outcome()));
    } catch (const StillInLine&) {
      decided(rank(Outcome::defer));
    } catch (...) {
    }
  }
  /// Throws the strongest decision, or multiple_exceptions if there is none.
  [[noreturn]] void throw_strongest() const {
    if (decided_) std::rethrow_exception(decided_);
    throw asio::multiple_exceptions(first_);
  }

 private:
  void decided(int rank) {
    if (rank <= decided_rank_) return;
    decided_rank_ = rank;
    decided_ = std::current_exception();
  }
  static int rank(Outcome outcome) {
    switch (outcome) {
      case Outcome::reject:
        return 4;
      case Outcome::retry:
        return 3;
      case Outcome::throttled:
        return 2;
      default:
        return 1;
    }
  }

  std::exception_ptr first_;
  std::exception_ptr decided_;
  int decided_rank_ = 0;
};

template <class T>
task<T> branch(task<T> work, BranchEnds& ends) {
  try {
    co_return co_await std::move(work);
  } catch (...) {
    ends.note();
    throw;
  }
}

/// `join` is Asio's operator.
template <class T, class U, class Join>
auto branches(task<T> a, task<U> b, Join join) -> decltype(join(std::move(a), std::move(b))) {
  BranchEnds ends;
  try {
    auto joined = join(branch(std::move(a), ends), branch(std::move(b), ends));
    co_return co_await std::move(joined);
  } catch (const asio::multiple_exceptions&) {
    ends.throw_strongest();
  }
}

inline constexpr auto join_both = [](auto a, auto b) {
  return asio::experimental::awaitable_operators::operator&&(std::move(a), std::move(b));
};
inline constexpr auto join_either = [](auto a, auto b) {
  return asio::experimental::awaitable_operators::operator||(std::move(a), std::move(b));
};

}  // namespace weir::handler

// These stand in the namespace of awaitable, so that the lookup by arguments finds them. Each is more special than one
// of Asio's operators, so that it is preferred to that one.
namespace boost::asio {

inline auto operator&&(awaitable<void> a, awaitable<void> b) {
  return weir::handler::branches(std::move(a), std::move(b), weir::handler::join_both);
}
template <class U>
auto operator&&(awaitable<void> a, awaitable<U> b) {
  return weir::handler::branches(std::move(a), std::move(b), weir::handler::join_both);
}
template <class T>
auto operator&&(awaitable<T> a, awaitable<void> b) {
  return weir::handler::branches(std::move(a), std::move(b), weir::handler::join_both);
}
template <class T, class U>
auto operator&&(awaitable<T> a, awaitable<U> b) {
  return weir::handler::branches(std::move(a), std::move(b), weir::handler::join_both);
}
template <class... T, class U>
auto operator&&(awaitable<std::tuple<T...>> a, awaitable<U> b) {
  return weir::handler::branches(std::move(a), std::move(b), weir::handler::join_both);
}

inline auto operator||(awaitable<void> a, awaitable<void> b) {
  return weir::handler::branches(std::move(a), std::move(b), weir::handler::join_either);
}
template <class U>
auto operator||(awaitable<void> a, awaitable<U> b) {
  return weir::handler::branches(std::move(a), std::move(b), weir::handler::join_either);
}
template <class T>
auto operator||(awaitable<T> a, awaitable<void> b) {
  return weir::handler::branches(std::move(a), std::move(b), weir::handler::join_either);
}
template <class T, class U>
auto operator||(awaitable<T> a, awaitable<U> b) {
  return weir::handler::branches(std::move(a), std::move(b), weir::handler::join_either);
}
template <class... T>
auto operator||(awaitable<std::variant<T...>> a, awaitable<void> b) {
  return weir::handler::branches(std::move(a), std::move(b), weir::handler::join_either);
}
template <class... T, class U>
auto operator||(awaitable<std::variant<T...>> a, awaitable<U> b) {
  return weir::handler::branches(std::move(a), std::move(b), weir::handler::join_either);
}

}  // namespace boost::asio
