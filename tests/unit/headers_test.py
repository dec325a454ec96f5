#!/usr/bin/python3
"""What authors include compiles by itself: each header that a plugin or a publisher may include, in a file of its own."""

import concurrent.futures
import subprocess
from pathlib import Path

import checks

FRAMEWORK = Path(__file__).resolve().parents[2] / "framework"
FOR_AUTHORS = ["weir/handler.hpp", "weir/publisher.hpp", "weir/async/*.hpp"]


def fault(header):
    done = subprocess.run(["g++", "-std=c++20", "-fsyntax-only", "-Wall", "-Wextra", f"-I{FRAMEWORK}", "-x", "c++", "-"],
                          input=f'#include "{header}"\n', capture_output=True, text=True)
    return f"{header}: {next((line for line in done.stderr.splitlines() if 'error' in line), done.stderr[:300])}" \
        if done.returncode else None


def test_each_header_for_authors_compiles_by_itself():
    headers = sorted(str(path.relative_to(FRAMEWORK)) for pattern in FOR_AUTHORS for path in FRAMEWORK.glob(pattern))
    assert len(headers) > 10, headers
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        found = [each for each in pool.map(fault, headers) if each]
    assert not found, "\n  ".join(found)


if __name__ == "__main__":
    checks.run(globals())
