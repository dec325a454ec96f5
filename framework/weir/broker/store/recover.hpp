#pragma once

#include "weir/broker/store/lmdb_store.hpp"

namespace weir::broker {

/// Everything that core::Recovered holds but the incarnation. Throws: StoreError if what is stored does not parse.
void read_all(MDB_txn* txn, const Databases& databases, core::Recovered& out);

}  // namespace weir::broker
