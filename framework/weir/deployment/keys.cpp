#include "weir/deployment/keys.hpp"

#include <array>
#include <utility>

namespace weir::deployment {
namespace {

constexpr std::array<std::string_view, 3> durabilities{"fsync", "os", "none"};
constexpr std::array<std::string_view, 2> on_full{"wait", "refuse"};
constexpr std::array<std::string_view, 2> on_dead_full{"refuse", "oldest"};
constexpr std::array<std::string_view, 2> yes_or_no{"true", "false"};

constexpr Key later(std::string_view path, std::string_view what) {
  return {.path = path, .kind = Kind::anything, .available = false, .what = what};
}

constexpr std::array table{
    Key{.path = "engine",
        .kind = Kind::text,
        .standard = "weir://127.0.0.1:7733",
        .what = "what holds the queues: weir://HOST:PORT (amqp:// and nats:// are not in this version)",
        .set = [](Target& t, Value& v) { t.deployment.engine = std::move(v.text); }},

    Key{.path = "broker", .what = "the embedded broker, which `weir up` and `weir broker` run"},
    Key{.path = "broker.data",
        .kind = Kind::text,
        .standard = "./weir-data",
        .what = "folder of the store; relative to this file's folder",
        .set = [](Target& t, Value& v) { t.deployment.broker.data = std::move(v.text); }},
    Key{.path = "broker.listen",
        .kind = Kind::text,
        .otherwise = "the engine's HOST:PORT",
        .what = "HOST:PORT to listen on; loopback only, as long as there are no keys",
        .set = [](Target& t, Value& v) { t.deployment.broker.listen = std::move(v.text); }},
    Key{.path = "broker.durability",
        .kind = Kind::choice,
        .standard = "fsync",
        .choices = durabilities,
        .what = "what a confirmation survives: fsync: power loss; os: kill -9 of the broker; none: neither",
        .set =
            [](Target& t, Value& v) {
              Durability& durability = t.deployment.broker.durability;
              durability = v.text == "fsync" ? Durability::fsync : v.text == "os" ? Durability::os : Durability::none;
            }},
    Key{.path = "broker.message_most",
        .kind = Kind::bytes,
        .standard = "16MiB",
        .lowest = "1KiB",
        .highest = "128MiB",
        .what = "the largest message, headers included",
        .set = [](Target& t, Value& v) { t.deployment.broker.message_most = Bytes{v.count}; }},
    Key{.path = "broker.window_most", .what = "the most that a worker's session may hold, whatever window it wants"},
    Key{.path = "broker.window_most.messages",
        .kind = Kind::count,
        .standard = "65536",
        .lowest = "1",
        .highest = "65536",
        .what = "in messages",
        .set = [](Target& t, Value& v) { t.deployment.broker.window_most.messages = Messages{v.count}; }},
    Key{.path = "broker.window_most.bytes",
        .kind = Kind::bytes,
        .standard = "256MiB",
        .lowest = "1MiB",
        .highest = "64GiB",
        .what = "in bytes; the broker may have to keep so much for one that reads nothing",
        .set = [](Target& t, Value& v) { t.deployment.broker.window_most.bytes = Bytes{v.count}; }},
    Key{.path = "broker.reserve",
        .kind = Kind::bytes,
        .standard = "64MiB",
        .lowest = "1MiB",
        .highest = "64GiB",
        .what = "disk kept for settling when the disk is full; publishing stops while less is free",
        .set = [](Target& t, Value& v) { t.deployment.broker.reserve = Bytes{v.count}; }},
    Key{.path = "broker.session_timeout",
        .kind = Kind::duration,
        .standard = "10s",
        .lowest = "500ms",
        .highest = "1h",
        .what = "a worker process that is not heard of for so long has lost what it held",
        .set = [](Target& t, Value& v) { t.deployment.broker.session_timeout = v.duration; }},
    Key{.path = "broker.connections",
        .kind = Kind::count,
        .standard = "10000",
        .lowest = "1",
        .highest = "1000000",
        .what = "sessions at once: one for each shard of a worker, one for its keep-alives, one for each publisher; it "
                "needs "
                "as many open files (ulimit -n)",
        .set = [](Target& t, Value& v) { t.deployment.broker.connections = v.count; }},
    later("broker.admin", "HOST:PORT of the dashboard and metrics"),

    Key{.path = "queues", .kind = Kind::named, .required = true, .what = "where messages wait, by name"},
    Key{.path = "queues.NAME", .what = "one queue; its keys all have defaults"},
    Key{.path = "queues.NAME.attempts",
        .kind = Kind::count,
        .standard = "5",
        .lowest = "1",
        .highest = "1000",
        .what = "how often a message is tried before it is a dead letter",
        .set = [](Target& t, Value& v) { t.queue->policy.attempts = static_cast<std::uint32_t>(v.count); }},
    Key{.path = "queues.NAME.backoff", .what = "the pause after attempt n: first × factor^(n-1), at most `most`"},
    Key{.path = "queues.NAME.backoff.first",
        .kind = Kind::duration,
        .standard = "1s",
        .lowest = "1ms",
        .highest = "30d",
        .what = "the pause after the first failed attempt",
        .set = [](Target& t, Value& v) { t.queue->policy.backoff.first = v.duration; }},
    Key{.path = "queues.NAME.backoff.factor",
        .kind = Kind::ratio,
        .standard = "2",
        .lowest = "1",
        .highest = "100",
        .what = "by how much each further pause is longer",
        .set = [](Target& t, Value& v) { t.queue->policy.backoff.factor = v.ratio; }},
    Key{.path = "queues.NAME.backoff.most",
        .kind = Kind::duration,
        .standard = "5m",
        .lowest = "1ms",
        .highest = "365d",
        .what = "the longest pause, before jitter",
        .set = [](Target& t, Value& v) { t.queue->policy.backoff.most = v.duration; }},
    Key{.path = "queues.NAME.backoff.jitter",
        .kind = Kind::ratio,
        .standard = "0.2",
        .lowest = "0",
        .highest = "1",
        .what = "up to this part of the pause is added to it, at random",
        .set = [](Target& t, Value& v) { t.queue->policy.backoff.jitter = v.ratio; }},
    Key{.path = "queues.NAME.most", .what = "how much may wait here, and what happens to publishes beyond it"},
    Key{.path = "queues.NAME.most.messages",
        .kind = Kind::count,
        .otherwise = "no limit",
        .lowest = "1",
        .highest = "1000000000000",
        .what = "messages that are ready, delayed or leased",
        .set = [](Target& t, Value& v) { t.queue->policy.most.messages = Messages{v.count}; }},
    Key{.path = "queues.NAME.most.bytes",
        .kind = Kind::bytes,
        .otherwise = "no limit",
        .lowest = "1KiB",
        .highest = "1024TiB",
        .what = "their bytes",
        .set = [](Target& t, Value& v) { t.queue->policy.most.bytes = Bytes{v.count}; }},
    Key{.path = "queues.NAME.most.on_full",
        .kind = Kind::choice,
        .standard = "wait",
        .choices = on_full,
        .what = "publishers wait for room, or are refused (what is published together, as a whole)",
        .set = [](Target& t,
                  Value& v) { t.queue->policy.most.on_full = v.text == "wait" ? OnFull::wait : OnFull::refuse; }},
    Key{.path = "queues.NAME.dead", .what = "how dead letters are kept"},
    Key{.path = "queues.NAME.dead.keep",
        .kind = Kind::duration,
        .otherwise = "for ever",
        .lowest = "1s",
        .highest = "36500d",
        .what = "how long",
        .set = [](Target& t, Value& v) { t.queue->policy.dead.keep = v.duration; }},
    Key{.path = "queues.NAME.dead.most",
        .kind = Kind::count,
        .otherwise = "no limit",
        .lowest = "1",
        .highest = "1000000000000",
        .what = "how many",
        .set = [](Target& t, Value& v) { t.queue->policy.dead.most = Messages{v.count}; }},
    Key{.path = "queues.NAME.dead.on_full",
        .kind = Kind::choice,
        .standard = "refuse",
        .choices = on_dead_full,
        .what = "when there are so many: refuse publishes to the queue, or let the oldest go",
        .set =
            [](Target& t, Value& v) {
              t.queue->policy.dead.on_full = v.text == "refuse" ? OnDeadFull::refuse : OnDeadFull::oldest;
            }},
    Key{.path = "queues.NAME.unknown_grace",
        .kind = Kind::duration,
        .standard = "1h",
        .lowest = "1s",
        .highest = "36500d",
        .what = "a message of a type that no attached worker knows is a dead letter after this",
        .set = [](Target& t, Value& v) { t.queue->policy.unknown_grace = v.duration; }},
    Key{.path = "queues.NAME.ahead",
        .kind = Kind::choice,
        .standard = "true",
        .choices = yes_or_no,
        .what = "deliver before the publish is written, and never write what is acked by then; after a kill -9 of the "
                "broker a message that its publisher had not heard of may run twice",
        .set = [](Target& t, Value& v) { t.queue->policy.ahead = v.text == "true"; }},
    later("queues.NAME.order", "none, key or queue"),
    later("queues.NAME.fair", "key: no customer starves another"),
    later("queues.NAME.limits", "concurrent, rate, burst, by"),
    later("queues.NAME.unique", "duplicates are confirmed as such"),
    later("queues.NAME.weight", "its share of a worker's window"),
    later("queues.NAME.ttl", "how long a message may wait"),
    later("queues.NAME.expiry", "what becomes of one that waited longer"),
    later("queues.NAME.on_dead", "whether a dead letter holds its key"),
    later("queues.NAME.breaker", "a pause while everything fails"),

    Key{.path = "workers", .kind = Kind::named, .otherwise = "none", .what = "groups of worker processes, by name"},
    Key{.path = "workers.NAME", .what = "one group: its processes load one plugin"},
    Key{.path = "workers.NAME.plugin",
        .kind = Kind::text,
        .required = true,
        .what = "the plugin file; relative to this file's folder",
        .set = [](Target& t, Value& v) { t.group->plugin = std::move(v.text); }},
    Key{.path = "workers.NAME.queues",
        .kind = Kind::names,
        .required = true,
        .what = "the queues it consumes; the plugin has a handler for each",
        .set = [](Target& t, Value& v) { t.group->queues = std::move(v.names); }},
    Key{.path = "workers.NAME.processes", .what = "worker processes that `weir up` runs"},
    Key{.path = "workers.NAME.processes.least",
        .kind = Kind::count,
        .standard = "1",
        .lowest = "1",
        .highest = "256",
        .what = "always",
        .set = [](Target& t, Value& v) { t.group->processes_least = static_cast<std::uint32_t>(v.count); }},
    Key{.path = "workers.NAME.processes.most",
        .kind = Kind::count,
        .otherwise = "as least",
        .lowest = "1",
        .highest = "256",
        .what = "under load (this version does not scale: it runs `least`, and says so)",
        .set = [](Target& t, Value& v) { t.group->processes_most = static_cast<std::uint32_t>(v.count); }},
    Key{.path = "workers.NAME.shards",
        .kind = Kind::count,
        .standard = "1",
        .lowest = "1",
        .highest = "256",
        .what = "threads a process, each with its own event loop, session and window",
        .set = [](Target& t, Value& v) { t.group->shards = static_cast<std::uint32_t>(v.count); }},
    Key{.path = "workers.NAME.window", .what = "the most a shard holds unsettled"},
    Key{.path = "workers.NAME.window.messages",
        .kind = Kind::count,
        .standard = "4096",
        .lowest = "1",
        .highest = "65536",
        .what = "in messages",
        .set = [](Target& t, Value& v) { t.group->window.messages = Messages{v.count}; }},
    Key{.path = "workers.NAME.window.bytes",
        .kind = Kind::bytes,
        .standard = "64MiB",
        .lowest = "1KiB",
        .highest = "64GiB",
        .what = "in bytes; one message that is larger is let through alone",
        .set = [](Target& t, Value& v) { t.group->window.bytes = Bytes{v.count}; }},
    Key{.path = "workers.NAME.concurrency",
        .kind = Kind::count,
        .otherwise = "256, or window.messages if that is less",
        .lowest = "1",
        .highest = "65536",
        .what = "handlers at once in a shard; of those that wait 100 ms, 256 take 2,500 messages a second",
        .set = [](Target& t, Value& v) { t.group->concurrency = v.count; }},
    Key{.path = "workers.NAME.timeout",
        .kind = Kind::duration,
        .standard = "30s",
        .lowest = "1ms",
        .highest = "30d",
        .what = "how long a handler may run, unless the plugin says otherwise",
        .set = [](Target& t, Value& v) { t.group->timeout = v.duration; }},
    Key{.path = "workers.NAME.stall_after",
        .kind = Kind::duration,
        .standard = "100ms",
        .lowest = "1ms",
        .highest = "1h",
        .what = "a handler that holds its loop longer is reported",
        .set = [](Target& t, Value& v) { t.group->stall_after = v.duration; }},
    Key{.path = "workers.NAME.drain",
        .kind = Kind::duration,
        .standard = "30s",
        .lowest = "1ms",
        .highest = "1d",
        .what = "how long running handlers may take to finish when the worker is told to stop",
        .set = [](Target& t, Value& v) { t.group->drain = v.duration; }},
    Key{.path = "workers.NAME.with",
        .kind = Kind::options,
        .otherwise = "none",
        .what = "the plugin's own options",
        .set = [](Target& t, Value& v) { t.group->with = std::move(v.options); }},
};

std::string_view parent(std::string_view path) {
  const auto dot = path.rfind('.');
  return dot == std::string_view::npos ? std::string_view{} : path.substr(0, dot);
}

/// `a`, `a or b`, `a, b or c`.
template <class Words>
std::string listed(const Words& words, std::string_view last) {
  std::string text;
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (i > 0) text += i + 1 == words.size() ? " " + std::string(last) + " " : std::string(", ");
    text += words[i];
  }
  return text;
}

std::string limits(const Key& key) {
  if (key.lowest.empty()) return {};
  if (key.highest.empty()) return ", at least " + std::string(key.lowest);
  return ", from " + std::string(key.lowest) + " to " + std::string(key.highest);
}

}  // namespace

