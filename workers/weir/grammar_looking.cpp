#include "commands.hpp"
#include "grammar.hpp"

namespace weir::cli {

CLI::App* add_command(CLI::App& parent, Runs& runs, const char* name, const char* what, const std::string& example,
                      std::function<int()> run) {
  CLI::App* added = parent.add_subcommand(name, what)->group("Commands");
  added->footer("Example:\n" + example + "\n\n" + exit_codes);
  if (run) runs.emplace_back(added, std::move(run));
  return added;
}

void engine_of(CLI::App* command, EngineOptions& engine) {
  command->add_option("--engine", engine.engine, "the engine's URL: weir://HOST:PORT")->type_name("URL");
  command->add_option("-f,--file", engine.file, "a deployment file that names it (else $WEIR_ENGINE, else ./weir.yaml)")
      ->type_name("FILE");
}

void types_of(CLI::App* command, std::optional<std::string>& proto, std::optional<std::string>& plugin) {
  command->add_option("--proto", proto, "a .proto file that describes the payload's type")->type_name("FILE");
  command->add_option("--plugin", plugin, "a plugin file that knows it (else those of the deployment file)")
      ->type_name("FILE");
}

namespace {

void add_queues(CLI::App& app, Runs& runs, ListOptions& options) {
  auto* command = add_command(
      app, runs, "queues", "the queues: what is ready, delayed, leased, dead",
      "  weir queues\n  weir queues --json | jq '.[] | select(.dead > 0) | .name'\n"
      "PUBLISHED, ACKED and RETRIED count since the queue was made. After a kill -9 of the broker the first two\n"
      "may be too low, both by the same: by what was acked before it had to be written, in the last 20 ms and while\n"
      "the last commit was under way. All else is exact. Where the terminal is too narrow, some columns are left out.",
      [&options] { return queues(options); });
  command->add_flag("--json", options.json, "print a JSON array");
  engine_of(command, options.engine);
}

void add_workers(CLI::App& app, Runs& runs, ListOptions& options) {
  auto* command = add_command(app, runs, "workers", "who is attached, to what, with how much in hand",
                              "  weir workers\n  weir workers --json", [&options] { return workers(options); });
  command->add_flag("--json", options.json, "print a JSON array");
  engine_of(command, options.engine);
}

void add_top(CLI::App& app, Runs& runs, TopOptions& options) {
  auto* command =
      add_command(app, runs, "top", "queues and workers as they are now, in the whole terminal",
                  "  weir top\n  weir top --every 5s --engine weir://127.0.0.1:7733\n"
                  "Tab turns between queues and workers, s sorts by the next column, r turns the order, "
                  "/ searches by name.\nThe arrows and Page Up and Down move, q ends it. When the broker is "
                  "gone, it says so, and goes on with the next one.",
                  [&options] { return top(options); });
  command->add_option("--every", options.every, "how often it asks, from 100ms to 1h")
      ->type_name("TIME")
      ->default_str("1s");
  engine_of(command, options.engine);
}

void add_dead_list(CLI::App& parent, Runs& runs, DeadListOptions& options) {
  auto* list = add_command(parent, runs, "list", "the dead letters of a queue, oldest first",
                           "  weir dead list orders --most 20\n"
                           "  weir dead list orders --json --payload | jq '.[].payload'",
                           [&options] { return dead_list(options); });
  list->add_option("QUEUE", options.queue, "whose dead letters")->required();
  list->add_option("--most", options.most, "how many (default: 100; with --json: all)")
      ->type_name("N")
      ->check(CLI::Range(1ULL, 1'000'000'000ULL));
  auto* json = list->add_flag("--json", options.json, "print a JSON array");
  list->add_flag("--history", options.history, "with --json: each as `weir dead show --json`, all attempts and headers")
      ->needs(json);
  list->add_flag("--payload", options.payload, "with --json: so, and its payload, decoded and in base64")->needs(json);
  types_of(list, options.proto, options.plugin);
  engine_of(list, options.engine);
}

void add_dead_show(CLI::App& parent, Runs& runs, DeadShowOptions& options) {
  auto* show =
      add_command(parent, runs, "show", "one dead letter: every attempt, its headers, on request its payload",
                  "  weir dead show orders orders/4f2a1.17 --payload", [&options] { return dead_show(options); });
  show->add_option("QUEUE", options.queue, "its queue")->required();
  show->add_option("ID", options.id, "its id, as `weir dead list` prints it")->required();
  show->add_flag("--payload", options.payload, "print the payload too, as JSON where its type is described");
  show->add_flag("--json", options.json, "print a JSON object (a payload decoded, and in base64)");
  types_of(show, options.proto, options.plugin);
  engine_of(show, options.engine);
}

void change(CLI::App* command, DeadChangeOptions& options) {
  command->add_option("QUEUE", options.queue, "whose dead letters")->required();
  auto* ids = command->add_option("ID", options.ids, "which, as `weir dead list` prints them");
  command->add_flag("--all", options.all, "all of the queue's")->excludes(ids);
  engine_of(command, options.engine);
}

void add_dead(CLI::App& app, Runs& runs, LookingOptions& options) {
  auto* parent = add_command(app, runs, "dead", "dead letters: list, show, replay, purge",
                             "  weir dead list orders\n  weir dead show orders orders/4f2a1.17\n"
                             "  weir dead replay orders --all",
                             {});
  parent->require_subcommand(1);
  parent->fallthrough();
  add_dead_list(*parent, runs, options.dead_list);
  add_dead_show(*parent, runs, options.dead_show);
  change(add_command(*parent, runs, "replay", "send dead letters back to their queue, as attempt 1",
                     "  weir dead replay orders orders/4f2a1.17\n  weir dead replay orders --all",
                     [&options] { return dead_replay(options.dead_replay); }),
         options.dead_replay);
  auto* purge = add_command(*parent, runs, "purge", "throw dead letters away; shows how many and asks",
                            "  weir dead purge orders orders/4f2a1.17\n  weir dead purge orders --all --yes",
                            [&options] { return dead_purge(options.dead_purge); });
  change(purge, options.dead_purge);
  purge->add_flag("-y,--yes", options.dead_purge.yes, "do not ask");
}

}  // namespace

void add_looking(CLI::App& app, Runs& runs, LookingOptions& options) {
  add_queues(app, runs, options.queues);
  add_workers(app, runs, options.workers);
  add_top(app, runs, options.top);
  add_dead(app, runs, options);
}

}  // namespace weir::cli
