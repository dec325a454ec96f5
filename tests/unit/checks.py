"""Runs a script's tests: a line each, as tests/run reads them."""

import sys


def run(tests):
    """`tests` is the script's globals(); ends with 1 if one failed."""
    failed = 0
    for name, test in [(key, value) for key, value in tests.items() if key.startswith("test_")]:
        try:
            test()
            print("PASS", name)
        except AssertionError as error:
            failed = 1
            print(f"FAIL {name}: {error}")
    sys.exit(failed)
