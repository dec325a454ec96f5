#pragma once

#include "weir/broker/store/lmdb_store.hpp"

namespace weir::broker {

/// Reads all that core::Recovered holds, except the incarnation and what LmdbStore::identify() fills in. Throws:
/// StoreError if what is stored does not parse.
void read_all(MDB_txn* txn, const Databases& databases, core::Recovered& out);

}  // namespace weir::broker
