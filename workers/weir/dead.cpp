/// Dead letters: list, show, replay, purge.

#include <unistd.h>

#include <iostream>
#include <sstream>

#include "ask.hpp"
#include "choice.hpp"
#include "commands.hpp"
#include "json.hpp"
#include "table.hpp"

namespace weir::cli {
namespace {

constexpr std::uint64_t table_most = 100;
constexpr std::uint64_t page_most = 1000;

boost::json::object json_of(const v1::DeadSummary& dead) {
  return {{"id", dead.id()},
          {"name", dead.name()},
          {"type", dead.type()},
          {"attempts", dead.attempts()},
          {"last_error", dead.last_error()},
          {"dead_since", stamp(dead.dead_since_us())},
          {"bytes", dead.bytes()}};
}

/// Page by page, up to `most` of them; what is left out beyond those is said by `more`.
struct Listed {
  std::vector<v1::DeadSummary> dead;
  bool more = false;
};
Listed list(const std::string& engine, const std::string& queue, std::uint64_t most) {
  Listed listed;
  std::string after;
  do {
    v1::ControlRequest request;
    request.mutable_list_dead()->set_queue(queue);
    request.mutable_list_dead()->set_after(after);
    request.mutable_list_dead()->set_most(static_cast<std::uint32_t>(std::min(page_most, most - listed.dead.size())));
    v1::ControlReply reply = ask(engine, std::move(request));
    for (v1::DeadSummary& dead : *reply.mutable_dead_list()->mutable_dead()) listed.dead.push_back(std::move(dead));
    after = reply.dead_list().next();
  } while (!after.empty() && listed.dead.size() < most);
  listed.more = !after.empty();
  return listed;
}

std::uint64_t count_of(const std::string& engine, const std::string& queue) {
  for (const auto& each : ask_queues(engine)) {
    if (each.name() == queue) return each.dead();
  }
  throw Error("no queue '" + queue + "'; weir queues lists them");
}

void need_ids_or_all(const DeadChangeOptions& options, const char* command) {
  if (!options.all && options.ids.empty()) {
    throw UsageError(std::string("which dead letters? weir dead ") + command + " " + options.queue + " ID…, or --all");
  }
}

/// All of them, or those of these ids, a page of ids a request; `part` names the request's. How many it were.
template <class Part>
std::uint64_t change(const std::string& engine, const DeadChangeOptions& options, Part part) {
  std::uint64_t count = 0;
  std::size_t at = 0;
  do {
    v1::ControlRequest request;
    auto& wanted = part(request);
    wanted.set_queue(options.queue);
    wanted.set_all(options.all);
    for (; at < options.ids.size() && wanted.ids_size() < static_cast<int>(page_most); ++at) {
      wanted.add_ids(options.ids[at]);
    }
    count += ask(engine, std::move(request)).count().messages();
  } while (at < options.ids.size());
  return count;
}

/// What was asked for by id, and was not there.
int report(const char* did, std::uint64_t count, const DeadChangeOptions& options) {
  std::cout << did << " " << grouped(count) << " of " << options.queue << "\n";
  if (options.all || count == options.ids.size()) return done;
  std::cerr << "weir: " << options.ids.size() - count << " of the ids are no dead letters of " << options.queue << "\n";
  return failed;
}

std::string base64(std::string_view bytes) {
  constexpr std::string_view letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    const auto byte = [&](std::size_t at) {
      return at < bytes.size() ? static_cast<std::uint32_t>(static_cast<unsigned char>(bytes[at])) : 0U;
    };
    const std::uint32_t three = byte(i) << 16 | byte(i + 1) << 8 | byte(i + 2);
    text += letters[three >> 18];
    text += letters[three >> 12 & 63];
    text += i + 1 < bytes.size() ? letters[three >> 6 & 63] : '=';
    text += i + 2 < bytes.size() ? letters[three & 63] : '=';
  }
  return text;
}

/// More is known of it then: its process's last log lines, above all.
bool ended_its_process(const v1::Attempt& attempt) {
  return !attempt.stack().empty() || attempt.log_size() > 0 || attempt.memory_grown_bytes() != 0;
}

void show_json(const v1::DeadLetter& letter, bool payload) {
  boost::json::object object = json_of(letter.summary());
  object["key"] = base64(letter.key());
  object["priority"] = letter.priority();
  object["published_at"] = stamp(letter.published_at_us());
  boost::json::array history;
  for (const v1::Attempt& attempt : letter.history()) {
    history.push_back({{"number", attempt.number()},
                       {"started_at", stamp(attempt.started_at_us())},
                       {"duration_us", attempt.duration_us()},
                       {"worker", attempt.worker()},
                       {"error", attempt.error()}});
    boost::json::object& last = history.back().as_object();
    if (!attempt.stack().empty()) last["stack"] = attempt.stack();
    if (ended_its_process(attempt)) last["memory_grown_bytes"] = attempt.memory_grown_bytes();
    if (attempt.log_size() > 0) last["log"] = boost::json::array(attempt.log().begin(), attempt.log().end());
  }
  object["history"] = std::move(history);
  boost::json::object headers;
  for (const v1::Header& header : letter.headers()) headers[harmless(header.name())] = harmless(header.value());
  object["headers"] = std::move(headers);
  if (payload) object["payload_base64"] = base64(letter.payload());
  print(object);
}

/// What is known of an attempt that ended its process; nothing of others.
void show_end(const v1::Attempt& attempt) {
  if (!ended_its_process(attempt)) return;
  std::cout << "\nattempt " << attempt.number() << " ended its process\n";
  const std::int64_t grown = attempt.memory_grown_bytes();
  std::cout << "  memory     " << (grown > 0 ? "grew by " + size_of(static_cast<std::uint64_t>(grown)) : "did not grow")
            << "\n";
  const char* title = "  stack      ";
  std::istringstream stack(attempt.stack());
  for (std::string line; std::getline(stack, line); title = "             ") {
    std::cout << title << harmless(line) << "\n";
  }
  title = "  log        ";
  for (const std::string& line : attempt.log()) {
    std::cout << title << harmless(line) << "\n";
    title = "             ";
  }
}

void show_text(const v1::DeadLetter& letter, bool payload) {
  const v1::DeadSummary& summary = letter.summary();
  std::cout << summary.id() << "\n"
            << "  name       " << summary.name() << "\n"
            << "  type       " << harmless(summary.type()) << "\n"
            << "  published  " << stamp(letter.published_at_us()) << "\n"
            << "  dead since " << stamp(summary.dead_since_us()) << "\n"
            << "  attempts   " << summary.attempts() << "\n"
            << "  size       " << size_of(summary.bytes()) << "\n";
  if (!letter.key().empty()) std::cout << "  key        " << harmless(letter.key()) << "\n";
  std::cout << "  error      " << harmless(summary.last_error()) << "\n";
  for (const v1::Header& header : letter.headers()) {
    std::cout << "  header     " << harmless(header.name()) << "=" << harmless(header.value()) << "\n";
  }
  std::cout << "\n";
  std::vector<std::vector<Cell>> rows;
  for (const v1::Attempt& attempt : letter.history()) {
    rows.push_back({std::uint64_t{attempt.number()}, stamp(attempt.started_at_us()), time_of(attempt.duration_us()),
                    attempt.worker(), attempt.error()});
  }
  print({{"ATTEMPT", Align::right}, {"STARTED"}, {"TOOK", Align::right}, {"WORKER"}, {"ERROR"}}, rows);
  for (const v1::Attempt& attempt : letter.history()) show_end(attempt);
  if (payload) {
    std::cout << "\n";
    // As it is where a program reads it; a terminal gets nothing that could move its cursor.
    if (isatty(STDOUT_FILENO) == 1) {
      std::cout << harmless(letter.payload()) << "\n";
    } else {
      std::cout << letter.payload();
    }
  }
}

}  // namespace

