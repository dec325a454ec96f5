#include "parse.hpp"

#include <algorithm>
#include <iostream>
#include <list>

#include "commands.hpp"
#include "grammar.hpp"
#include "table.hpp"
#include "weir/deployment/keys.hpp"

namespace weir::cli {
namespace {

/// The command line's grammar, and the places for the values. One member function per command.
class Grammar {
 public:
  Grammar() : app_("Weir brings your handlers messages: never more than they can hold, and never loses one.", "weir") {
    app_.require_subcommand(1);
    app_.fallthrough();
    app_.set_help_flag("-h,--help", "print this help and exit");
    app_.add_flag("--version", version_, "print version, protocol versions and compiler, and exit")->group("General");
    app_.add_option("--log", log_, "how logs look on standard error")
        ->check(CLI::IsMember({"text", "json"}))
        ->default_str("text")
        ->group("General");
    app_.add_option("--log-level", result_.log.level, "the lowest level that is logged")
        ->check(CLI::IsMember({"debug", "info", "warn", "error"}))
        ->default_str("info")
        ->group("General");
    app_.footer(std::string("Start here:\n"
                            "  weir check --explain              every key of the deployment file\n"
                            "  weir up weir.yaml                 run broker and workers; Ctrl-C drains\n"
                            "  echo hello | weir publish orders  publish a line\n"
                            "  weir queues                       where messages are\n\n") +
                exit_codes);
    up();
    broker();
    worker();
    publish();
    add_looking(app_, runs_, looking_);
    check();
    bench();
    table();
    internal();
  }

  CommandLine read(int count, char** words) {
    // Before CLI11 asks for a command.
    if (count == 2 && std::string_view(words[1]) == "--version") return {.run = [] { return cli::version(); }};
    try {
      app_.parse(count, words);
    } catch (const CLI::ParseError& error) {
      result_.exit_code = answer(error);
      return result_;
    }
    result_.log.json = log_ == "json";
    for (const auto& [command, run] : runs_) {
      if (command->parsed()) result_.run = run;
    }
    return result_;
  }

 private:
  int answer(const CLI::ParseError& error) {
    const CLI::App* command = &app_;
    while (!command->get_subcommands().empty()) command = command->get_subcommands().front();
    if (error.get_exit_code() == 0) {
      constexpr std::size_t width_usual = 80;
      constexpr std::size_t width_most = 100;  // longer lines are hard to read
      const std::size_t width = standard_output().width;
      std::cout << help_of(describe(*command), width == 0 ? width_usual : std::min(width, width_most));
      return done;
    }
    std::string name;
    for (const CLI::App* part = command; part != nullptr; part = part->get_parent()) {
      name = name.empty() ? part->get_name() : part->get_name() + " " + name;
    }
    std::string text = error.what();
    // CLI11's messages begin with a capital letter; Weir's do not. `QUEUE is required` stays.
    if (text.size() > 1 && std::isupper(static_cast<unsigned char>(text[1])) == 0) {
      text.front() = static_cast<char>(std::tolower(static_cast<unsigned char>(text.front())));
    }
    if (app_.remaining_size(true) > 0) text = unexpected(*command, app_.remaining(true));
    std::cerr << name << ": " << harmless(text) << "\nsee " << name << " --help\n";
    return wrong_usage;
  }

  CLI::App* command(CLI::App& parent, const char* name, const char* what, const std::string& example,
                    std::function<int()> run) {
    return add_command(parent, runs_, name, what, example, std::move(run));
  }

  void up() {
    auto* command = this->command(app_, "up", "run a whole deployment here: broker and workers, supervised",
                                  "  weir up deploy/local.yaml\n"
                                  "Ctrl-C drains: workers finish what they hold, then the broker stops. A second one "
                                  "stops at once.",
                                  [this] { return cli::up(up_, result_.log); });
    command->add_option("FILE", up_.file, "the deployment file")->required();
  }

