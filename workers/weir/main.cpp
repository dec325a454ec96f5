/// The command line program: reads what was typed, runs the command, reports what it throws.

#include <exception>
#include <iostream>

#include "commands.hpp"
#include "parse.hpp"
#include "weir/deployment/deployment.hpp"
#include "weir/telemetry/log.hpp"

int main(int count, char** words) {
  using namespace weir;
  const cli::CommandLine line = cli::parse(count, words);
  if (!line.run) return line.exit_code;
  log::configure({.json = line.log.json, .level = *log::parse_level(line.log.level)});
  try {
    return line.run();
  } catch (const deployment::FileError& error) {
    std::cerr << error.what();  // a line a finding
    return cli::wrong_usage;
  } catch (const cli::UsageError& error) {
    std::cerr << "weir: " << error.what() << "\n";
    return cli::wrong_usage;
  } catch (const std::exception& error) {
    std::cerr << "weir: " << error.what() << "\n";
    return cli::failed;
  }
}
