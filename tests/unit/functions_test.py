#!/usr/bin/python3
"""Functions of the framework and of the workers are short, and take few parameters.

It reads text, not C++: what it takes for a function has a name, parentheses, and a body in braces. Lambdas are part of what
they stand in.
"""

import re
import subprocess
from pathlib import Path

import checks

ROOT = Path(__file__).resolve().parents[2]
LINES_MOST = 60
PARAMETERS_MOST = 6
# What cannot be otherwise, and why.
ALLOWED = {
    "posix_spawn": "the C library's own parameters",
    "posix_spawnp": "the C library's own parameters",
    "Headers": "one parameter for each header that is listed (handler/context.hpp says why)",
}
NO_FUNCTION = {"if", "for", "while", "switch", "catch", "return", "requires"}
SILENT = re.compile(r'//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])\'')
NAME = re.compile(r"([A-Za-z_~][\w:~]*)\s*\(")
BEHIND = re.compile(r"(?:\s|const\b|noexcept\b|override\b|final\b|->\s*[\w:<>]+)*")


def silenced(text):
    """Comments and literals blanked, so that brackets in them do not count."""
    return SILENT.sub(lambda found: " " * len(found[0]), text)


def behind_pair(text, at):
    """Where what was opened just before `at` ends."""
    depth = 1
    while depth and at < len(text):
        depth += text[at] in "([{"
        depth -= text[at] in ")]}"
        at += 1
    return at


def parameters(text):
    """How many stand between a function's parentheses."""
    if not text.strip():
        return 0
    depth, count = 0, 1
    for i, c in enumerate(text):
        depth += c in "([{<"
        depth -= c in ")]}" or (c == ">" and text[i - 1] != "-")
        count += c == "," and depth == 0
    return count


def functions(text):
    """(name, line, parameters, lines) of each function that is defined in this text."""
    text = silenced(text)
    for found in NAME.finditer(text):
        end = behind_pair(text, found.end())
        body = BEHIND.match(text, end).end()
        if found[1] in NO_FUNCTION or text[body:body + 1] != "{":
            continue
        lines = text.count("\n", body, behind_pair(text, body + 1)) + 1
        yield found[1], text.count("\n", 0, found.start()) + 1, parameters(text[found.end():end - 1]), lines


def findings(text, name):
    for function, line, count, lines in functions(text):
        if count > PARAMETERS_MOST and function.split("::")[-1] not in ALLOWED:
            yield f"{name}:{line}: {function} takes {count} parameters, at most {PARAMETERS_MOST}: put what belongs together into a struct"
        if lines > LINES_MOST:
            yield f"{name}:{line}: {function} has {lines} lines, at most {LINES_MOST}: name its parts"


def test_it_finds_what_is_too_long_and_what_takes_too_much():
    many = "int many(int a, std::map<int, int> b, int c, int d, int e, int f, int g) const {\n  return 1;\n}\n"
    long = "void A::lengthy(char c = '{') {\n" + "  // }\n" * 60 + "}\n"
    few = 'void few(const std::map<int, int>& a, std::function<int(int, int)> b) { say(") {"); }\n'
    assert [finding.split(" ", 2)[1] for finding in findings(many + long + few, "x.cpp")] == ["many", "A::lengthy"]
    assert [count for _, _, count, _ in functions(many + few)] == [7, 2]


def test_functions_are_short_and_take_few_parameters():
    names = subprocess.run(["git", "-C", ROOT, "ls-files", "framework/*.?pp", "workers/*.?pp"], capture_output=True,
                           text=True, check=True).stdout.splitlines()
    assert len(names) > 200, f"{len(names)} sources: where are they?"
    found = [finding for name in names if (ROOT / name).exists() for finding in findings((ROOT / name).read_text(), name)]
    assert not found, "\n  ".join(["", *found])


if __name__ == "__main__":
    checks.run(globals())
