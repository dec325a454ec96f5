/// Shell completion and man pages.

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>

#include "commands.hpp"
#include "completion.hpp"
#include "man_page.hpp"

namespace weir::cli {
namespace {

std::size_t write_pages(const CommandInfo& command, const CommandInfo& root, const std::filesystem::path& folder) {
  const auto file = folder / man_name(command);
  errno = 0;
  std::ofstream page(file);
  page << man_page(command, root, WEIR_VERSION);
  page.close();
  if (!page) throw Error("cannot write " + file.string() + ": " + std::strerror(errno));
  std::size_t count = 1;
  for (const CommandInfo& one : command.commands) count += write_pages(one, root, folder);
  return count;
}

}  // namespace

int completion(const CompletionOptions& options, const CommandInfo& root) {
  std::cout << (options.shell == "bash"  ? bash_completion(root)
                : options.shell == "zsh" ? zsh_completion(root)
                                         : fish_completion(root));
  return done;
}

int man(const ManOptions& options, const CommandInfo& root) {
  std::error_code error;
  std::filesystem::create_directories(options.folder, error);
  if (error) throw Error("cannot make folder " + options.folder + ": " + error.message());
  std::cout << write_pages(root, root, options.folder) << " pages in " << options.folder << "\n";
  return done;
}

}  // namespace weir::cli
