#include "http_post.hpp"

#include <algorithm>
#include <array>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http.hpp>
#include <boost/url/parse.hpp>
#include <charconv>
#include <chrono>
#include <cstdint>

#include "answer_head.hpp"

namespace webhooks {
namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;

/// The time for all that follows the status line.
constexpr auto rest_within = std::chrono::seconds(1);

Target target_of(std::string_view url) {
  const auto parsed = boost::urls::parse_uri(boost::core::string_view(url.data(), url.size()));
  if (parsed.has_error()) throw BadUrl("bad url: " + parsed.error().message());
  const boost::urls::url_view& view = *parsed;
  if (view.scheme() == "https") throw BadUrl("bad url: https is not in this version; use http");
  if (view.scheme() != "http") throw BadUrl("bad url: not http");
  if (view.has_userinfo()) throw BadUrl("bad url: user and password are not in this version");
  if (view.encoded_host().empty()) throw BadUrl("bad url: no host");

  // Boost.URL 1.81 reads http://host:name/ as a path `name/` behind an empty port, and lets 99999 be a port.
  const bool path_is_none = !view.encoded_path().empty() && view.encoded_path().front() != '/';
  const std::string port = view.has_port() && !view.port().empty() ? std::string(view.port()) : "80";
  std::uint16_t number{};
  const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), number);
  if (path_is_none || error != std::errc{} || *end != '\0' || number == 0) throw BadUrl("bad url: bad port");

  Target target;
  target.host = view.host_address();
  target.port = port;
  target.authority = std::string(view.encoded_host_and_port());
  target.resource = std::string(view.encoded_path());
  if (!target.resource.starts_with('/')) target.resource.insert(0, "/");
  if (view.has_query()) target.resource.append("?").append(view.encoded_query());
  return target;
}

bool fits_header(std::string_view value) {
  return std::none_of(value.begin(), value.end(),
                      [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; });
}

asio::awaitable<Answer> post(const Target& target, const std::vector<Header>& headers, std::string_view body) {
  const auto loop = co_await asio::this_coro::executor;
  asio::ip::tcp::resolver resolver(loop);
  const auto addresses = co_await resolver.async_resolve(target.host, target.port, asio::use_awaitable);
  beast::tcp_stream stream(loop);
  co_await stream.async_connect(addresses, asio::use_awaitable);

  constexpr int http_1_1 = 11;
  http::request<http::span_body<const char>> request(http::verb::post, target.resource, http_1_1);
  request.set(http::field::host, target.authority);
  request.set(http::field::user_agent, "weir-webhooks");
  request.set(http::field::connection, "close");
  for (const Header& header : headers) request.set(header.name, header.value);
  request.body() = beast::span<const char>(body.data(), body.size());
  request.prepare_payload();
  co_await http::async_write(stream, request, asio::use_awaitable);

  AnswerHead head;
  std::array<char, 4096> bytes;
  boost::system::error_code ended;
  while (!head.complete() && !ended) {
    const std::size_t count =
        co_await stream.async_read_some(asio::buffer(bytes), asio::redirect_error(asio::use_awaitable, ended));
    const bool was_known = head.status() != 0;
    head.take({bytes.data(), count});
    if (!was_known && head.status() != 0) stream.expires_after(rest_within);
  }
  if (ended == asio::error::eof) ended = http::error::end_of_stream;
  if (head.status() == 0) throw boost::system::system_error(ended);
  // The body is read only so that the subscriber's write does not fail. A subscriber that would keep the connection
  // hears that it is closed.
  boost::system::error_code ignored;
  stream.socket().shutdown(asio::ip::tcp::socket::shutdown_send, ignored);
  for (std::size_t read = 0; !ended && read < answer_body_most_bytes;) {
    read += co_await stream.async_read_some(asio::buffer(bytes), asio::redirect_error(asio::use_awaitable, ended));
  }
  co_return Answer{head.status(), head.retry_after()};
}

}  // namespace webhooks
