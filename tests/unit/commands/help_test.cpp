/// What is made from the table of commands: help, man pages, completion.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

#include "command_table.hpp"
#include "completion.hpp"
#include "man_page.hpp"
#include "progress.hpp"
#include "table.hpp"

namespace weir::cli {
namespace {

using testing::HasSubstr;

CommandInfo root() {
  CommandInfo list{
      .name = "list",
      .path = "weir dead list",
      .what = "the dead letters of a queue, oldest first",
      .notes =
          "Example:\n  weir dead list orders --json --history --payload --engine weir://127.0.0.1:7733 | jq '.[] | "
          ".id'\n"
          "Sentences are filled anew, so that no line of them is wider than\nwhat it is printed on.\n\nExit codes: 0 "
          "done.",
      .arguments = {{.names = {"QUEUE"}, .what = "whose dead letters", .required = true}},
      .options = {{.names = {"-f", "--file"}, .value = "FILE", .what = "it's a deployment file: [one] that names it"},
                  {.names = {"--most"}, .value = "N", .range = "1 to 1000", .initial = "100", .what = "how many"},
                  {.names = {"--json"}, .what = "print a JSON array"}}};
  CommandInfo dead{.name = "dead", .path = "weir dead", .what = "dead letters", .notes = {}, .commands = {list}};
  return {.name = "weir",
          .path = "weir",
          .what = "brings messages",
          .notes = {},
          .options = {{.names = {"--log"},
                       .value = "WORD",
                       .choices = {"text", "json"},
                       .initial = "text",
                       .what = "how logs look"}},
          .commands = {dead}};
}

TEST(Help, FillsItsLinesAndBreaksNoWord) {
  EXPECT_EQ(help_of(root().commands[0].commands[0], 60),
            "the dead letters of a queue, oldest first\n"
            "\n"
            "Usage: weir dead list [OPTIONS] QUEUE\n"
            "\n"
            "Arguments:\n"
            "  QUEUE                   whose dead letters\n"
            "\n"
            "Options:\n"
            "  -f, --file FILE         it's a deployment file: [one] that\n"
            "                          names it\n"
            "  --most N                how many (1 to 1000; default: 100)\n"
            "  --json                  print a JSON array\n"
            "\n"
            "Example:\n"
            "  weir dead list orders --json --history --payload \\\n"
            "      --engine weir://127.0.0.1:7733 | jq '.[] | .id'\n"
            "Sentences are filled anew, so that no line of them is wider\n"
            "than what it is printed on.\n"
            "\n"
            "Exit codes: 0 done.\n");
}

TEST(Progress, StaysOnItsLineWhateverIsSaid) {
  EXPECT_EQ(progress_line("publishing to orders", 0.5, 500'000, 2, 100),
            "publishing to orders [############............] 50 %  500,000 confirmed, 250,000/s");
  EXPECT_EQ(progress_line("publishing to orders", 0.5, 500'000, 2, 80),
            "publishing to orders 50 %  500,000 confirmed, 250,000/s");
  EXPECT_EQ(progress_line("publishing to orders", std::nullopt, 5, 1, 80), "publishing to orders  5 confirmed, 5/s");
  for (std::size_t width = 1; width < 90; ++width) {
    EXPECT_LT(width_of(progress_line("publishing to a-queue", 1, 1'234'567'890, 1000, width)), width);
  }
}

TEST(ManPages, HaveTheSameAndTheirRootsOptions) {
  EXPECT_EQ(man_name(root().commands[0].commands[0]), "weir-dead-list.1");
  const std::string page = man_page(root().commands[0].commands[0], root(), "0.1.0");
  EXPECT_THAT(page, HasSubstr(".TH weir\\-dead\\-list 1 \"\" \"weir 0.1.0\" \"Weir\"\n"));
  EXPECT_THAT(page, HasSubstr(".SH NAME\nweir\\-dead\\-list \\- the dead letters of a queue, oldest first\n"));
  EXPECT_THAT(page, HasSubstr(".TP\n.B \\-f, \\-\\-file FILE\nit\\(aqs a deployment file: [one] that names it\n"));
  EXPECT_THAT(page, HasSubstr(".SH OPTIONS OF EVERY COMMAND\n.TP\n.B \\-\\-log WORD\n"));
  EXPECT_THAT(page, HasSubstr(".SH EXIT STATUS\n0 done.\n"));
  EXPECT_THAT(page, HasSubstr(".SH SEE ALSO\n.BR weir\\-dead (1)\n"));
}

TEST(Completion, OfEachShellNamesCommandsOptionsAndWhatTheyTake) {
  const std::string bash = bash_completion(root());
  EXPECT_THAT(bash, HasSubstr("'weir dead list')"));
  EXPECT_THAT(bash, HasSubstr("-f|--file) compopt -o filenames;"));
  EXPECT_THAT(bash, HasSubstr("--log) COMPREPLY=($(compgen -W 'text json' -- \"$word\"));"));
  const std::string zsh = zsh_completion(root());
  EXPECT_THAT(zsh, HasSubstr("#compdef weir\n"));
  EXPECT_THAT(zsh, HasSubstr("'--file[it'\\''s a deployment file\\: \\[one\\] that names it]:FILE:_files'"));
  EXPECT_THAT(zsh, HasSubstr("dead) _weir_dead ;;"));
  const std::string fish = fish_completion(root());
  EXPECT_THAT(fish, HasSubstr("complete -c weir -n '__weir_at \"weir dead\"' -f -a list -d 'the dead letters"));
  EXPECT_THAT(fish, HasSubstr("-s f -l file -r -F -d 'it\\'s a deployment file"));
  EXPECT_THAT(fish, HasSubstr("-l log -x -a 'text json' -d 'how logs look'"));
}

}  // namespace
}  // namespace weir::cli
