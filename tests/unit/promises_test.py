#!/usr/bin/python3
"""What tests/README.md says holds a promise, and tests/RULES.md a rule, is there: the place in the code, the simulator's
check, the test, the planted fault."""

import re
import subprocess
from pathlib import Path

import checks

ROOT = Path(__file__).resolve().parents[2]
TRACKED = subprocess.run(["git", "-C", ROOT, "ls-files", "-co", "--exclude-standard"], capture_output=True, text=True,
                         check=True).stdout.splitlines()


def text_of(folders, endings):
    return "\n".join((ROOT / name).read_text() for name in TRACKED
                     if name.startswith(folders) and name.endswith(endings) and (ROOT / name).exists())


def rows():
    """(name, code, simulator, tests) of each row of the two tables."""
    section = (ROOT / "tests/README.md").read_text().split("## Promises and rules", 1)[1].split("\n## ", 1)[0]
    for line in section.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("|") and len(cells) == 4 and not set(cells[0]) <= set("-") and cells[1] != "in code":
            yield cells


def rules():
    """(rule, code, seen by, planted fault) of each row of RULES.md."""
    for line in (ROOT / "tests/RULES.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("|") and not set(cells[0]) <= set("-") and cells[1:2] != ["kept in"]:
            yield cells


def names(cell):
    return re.findall(r"`([^`]+)`", cell)


TAG = re.compile(r"^ *// RULE: (\w+)$", re.M)
SOURCE = {name: (ROOT / name).read_text() for name in TRACKED
          if name.startswith("framework/weir/") and name.endswith((".cpp", ".hpp")) and (ROOT / name).exists()}


def defines(text, name):
    """Whether a function, a type or a constant of that name is defined or declared there."""
    return re.search(rf"\b{re.escape(name)}\s*\(", text) or re.search(
        rf"\b(?:struct|class|enum class|constexpr [\w:<> ]+?) {re.escape(name.split('::')[-1])}\b", text)


def is_code(name):
    """FILE#NAME is a function, a type or a constant; FILE@TAG is where `// RULE: TAG` stands."""
    path, sign, what = re.fullmatch(r"([^#@]+)([#@])(.+)", name).groups()
    text = SOURCE.get(f"framework/weir/{path}", "")
    if sign == "@":
        return TAG.findall(text).count(what) == 1
    return re.fullmatch(r"[\w:]+", what) and defines(text, what)


def code_of(cell):
    return [name for name in names(cell) if re.match(r"[\w/]+\.[ch]pp[#@]", name)]


CHECKS = set(re.findall(r'"([a-z]+(?:_[a-z]+)+)"', text_of(("tests/simulation/",), (".cpp", ".hpp"))))
SOURCES = text_of(("tests/", "workers/"), (".cpp", ".py"))
TESTS = {f"{suite}.{name}" for suite, name in re.findall(r"\bTEST(?:_[FP])?\(\s*(\w+),\s*(\w+)\)", SOURCES)}
TESTS |= set(re.findall(r"^def (test_\w+)", SOURCES, flags=re.M))


def test_every_promise_has_a_row():
    found = [row[0] for row in rows()]
    numbers = [int(name.split(".")[0]) for name in found if name[0].isdigit()]
    assert numbers == list(range(1, 13)), f"the promises are 1 to 12, the table has {numbers}"
    assert len(found) >= 25, f"{len(found)} rows: where are the rules?"


def test_no_cell_is_empty_without_saying_why():
    found = [row[0] for row in rows() if not all(names(cell) or cell.startswith("–") for cell in row[1:])]
    assert not found, f"rows with an empty cell: {found}"


def test_places_in_the_code_exist():
    missing = [name for row in rows() for name in code_of(row[1]) if not is_code(name)]
    assert not missing, f"not in framework/weir: {missing}"


def test_every_tag_in_the_code_stands_in_a_table():
    there = {f"{name.removeprefix('framework/weir/')}@{tag}" for name, text in SOURCE.items() for tag in TAG.findall(text)}
    told = {name for row in [*rows(), *rules()] for name in code_of(row[1])}
    assert not there - told, f"`// RULE:` without a row in tests/README.md or RULES.md: {sorted(there - told)}"
    assert len(there) >= 60, f"only {len(there)} tags: where are they?"


def test_checks_of_the_simulator_exist():
    missing = [name for row in rows() for name in names(row[2]) if name not in CHECKS]
    assert not missing, f"not in tests/simulation: {missing}"


def test_tests_exist():
    missing = [name for row in rows() for name in names(row[3])
               if name not in TESTS and not (name.startswith("tests/") and (ROOT / name).exists())]
    assert not missing, f"no such tests: {missing}"


def test_each_rule_has_its_four_cells():
    wrong = [row[0] for row in rules() if len(row) != 4 or not all(row) or not (names(row[3]) or row[3].startswith("–"))]
    assert not wrong, f"rows of RULES.md without their cells: {wrong}"


def test_what_sees_a_rule_broken_exists():
    missing = [name for row in rules() for name in code_of(row[1]) if not is_code(name)]
    missing += [name for row in rules() for name in names(row[2])
                if not (name in CHECKS or name in TESTS or (ROOT / name).exists() or ("." not in name and "/" not in name))]
    assert not missing, f"RULES.md names what is not there: {missing}"


def test_each_planted_fault_stands_with_its_rule():
    there = {path.stem for path in (ROOT / "tests/simulation/mutants").glob("*.fault")}
    named = {name for row in rules() if not row[3].startswith("–") for name in names(row[3])}
    assert named <= there, f"RULES.md names faults that are not there: {sorted(named - there)}"
    assert len(named) >= 100, f"only {len(named)} faults stand with a rule"


if __name__ == "__main__":
    checks.run(globals())
