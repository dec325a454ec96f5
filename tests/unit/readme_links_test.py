#!/usr/bin/python3
"""What the READMEs name is there: links, source files, and the tests that are said to prove promises."""

import re
import subprocess
from pathlib import Path

import checks

ROOT = Path(__file__).resolve().parents[2]
TRACKED = subprocess.run(["git", "-C", ROOT, "ls-files", "-co", "--exclude-standard"], capture_output=True, text=True,
                         check=True).stdout.splitlines()
PAGES = [ROOT / name for name in TRACKED if name.endswith(".md")]


def test_links_lead_somewhere():
    found = [f"{page.relative_to(ROOT)}: {link}" for page in PAGES
             for link in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", page.read_text())
             if not (page.parent / link).exists()]
    assert not found, f"links to nothing: {found}"


def test_source_files_that_are_named_exist():
    names = {Path(name).name for name in TRACKED}
    found = []
    for page in (ROOT / "README.md", ROOT / "framework/README.md"):
        text = re.sub(r"```.*?```", "", page.read_text(), flags=re.S)
        for name in re.findall(r"`([^`\s]*\.(?:cpp|hpp|proto|py))`", text):
            if "*" not in name and Path(name).name not in names:
                found.append(f"{page.relative_to(ROOT)}: {name}")
    assert not found, f"files that are not there: {found}"


def test_tests_that_are_named_exist():
    sources = "\n".join((ROOT / name).read_text() for name in TRACKED
                        if name.startswith(("tests/", "workers/")) and name.endswith((".cpp", ".py")))
    known = {f"{suite}.{name}" for suite, name in re.findall(r"\bTEST(?:_[FP])?\(\s*(\w+),\s*(\w+)\)", sources)}
    known |= set(re.findall(r"^def (test_\w+)", sources, flags=re.M))
    for page in ("README.md", "tests/README.md"):
        named = re.findall(r"`([A-Z]\w+\.[A-Z]\w+|test_\w+)`", (ROOT / page).read_text())
        assert named, f"{page} names no test: each promise, and each bad input, should have one"
        missing = [name for name in named if name not in known]
        assert not missing, f"{page} names tests that are not there: {missing}"


if __name__ == "__main__":
    checks.run(globals())
