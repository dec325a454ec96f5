/// Measures this machine: publisher, broker and worker, each a process of its own.

#include <arpa/inet.h>
#include <linux/magic.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <boost/json.hpp>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <thread>

#include "ask.hpp"
#include "bench_message.hpp"
#include "commands.hpp"
#include "spawn.hpp"
#include "table.hpp"

namespace weir::cli {
namespace {

using namespace std::chrono_literals;
constexpr auto start_within = 30s;
/// A run with fewer than 1,000 messages per second counts as stuck.
std::chrono::seconds run_within(const BenchOptions& options) {
  const double paced = options.rate > 0 ? static_cast<double>(options.messages) / options.rate : 0;
  return 60s + std::chrono::seconds(options.messages / 1000) + std::chrono::seconds(std::llround(paced));
}

/// A folder of its own for the store and the deployment file. It is removed at the end.
class Folder {
 public:
  explicit Folder(const std::optional<std::string>& parent) {
    std::string name =
        ((parent ? std::filesystem::path(*parent) : std::filesystem::temp_directory_path()) / "weir-bench-XXXXXX")
            .string();
    if (mkdtemp(name.data()) == nullptr) throw Error("cannot make " + name + ": " + std::strerror(errno));
    path_ = name;
  }
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }
  [[nodiscard]] bool is_in_memory() const {
    struct statfs found {};
    return statfs(path_.c_str(), &found) == 0 && found.f_type == TMPFS_MAGIC;
  }

 private:
  std::filesystem::path path_;
};

std::uint16_t free_port() {
  const int probe = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  const bool got = bind(probe, reinterpret_cast<sockaddr*>(&address), size) == 0 &&
                   getsockname(probe, reinterpret_cast<sockaddr*>(&address), &size) == 0;
  close(probe);
  if (!got) throw Error(std::string("no free port: ") + std::strerror(errno));
  return ntohs(address.sin_port);
}

double megabytes(std::uint64_t bytes) { return std::round(static_cast<double>(bytes) / 1e5) / 10; }
double rounded(double seconds) { return std::round(seconds * 1000) / 1000; }

/// Counts the blocks on disk, as the store's file is sparse.
std::uint64_t disk_of(const std::filesystem::path& folder) {
  std::uint64_t bytes = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    struct stat status {};
    if (lstat(entry.path().c_str(), &status) == 0) bytes += static_cast<std::uint64_t>(status.st_blocks) * 512;
  }
  return bytes;
}

/// Prints 1.5 as 1.5, not as Boost.JSON's 1.5E0, as people read these lines too.
std::string line_of(const boost::json::object& object) {
  std::string text;
  for (const auto& [name, value] : object) {
    text += (text.empty() ? "{\"" : ", \"") + std::string(name) + "\": ";
    if (const double* number = value.if_double()) {
      char digits[32];
      std::snprintf(digits, sizeof digits, "%.12g", *number);
      text += digits;
    } else {
      text += boost::json::serialize(value);
    }
  }
  return text + "}";
}

class Bench {
 public:
  Bench(const BenchOptions& options, const LogOptions& log)
      : options_(options),
        log_(log),
        folder_(options.data),
        engine_("weir://127.0.0.1:" + std::to_string(free_port())) {
    const std::filesystem::path file = folder_.path() / "bench.yaml";
    std::ofstream out(file);
    out << "engine: " << engine_ << "\nbroker: { data: ./data, durability: " << options.durability << " }\nqueues:\n";
    for (const auto& name : bench_queues(options.queues))
      out << "  " << name << ": { ahead: " << (options.ahead ? "true" : "false") << " }\n";
    out.close();
    broker_.emplace("broker", with_log({"broker", file.string()}));
    await_broker();
  }

  int run() {
    const double cpu_before = broker_->cpu_seconds();
    const bool backlog = options_.workload == "backlog";
    if (!backlog) start_worker();
    Child publisher("publisher", part("bench-publish"));
    const boost::json::object published = parsed(publisher);
    boost::json::object more;
    if (backlog) {
      more["backlog_rss_mb"] = megabytes(broker_->memory("VmRSS"));
      more["backlog_rss_anon_mb"] = megabytes(broker_->memory("RssAnon"));
      more["backlog_disk_mb"] = megabytes(disk_of(folder_.path()));
      start_worker();
    }
    const boost::json::object worked = parsed(*worker_);

    const auto number = [](const boost::json::object& object, const char* name) {
      return object.at(name).to_number<std::uint64_t>();
    };
    const auto per_second = [&](std::uint64_t from, std::uint64_t to) {
      return std::round(static_cast<double>(options_.messages) * 1e9 /
                        static_cast<double>(std::max(to, from + 1) - from));
    };
    const double cpu = broker_->cpu_seconds() - cpu_before + publisher.cpu_seconds() + worker_->cpu_seconds();
    const std::uint64_t last = number(worked, "last_ns");
    const std::uint64_t first = number(backlog ? worked : published, "first_ns");
    const std::uint64_t duplicates = number(worked, "duplicates");
    boost::json::object line{
        {"peer", "weir"},
        {"workload", options_.workload},
        {"durability", options_.durability == "none" ? "memory" : options_.durability},
        {"messages", options_.messages},
        {"msgs_per_s", per_second(first, last)},
        {"p50_ms", options_.rate > 0 ? worked.at("p50_ms") : boost::json::value()},
        {"p99_ms", options_.rate > 0 ? worked.at("p99_ms") : boost::json::value()},
        {"broker_rss_mb", megabytes(broker_->memory("VmHWM"))},
        {"broker_rss_anon_mb", megabytes(broker_->memory("RssAnon"))},
        {"cpu_s", rounded(cpu)},
        {"worker_rss_mb", megabytes(worker_->memory("VmHWM"))},
        {"publish_msgs_per_s", per_second(number(published, "first_ns"), number(published, "last_ns"))},
        {"concurrency", worked.at("concurrency")},
        {"size", options_.size},
        {"shards", options_.shards},
        {"queues", options_.queues},
        {"in_a_row", options_.in_a_row},
        {"retry_percent", options_.retry_percent},
        {"retry_ms", options_.retry_ms},
        {"ahead", options_.ahead}};
    for (auto& [name, value] : more) line[name] = value;
    if (duplicates > 0) line["duplicates"] = duplicates;
    publisher.finish();
    worker_->finish();
    broker_->terminate();
    std::cout << line_of(line) << std::endl;
    say(line, static_cast<double>(last - first) / 1e9);
    if (number(worked, "distinct") != options_.messages) {
      throw Error(grouped(options_.messages - number(worked, "distinct")) + " messages are missing");
    }
    return done;
  }