  void broker() {
    auto* command = this->command(app_, "broker", "run the embedded broker of a deployment (for systemd, Kubernetes)",
                                  "  weir broker /etc/weir/shop.yaml", [this] { return cli::broker(broker_); });
    command->add_option("FILE", broker_.file, "the deployment file")->required();
  }

  void worker() {
    auto* command =
        this->command(app_, "worker", "run one worker process of a group (for systemd, Kubernetes)",
                      "  weir worker /etc/weir/shop.yaml shop", [this] { return cli::worker(worker_, result_.log); });
    command->add_option("FILE", worker_.file, "the deployment file")->required();
    command->add_option("NAME", worker_.group, "the group, under `workers` in the file")->required();
  }

  void check() {
    auto* command =
        this->command(app_, "check", "check a deployment file; every finding at once",
                      "  weir check deploy/local.yaml\n"
                      "  weir check --load deploy/local.yaml   and whether the plugins register what is asked of them\n"
                      "  weir check --explain | less        every key, its type and default",
                      [this] { return cli::check(check_); });
    command->add_option("FILE", check_.file, "the deployment file");
    command->add_flag("--load", check_.load, "run the plugins' registration too, as `weir up` does before it starts");
    command->add_flag("--explain", check_.explain, "print all keys with types and defaults");

    command = this->command(app_, "check-store", "say what of a stopped broker's data folder, or of a copy, is whole",
                            "  weir check-store /var/lib/weir\n"
                            "  cp -r /var/lib/weir copy && weir check-store copy --json     exit code 1: damaged",
                            [this] { return cli::check_store(check_store_); });
    command->add_option("FOLDER", check_store_.folder, "the data folder (broker.data)")->required();
    command->add_flag("--json", check_store_.json, "for programs");

    command =
        this->command(app_, "compact", "make a stopped broker's data.mdb as small as what is in it",
                      "  weir compact /var/lib/weir\n"
                      "A broker never gives disk back: what was full of messages stays a large file, and is used "
                      "again.\nThis writes what there is into a new file beside it, which needs room for that, and "
                      "puts it in its\nplace once it is whole. It is the same store then, with all that was "
                      "confirmed.",
                      [this] { return cli::compact(compact_); });
    command->add_option("FOLDER", compact_.folder, "the data folder (broker.data)")->required();
  }

  void publish() {
    auto* command = this->command(
        app_, "publish", "publish lines; done only when every message is confirmed",
        "  echo '{\"id\": \"7\", \"total\": 12}' | weir publish orders --type shop.OrderPlaced --id-field id\n"
        "  weir publish orders --from orders.jsonl --type shop.OrderPlaced --proto shop.proto\n"
        "  weir publish notes --data 'water the plants' --delay 5m\n"
        "Each line is a message. With --type it is JSON, encoded as that Protobuf type, whose description is read\n"
        "from --proto, --plugin, or the plugins of the deployment file (their code is not run). Without --type the\n"
        "line itself is the payload (but for its end, \\n or \\r\\n), and its type is `text`. At a line that does not "
        "fit publishing\nstops: what came before it is confirmed, what comes after is not published.",
        [this] { return cli::publish(publish_); });
    PublishOptions& options = publish_;
    command->add_option("QUEUE", options.queue, "the queue to publish to")->required();
    command->add_option("--type", options.type, "full name of the Protobuf type of the lines")->type_name("TYPE");
    auto* from = command->add_option("--from", options.from, "read lines from this file, not from standard input")
                     ->type_name("FILE");
    command->add_option("--data", options.data, "publish this one message")->type_name("MESSAGE")->excludes(from);
    auto* key = command->add_option("--key", options.key, "the ordering key of every message")->type_name("KEY");
    command->add_option("--delay", delay_, "deliver no sooner than this after the broker took it, such as 5s")
        ->type_name("TIME")
        ->check([this](const std::string& text) { return this->read_delay(text); });
    command->add_option("--header", options.headers, "a header")
        ->type_name("NAME=VALUE")
        ->allow_extra_args(false)
        ->check([](const std::string& text) {
          const auto split = text.find('=');
          if (split != std::string::npos && split > 0) return std::string();
          return "'" + text + "': expected NAME=VALUE";
        });
    command->add_option("--id-field", options.id_field, "the field of the JSON line that is the message's own id")
        ->type_name("FIELD");
    command->add_option("--key-field", options.key_field, "the field of the JSON line that is its ordering key")
        ->type_name("FIELD")
        ->excludes(key);
    command->add_option("--proto", options.proto, "a .proto file that describes --type")->type_name("FILE");
    command->add_option("--plugin", options.plugin, "a plugin file that knows --type")->type_name("FILE");
    engine_of(command, options.engine);
  }

