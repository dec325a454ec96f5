#include "weir/broker/store/check_store.hpp"

#include <iostream>

#include "commands.hpp"
#include "json.hpp"
#include "table.hpp"
#include "weir/broker/store/store_error.hpp"

namespace weir::cli {
namespace {

using broker::StoreCheck;

std::string name_of(const StoreCheck& check, QueueId id) {
  if (id == 0) return "";
  for (const auto& queue : check.queues) {
    if (queue.id == id && !queue.name.empty()) return queue.name;
  }
  return "queue number " + std::to_string(id);
}

boost::json::object json_of(const StoreCheck& check) {
  boost::json::array queues;
  for (const auto& queue : check.queues) {
    queues.push_back({{"name", queue.name},
                      {"number", queue.id},
                      {"segments", queue.segments},
                      {"messages", queue.messages},
                      {"records", queue.records},
                      {"dead", queue.dead},
                      {"damaged", queue.damaged}});
  }
  boost::json::array damaged;
  for (const auto& one : check.damaged) {
    damaged.push_back(
        {{"queue", name_of(check, one.queue)}, {"what", one.what}, {"why", one.why}, {"messages", one.messages}});
  }
  return {{"whole", check.whole()},     {"pages", check.pages},           {"queues", std::move(queues)},
          {"sessions", check.sessions}, {"publishers", check.publishers}, {"damaged", std::move(damaged)}};
}

void print_queues(const StoreCheck& check) {
  std::vector<std::vector<Cell>> rows;
  for (const auto& queue : check.queues) {
    rows.push_back({name_of(check, queue.id),
                    queue.segments,
                    queue.messages,
                    queue.records,
                    queue.dead,
                    {queue.damaged, queue.damaged > 0 ? Shade::bad : Shade::plain}});
  }
  print({{"QUEUE"},
         {"SEGMENTS", Align::right},
         {"MESSAGES", Align::right},
         {"RECORDS", Align::right},
         {"DEAD", Align::right},
         {"DAMAGED", Align::right}},
        rows);
}

void print_damaged(const StoreCheck& check) {
  std::vector<std::vector<Cell>> rows;
  for (const auto& one : check.damaged) {
    rows.push_back({name_of(check, one.queue), one.what, one.messages, one.why});
  }
  print({{"OF"}, {"DAMAGED"}, {"MESSAGES", Align::right}, {"WHY"}}, rows);
}

}  // namespace

int check_store(const CheckStoreOptions& options) {
  StoreCheck check;
  try {
    check = broker::check_store(options.folder);
  } catch (const broker::StoreError& error) {
    throw UsageError(error.what());
  }
  if (options.json) {
    print(json_of(check));
    return check.whole() ? done : failed;
  }
  if (!check.pages.empty()) {
    std::cout
        << options.folder << ": damaged: " << check.pages
        << "\nNothing else can be said of it: the pages by which values are found are not right. Restore the folder "
           "from a backup.\n";
    return failed;
  }
  print_queues(check);
  std::cout << options.folder << ": "
            << (check.whole() ? std::string("whole") : grouped(check.damaged.size()) + " damaged") << " ("
            << grouped(check.sessions) << " sessions, " << grouped(check.publishers) << " publishers)\n";
  if (!check.whole()) print_damaged(check);
  return check.whole() ? done : failed;
}

}  // namespace weir::cli
