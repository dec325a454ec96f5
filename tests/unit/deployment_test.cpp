/// The deployment file: what is read from it, and the exact words of what is wrong with it.

#include "weir/deployment/deployment.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <fstream>

#include "weir/deployment/keys.hpp"
#include "weir/deployment/nearest.hpp"
#include "weir/deployment/substitute.hpp"
#include "weir/deployment/supervisor.hpp"
#include "weir/worker/process.hpp"

namespace weir::deployment {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

std::optional<std::string> variable(const std::string& name) {
  if (name == "PORT") return "7800";
  if (name == "EMPTY") return "";
  if (name == "MANY") return "many";
  if (name == "SNEAKY") return "${PORT}";
  return std::nullopt;
}

Reading reading(const std::string& text) { return parse(text, "local.yaml", "/srv/shop", variable); }

/// The findings for a file that is right but for `text`.
std::string findings(const std::string& text) { return reading(text).print(); }
std::string findings_in_queue(const std::string& text) { return findings("queues:\n  orders:\n" + text); }
std::string findings_in_group(const std::string& text) {
  return findings("queues: {orders: }\nworkers:\n  shop:\n    plugin: shop.so\n    queues: [orders]\n" + text);
}

TEST(DeploymentFile, SaysWhatTheDesignsExampleSays) {
  const Reading read = reading(R"(
engine: weir://127.0.0.1:7744
broker: { data: ./weir-data, durability: os, session_timeout: 2s, message_most: 1MiB, reserve: 32MiB }
queues:
  orders:
    attempts: 7
    backoff: { first: 250ms, factor: 1.5, most: 10m, jitter: 0.1 }
    most: { messages: 1000000, bytes: 4GiB, on_full: refuse }
    dead: { keep: 90d, most: 100000, on_full: oldest }
    unknown_grace: 2h
    ahead: true
  emails:
workers:
  shop:
    plugin: ./shop.so
    queues: [orders, emails]
    processes: { least: 2, most: 2 }
    shards: 2
    window: { messages: 256, bytes: 1MiB }
    concurrency: 10
    timeout: 5s
    stall_after: 50ms
    drain: 10s
    with: { database: "./index.db", port: "${PORT}" }
)");

  ASSERT_TRUE(read.deployment) << read.print();
  EXPECT_THAT(read.findings, IsEmpty());
  const Deployment& file = *read.deployment;
  EXPECT_EQ(file.engine, "weir://127.0.0.1:7744");
  EXPECT_TRUE(file.runs_broker());
  EXPECT_EQ(file.broker.data, "/srv/shop/weir-data");
  EXPECT_EQ(file.broker.listen, "127.0.0.1:7744");
  EXPECT_EQ(file.broker.durability, Durability::os);
  EXPECT_EQ(file.broker.session_timeout, Duration(2s));
  EXPECT_EQ(file.broker.message_most, Bytes{1 << 20});
  EXPECT_EQ(file.broker.reserve, Bytes{32 << 20});
  ASSERT_EQ(file.queues.size(), 2u);
  const QueuePolicy orders{
      .attempts = 7,
      .backoff = {.first = 250ms, .factor = 1.5, .most = 10min, .jitter = 0.1},
      .most = {.messages = Messages{1000000}, .bytes = Bytes{4ULL << 30}, .on_full = OnFull::refuse},
      .dead = {.keep = 24h * 90, .most = Messages{100000}, .on_full = OnDeadFull::oldest},
      .unknown_grace = 2h,
      .ahead = true};
  EXPECT_EQ(file.queues[0].name, "orders");
  EXPECT_EQ(file.queues[0].policy, orders);
  ASSERT_EQ(file.groups.size(), 1u);
  const worker::GroupSettings& shop = file.groups[0];
  EXPECT_EQ(shop.name, "shop");
  EXPECT_EQ(shop.engine, file.engine);
  EXPECT_EQ(shop.plugin, "/srv/shop/shop.so");
  EXPECT_THAT(shop.queues, testing::ElementsAre("orders", "emails"));
  EXPECT_EQ(shop.processes_least, 2u);
  EXPECT_EQ(shop.processes_most, 2u);
  EXPECT_EQ(shop.shards, 2u);
  EXPECT_EQ(shop.window, (Load{Messages{256}, Bytes{1 << 20}}));
  EXPECT_EQ(shop.concurrency, 10u);
  EXPECT_EQ(shop.timeout, Duration(5s));
  EXPECT_EQ(shop.stall_after, Duration(50ms));
  EXPECT_EQ(shop.drain, Duration(10s));
  EXPECT_EQ(shop.with.at("port"), "7800");
  EXPECT_EQ(file.group("shop"), &shop);
  EXPECT_EQ(file.group("shoq"), nullptr);
}

TEST(DeploymentFile, WhatItDoesNotSayIsTheDefaultOfTheRules) {
  const Reading read = reading("queues: {orders: {}}\nworkers: {shop: {plugin: /opt/shop.so, queues: [orders]}}\n");

  ASSERT_TRUE(read.deployment) << read.print();
  const Deployment& file = *read.deployment;
  EXPECT_EQ(file.engine, "weir://127.0.0.1:7733");
  EXPECT_EQ(file.broker.data, "/srv/shop/weir-data");
  EXPECT_EQ(file.broker.listen, "127.0.0.1:7733");
  EXPECT_EQ(file.broker.durability, Durability::fsync);
  EXPECT_EQ(file.broker.session_timeout, Duration(10s));
  EXPECT_EQ(file.broker.message_most, Bytes{16 << 20});
  EXPECT_EQ(file.broker.reserve, Bytes{64 << 20});
  EXPECT_EQ(file.broker.connections, 10'000U);
  // The table's defaults and the structs' are the same, so a library user who fills a struct gets what a file gets.
  EXPECT_EQ(file.queues[0].policy, QueuePolicy{});
  const worker::GroupSettings plain;
  const worker::GroupSettings& shop = file.groups[0];
  EXPECT_EQ(shop.plugin, "/opt/shop.so");
  EXPECT_EQ(shop.processes_least, plain.processes_least);
  EXPECT_EQ(shop.processes_most, plain.processes_most);
  EXPECT_EQ(shop.shards, plain.shards);
  EXPECT_EQ(shop.window, plain.window);
  EXPECT_EQ(shop.concurrency, plain.concurrency);
  EXPECT_EQ(shop.timeout, plain.timeout);
  EXPECT_EQ(shop.stall_after, plain.stall_after);
  EXPECT_EQ(shop.drain, plain.drain);
}

TEST(DeploymentFile, EveryErrorIsReportedAtOnceInTheFilesOrder) {
  EXPECT_EQ(findings("engine: weir://127.0.0.1:7733\n"
                     "brokr: {}\n"
                     "queues:\n"
                     "  orders: { attempts: -1, backoff: { first: 1sec } }\n"
                     "workers:\n"
                     "  shop:\n"
                     "    plugin: ./shop.so\n"
                     "    queues: [ordres]\n"
                     "    shard: 2\n"),
            "local.yaml:2:1: unknown key 'brokr'; did you mean 'broker'?\n"
            "local.yaml:4:23: queues.orders.attempts is '-1': expected a whole number, from 1 to 1000\n"
            "local.yaml:4:45: queues.orders.backoff.first is '1sec': expected a duration such as 250ms, 1s, 5m, 1h or "
            "90d, from 1ms to 30d\n"
            "local.yaml:8:14: workers.shop lists queue 'ordres', which is not under queues; did you mean 'orders'?\n"
            "local.yaml:9:5: unknown key 'shard' in workers.shop; did you mean 'shards'?\n");
}

TEST(DeploymentFile, AnUnknownKeySaysWhereItBelongsOrWhatIsKnown) {
  EXPECT_EQ(findings_in_queue("    window: 5\n"),
            "local.yaml:3:5: unknown key 'window' in queues.orders; there is workers.NAME.window\n");
  EXPECT_EQ(findings_in_queue("    most: { zebra: 5 }\n"),
            "local.yaml:3:13: unknown key 'zebra' in queues.orders.most; known: messages, bytes, on_full\n");
}

TEST(DeploymentFile, KeysOfLaterVersionsAreRefusedRatherThanIgnored) {
  for (const char* key : {"order", "fair", "limits", "unique", "weight", "ttl", "expiry", "on_dead", "breaker"}) {
    EXPECT_EQ(findings_in_queue("    " + std::string(key) + ": key\n"),
              "local.yaml:3:5: key '" + std::string(key) + "' in queues.orders: not in this version\n");
  }
  EXPECT_EQ(findings("queues: {orders: }\nbroker: { admin: 127.0.0.1:7780 }\n"),
            "local.yaml:2:11: key 'admin' in broker: not in this version\n");
}

TEST(DeploymentFile, AWrongValueSaysWhatIsAllowed) {
  EXPECT_EQ(findings_in_queue("    attempts: 0\n"),
            "local.yaml:3:15: queues.orders.attempts is '0': expected a whole number, from 1 to 1000\n");
  EXPECT_EQ(findings_in_queue("    attempts: 2.5\n"),
            "local.yaml:3:15: queues.orders.attempts is '2.5': expected a whole number, from 1 to 1000\n");
  EXPECT_EQ(findings_in_queue("    attempts: [1]\n"),
            "local.yaml:3:15: queues.orders.attempts is a list: expected a whole number, from 1 to 1000\n");
  EXPECT_EQ(findings_in_queue("    attempts:\n"),
            "local.yaml:3:5: queues.orders.attempts is empty: expected a whole number, from 1 to 1000\n");
  EXPECT_EQ(findings_in_queue("    attempts: 99999999999999999999\n"),
            "local.yaml:3:15: queues.orders.attempts is '99999999999999999999': expected a whole number, from 1 to "
            "1000\n");
  EXPECT_EQ(findings_in_queue("    backoff: 5s\n"),
            "local.yaml:3:14: queues.orders.backoff is '5s': expected a map with the keys first, factor, most and "
            "jitter\n");
  EXPECT_EQ(findings_in_queue("    backoff: { jitter: 1.5 }\n"),
            "local.yaml:3:24: queues.orders.backoff.jitter is '1.5': expected a number, from 0 to 1\n");
  EXPECT_EQ(findings_in_queue("    backoff: { jitter: nan }\n"),
            "local.yaml:3:24: queues.orders.backoff.jitter is 'nan': expected a number, from 0 to 1\n");
  EXPECT_EQ(findings_in_queue("    most: { bytes: 4MB }\n"),
            "local.yaml:3:20: queues.orders.most.bytes is '4MB': expected a size in B, KiB, MiB, GiB or TiB, such as "
            "64MiB, from 1KiB to 1024TiB\n");
  EXPECT_EQ(findings_in_queue("    most: { bytes: 99999999TiB }\n"),
            "local.yaml:3:20: queues.orders.most.bytes is '99999999TiB': expected a size in B, KiB, MiB, GiB or TiB, "
            "such as 64MiB, from 1KiB to 1024TiB\n");
  EXPECT_EQ(findings_in_queue("    dead: { keep: 106751991d }\n"),
            "local.yaml:3:19: queues.orders.dead.keep is '106751991d': expected a duration such as 250ms, 1s, 5m, 1h "
            "or 90d, from 1s to 36500d\n");
  EXPECT_EQ(findings_in_queue("    dead: { on_full: oldst }\n"),
            "local.yaml:3:22: queues.orders.dead.on_full is 'oldst': expected refuse or oldest; did you mean "
            "'oldest'?\n");
  EXPECT_EQ(findings_in_group("    drain: 30\n"),
            "local.yaml:6:12: workers.shop.drain is '30': expected a duration such as 250ms, 1s, 5m, 1h or 90d, from "
            "1ms to 1d\n");
  EXPECT_EQ(findings_in_group("    timeout: 0s\n"),
            "local.yaml:6:14: workers.shop.timeout is '0s': expected a duration such as 250ms, 1s, 5m, 1h or 90d, "
            "from 1ms to 30d\n");
  EXPECT_EQ(findings_in_group("    with: [a]\n"),
            "local.yaml:6:11: workers.shop.with is a list: expected a map from texts to texts\n");
  EXPECT_EQ(findings("queues: {orders: 5}\n"),
            "local.yaml:1:18: queues.orders is '5': expected a map with the keys attempts, backoff, most, dead, "
            "unknown_grace and ahead\n");
  EXPECT_EQ(findings("queues: [orders]\n"), "local.yaml:1:9: queues is a list: expected a map from names to queues\n");
  EXPECT_EQ(findings("queues: {orders: }\nbroker: { session_timeout: 100ms }\n"),
            "local.yaml:2:28: broker.session_timeout is '100ms': expected a duration such as 250ms, 1s, 5m, 1h or 90d, "
            "from 500ms to 1h\n");
}

TEST(DeploymentFile, WhatOneKeyCannotShowIsCheckedToo) {
  EXPECT_EQ(findings_in_queue("    backoff: { first: 10m }\n"),
            "local.yaml:3:23: queues.orders.backoff.first is longer than backoff.most, the longest pause\n");
  EXPECT_EQ(findings_in_group("    window: { messages: 16 }\n    concurrency: 17\n"),
            "local.yaml:7:18: workers.shop.concurrency is 17, above window.messages, 16: no more handlers run than "
            "messages are held\n");
  EXPECT_EQ(findings_in_group("    processes: { least: 3, most: 2 }\n"),
            "local.yaml:6:25: workers.shop.processes.least is 3, above processes.most, 2\n");
  EXPECT_EQ(findings("queues: {orders: }\nworkers: {shop: {plugin: a.so, queues: [orders, orders]}}\n"),
            "local.yaml:2:49: workers.shop lists queue 'orders' twice\n");
  EXPECT_EQ(findings("queues: {orders: }\nworkers: {shop: {plugin: a.so, queues: []}}\n"),
            "local.yaml:2:40: workers.shop.queues is empty: name at least one queue\n");
}

TEST(DeploymentFile, WhatMustBeThereIsAskedFor) {
  EXPECT_EQ(findings(""), "local.yaml: key 'queues' is missing: where messages wait, by name\n");
  EXPECT_EQ(findings("queues: {}\n"), "local.yaml:1:9: queues is empty: name at least one\n");
  EXPECT_EQ(findings("queues:\n"), "local.yaml:1:1: queues is empty: expected a map from names to queues\n");
  EXPECT_EQ(findings("queues: {orders: }\nworkers:\n  shop: { queues: [orders] }\n"),
            "local.yaml:3:3: key 'plugin' is missing in workers.shop: the plugin file; relative to this file's "
            "folder\n");
  EXPECT_EQ(findings("queues: {orders: }\nworkers:\n  shop:\n"),
            "local.yaml:3:3: key 'plugin' is missing in workers.shop: the plugin file; relative to this file's "
            "folder\n"
            "local.yaml:3:3: key 'queues' is missing in workers.shop: the queues it consumes; the plugin has a handler "
            "for each\n");
}

TEST(DeploymentFile, AKeyThatIsThereTwiceIsAnError) {
  EXPECT_EQ(findings_in_queue("    attempts: 3\n    attempts: 4\n"),
            "local.yaml:4:5: key 'attempts' in queues.orders is there twice\n");
  EXPECT_EQ(findings("queues:\n  orders:\n  orders:\n"), "local.yaml:3:3: key 'orders' in queues is there twice\n");
}

TEST(DeploymentFile, ANameThatCannotBePrintedInAnIdIsRefused) {
  EXPECT_EQ(findings("queues: {\"a/b\": }\n"),
            "local.yaml:1:10: 'a/b' is not a name in queues: letters, digits, '.', '-' and '_', a letter or digit "
            "first, at most 100\n");
  EXPECT_EQ(findings("queues: {[a]: }\n"), "local.yaml:1:10: a key in queues is a list: expected a name\n");
}

TEST(DeploymentFile, EnginesThatAreNotInThisVersionSaySo) {
  const auto engine = [](const std::string& url) { return findings("engine: " + url + "\nqueues: {orders: }\n"); };
  EXPECT_EQ(engine("weir://localhost"), "");
  EXPECT_EQ(engine("weir://[::1]:7000"),
            "local.yaml:1:9: engine is 'weir://[::1]:7000': the broker of this version listens on IPv4; use "
            "127.0.0.1\n");
  EXPECT_EQ(engine("amqp://localhost"),
            "local.yaml:1:9: engine is 'amqp://localhost': amqp:// is not in this version; use weir://HOST:PORT\n");
  EXPECT_EQ(engine("nats://localhost"),
            "local.yaml:1:9: engine is 'nats://localhost': nats:// is not in this version; use weir://HOST:PORT\n");
  EXPECT_EQ(engine("memory://"),
            "local.yaml:1:9: engine is 'memory://': memory:// lives inside one process, for tests; use "
            "weir://HOST:PORT\n");
  EXPECT_EQ(engine("http://localhost"),
            "local.yaml:1:9: engine is 'http://localhost': unknown scheme 'http'; use weir://HOST:PORT\n");
  EXPECT_EQ(engine("localhost:7733"), "local.yaml:1:9: engine is 'localhost:7733': expected weir://HOST:PORT\n");
  EXPECT_EQ(engine("weir://localhost:70000"),
            "local.yaml:1:9: engine is 'weir://localhost:70000': expected weir://HOST:PORT\n");
}

TEST(DeploymentFile, ListeningOffLoopbackNeedsKeys) {
  EXPECT_EQ(findings("broker: {listen: 0.0.0.0:7733}\nqueues: {orders: }\n"),
            "local.yaml:1:18: broker.listen is '0.0.0.0:7733': listening off loopback needs keys (weir keys), not in "
            "this version; use 127.0.0.1\n");
  EXPECT_EQ(findings("engine: weir://10.0.0.7:7733\nqueues: {orders: }\n"),
            "local.yaml:1:9: engine is 'weir://10.0.0.7:7733': the broker would listen off loopback, which needs keys "
            "(weir keys), not in this version; use 127.0.0.1, or set broker.listen if something forwards to it\n");
  const Reading forwarded = reading("engine: weir://10.0.0.7:7733\nbroker: {listen: 127.0.0.1}\nqueues: {orders: }\n");
  ASSERT_TRUE(forwarded.deployment) << forwarded.print();
  EXPECT_FALSE(forwarded.deployment->runs_broker());
  EXPECT_EQ(forwarded.deployment->broker.listen, "127.0.0.1:7733");
}

TEST(DeploymentFile, ScalingIsAWarningAndRunsTheLeast) {
  const Reading read = reading(
      "queues: {orders: }\nworkers: {shop: {plugin: a.so, queues: [orders], processes: {least: 2, most: 8}}}\n");

  ASSERT_TRUE(read.deployment);
  EXPECT_EQ(read.print(),
            "local.yaml:2:78: warning: workers.shop.processes.most is 8: this version does not scale, it runs 2\n");
}

TEST(DeploymentFile, WhatIsNotYamlIsSaidWithItsPlace) {
  EXPECT_EQ(findings("queues: [orders\n"), "local.yaml:2:1: not YAML: end of sequence flow not found\n");
  EXPECT_EQ(findings("just words\n"),
            "local.yaml:1:1: the file is 'just words': expected a map with the keys engine, broker, queues and "
            "workers\n");
  EXPECT_EQ(findings(std::string("\x7f"
                                 "ELF\0\1",
                                 6)),
            "local.yaml: not YAML: it holds binary data\n");
  EXPECT_EQ(findings("queues:\n  orders:\n    attempts: 5\n\tahead: true\n"),
            "local.yaml:4:1: not YAML: a tab in the indentation; only spaces may stand there\n");
  EXPECT_EQ(findings("queues:\n  orders:\n  \t emails:\n"),
            "local.yaml:3:3: not YAML: a tab in the indentation; only spaces may stand there\n");
  EXPECT_EQ(findings("# ours\n \xef\xbb\xbfqueues: {orders: }\n"),
            "local.yaml:2:2: a byte order mark (U+FEFF), which no editor shows: delete it\n");
  EXPECT_EQ(findings("\xef\xbb\xbfqueues: {orders: }\n"), "");
  EXPECT_EQ(findings("\xff\xfeq"), "local.yaml: not YAML: it is UTF-16; save it as UTF-8\n");
  EXPECT_EQ(findings("queues: {orders: }\n---\nqueues: {orders: }\n"),
            "local.yaml:2:1: a second YAML document: a deployment file is one\n");
  EXPECT_EQ(findings(","), "local.yaml:1:1: not YAML: no value begins like this\n");
  EXPECT_EQ(findings("queues: {orders: }\n, broker: {}\n"), "local.yaml:2:1: not YAML: end of map not found\n");
  EXPECT_THAT(findings("a: &a [*a]\n"), HasSubstr("unknown key 'a'"));
  EXPECT_THAT(findings(std::string(100000, '[')), HasSubstr("not YAML"));
  EXPECT_THAT(findings(std::string(100000, '{')), HasSubstr("not YAML"));
}

TEST(DeploymentFile, AFileThatCannotBeReadSaysWhy) {
  EXPECT_EQ(read("/nonexistent/weir.yaml").print(),
            "/nonexistent/weir.yaml: cannot be read: No such file or directory\n");
  EXPECT_EQ(read("/tmp").print(), "/tmp: is a folder: name the deployment file in it\n");
  EXPECT_THROW((void)load("/nonexistent/weir.yaml"), FileError);
}

TEST(DeploymentFile, ControlCharactersDoNotReachTheTerminal) {
  EXPECT_THAT(findings_in_queue("    \"\\e[31m\": 5\n"), Not(HasSubstr("\x1b")));
  EXPECT_THAT(findings_in_queue("    attempts: \"\\e[31m\"\n"), Not(HasSubstr("\x1b")));
}

TEST(DeploymentVariables, AreTakenFromTheEnvironmentOrTheirDefault) {
  const auto replaced = [](const char* text) { return std::get<std::string>(substitute(text, variable)); };
  EXPECT_EQ(replaced("weir://127.0.0.1:${PORT}"), "weir://127.0.0.1:7800");
  EXPECT_EQ(replaced("${HOST:-localhost}:${PORT:-1}"), "localhost:7800");
  EXPECT_EQ(replaced("${EMPTY:-full}${EMPTY}"), "full");
  EXPECT_EQ(replaced("${NONE:-}"), "");
  EXPECT_EQ(replaced("$${PORT} costs $5"), "${PORT} costs $5");
  EXPECT_EQ(replaced("${SNEAKY}"), "${PORT}");
}

TEST(DeploymentVariables, MayStandUnquotedInAFlowMap) {
  const Reading read = reading(
      "queues: {orders: {attempts: ${TRIES:-7}, backoff: {first: ${FIRST:-2s}}, nosuch: 1}}  # ${ is no variable\n"
      "workers: {shop: {plugin: \"${DIR:-/opt/a, b: [c] #d}/x.so\", queues: [orders]}}\n");
  EXPECT_EQ(read.print(),
            "local.yaml:1:74: unknown key 'nosuch' in queues.orders; known: attempts, backoff, most, dead, "
            "unknown_grace, ahead\n");
  const Reading good = reading(
      "queues: {orders: {attempts: ${TRIES:-7}, backoff: {first: ${FIRST:-2s}}}}\n"
      "workers: {shop: {plugin: ${DIR:-/opt/a, b: [c] #d}/x.so, queues: [orders]}}\n");
  ASSERT_TRUE(good.deployment) << good.print();
  EXPECT_EQ(good.deployment->queues[0].policy.attempts, 7u);
  EXPECT_EQ(good.deployment->queues[0].policy.backoff.first, Duration(2s));
  EXPECT_EQ(good.deployment->groups[0].plugin, "/opt/a, b: [c] #d/x.so");
}

TEST(DeploymentVariables, ThatAreMissingOrMisspeltAreErrors) {
  EXPECT_EQ(findings("engine: weir://127.0.0.1:${WEIR_PORT}\nqueues: {orders: }\n"),
            "local.yaml:1:9: engine: ${WEIR_PORT} is not set in the environment: set it, or write "
            "${WEIR_PORT:-default}\n");
  EXPECT_EQ(findings_in_queue("    attempts: ${MANY}\n"),
            "local.yaml:3:15: queues.orders.attempts is 'many' (from '${MANY}'): expected a whole number, from 1 to "
            "1000\n");
  EXPECT_EQ(findings_in_group("    with: {a: \"${1}\", b: \"${\"}\n"),
            "local.yaml:6:15: workers.shop.with.a: '${1}' is not a variable: write ${NAME} or ${NAME:-default}\n"
            "local.yaml:6:26: workers.shop.with.b: '${' is not closed by '}'; write '$${' for a plain '${'\n");
}

TEST(DeploymentKeys, EveryDefaultAndLimitOfTheTableIsReadable) {
  for (const Key& key : keys()) {
    for (const std::string_view text : {key.standard, key.lowest, key.highest}) {
      EXPECT_TRUE(text.empty() || read_value(key, text)) << key.path << ": " << text;
    }
    const bool scalar = key.kind != Kind::section && key.kind != Kind::named && key.kind != Kind::anything;
    EXPECT_EQ(key.set != nullptr, scalar) << key.path;
    EXPECT_FALSE(key.what.empty()) << key.path;
  }
}

TEST(DeploymentKeys, AreAllExplained) {
  const std::string text = explain();
  for (const Key& key : keys()) EXPECT_THAT(text, HasSubstr("\n" + std::string(key.path)));
  EXPECT_THAT(text, HasSubstr("\nqueues.NAME.attempts: a whole number, from 1 to 1000 (default: 5)\n"
                              "    how often a message is tried before it is a dead letter\n"));
  EXPECT_THAT(text, HasSubstr("\nqueues.NAME.order\n    not in this version: none, key or queue\n"));
}

TEST(Nearest, OffersAWordOnlyIfItWasProbablyMeant) {
  const std::vector<std::string> words{"shards", "queues", "drain"};
  EXPECT_EQ(nearest("shard", words), "shards");
  EXPECT_EQ(nearest("queuse", words), "queues");
  EXPECT_EQ(nearest("drian", words), "drain");
  EXPECT_EQ(nearest("elephant", words), std::nullopt);
  EXPECT_EQ(nearest("", words), std::nullopt);
  EXPECT_EQ(nearest(std::string(100000, 'x'), words), std::nullopt);
}

TEST(RestartDelay, GrowsWhileAProcessKeepsDyingInVainAndStartsAgainOnceItRan) {
  RestartDelay delay;
  EXPECT_EQ(delay.after({.exit_code = 1}), Duration(100ms));
  EXPECT_EQ(delay.after({.exit_code = 1}), Duration(200ms));
  for (int i = 0; i < 10; ++i) (void)delay.after({.exit_code = 1, .ran = 29s});
  EXPECT_EQ(delay.after({.exit_code = 2}), Duration(10s));
  EXPECT_EQ(delay.after({.exit_code = 1, .ran = 30s}), Duration(100ms));
}

TEST(RestartDelay, NeverGrowsAfterACleanEndOrADeathThatIsDealtWith) {
  RestartDelay delay;
  for (int i = 0; i < 10; ++i) (void)delay.after({.exit_code = 1});
  for (int i = 0; i < 60; ++i) {
    EXPECT_EQ(delay.after({.exit_code = 0}), Duration(100ms));
    EXPECT_EQ(delay.after({.exit_code = worker::exit_start_again}), Duration(20ms));
    EXPECT_EQ(delay.after({.signal = SIGKILL, .ran = 1s}), Duration(100ms));
    EXPECT_EQ(delay.after({.signal = SIGTERM}), Duration(100ms));
  }
  EXPECT_EQ(delay.after({.signal = SIGKILL, .ran = 10ms}), Duration(200ms));
}

TEST(DeploymentProcesses, AreTheBrokerThenTheWorkersOfEachGroup) {
  const Reading read = reading(
      "queues: {orders: }\nworkers:\n  shop: {plugin: a.so, queues: [orders], processes: {least: 2}, drain: 3s}\n");
  ASSERT_TRUE(read.deployment);

  const auto processes = processes_of(*read.deployment, {"--log", "json"});

  ASSERT_EQ(processes.size(), 3u);
  EXPECT_EQ(processes[0].name, "broker");
  EXPECT_THAT(processes[0].arguments, testing::ElementsAre("--log", "json", "broker", "/srv/shop/local.yaml"));
  EXPECT_EQ(processes[0].stage, 0);
  EXPECT_EQ(processes[2].name, "worker shop/1");
  EXPECT_THAT(processes[2].arguments, testing::ElementsAre("--log", "json", "worker", "/srv/shop/local.yaml", "shop"));
  EXPECT_EQ(processes[2].stage, 1);
  EXPECT_EQ(processes[2].stop_within, Duration(13s));
}

}  // namespace
}  // namespace weir::deployment
