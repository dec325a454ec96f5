#pragma once

/// Errors that the world causes: exceptions under weir::Error, worded for the person who reads them.

#include <stdexcept>
#include <string>

namespace weir {

struct Error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// The engine refuses for good; trying again will not help.
struct Refused : Error {
  using Error::Error;
};
/// The engine has no such queue.
struct UnknownQueue : Error {
  using Error::Error;
};
/// A message, or a message with its outputs, is larger than the limit.
struct TooLarge : Error {
  using Error::Error;
};
/// The engine lacks a feature that was asked for; its capability table says so.
struct Unsupported : Error {
  using Error::Error;
};
/// A handler has decided how its message ends, and no code on the way tries again: Reject, Retry and their like.
struct Decided : Error {
  using Error::Error;
};

}  // namespace weir
