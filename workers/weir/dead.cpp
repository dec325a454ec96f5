/// Dead letters: list, show, replay, purge.

#include <unistd.h>

#include <iostream>
#include <map>

#include "ask.hpp"
#include "choice.hpp"
#include "commands.hpp"
#include "dead_letter.hpp"
#include "encode.hpp"
#include "json.hpp"
#include "table.hpp"
#include "weir/telemetry/log.hpp"

namespace weir::cli {
namespace {

constexpr std::uint64_t table_most = 100;
constexpr std::uint64_t page_most = 1000;

/// Dead letters, page by page, at most `most`. `more` says whether others were left out.
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

/// Changes all dead letters, or those with the given ids, one page of ids per request. `part` names the request's part.
/// Returns how many were changed.
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

/// Prints the count, and how many of the given ids were not there.
int report(const char* did, std::uint64_t count, const DeadChangeOptions& options) {
  std::cout << did << " " << grouped(count) << " of " << options.queue << "\n";
  if (options.all || count == options.ids.size()) return done;
  std::cerr << "weir: " << options.ids.size() - count << " of the ids are no dead letters of " << options.queue << "\n";
  return failed;
}

/// Decodes payloads by the description of their type. A payload that cannot be decoded says why.
class Payloads {
 public:
  Payloads(TypeSources sources, bool known) : sources_(std::move(sources)), known_(known) {}

  [[nodiscard]] ShownPayload decode(const std::string& type, std::string_view payload) {
    if (!known_) return {.json = {}, .why_not = "nothing describes its type: --proto FILE, --plugin FILE or -f FILE"};
    try {
      const auto at = encoders_.find(type);
      Encoder& encoder =
          at != encoders_.end() ? at->second : encoders_.emplace(type, Encoder::of(sources_, type)).first->second;
      auto json = encoder.decode(payload);
      const bool decoded = json.has_value();
      return {.json = std::move(json), .why_not = decoded ? "" : "it is no " + type};
    } catch (const Error& error) {
      return {.json = {}, .why_not = error.what()};
    }
  }

 private:
  TypeSources sources_;
  bool known_;
  std::map<std::string, Encoder> encoders_;
};

template <class Options>
Payloads payloads_of(const Options& options, const Choice& choice) {
  TypeSources sources{.proto = options.proto, .plugins = plugins_of(choice)};
  if (options.plugin) sources.plugins = {*options.plugin};
  const bool known = sources.proto || !sources.plugins.empty();
  return {std::move(sources), known};
}

v1::ControlRequest show_request(const std::string& queue, const std::string& id, bool with_payload) {
  v1::ControlRequest request;
  request.mutable_show_dead()->set_queue(queue);
  request.mutable_show_dead()->set_id(id);
  request.mutable_show_dead()->set_with_payload(with_payload);
  return request;
}

/// Prints the payload unchanged for a program. For a terminal it removes all that could control it.
void show_payload(const v1::DeadLetter& letter, const ShownPayload& payload) {
  std::cout << "\n";
  if (payload.json) {
    std::cout << harmless(*payload.json) << "\n";
    return;
  }
  if (letter.summary().type() != "text")
    log::warn("payload_not_decoded", {{"type", letter.summary().type()}, {"text", payload.why_not}});
  if (isatty(STDOUT_FILENO) == 1) {
    std::cout << harmless(letter.payload()) << "\n";
  } else {
    std::cout << letter.payload();
  }
}

/// Prints a JSON array, one element at a time, as payloads may be many and large.
void list_json(const DeadListOptions& options, const Choice& choice, std::uint64_t most) {
  Payloads payloads = payloads_of(options, choice);
  Asker asker(choice.engine);
  const char* before = "[";
  for (const auto& dead : list(choice.engine, options.queue, most).dead) {
    boost::json::object object;
    if (options.history || options.payload) {
      try {
        const auto reply = asker.ask(show_request(options.queue, dead.id(), options.payload));
        const v1::DeadLetter& letter = reply.dead_letter();
        std::optional<ShownPayload> shown;
        if (options.payload) shown = payloads.decode(letter.summary().type(), letter.payload());
        object = dead_json(letter, shown);
      } catch (const Refused&) {
        object = dead_json(dead);  // gone meanwhile, or damaged: prints the entry of the list
      }
    } else {
      object = dead_json(dead);
    }
    std::cout << before << text_of(object);
    before = ",";
  }
  std::cout << (*before == '[' ? "[]" : "]") << "\n";
}

}  // namespace

int dead_list(const DeadListOptions& options) {
  const Choice choice = choose(options.engine);
  const std::uint64_t most =
      options.most.value_or(options.json ? std::numeric_limits<std::uint64_t>::max() : table_most);
  if (options.json) {
    list_json(options, choice, most);
    return done;
  }
  const Listed listed = list(choice.engine, options.queue, most);
  std::vector<std::vector<Cell>> rows;
  for (const auto& dead : listed.dead) {
    rows.push_back(
        {dead.id(), dead.type(), std::uint64_t{dead.attempts()}, stamp(dead.dead_since_us()), dead.last_error()});
  }
  print({{"ID"},
         {"TYPE", Align::left, 0, 12},
         {"ATTEMPTS", Align::right, 2},
         {"DEAD SINCE", Align::left, 1},
         {"LAST ERROR"}},
        std::move(rows));
  if (listed.more) std::cerr << "there are more: --most " << most * 10 << "\n";
  return done;
}

int dead_show(const DeadShowOptions& options) {
  const Choice choice = choose(options.engine);
  const v1::ControlReply reply = ask(choice.engine, show_request(options.queue, options.id, options.payload));
  const v1::DeadLetter& letter = reply.dead_letter();
  std::optional<ShownPayload> payload;
  if (options.payload) {
    payload = payloads_of(options, choice).decode(letter.summary().type(), letter.payload());
  }
  if (options.json) {
    print(dead_json(letter, payload));
    return done;
  }
  std::cout << text_of(letter, standard_output());
  if (payload) show_payload(letter, *payload);
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
