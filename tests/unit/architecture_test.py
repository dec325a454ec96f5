#!/usr/bin/python3
"""Includes point one way: each folder may know only what this table says (framework/README.md draws it)."""

import re
from pathlib import Path

import checks

ROOT = Path(__file__).resolve().parents[2]

# folder -> folders of framework/weir it may include. Its own folder is always allowed; '' is framework/weir itself, what
# authors include; 'v1' is the generated code of proto/weir/v1.
TALK = {"message", "protocol", "v1"}
ENGINE = TALK | {"handler", "async", "telemetry", "engine", ""}
MAY_INCLUDE = {
    "message": {"v1"},
    "protocol": {"message", "v1"},
    "telemetry": {"message"},
    "async": {"message", "telemetry"},
    "inherited": {"message", "telemetry"},
    "handler": {"message", "async", "telemetry"},  # telemetry: the levels and fields of Context::log
    "": {"message", "protocol", "v1", "handler", "async", "engine", "publisher", "worker"},
    "engine": TALK | {"async", "telemetry", "engine/weir", "engine/memory"},  # make.cpp chooses one by its URL
    "engine/weir": TALK | {"async", "telemetry", "engine"},
    # The same client machines as weir://, over a broker's core in this process.
    "engine/memory": TALK | {"async", "telemetry", "engine", "engine/weir", "broker/core"},
    "publisher": ENGINE,
    "worker": ENGINE | {"inherited"},
    "broker/core": TALK,
    "broker/store": TALK | {"broker/core", "telemetry"},
    "broker": TALK | {"broker/core", "broker/store", "async", "inherited", "telemetry"},
    # The reader fills in each part's settings; running them is the CLI's.
    "deployment": ENGINE | {"worker", "publisher", "broker", "broker/core", "inherited"},
}
FOLDERS = sorted(MAY_INCLUDE, key=len, reverse=True)

# What may be included only here (or, with '!', never here): a third party's header, or a clock.
PURE = ("message", "protocol", "broker/core")
NEVER = [
    (re.compile(r"#include <(boost/asio|zmq|lmdb|sys/socket|thread|mutex|fstream)"), PURE, "does I/O or threads"),
    (re.compile(r"(steady_clock|system_clock|high_resolution_clock)::now|\bclock_gettime\("), PURE, "reads a clock"),
]
ONLY = [
    (re.compile(r"#include [<\"]lmdb"), ("broker/store",), "LMDB is the store's"),
    (re.compile(r"#include [<\"]zmq"), ("async", "broker", "engine/weir"), "ZeroMQ is the pump's, broker's and weir://'s"),
]


def folder_of(path):
    """The table's folder of a path below framework/weir."""
    parent = str(Path(path).parent)
    parent = "" if parent == "." else parent
    for folder in FOLDERS:
        if folder and (parent == folder or parent.startswith(folder + "/")):
            return folder
    return parent


def findings(path, text):
    """What `text`, as framework/weir/`path`, includes against the rules: lines for people."""
    folder = folder_of(path)
    if folder not in MAY_INCLUDE:
        return [f"framework/weir/{path}: folder '{folder}' is not in the table of {Path(__file__).name}; add it"]
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        where = f"framework/weir/{path}:{number}"
        include = re.match(r'\s*#\s*include\s+[<"]weir/([^>"]+)[>"]', line)
        if include:
            target = "v1" if include[1].startswith("v1/") else folder_of(include[1])
            if target != folder and target not in MAY_INCLUDE[folder]:
                found.append(f"{where}: {folder or 'weir'}/ may not include {target or 'weir'}/ ({include[1]})")
        found += [f"{where}: {folder}/ {why}" for rule, folders, why in NEVER if folder in folders and rule.search(line)]
        found += [f"{where}: {why}" for rule, folders, why in ONLY if folder not in folders and rule.search(line)]
    return found


# What a file defines for itself, at the start of a line: a type, an alias, a constant; a function by its whole first line.
DEFINES = re.compile(r"(?:struct|class|enum class|enum|using) (\w+)(?: final)?(?: :[^;]*)?(?: \{| =)|constexpr [^=({]*?(\w+)(?: =|\{)|(\w[^;=]*\)(?: const)?) \{")