  void bench() {
    auto* parent =
        command(app_, "bench", "measure this machine: publisher, broker and worker as separate processes",
                "  weir bench drain --messages 1000000\n"
                "  weir bench latency --rate 1000\n"
                "  weir bench backlog --data /mnt/disk    (the store goes where --data says: use a real disk)\n"
                "One JSON line on standard output, one for people on standard error.",
                {});
    parent->require_subcommand(1);
    parent->fallthrough();
    const auto workload = [&](const char* name, const char* what, BenchOptions defaults) {
      BenchOptions& options = bench_.emplace_back(std::move(defaults));
      options.workload = name;
      const std::string example = options.rate > 0 ? " --rate 1000" : " --messages " + std::to_string(options.messages);
      auto* added = command(*parent, name, what, std::string("  weir bench ") + name + example,
                            [this, &options] { return cli::bench(options, result_.log); });
      if (options.rate > 0) {
        added->add_option("--rate", options.rate, "messages a second")->check(CLI::Range(1.0, 1e7));
      }
      if (options.handler_ms > 0) {
        added->add_option("--handler-ms", options.handler_ms, "how long each handler waits, in milliseconds")
            ->check(CLI::Range(1ULL, 25'000ULL));
      }
      added->add_option("--messages", options.messages, options.rate > 0 ? "how many; 0: for ten seconds" : "how many")
          ->check(CLI::Range(options.rate > 0 ? 0ULL : 1ULL, 1'000'000'000ULL));
      added->add_option("--size", options.size, "bytes of each payload")->check(CLI::Range(40ULL, 1ULL << 20));
      added->add_option("--window", options.window, "the worker's window in messages, a shard")
          ->check(CLI::Range(1ULL, 65536ULL));
      if (options.concurrency) {
        added
            ->add_option("--concurrency", options.concurrency,
                         "handlers at once, a shard; a larger window keeps the next ones at hand")
            ->check(CLI::Range(1ULL, 65536ULL));
      }
      added->add_option("--shards", options.shards, "the worker's threads, each with a session")
          ->check(CLI::Range(1U, 1024U));
      added->add_option("--queues", options.queues, "publish to so many in turn")->check(CLI::Range(1U, 2'000U));
      added->add_option("--in-a-row", options.in_a_row, "messages to one queue before the next has its turn")
          ->check(CLI::Range(1U, 65536U));
      added->add_option("--retry-percent", options.retry_percent, "so many of a hundred messages fail once")
          ->check(CLI::Range(0U, 100U));
      added->add_option("--retry-ms", options.retry_ms, "and come again so many milliseconds later")
          ->check(CLI::Range(0ULL, 3'600'000ULL));
      added->add_option("--ahead", options.ahead, "deliver before the publish is on disk, as queues do by default");
      added->add_option("--durability", options.durability, "what a confirmation survives")
          ->check(CLI::IsMember({"fsync", "os", "none"}));
      added->add_option("--data", options.data, "folder for the store; a fresh one in it is used and removed")
          ->type_name("DIR");
      for (CLI::Option* option : added->get_options()) {
        if (option->get_name() != "--data" && option->get_name() != "--help") option->capture_default_str();
      }
    };
    workload("drain", "publish while a worker consumes; rate from the first publish to the last ack", {});
    workload("backlog", "publish with no worker, then drain", {});
    workload("latency", "publish at a steady rate; the time from each publish to the start of its handler",
             {.messages = 0, .rate = 1000});
    workload("waiting", "as drain, with handlers that wait; at most concurrency / handler-ms",
             {.messages = 500'000, .handler_ms = 100, .window = 12'500, .concurrency = 10'000});
  }

  void table() {
    auto* completion = this->command(app_, "completion", "print what a shell needs to complete these commands",
                                     "  source <(weir completion bash)\n"
                                     "  weir completion zsh > ~/.zfunc/_weir      (a folder of $fpath)\n"
                                     "  weir completion fish > ~/.config/fish/completions/weir.fish",
                                     [this] { return cli::completion(completion_, describe(app_)); });
    completion->add_option("SHELL", completion_.shell, "which shell")
        ->required()
        ->check(CLI::IsMember({"bash", "zsh", "fish"}));
    auto* man = this->command(app_, "man", "write man pages, one a command, into a folder",
                              "  weir man ~/.local/share/man/man1 && man weir-publish",
                              [this] { return cli::man(man_, describe(app_)); });
    man->add_option("FOLDER", man_.folder, "where to; it is made if it is not there")->required();
  }

  void internal() {
    const auto hidden = [&](const char* name, std::function<int()> run) {
      auto* added = app_.add_subcommand(name, "");
      added->group("");
      runs_.emplace_back(added, std::move(run));
      return added;
    };
    const auto pass = [](CLI::App* command, InternalOptions& options) {
      command->add_option("ARGUMENTS", options.arguments);
    };
    pass(hidden("worker-child", [this] { return cli::worker_child(child_); }), child_);
    pass(hidden("worker-report", [this] { return cli::worker_report(report_); }), report_);
    pass(hidden("worker-rehearsal", [this] { return cli::worker_rehearsal(rehearsal_); }), rehearsal_);
    const auto part = [&](CLI::App* command) {
      command->add_option("--engine", part_.engine)->required();
      command->add_option("--messages", part_.messages)->required();
      command->add_option("--size", part_.size);
      command->add_option("--window", part_.window);
      command->add_option("--concurrency", part_.concurrency);
      command->add_option("--shards", part_.shards);
      command->add_option("--rate", part_.rate);
      command->add_option("--handler-ms", part_.handler_ms);
      command->add_option("--queues", part_.queues);
      command->add_option("--in-a-row", part_.in_a_row);
      command->add_option("--retry-percent", part_.retry_percent);
      command->add_option("--retry-ms", part_.retry_ms);
      command->add_flag("--timed", part_.timed);
    };
    part(hidden("bench-publish", [this] { return cli::bench_publish(part_); }));
    part(hidden("bench-work", [this] { return cli::bench_work(part_); }));
  }

  std::string read_delay(const std::string& text) {
    const deployment::Key key{.path = "--delay", .kind = deployment::Kind::duration, .what = "a delay"};
    const auto value = deployment::read_value(key, text);
    if (!value) return "'" + text + "': expected " + deployment::allowed(key);
    publish_.delay = value->duration;
    return {};
  }

  CLI::App app_;
  CommandLine result_;
  bool version_ = false;
  std::string log_ = "text";
  std::string delay_;
  Runs runs_;

  FileOptions up_;
  FileOptions broker_;
  WorkerOptions worker_;
  CheckOptions check_;
  CheckStoreOptions check_store_;
  PublishOptions publish_;
  CompactOptions compact_;
  LookingOptions looking_;
  CompletionOptions completion_;
  ManOptions man_;
  std::list<BenchOptions> bench_;  // a list: options are bound by address
  BenchPartOptions part_;
  InternalOptions child_;
  InternalOptions report_;
  InternalOptions rehearsal_;
};

}  // namespace

std::vector<std::string> LogOptions::arguments() const {
  return {"--log", json ? "json" : "text", "--log-level", level};
}

CommandLine parse(int count, char** words) {
  // The function that runs refers to the grammar, so the grammar lives as long as the program.
  static Grammar grammar;
  return grammar.read(count, words);
}

}  // namespace weir::cli
