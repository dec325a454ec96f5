#pragma once

/// HTTP POST. Only http_post.cpp includes Beast: it takes its time to compile.

#include <boost/asio/awaitable.hpp>
#include <cstddef>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace webhooks {

/// Where a URL leads.
struct Target {
  std::string host;  ///< a name or an address, without the brackets of IPv6
  std::string port;
  std::string authority;  ///< host and port as the URL has them: the Host header, and whose limit it counts against
  std::string resource;   ///< path and query
};

/// No POST will ever be made to this URL; what() says why.
struct BadUrl : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// Throws: BadUrl unless it is http://host[:port][/path][?query].
Target target_of(std::string_view url);

/// True if a header may have this value: nothing in it ends the header early.
bool fits_header(std::string_view value);

struct Header {
  std::string name;
  std::string value;
};

struct Answer {
  unsigned status{};
  std::string retry_after;  ///< the header of that name, or empty
};

/// Of an answer's body no more is read.
inline constexpr std::size_t answer_body_most_bytes = 64 * 1024;

/// Makes one POST over a connection of its own, and reads the answer. Once its status is known, it is the answer,
/// whatever becomes of the rest.
///
/// Lifetime: the arguments outlive the task. Each header has been asked fits_header().
/// Throws: boost::system::system_error if it cannot connect, or there is no HTTP answer.
/// Cancellation: terminal; the connection is closed.
boost::asio::awaitable<Answer> post(const Target& target, const std::vector<Header>& headers, std::string_view body);

}  // namespace webhooks