std::span<const Key> keys() { return table; }

std::vector<const Key*> keys_under(std::string_view path) {
  std::vector<const Key*> under;
  for (const Key& key : table) {
    if (parent(key.path) == path) under.push_back(&key);
  }
  return under;
}

std::string allowed(const Key& key) {
  switch (key.kind) {
    case Kind::section: {
      std::vector<std::string> names;
      for (const Key* under : keys_under(key.path)) {
        if (under->available) names.emplace_back(under->name());
      }
      return "a map with the keys " + listed(names, "and");
    }
    case Kind::named:
      return "a map from names to " + std::string(key.name());
    case Kind::text:
      return "a text";
    case Kind::count:
      return "a whole number" + limits(key);
    case Kind::ratio:
      return "a number" + limits(key);
    case Kind::duration:
      return "a duration such as 250ms, 1s, 5m, 1h or 90d" + limits(key);
    case Kind::bytes:
      return "a size in B, KiB, MiB, GiB or TiB, such as 64MiB" + limits(key);
    case Kind::choice:
      return listed(key.choices, "or");
    case Kind::names:
      return "a list of names, such as [orders, emails]";
    case Kind::options:
      return "a map from texts to texts";
    case Kind::anything:
      return "not in this version";
  }
  return {};
}

std::string explain() {
  std::string text =
      "The deployment file is YAML. Values may use ${VARIABLE} and ${VARIABLE:-default} from the environment.\n"
      "Unknown keys are errors. NAME is yours to choose.\n\n";
  for (const Key& key : table) {
    text += key.path;
    if (!key.available) {
      text += "\n    not in this version: " + std::string(key.what) + "\n";
      continue;
    }
    if (key.kind != Kind::section && key.kind != Kind::named) text += ": " + allowed(key);
    if (key.required) text += " (required)";
    if (!key.standard.empty()) text += " (default: " + std::string(key.standard) + ")";
    if (!key.otherwise.empty()) text += " (default: " + std::string(key.otherwise) + ")";
    text += "\n    " + std::string(key.what) + "\n";
  }
  return text;
}

}  // namespace weir::deployment
