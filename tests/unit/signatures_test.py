#!/usr/bin/python3
"""A handler of a wrong signature does not compile, and the first thing that the compiler says is what to write."""

import json
import os
import re
import shlex
import subprocess
import tempfile
from pathlib import Path

import checks

BUILD = Path(os.environ.get("WEIR_BUILD", Path(__file__).resolve().parents[2] / "build"))

# What stands after `#line N`: one wrong use a line, and a part of the sentence that it is answered with.
WRONG = {
    "plugin.on<shop::OrderPlaced>(q, [](weir::Context&, const shop::OrderPlaced&) {});":
        "a handler must return weir::task<>, weir::task<weir::End> or weir::task<weir::Outcome>",
    "plugin.on<shop::OrderPlaced>(q, [](const shop::OrderPlaced&) -> weir::task<> { co_return; });":
        "a handler of Message must take (weir::Context&, const Message&), in this order",
    "plugin.on<shop::OrderPlaced>(q, [](weir::Context&, shop::OrderPlaced&) -> weir::task<> { co_return; });":
        "a handler of Message must take (weir::Context&, const Message&), in this order",
    "plugin.on<shop::OrderPlaced>(q, [](weir::Context&, const shop::Confirmation&) -> weir::task<> { co_return; });":
        "a handler of Message must take (weir::Context&, const Message&), in this order",
    "plugin.on<std::string>(q, [](weir::Context&, const std::string&) -> weir::task<> { co_return; });":
        "a handler's message must be a Protobuf message",
    "plugin.on_raw(q, \"text\", [](weir::Context&, int) -> weir::task<> { co_return; });":
        "a handler of undecoded payloads must take (weir::Context&, std::string_view), in this order",
    "plugin.on_raw(q, \"text\", [](weir::Context&, std::string_view) {});":
        "a handler must return weir::task<>, weir::task<weir::End> or weir::task<weir::Outcome>",
    "(void)weir::testing::run([](weir::Context&, const shop::OrderPlaced&) {}, shop::OrderPlaced());":
        "a handler must return weir::task<>, weir::task<weir::End> or weir::task<weir::Outcome>",
}
HEAD = ('#include "weir/handler.hpp"\n#include "weir/testing.hpp"\n#include "shop/shop.pb.h"\n'
        "void wrong(weir::Plugin& plugin, std::string_view q) {\n")


def command():
    """How the build compiles testing_test.cpp, without what it writes."""
    for entry in json.loads((BUILD / "compile_commands.json").read_text()):
        if entry["file"].endswith("tests/unit/testing_test.cpp"):
            words = [w for w in shlex.split(entry["command"]) if "ccache" not in w and w != "-c"]
            at = words.index("-o")
            return words[:at] + words[at + 2:-1] + ["-fsyntax-only", "-fno-diagnostics-color"], entry["directory"]
    raise AssertionError("compile_commands.json does not name testing_test.cpp")


def errors_of(text):
    """(line of the source that it is about, error) of each error that the compiler reports."""
    words, folder = command()
    with tempfile.NamedTemporaryFile("w", suffix=".cpp") as source:
        source.write(text)
        source.flush()
        said = subprocess.run(words + [source.name], cwd=folder, capture_output=True, text=True).stderr
        # g++ says where an error comes from before it, clang after it.
        lines = said.splitlines()
        if "clang" in words[0]:
            lines.reverse()
        errors, about = [], None
        for line in lines:
            place = re.match(re.escape(source.name) + r":(\d+):\d+:", line)
            if place:
                about = int(place[1])
            error = re.match(r".*?: error: (.*)", line)
            if error:
                errors.append((about, error[1]))
        return errors, said


def test_each_wrong_signature_is_answered_with_one_sentence():
    errors, said = errors_of(HEAD + "\n".join(WRONG) + "\n}\n")
    first = HEAD.count("\n") + 1
    for number, (use, sentence) in enumerate(WRONG.items(), first):
        of_it = [error for line, error in errors if line == number]
        assert of_it and sentence in of_it[0], f"{use}\n  gives {of_it}\n{said[:3000]}"
        assert len(of_it) == 1, f"{use}\n  gives more than the sentence: {of_it}"


def test_right_ones_compile():
    right = ["plugin.on<shop::OrderPlaced>(q, [](weir::Context&, const shop::OrderPlaced&) -> weir::task<> { co_return; });",
             "plugin.on<shop::OrderPlaced>(q, [](auto&, const auto&) -> weir::task<weir::End> { co_return weir::acked(); });",
             "plugin.on_raw(q, \"text\", [](weir::Context&, std::string_view) -> weir::task<> { co_return; });"]
    errors, said = errors_of(HEAD + "\n".join(right) + "\n}\n")
    assert not errors, said[:3000]


if __name__ == "__main__":
    checks.run(globals())
