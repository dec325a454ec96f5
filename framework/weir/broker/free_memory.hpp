#pragma once

/// Gives memory back to the system after a spike.
///
/// tcmalloc keeps memory that was freed: after a spike of 1.2 GB the broker kept it for minutes. Giving it back holds a
/// lock that the loop's allocations may need, for as long as the kernel takes to unmap it (50 ms per GB). So a thread
/// of its own does it, 16 MiB at a time, and only if much has been free for a while: a broker at work would get it all
/// back from the kernel, page by page.
///
/// If another malloc is linked, this does nothing.

#include <condition_variable>
#include <mutex>
#include <thread>

namespace weir::broker {

class FreeMemory {
 public:
  FreeMemory();
  /// Waits for the slice under way.
  ~FreeMemory();
  FreeMemory(const FreeMemory&) = delete;
  FreeMemory& operator=(const FreeMemory&) = delete;

 private:
  void run();
  /// False: the thread must end.
  bool rest();
  void give_back();

  std::mutex mutex_;
  std::condition_variable wake_;
  bool stopping_ = false;
  std::thread thread_;  // last
};

}  // namespace weir::broker
