#pragma once

/// What a queue does with its messages. Plain values, as the deployment file states them.

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include "weir/message/units.hpp"

namespace weir {

/// Pause before attempt n + 1: first × factor^(n - 1), at most `most`, plus up to `jitter` of itself. Jitter only adds.
struct Backoff {
  Duration first = std::chrono::seconds(1);
  double factor = 2;
  Duration most = std::chrono::minutes(5);
  double jitter = 0.2;
  friend bool operator==(const Backoff&, const Backoff&) = default;
};

/// The pause after `attempts` failed attempts (from 1). `random` is uniform in [0, 1).
[[nodiscard]] Duration pause_after(const Backoff& backoff, std::uint32_t attempts, double random);

/// What happens to publishes when a queue is full: wait for credit, or be answered `refused`.
enum class OnFull { wait, refuse };
/// What happens when a queue's dead letters are full: publishes are refused, or the oldest dead letter is dropped.
enum class OnDeadFull { refuse, oldest };

struct QueueLimit {
  std::optional<Messages> messages;
  std::optional<Bytes> bytes;
  OnFull on_full = OnFull::wait;
  friend bool operator==(const QueueLimit&, const QueueLimit&) = default;
};

struct DeadPolicy {
  std::optional<Duration> keep;
  std::optional<Messages> most;
  OnDeadFull on_full = OnDeadFull::refuse;
  friend bool operator==(const DeadPolicy&, const DeadPolicy&) = default;
};

struct QueuePolicy {
  std::uint32_t attempts = 5;
  Backoff backoff;
  QueueLimit most;
  DeadPolicy dead;
  /// How long a message of a type that no attached worker knows waits before it is a dead letter.
  Duration unknown_grace = std::chrono::hours(1);
  /// Messages may be delivered before their publish is on disk (broker/core/ahead.cpp).
  bool ahead = true;
  friend bool operator==(const QueuePolicy&, const QueuePolicy&) = default;
};

}  // namespace weir
