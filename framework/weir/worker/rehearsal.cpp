#include "weir/worker/rehearsal.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <cstdlib>
#include <string>
#include <vector>

#include "weir/handler/plugin_file.hpp"
#include "weir/worker/plugin_code.hpp"
#include "weir/worker/plugin_library.hpp"
#include "weir/worker/registry.hpp"
#include "weir/worker/thrown.hpp"

namespace weir::worker {
namespace {

std::vector<Registry::Finding> findings_of(const GroupSettings& settings) {
  try {
    const RegisterPlugin registration = load_plugin(settings.plugin);
    auto& loop = *new asio::io_context(1);  // never freed, as the plugin's objects in it are not either
    auto& code = *new PluginCode(loop);
    auto& registry = *new Registry(settings, 0, code.executor());
    registration(registry);
    return registry.findings();
  } catch (const handler::PluginError& error) {
    return {{"plugin", error.what()}};
  } catch (...) {
    return {{"plugin", "registering its handlers failed: " + thrown_text()}};
  }
}

void write_all(std::string_view text) {
  while (!text.empty()) {
    const ssize_t wrote = write(findings_fd, text.data(), text.size());
    if (wrote <= 0) std::_Exit(1);  // the reader is gone
    text.remove_prefix(static_cast<std::size_t>(wrote));
  }
}

}  // namespace

void rehearse(const GroupSettings& settings) {
  fcntl(findings_fd, F_SETFD, FD_CLOEXEC);
  dup2(STDERR_FILENO, STDOUT_FILENO);  // the plugin's prints are not the command's output
  std::string lines;
  for (const Registry::Finding& each : findings_of(settings)) {
    std::string text = each.text;
    std::replace_if(
        text.begin(), text.end(), [](char c) { return c == '\n' || c == '\t'; }, ' ');
    lines += each.key + "\t" + text + "\n";
  }
  write_all(lines + rehearsed_line + "\n");
  std::_Exit(0);
}

}  // namespace weir::worker
