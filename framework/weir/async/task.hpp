#pragma once

/// weir::task: the coroutine type of Weir. It is Asio's, so handlers can await anything of that ecosystem.

#include <boost/asio/awaitable.hpp>

namespace weir {

namespace asio = boost::asio;

template <class T = void>
using task = asio::awaitable<T>;

}  // namespace weir
