/// Publishes lines, and ends only once every line is confirmed.

#include <algorithm>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <csignal>
#include <iostream>

#include "ask.hpp"
#include "choice.hpp"
#include "commands.hpp"
#include "encode.hpp"
#include "lines.hpp"
#include "progress.hpp"
#include "table.hpp"
#include "weir/deployment/nearest.hpp"
#include "weir/engine/make.hpp"
#include "weir/inherited/limits.hpp"
#include "weir/publisher/publisher.hpp"
#include "weir/telemetry/log.hpp"

namespace weir::cli {
namespace {

/// The type of messages that are published without --type: the line as it is.
constexpr std::string_view plain_type = "text";

Encoder encoder_of(const PublishOptions& options, const Choice& choice) {
  if (!options.proto && !options.plugin && !choice.deployment) {
    throw UsageError("--type " + *options.type + ": what describes it? --proto FILE, --plugin FILE, or -f FILE whose " +
                     "plugins know it");
  }
  TypeSources sources{.proto = options.proto, .plugins = plugins_of(choice)};
  if (options.plugin) sources.plugins = {*options.plugin};
  return Encoder::of(sources, *options.type);
}

/// Checks, before any line is read, that the engine is there and has the queue. Returns how many messages in it have
/// types that no attached worker takes.
std::uint64_t check_queue(const std::string& engine, const std::string& queue) {
  std::vector<std::string> names;
  for (const auto& each : ask_queues(engine)) {
    if (each.name() == queue && each.in_file()) return each.unknown();
    if (each.name() == queue) {
      throw Error("queue '" + queue + "' is not in the broker's deployment file any more: it takes no new messages, " +
                  "and goes once it is empty; put it back under queues, and start the broker again");
    }
    if (each.in_file()) names.push_back(each.name());
  }
  throw Error("no queue '" + queue + "' at " + engine + deployment::did_you_mean(queue, names) +
              (names.empty() ? "" : "; weir queues lists them"));
}

/// Makes a message of a line.
class Maker {
 public:
  Maker(const PublishOptions& options, const Choice& choice) : options_(options) {
    if (options.type) encoder_.emplace(encoder_of(options, choice));
    for (const std::string& header : options.headers) {
      const auto split = header.find('=');
      headers_.push_back({std::string_view(header).substr(0, split), std::string_view(header).substr(split + 1)});
    }
    how_.headers = headers_;
    how_.delay = options.delay;
    if (options.key) how_.key = *options.key;
  }

  /// Fills `payload()` and `how()`, which are views until the next line. Throws: BadLine.
  void make(std::string_view line) {
    // Some editors put a byte order mark before JSON. It is not part of the JSON.
    if (is_json() && line.starts_with("\xef\xbb\xbf")) line.remove_prefix(3);
    if (options_.id_field || options_.key_field) {
      fields_.parse(line);
      if (options_.id_field) how_.unique_id = id_ = fields_.field(*options_.id_field);
      if (options_.key_field) how_.key = key_ = fields_.field(*options_.key_field);
    }
    payload_ = encoder_ ? std::string_view(encoder_->encode(line)) : line;
  }
  /// True for blank lines between JSON lines. Without JSON an empty line is an empty message.
  [[nodiscard]] bool skips(std::string_view line) const {
    return is_json() && line.find_first_not_of(" \t") == std::string_view::npos;
  }

  [[nodiscard]] std::string_view type() const { return options_.type ? std::string_view(*options_.type) : plain_type; }
  [[nodiscard]] std::string_view payload() const { return payload_; }
  [[nodiscard]] const weir::PublishOptions& how() const { return how_; }

 private:
  [[nodiscard]] bool is_json() const { return encoder_ || options_.id_field || options_.key_field; }

  const cli::PublishOptions& options_;
  std::optional<Encoder> encoder_;
  FieldReader fields_;
  std::vector<HeaderView> headers_;
  std::string id_;
  std::string key_;
  std::string_view payload_;
  weir::PublishOptions how_;
};

/// Finds the line that a message came from. Their numbers differ by the skipped lines.
class Origin {
 public:
  void add(std::uint64_t number, std::uint64_t line) {
    if (shifts_.empty() || line - number != shifts_.back().second) shifts_.emplace_back(number, line - number);
  }
  [[nodiscard]] std::uint64_t line_of(std::uint64_t number) const {
    const auto after = std::ranges::upper_bound(shifts_, number, {}, &std::pair<std::uint64_t, std::uint64_t>::first);
    return number + (after == shifts_.begin() ? 0 : std::prev(after)->second);
  }

