#pragma once

/// What the store is given to write while it is killed: batches of every kind of Write, made from (seed, number, what
/// is stored), so that whoever knows the seed knows them; and all that a store holds, as text that compares.

#include <cstdint>
#include <map>
#include <string>

#include "weir/broker/core/store.hpp"
#include "weir/engine/memory/memory_store.hpp"

namespace weir::chaos {

namespace core = broker::core;
/// The model: plain maps, which obey as the LMDB store does.
using Model = engine::memory::MemoryStore;

/// Batch `number` (from 1) of `seed`, for a store that holds what `before` does. Its writes are such as the core makes:
/// what is moved is there, and the bit of what left its segment is set.
[[nodiscard]] core::Batch batch_of(std::uint64_t seed, std::uint64_t number, Model before);

/// Everything that `store` holds, read as a start reads it and then all of its payloads: what, by name. `recovered` is
/// what its start found.
using Contents = std::map<std::string, std::string>;
[[nodiscard]] Contents contents_of(core::Store& store, const core::Recovered& recovered);
[[nodiscard]] Contents contents_of(Model model);

/// The first few entries that differ, for people; empty if none does.
[[nodiscard]] std::string difference(const Contents& expected, const Contents& found);

}  // namespace weir::chaos
