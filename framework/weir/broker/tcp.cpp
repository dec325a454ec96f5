#include "weir/broker/tcp.hpp"

#include <arpa/inet.h>
#include <linux/tcp.h>  // glibc's own tcp_info ends before the counts of bytes
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstddef>

namespace weir::broker {

std::string KernelTcp::peer_of(int descriptor) {
  sockaddr_in address{};
  socklen_t size = sizeof address;
  if (::getpeername(descriptor, reinterpret_cast<sockaddr*>(&address), &size) != 0 || address.sin_family != AF_INET) {
    return {};
  }
  char text[INET_ADDRSTRLEN]{};
  if (::inet_ntop(AF_INET, &address.sin_addr, text, sizeof text) == nullptr) return {};
  return std::string(text) + ":" + std::to_string(ntohs(address.sin_port));
}

std::optional<TcpLook> KernelTcp::look(int descriptor) {
  tcp_info info{};
  socklen_t size = sizeof info;
  if (::getsockopt(descriptor, IPPROTO_TCP, TCP_INFO, &info, &size) != 0) return {};
  if (size < offsetof(tcp_info, tcpi_notsent_bytes) + sizeof info.tcpi_notsent_bytes) return {};
  return TcpLook{.received = info.tcpi_bytes_received,
                 .acked = info.tcpi_bytes_acked,
                 .queued = info.tcpi_unacked > 0 || info.tcpi_notsent_bytes > 0};
}

std::uint64_t KernelTcp::unread(int descriptor) {
  int bytes = 0;
  return ::ioctl(descriptor, FIONREAD, &bytes) == 0 && bytes > 0 ? static_cast<std::uint64_t>(bytes) : 0;
}

void KernelTcp::shut(int descriptor, const std::string& peer) {
  if (peer_of(descriptor) == peer) ::shutdown(descriptor, SHUT_RDWR);
}

std::size_t descriptors_most() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return 1024;
  return std::min<rlim_t>(limit.rlim_cur, 1ULL << 30U);
}

}  // namespace weir::broker
