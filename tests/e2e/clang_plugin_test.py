#!/usr/bin/python3
"""A plugin that clang 16 built runs in a `weir` that g++ built: coroutines, exceptions and timeouts across the two."""

import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from deployment import BUILD, ROOT, WEIR, Deployment, Skipped, main

# What g++ 12 would destroy twice is in it.
PLUGIN = r"""
#include <memory>
#include <string>
#include <vector>
#include <weir/handler.hpp>

using namespace std::chrono_literals;

struct Request {
  std::string url;
  std::vector<std::string> words;
};

weir::task<std::size_t> post(Request request) {
  co_await weir::sleep(1ms);
  co_return request.url.size() + request.words.size();
}
weir::task<> refuse(std::string why) {
  co_await weir::sleep(1ms);
  throw weir::Reject(std::move(why));
}
weir::task<> handle(weir::Context& ctx, std::string_view payload, weir::Semaphore& four) {
  const std::string text(payload);
  const std::size_t posted = co_await weir::timeout(5s, weir::limit(four, post(Request{.url = text, .words = {text, text}})));
  const std::size_t size = co_await weir::offload([&] { return text.size(); });
  co_await (weir::sleep(1ms) && weir::sleep(2ms));
  if (text == "reject") co_await (weir::sleep(1h) && refuse("asked to reject"));
  if (text == "retry" && ctx.attempt() == 1) throw weir::Retry(10ms, "again");
  if (text == "late") co_await weir::timeout(10ms, weir::sleep(1h));
  if (text == "throw") throw 42;
  ctx.publish_raw("out", "text", std::to_string(posted + size), {.headers = {{"of", text}}});
}
WEIR_PLUGIN(plugin) {
  const auto four = std::make_shared<weir::Semaphore>(4);
  plugin.on_raw("in", "text", [four](weir::Context& ctx, std::string_view payload) { return handle(ctx, payload, *four); });
}
"""
FILE = """
engine: weir://127.0.0.1:${PORT}
broker: { data: "${FOLDER}/data" }
queues:
  in: { attempts: 2, backoff: { first: 10ms, most: 20ms } }
  out:
workers:
  clang: { plugin: "${PLUGIN}", queues: [in], timeout: 10s }
"""


def setting(name):
    found = re.search(rf"^{name}:\w+=(.*)$", (BUILD / "CMakeCache.txt").read_text(), re.MULTILINE)
    return found[1] if found else ""


def build_plugin(folder):
    """The plugin and its deployment file, in that folder."""
    clang = shutil.which("clang++-16")
    if not clang:
        raise Skipped("clang++-16")
    source, plugin, file = (Path(folder) / name for name in ("plugin.cpp", "plugin.so", "clang.yaml"))
    source.write_text(PLUGIN)
    file.write_text(FILE)
    built = subprocess.run([clang, "-std=c++20", "-O2", "-fPIC", "-shared", f"-I{ROOT}/framework", source, "-o", plugin,
                            "-lprotobuf"], capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    return plugin, file


def test_a_plugin_of_clang_16_works_in_a_host_of_gnu():
    with tempfile.TemporaryDirectory() as folder:
        plugin, file = build_plugin(folder)
        count = 500
        with Deployment(file, PORT="{port}", FOLDER="{folder}", PLUGIN=plugin) as weir:
            lines = [f"message {i}" for i in range(count)] + ["reject", "retry", "late", "throw"]
            weir.answer("publish", "in", input="".join(line + "\n" for line in lines).encode())
            weir.settled("in")
            assert weir.queue("in")["acked"] == count + 1 and weir.queue("out")["ready"] == count + 1, weir.queue("in")
            told = {letter["last_error"] for letter in weir.dead("in")}
            assert told == {"asked to reject", "timed out after 10ms", "threw int, which is no std::exception"}, told


def test_a_plugin_without_the_hosts_sanitizer_is_refused():
    with tempfile.TemporaryDirectory() as folder:
        plugin, file = build_plugin(folder)
        file.write_text(FILE.replace("${PORT}", "7733").replace("${FOLDER}", folder).replace("${PLUGIN}", str(plugin)))
        result = subprocess.run([WEIR, "check", file], capture_output=True, text=True, timeout=60)
        assert result.returncode == 2 and re.search("was built with no sanitizer, this weir with the .* sanitizer",
                                                       result.stderr), result


# One of the two is about this host: g++'s without a sanitizer, or one with a sanitizer.
if "clang" in setting("CMAKE_CXX_COMPILER") or setting("WEIR_SANITIZE"):
    del test_a_plugin_of_clang_16_works_in_a_host_of_gnu
else:
    del test_a_plugin_without_the_hosts_sanitizer_is_refused

if __name__ == "__main__":
    main(globals())