def defined_twice(sources):
    """Lines for people: names that two of `sources` (path: text), files of one folder, define in an unnamed namespace."""
    seen, found = {}, []
    for path, text in sources.items():
        inside = False
        for number, line in enumerate(text.splitlines(), 1):
            inside = line == "namespace {" or (inside and not line.startswith("}  // namespace"))
            match = DEFINES.match(line) if inside else None
            if not match:
                continue
            name = next(group for group in match.groups() if group)
            first = seen.setdefault(name, (path, line))
            if first[0] != path and not (line.startswith("using") and line == first[1]):
                found.append(f"{path}:{number}: {first[0]} defines '{name}' too, and a unity build makes one file of both")
    return found


def test_this_test_can_fail():
    planted = {
        ("broker/server.cpp", '#include "weir/worker/shard.hpp"'): "broker/ may not include worker/",
        ("worker/shard.cpp", '#include "weir/broker/core/core.hpp"'): "worker/ may not include broker/core/",
        ("engine/memory/x.cpp", '#include "weir/broker/server.hpp"'): "engine/memory/ may not include broker/",
        ("protocol/x.cpp", "#include <boost/asio.hpp>"): "does I/O",
        ("broker/core/x.cpp", "auto now = std::chrono::steady_clock::now();"): "reads a clock",
        ("engine/weir/x.cpp", "#include <lmdb.h>"): "LMDB is the store's",
        ("worker/x.cpp", "#include <zmq.hpp>"): "ZeroMQ is",
        ("worker/x.cpp", '#include "weir/engine/weir/keep_alive.hpp"'): "worker/ may not include engine/weir/",
        ("helpers/x.cpp", ""): "not in the table",
    }
    for (path, text), expected in planted.items():
        found = findings(path, text)
        assert len(found) == 1 and expected in found[0], f"planted in {path}: {text!r}, found {found}"
    assert not findings("engine/memory/x.cpp", '#include "weir/broker/core/core.hpp"\n#include "weir/engine/engine.hpp"')
    for line in ("struct Held {", "class Held final {", "constexpr int most = 3;", "int left(int a) {"):
        text = "namespace {\n" + line + "\n}  // namespace\n"
        assert len(defined_twice({"a.cpp": text, "b.cpp": text})) == 1, line
        assert not defined_twice({"a.cpp": text, "b.cpp": line}), line
    same, other = ("namespace {\nusing Held = " + of + ";\n}  // namespace\n" for of in ("int", "char"))
    assert defined_twice({"a.cpp": same, "b.cpp": other}) and not defined_twice({"a.cpp": same, "b.cpp": same})
    overloads = {f"{name}.cpp": "namespace {\nint left(" + name + ") {\n}  // namespace\n" for name in ("int", "char")}
    assert not defined_twice(overloads)


def test_includes_point_one_way():
    base = ROOT / "framework/weir"
    files = sorted(p for p in base.rglob("*") if p.suffix in (".hpp", ".cpp"))
    assert files, f"no sources under {base}"
    found = [line for p in files for line in findings(p.relative_to(base).as_posix(), p.read_text())]
    assert not found, "\n  ".join(["against the table:"] + found)


def test_the_broker_and_the_worker_meet_in_the_program_alone():
    """An example plugin includes what authors include, and nothing behind it."""
    found = []
    for p in sorted((ROOT / "workers/plugins").rglob("*.?pp")):
        for number, line in enumerate(p.read_text().splitlines(), 1):
            include = re.match(r'\s*#\s*include\s+[<"]weir/(.+)[>"]', line)
            if include and include[1] not in ("handler.hpp", "testing.hpp"):
                found.append(f"{p.relative_to(ROOT)}:{number}: a plugin includes <weir/handler.hpp>, not {include[1]}")
    assert not found, "\n  ".join(["not for authors:"] + found)


def test_files_of_a_folder_can_be_compiled_as_one():
    """Most builds do so, eight at a time: which eight changes with every file that is added."""
    found = []
    for folder in sorted({p.parent for top in ("framework/weir", "workers/plugins") for p in (ROOT / top).rglob("*.cpp")}):
        found += defined_twice({p.relative_to(ROOT).as_posix(): p.read_text() for p in sorted(folder.glob("*.cpp"))})
    assert not found, "\n  ".join(["defined twice:"] + found)


if __name__ == "__main__":
    checks.run(globals())
