#include <algorithm>
#include <tuple>

#include "ask.hpp"
#include "choice.hpp"
#include "commands.hpp"
#include "json.hpp"
#include "table.hpp"

namespace weir::cli {
namespace {

using Worker = v1::Workers::Worker;

boost::json::object json_of(const Worker& worker) {
  boost::json::array queues;
  for (const std::string& queue : worker.queues()) queues.emplace_back(queue);
  return {{"group", worker.group()},
          {"host", worker.host()},
          {"pid", worker.pid()},
          {"shard", worker.shard()},
          {"build", worker.build()},
          {"queues", queues},
          {"window_messages", worker.window_messages()},
          {"window_bytes", worker.window_bytes()},
          {"held_messages", worker.held_messages()},
          {"held_bytes", worker.held_bytes()},
          {"alive", worker.alive()},
          {"connected", worker.connected()},
          {"consuming", worker.consuming()},
          {"last_seen_us", worker.last_seen_us()},
          {"since_turn_us", worker.since_turn_us()},
          {"running", worker.running()},
          {"stuck", worker.stuck()}};
}

Cell yes_or_no(bool is_so) { return is_so ? Cell("yes", Shade::good) : Cell("no", Shade::bad); }

std::string listed(const Worker& worker) {
  std::string text;
  for (const std::string& queue : worker.queues()) text += (text.empty() ? "" : ",") + queue;
  return text;
}

}  // namespace

int workers(const ListOptions& options) {
  std::vector<Worker> all = Asker(choose(options.engine).engine).workers();
  std::ranges::sort(all, {}, [](const Worker& worker) {
    return std::tuple(worker.group(), worker.host(), worker.pid(), worker.shard());
  });

  if (options.json) {
    boost::json::array array;
    for (const Worker& worker : all) array.push_back(json_of(worker));
    print(array);
    return done;
  }
  std::vector<std::vector<Cell>> rows;
  for (const Worker& worker : all) {
    rows.push_back({worker.group() + "/" + worker.host() + "/" + std::to_string(worker.pid()) + "/" +
                        std::to_string(worker.shard()),
                    yes_or_no(worker.alive()), yes_or_no(worker.connected()), yes_or_no(worker.consuming()),
                    grouped(worker.held_messages()) + "/" + grouped(worker.window_messages()),
                    size_of(worker.held_bytes()) + "/" + size_of(worker.window_bytes()), time_of(worker.last_seen_us()),
                    worker.build(), listed(worker),
                    worker.stuck() ? Cell("stuck: " + worker.running(), Shade::bad) : Cell(worker.running())});
  }
  print({{"WORKER", Align::left, 0, 16},
         {"ALIVE"},
         {"CONNECTED"},
         {"CONSUMING"},
         {"HELD", Align::right},
         {"BYTES", Align::right, 3},
         {"LAST SEEN", Align::right, 2},
         {"BUILD", Align::left, 4},
         {"QUEUES", Align::left, 1, 12},
         {"RUNNING"}},
        rows);
  return done;
}

}  // namespace weir::cli
