#include "weir/broker/address.hpp"

#include <arpa/inet.h>

#include <charconv>

#include "weir/message/error.hpp"

namespace weir::broker {

Address parse_listen(const std::string& listen) {
  const auto colon = listen.rfind(':');
  Address address;
  const char* end = listen.data() + listen.size();
  const auto port = colon == std::string::npos ? std::from_chars_result{end, std::errc::invalid_argument}
                                               : std::from_chars(listen.data() + colon + 1, end, address.port);
  if (port.ec != std::errc{} || port.ptr != end || colon == 0) {
    throw Error("broker.listen '" + listen + "' is not HOST:PORT, such as 127.0.0.1:7733");
  }
  address.host = listen.substr(0, colon);
  if (address.host == "localhost") address.host = "127.0.0.1";
  in_addr ip{};
  const bool is_ipv4 = ::inet_pton(AF_INET, address.host.c_str(), &ip) == 1;
  if (!is_ipv4 && address.host == "[::1]") {
    throw Error("broker.listen '" + listen + "': this version listens on IPv4; listen on 127.0.0.1");
  }
  if (!is_ipv4 || (ntohl(ip.s_addr) >> 24) != 127) {
    throw Error("broker.listen '" + listen +
                "' is not loopback: that needs keys, which this version does not have; listen on 127.0.0.1");
  }
  return address;
}

}  // namespace weir::broker
