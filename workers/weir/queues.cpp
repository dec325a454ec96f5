#include <algorithm>

#include "ask.hpp"
#include "choice.hpp"
#include "commands.hpp"
#include "json.hpp"
#include "table.hpp"

namespace weir::cli {
namespace {

using Queue = v1::Queues::Queue;

boost::json::object json_of(const Queue& queue) {
  return {{"name", queue.name()},
          {"in_file", queue.in_file()},
          {"ready", queue.ready()},
          {"delayed", queue.delayed()},
          {"leased", queue.leased()},
          {"dead", queue.dead()},
          {"published", queue.published()},
          {"acked", queue.acked()},
          {"retried", queue.retried()},
          {"rejected", queue.rejected()},
          {"dead_lettered", queue.dead_lettered()},
          {"bytes", queue.bytes()},
          {"workers", queue.workers()},
          {"publishers", queue.publishers()},
          {"unknown", queue.unknown()},
          {"suspects", queue.suspects()},
          {"damaged", queue.damaged()}};
}

/// Explains what the numbers alone do not say.
Cell note(const Queue& queue) {
  std::string text;
  const auto add = [&](const std::string& words) { text += (text.empty() ? "" : "; ") + words; };
  if (!queue.in_file()) add("not in file");
  if (queue.unknown() > 0) add(grouped(queue.unknown()) + " of types that no worker knows");
  if (queue.suspects() > 0) add(grouped(queue.suspects()) + " tried, as a process died of one");
  if (queue.damaged() > 0) add(grouped(queue.damaged()) + " damaged in the store, set aside");
  if (queue.workers() == 0 && queue.ready() > 0) add("no worker");
  return {text, Shade::bad};
}

}  // namespace

int queues(const ListOptions& options) {
  std::vector<Queue> all = ask_queues(choose(options.engine).engine);
  std::ranges::sort(all, {}, [](const Queue& queue) { return queue.name(); });

  if (options.json) {
    boost::json::array array;
    for (const Queue& queue : all) array.push_back(json_of(queue));
    print(array);
    return done;
  }
  std::vector<std::vector<Cell>> rows;
  for (const Queue& queue : all) {
    rows.push_back({queue.name(),
                    queue.ready(),
                    queue.delayed(),
                    queue.leased(),
                    {queue.dead(), queue.dead() > 0 ? Shade::bad : Shade::plain},
                    queue.published(),
                    queue.acked(),
                    queue.retried(),
                    size_of(queue.bytes()),
                    std::uint64_t{queue.workers()},
                    note(queue)});
  }
  print({{"QUEUE", Align::left, 0, 12},
         {"READY", Align::right},
         {"DELAYED", Align::right},
         {"LEASED", Align::right},
         {"DEAD", Align::right},
         {"PUBLISHED", Align::right, 2},
         {"ACKED", Align::right, 2},
         {"RETRIED", Align::right, 4},
         {"SIZE", Align::right, 3},
         {"SESSIONS", Align::right, 1},
         {""}},
        rows);
  return done;
}

}  // namespace weir::cli