 private:
  std::vector<std::pair<std::uint64_t, std::uint64_t>> shifts_;  // (number, lines): from this number on, the line is
                                                                 // that many ahead
};

struct Run {
  const PublishOptions& options;
  Publisher& publisher;
  Maker& maker;
  Progress& progress;
  const bool& connected;
  Origin origin;
  std::string bad = {};                                                   ///< the line that could not be made a
                                                                          ///< message, and why
  std::string refusal = {};                                               ///< the first refusal
  std::optional<std::chrono::steady_clock::time_point> waits_since = {};  ///< since when it waits for room

  void show(std::uint64_t bytes_done) { progress.show(publisher.counts().confirmed, bytes_done); }

  void answered(const Confirmation& answer) {
    if (answer.answer == Confirmation::Answer::confirmed || !refusal.empty()) return;
    refusal =
        "line " + std::to_string(origin.line_of(answer.first)) + " was " +
        (answer.answer == Confirmation::Answer::refused ? "refused: " + answer.reason : "not answered: it is in doubt");
  }

  /// Returns false if the line cannot be made a message; publishing stops.
  bool make(std::string_view line, const std::string& where) {
    try {
      maker.make(line);
      return true;
    } catch (const BadLine& error) {
      bad = where + ": " + error.what();
    }
    return false;
  }

