#pragma once

/// HTTP POST. Only http_post.cpp includes Beast, which is slow to compile.

#include <boost/asio/awaitable.hpp>
#include <cstddef>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace webhooks {

/// The parts of a URL.
struct Target {
  std::string host;  ///< a name or an address, without the brackets of IPv6
  std::string port;
  std::string authority;  ///< host and port as the URL has them: the Host header, and the key of the limit per host
  std::string resource;   ///< path and query
};

/// No POST can be made to this URL. what() says why.
struct BadUrl : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// Throws: BadUrl unless it is http://host[:port][/path][?query].
Target target_of(std::string_view url);

/// True if a header may have this value, as no character in it ends the header early.
bool fits_header(std::string_view value);

struct Header {
  std::string name;
  std::string value;
};

struct Answer {
  unsigned status{};
  std::string retry_after;  ///< the Retry-After header, or empty
};

/// The most bytes of an answer's body that are read.
inline constexpr std::size_t answer_body_most_bytes = 64 * 1024;

/// Makes one POST over a connection of its own, and reads the answer. Once its status is known, it is the answer, even
/// if the rest fails.
///
/// Lifetime: the arguments outlive the task. Check each header by fits_header() first.
/// Throws: boost::system::system_error if it cannot connect, or there is no HTTP answer.
/// Cancellation: terminal; the connection is closed.
boost::asio::awaitable<Answer> post(const Target& target, const std::vector<Header>& headers, std::string_view body);

}  // namespace webhooks
