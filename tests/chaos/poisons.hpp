#pragma once

/// Ways in which a handler can end its process, or fail in words that are none.

#include <boost/asio/any_io_executor.hpp>
#include <chrono>
#include <string>
#include <weir/handler.hpp>

namespace poison {

/// Does what `kind` says, at once, on the calling thread. Other kinds are let be.
void take(const std::string& kind);
/// Does what `kind` says with the loop's help, and may leave something behind. `loop`: Plugin::executor().
weir::task<> leave_behind(const std::string& kind, const boost::asio::any_io_executor& loop);
/// offload has two threads at least. Behind two that loop for ever a third would wait in vain, and time out.
void wait_for_a_thread();
/// The plugin's own: a thread of it aborts `after` so long, whatever is handled meanwhile, if the file `while_there` is
/// there then.
void crash_of_its_own(const std::string& while_there, std::chrono::milliseconds after);

}  // namespace poison