int dead_list(const DeadListOptions& options) {
  const std::string engine = choose(options.engine).engine;
  const std::uint64_t most =
      options.most.value_or(options.json ? std::numeric_limits<std::uint64_t>::max() : table_most);
  const Listed listed = list(engine, options.queue, most);

  if (options.json) {
    boost::json::array array;
    for (const auto& dead : listed.dead) array.push_back(json_of(dead));
    print(array);
    return done;
  }
  std::vector<std::vector<Cell>> rows;
  for (const auto& dead : listed.dead) {
    rows.push_back(
        {dead.id(), dead.type(), std::uint64_t{dead.attempts()}, stamp(dead.dead_since_us()), dead.last_error()});
  }
  print({{"ID"}, {"TYPE"}, {"ATTEMPTS", Align::right}, {"DEAD SINCE"}, {"LAST ERROR"}}, rows);
  if (listed.more) std::cerr << "there are more: --most " << most * 10 << "\n";
  return done;
}

int dead_show(const DeadShowOptions& options) {
  v1::ControlRequest request;
  request.mutable_show_dead()->set_queue(options.queue);
  request.mutable_show_dead()->set_id(options.id);
  request.mutable_show_dead()->set_with_payload(options.payload);
  const v1::ControlReply reply = ask(choose(options.engine).engine, std::move(request));
  options.json ? show_json(reply.dead_letter(), options.payload) : show_text(reply.dead_letter(), options.payload);
  return done;
}

int dead_replay(const DeadChangeOptions& options) {
  need_ids_or_all(options, "replay");
  const auto part = [](v1::ControlRequest & request) -> auto& { return *request.mutable_replay_dead(); };
  return report("replayed", change(choose(options.engine).engine, options, part), options);
}

int dead_purge(const DeadChangeOptions& options) {
  need_ids_or_all(options, "purge");
  const std::string engine = choose(options.engine).engine;
  if (!options.yes) {
    const std::uint64_t count = options.all ? count_of(engine, options.queue) : options.ids.size();
    if (isatty(STDIN_FILENO) != 1) {
      throw UsageError("would purge " + grouped(count) + (count == 1 ? " dead letter of " : " dead letters of ") +
                       options.queue + "; nobody is here to ask: add --yes");
    }
    std::cerr << "purge " << grouped(count) << " dead letters of " << options.queue << " for ever? [y/N] ";
    std::string answer;
    std::getline(std::cin, answer);
    if (answer != "y" && answer != "yes") {
      std::cerr << "nothing was purged\n";
      return failed;
    }
  }
  const auto part = [](v1::ControlRequest & request) -> auto& { return *request.mutable_purge_dead(); };
  return report("purged", change(engine, options, part), options);
}

}  // namespace weir::cli
