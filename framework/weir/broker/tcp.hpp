#pragma once

/// What the kernel knows of a TCP connection, no matter which code owns its descriptor.

#include <cstdint>
#include <optional>
#include <string>

namespace weir::broker {

/// Bytes since the connection began.
struct TcpLook {
  std::uint64_t received{};  ///< from the peer, read by this process or not
  std::uint64_t acked{};     ///< by the peer's kernel, of what was sent to it
  bool queued = false;       ///< something was sent that is not acked yet
};

/// The kernel, or a test's stand-in.
class Tcp {
 public:
  virtual ~Tcp() = default;
  /// `127.0.0.1:45678`, which tells connections apart that have the same descriptor one after the other; empty if it is
  /// no TCP connection, or none any more.
  [[nodiscard]] virtual std::string peer_of(int descriptor) = 0;
  [[nodiscard]] virtual std::optional<TcpLook> look(int descriptor) = 0;
  /// Bytes that were received, and that this process has not read yet.
  [[nodiscard]] virtual std::uint64_t unread(int descriptor) = 0;
  /// Ends the connection in both directions, if it still is the one to `peer`. The descriptor's owner reads the end,
  /// and closes it.
  virtual void shut(int descriptor, const std::string& peer) = 0;
};

/// One or two system calls per call; Linux 4.6 or later.
class KernelTcp final : public Tcp {
 public:
  [[nodiscard]] std::string peer_of(int descriptor) override;
  [[nodiscard]] std::optional<TcpLook> look(int descriptor) override;
  [[nodiscard]] std::uint64_t unread(int descriptor) override;
  void shut(int descriptor, const std::string& peer) override;
};

/// How many descriptors this process may have open.
[[nodiscard]] std::size_t descriptors_most();

}  // namespace weir::broker