 private:
  [[nodiscard]] std::vector<std::string> with_log(std::vector<std::string> words) const {
    LogOptions log = log_;
    // A broker's log of its start and stop is no part of a result.
    if (log.level == "info") log.level = "warn";
    std::vector<std::string> all = log.arguments();
    all.insert(all.end(), words.begin(), words.end());
    return all;
  }
  [[nodiscard]] std::vector<std::string> part(const std::string& name) const {
    std::vector<std::string> words{name,
                                   "--engine",
                                   engine_,
                                   "--messages",
                                   std::to_string(options_.messages),
                                   "--size",
                                   std::to_string(options_.size),
                                   "--window",
                                   std::to_string(options_.window),
                                   "--shards",
                                   std::to_string(options_.shards),
                                   "--rate",
                                   std::to_string(options_.rate),
                                   "--handler-ms",
                                   std::to_string(options_.handler_ms),
                                   "--queues",
                                   std::to_string(options_.queues),
                                   "--in-a-row",
                                   std::to_string(options_.in_a_row),
                                   "--retry-percent",
                                   std::to_string(options_.retry_percent),
                                   "--retry-ms",
                                   std::to_string(options_.retry_ms)};
    if (options_.rate > 0) words.emplace_back("--timed");
    if (options_.concurrency) words.insert(words.end(), {"--concurrency", std::to_string(*options_.concurrency)});
    return with_log(words);
  }

  void await_broker() {
    const auto end = std::chrono::steady_clock::now() + start_within;
    while (true) {
      if (!broker_->running()) throw Error("the broker did not start; its log says why");
      try {
        v1::ControlRequest request;
        request.mutable_list_queues();
        (void)ask(engine_, std::move(request));
        return;
      } catch (const Error&) {
        if (std::chrono::steady_clock::now() > end) throw;
      }
    }
  }

  void start_worker() {
    worker_.emplace("worker", part("bench-work"));
    if (worker_->line(start_within) != "ready") throw Error("the worker did not start");
  }

  [[nodiscard]] boost::json::object parsed(Child& child) const {
    return boost::json::parse(child.line(run_within(options_))).as_object();
  }

  void say(const boost::json::object& line, double seconds) const {
    const auto rate = [&](const char* name) {
      return grouped(static_cast<std::uint64_t>(line.at(name).to_number<double>()));
    };
    char time[32];
    std::snprintf(time, sizeof time, "%.2f", seconds);
    char latency[64] = "";
    if (options_.rate > 0) {
      std::snprintf(latency, sizeof latency, ", from publish to handler p50 %.2f ms, p99 %.2f ms",
                    line.at("p50_ms").to_number<double>(), line.at("p99_ms").to_number<double>());
    }
    std::cerr << options_.workload << ": " << grouped(options_.messages) << " messages of " << options_.size << " B in "
              << time << " s: " << rate("msgs_per_s") << " msg/s (publish " << rate("publish_msgs_per_s") << " msg/s)"
              << latency << ", CPU " << line.at("cpu_s").to_number<double>() << " s, broker "
              << line.at("broker_rss_anon_mb").to_number<double>() << " MB anonymous\n";
    if (options_.durability == "fsync" && folder_.is_in_memory()) {
      std::cerr
          << "weir: its store was in memory (tmpfs), where a sync costs nothing; --data names a folder on a disk\n";
    }
  }

  const BenchOptions& options_;
  const LogOptions& log_;
  Folder folder_;
  std::string engine_;
  std::optional<Child> broker_;
  std::optional<Child> worker_;
};

}  // namespace

int bench(const BenchOptions& options, const LogOptions& log) {
  unwind_on_signals();
  BenchOptions complete = options;
  if (complete.messages == 0) complete.messages = static_cast<std::uint64_t>(std::ceil(10 * complete.rate));
  return Bench(complete, log).run();
}

}  // namespace weir::cli
