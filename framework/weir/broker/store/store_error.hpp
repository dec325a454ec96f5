#pragma once

/// What may be wrong with a data folder, in words for its operator.

#include "weir/message/error.hpp"

namespace weir::broker {

/// The data folder cannot be used; the words say why and what to do.
struct StoreError : Error {
  using Error::Error;
};
/// No room for this commit, the reserve included. Nothing of it was written; the same commit may be tried again later.
struct StoreFull : StoreError {
  using StoreError::StoreError;
};
/// The disk failed, or what it holds makes no sense. Nothing may be confirmed any more: the process ends, and a restart
/// goes on from the last commit. (After a failed fsync the kernel may have dropped the pages and report success next.)
struct StoreBroken : StoreError {
  using StoreError::StoreError;
};

}  // namespace weir::broker
