#!/usr/bin/python3
"""The real store, killed in the midst of commits and robbed of its disk, compared with a model; and planted faults.

    store_kill_test.py [--kills 40] [--losses 100] [--seed N]

A kill counts only if a commit was under way. The same seed makes the same batches; the instant of a kill is the machine's.
Power losses and failed syncs are the same ones too.
"""

import argparse
import random
import signal
import subprocess

from kit import BUILD, Suite


def run(*options):
    done = subprocess.run([BUILD / "bin" / "store_kill", *map(str, options)], capture_output=True, text=True, check=False)
    return done.returncode, "; ".join((done.stdout + done.stderr).splitlines())


def holds(seed, *options):
    status, said = run("--seed", seed, *options)
    assert status == 0, f"{said or 'exit code ' + str(status)}; seed {seed}"
    return f"{said}; seed {seed}"


def is_found(seed, *options):
    status, said = run("--seed", seed, *options)
    # LMDB itself may fall over what such a loss leaves.
    assert status in (1, -signal.SIGSEGV, -signal.SIGBUS), f"exit code {status}: {said}; seed {seed}"


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--kills", type=int, default=40)
    options.add_argument("--losses", type=int, default=100)
    options.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    args, _ = options.parse_known_args()
    suite = Suite()
    suite.run("kill -9 in the midst of commits: each is there, whole or not at all", holds, args.seed, "--kills",
              args.kills, "--losses", 0)
    suite.run("power loss and a failing disk in the midst of commits: the same, and none that failed is confirmed", holds,
              args.seed, "--kills", 0, "--losses", args.losses)
    suite.run("a batch in two transactions is found", is_found, args.seed, "--plant", "torn", "--kills", 0, "--losses", 100)
    suite.run("a store that does not sync is found", is_found, args.seed, "--plant", "unsynced", "--kills", 0,
              "--losses", 100)
    suite.end()


if __name__ == "__main__":
    main()
