#include <filesystem>
#include <iostream>

#include "commands.hpp"
#include "table.hpp"
#include "weir/broker/store/compact_store.hpp"
#include "weir/broker/store/store_error.hpp"

namespace weir::cli {

int compact(const CompactOptions& options) {
  try {
    const broker::Compacted sizes = broker::compact_store(options.folder);
    std::cout << options.folder << ": data.mdb was " << size_of(sizes.before.value) << ", and is "
              << size_of(sizes.after.value) << "\n";
  } catch (const broker::StoreError& error) {
    throw Error(error.what());
  } catch (const std::filesystem::filesystem_error& error) {
    throw Error(std::string(error.what()) + "; nothing was changed");
  }
  return done;
}

}  // namespace weir::cli
