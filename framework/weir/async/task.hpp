#pragma once

/// weir::task: the coroutine type of Weir. It is Asio's awaitable, so handlers can await any operation of Asio.

#include <boost/asio/awaitable.hpp>

namespace weir {

namespace asio = boost::asio;

template <class T = void>
using task = asio::awaitable<T>;

}  // namespace weir