  /// Returns false if the queue has no credit: await room.
  bool try_send(const std::string& where) {
    try {
      return publisher.try_send(options.queue, maker.type(), maker.payload(), maker.how());
    } catch (const TooLarge& error) {
      bad = where + ": " + error.what();
    }
    return true;
  }
};

task<> send(Run& run, std::uint64_t line, const std::string& where) {
  while (!run.try_send(where)) {
    if (!run.waits_since) run.waits_since = std::chrono::steady_clock::now();
    co_await run.publisher.room(run.options.queue);
  }
  run.waits_since.reset();
  if (run.bad.empty()) run.origin.add(run.publisher.last_number(), line);
}

task<> send_lines(Run& run, Lines& lines) {
  constexpr std::uint64_t turn_every = 256;  // answers are read between turns
  do {
    while (const auto line = lines.next()) {
      if (run.maker.skips(*line)) continue;
      const std::string where = "line " + std::to_string(lines.number());
      if (!run.make(*line, where)) co_return;
      co_await send(run, lines.number(), where);
      if (!run.bad.empty() || !run.refusal.empty()) co_return;
      if (lines.number() % turn_every == 0) {
        run.show(lines.bytes_done());
        co_await asio::post(asio::use_awaitable);
      }
    }
  } while (co_await lines.read_more());
}

task<> send_all(Run& run, Lines* lines, bool& over) {
  if (lines != nullptr) {
    co_await send_lines(run, *lines);
  } else if (run.make(*run.options.data, "--data")) {
    co_await send(run, 1, "--data");
  }
  co_await run.publisher.flush();
  over = true;
  co_await run.publisher.close();
}

/// Logs once that publishing waits, and where to look.
task<> say_if_it_waits(Run& run) {
  using namespace std::chrono_literals;
  asio::steady_timer timer(co_await asio::this_coro::executor);
  while (!run.waits_since || std::chrono::steady_clock::now() - *run.waits_since < 1s) {
    timer.expires_after(250ms);
    co_await timer.async_wait(asio::use_awaitable);
  }
  log::warn(
      "waiting_for_room",
      {{"queue", run.options.queue},
       {"text", run.connected
                    ? "the broker takes no more now: the queue is full (weir queues), or its disk (the broker's log)"
                    : "the connection to the broker is lost; it goes on once the broker is back"}});
}

/// Logs that the published messages may wait for ever. It is no error, as a worker that takes them may be started
/// later.
void say_if_nobody_takes(const std::string& engine, const std::string& queue, std::string_view type,
                         std::uint64_t unknown_before) {
  std::uint64_t unknown = 0;
  try {
    for (const auto& each : ask_queues(engine)) {
      if (each.name() == queue) unknown = each.unknown();
    }
  } catch (const Error&) {
    return;  // the broker is gone meanwhile: confirmed messages stay confirmed
  }
  if (unknown <= unknown_before) return;
  const bool is_plain = type == plain_type;
  log::warn(
      "nobody_takes_it",
      {{"queue", queue},
       {"type", type},
       {"waiting", unknown},
       {"text", is_plain ? "nobody who is attached takes this type; with --type, lines are JSON of a Protobuf type"
                         : "nobody who is attached takes this type; they wait for a worker that does"}});
}

void report(const Publisher::Counts& counts, std::chrono::steady_clock::time_point started) {
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
  char time[32];
  std::snprintf(time, sizeof time, "%.2f", seconds);
  std::cout << "published " << counts.confirmed << " in " << time << " s ("
            << grouped(static_cast<std::uint64_t>(static_cast<double>(counts.confirmed) / seconds)) << " msg/s)\n";
}

void need_type(const PublishOptions& options) {
  if (!options.type && (options.proto || options.plugin)) {
    throw UsageError(
        std::string(options.proto ? "--proto" : "--plugin") +
        " describes types: say which one the lines are with --type, or leave it out to publish them as text");
  }
}

/// Prints the failures. Returns the exit code.
int tell_failures(const Run& run, const Publisher::Counts& counts, bool interrupted) {
  int exit_code = done;
  const auto fail = [&](const std::string& text) {
    std::cerr << "weir: " << harmless(text) << "\n";
    exit_code = failed;
  };
  if (!run.bad.empty()) fail(run.bad + "; it and what follows was not published");
  if (counts.refused > 0) fail(grouped(counts.refused) + " refused, the first: " + run.refusal);
  if (counts.refused == 0 && !run.refusal.empty()) fail(run.refusal);
  if (interrupted) fail("interrupted");
  if (counts.unanswered() > 0) {
    fail(grouped(counts.unanswered()) + " were sent and not confirmed: they may or may not be in the queue");
  }
  return exit_code;
}

}  // namespace

int publish(const PublishOptions& options) {
  inherited::need("weir publish", {.descriptors = 24, .threads = 4, .memory = Bytes{16 << 20}});
  need_type(options);
  const Choice choice = choose(options.engine);
  Maker maker(options, choice);
  const std::uint64_t unknown_before = check_queue(choice.engine, options.queue);

  asio::io_context loop(1);
  bool over = false;
  bool connected = true;  // check_queue() was connected
  const auto notice = [&over, &connected](std::string_view event, const std::string& text) {
    connected = event == "connected";
    // A connection, and its end when all is done, are expected, so they are not logged.
    if (!over && event != "connected") log::warn(event, {{"text", text}});
  };
  const auto engine = engine::make(choice.engine, {.notice = notice});
  Publisher publisher(*engine, loop.get_executor());
  std::optional<Lines> lines;
  if (!options.data) lines.emplace(loop.get_executor(), options.from);
  Progress progress("publishing to " + options.queue, lines ? lines->bytes_total() : std::nullopt);
  Run run{.options = options,
          .publisher = publisher,
          .maker = maker,
          .progress = progress,
          .connected = connected,
          .origin = {}};
  publisher.on_answer([&run](const Confirmation& answer) { run.answered(answer); });

  const auto started = std::chrono::steady_clock::now();
  std::exception_ptr failure;
  bool interrupted = false;
  asio::cancellation_signal stop;
  asio::signal_set signals(loop, SIGINT, SIGTERM);
  signals.async_wait([&](const boost::system::error_code& error, int) {
    if (error) return;
    interrupted = true;
    stop.emit(asio::cancellation_type::terminal);
  });
  const auto ended = [&](std::exception_ptr error) {
    failure = error;
    loop.stop();
  };
  // Ends with the loop.
  asio::co_spawn(loop, say_if_it_waits(run), [](const std::exception_ptr& error) {
    if (error) std::rethrow_exception(error);
  });
  asio::co_spawn(loop, send_all(run, lines ? &*lines : nullptr, over),
                 asio::bind_cancellation_slot(stop.slot(), ended));
  loop.run();

  progress.clear();
  const Publisher::Counts counts = publisher.counts();
  report(counts, started);
  const int exit_code = tell_failures(run, counts, interrupted);
  if (failure && !interrupted) std::rethrow_exception(failure);
  if (counts.confirmed > 0) say_if_nobody_takes(choice.engine, options.queue, maker.type(), unknown_before);
  return exit_code;
}

}  // namespace weir::cli
