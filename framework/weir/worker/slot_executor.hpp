#pragma once

/// An executor that records whose code runs.
///
/// Each slot's coroutine is spawned on one of these, so every resumption after an Asio operation passes here, also in
/// nested coroutines. So the handler on the CPU is known at every instant, at no measurable cost. No exception of code
/// that runs here leaves the loop.

#include <boost/asio/execution.hpp>
#include <boost/asio/prefer.hpp>
#include <boost/asio/query.hpp>
#include <boost/asio/require.hpp>
#include <type_traits>
#include <utility>

namespace weir::worker {

/// `Owner` has mark(), which is called where a function is submitted, on any thread, and run(mark, function), which
/// runs it and throws nothing.
template <class Owner, class Inner>
class SlotExecutor {
 public:
  SlotExecutor(Owner* owner, Inner inner) : owner_(owner), inner_(std::move(inner)) {}

  template <class Function>
  void execute(Function&& function) const {
    inner_.execute(Entered<std::decay_t<Function>>{owner_, owner_->mark(), std::forward<Function>(function)});
  }

  // The loop's own executor answers queries. A required property gives that executor's, wrapped again.
  template <class Property>
  requires(boost::asio::can_query_v<const Inner&, Property>) auto query(const Property& property) const ->
      typename boost::asio::query_result<const Inner&, Property>::type {
    return boost::asio::query(inner_, property);
  }
  template <class Property>
  requires(boost::asio::can_require_v<const Inner&, Property>) auto require(const Property& property) const {
    using Required = std::decay_t<typename boost::asio::require_result<const Inner&, Property>::type>;
    return SlotExecutor<Owner, Required>(owner_, boost::asio::require(inner_, property));
  }
  template <class Property>
  requires(boost::asio::can_prefer_v<const Inner&, Property>) auto prefer(const Property& property) const {
    using Preferred = std::decay_t<typename boost::asio::prefer_result<const Inner&, Property>::type>;
    return SlotExecutor<Owner, Preferred>(owner_, boost::asio::prefer(inner_, property));
  }

  friend bool operator==(const SlotExecutor& a, const SlotExecutor& b) noexcept {
    return a.owner_ == b.owner_ && a.inner_ == b.inner_;
  }
  friend bool operator!=(const SlotExecutor& a, const SlotExecutor& b) noexcept { return !(a == b); }

 private:
  template <class Function>
  struct Entered {
    Owner* owner;
    decltype(std::declval<Owner>().mark()) mark;
    Function function;
    void operator()() { owner->run(mark, function); }
  };

  Owner* owner_;
  Inner inner_;
};

}  // namespace weir::worker
