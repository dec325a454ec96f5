#pragma once

/// The commands, one file each. Each returns its exit code. main.cpp reports an exception, with exit code 1.

#include "command_table.hpp"
#include "options.hpp"
#include "weir/message/error.hpp"

namespace weir::cli {

/// The command line makes no sense: exit code 2.
struct UsageError : Error {
  using Error::Error;
};

int up(const FileOptions& options, const LogOptions& log);
int broker(const FileOptions& options);
int worker(const WorkerOptions& options, const LogOptions& log);
int worker_child(const InternalOptions& options);
int worker_report(const InternalOptions& options);
int worker_rehearsal(const InternalOptions& options);
int check(const CheckOptions& options);
int check_store(const CheckStoreOptions& options);
int compact(const CompactOptions& options);
int publish(const PublishOptions& options);
int queues(const ListOptions& options);
int workers(const ListOptions& options);
int top(const TopOptions& options);
int dead_list(const DeadListOptions& options);
int dead_show(const DeadShowOptions& options);
int dead_replay(const DeadChangeOptions& options);
int dead_purge(const DeadChangeOptions& options);
int bench(const BenchOptions& options, const LogOptions& log);
int bench_publish(const BenchPartOptions& options);
int bench_work(const BenchPartOptions& options);
int completion(const CompletionOptions& options, const CommandInfo& root);
int man(const ManOptions& options, const CommandInfo& root);
int version();

}  // namespace weir::cli
