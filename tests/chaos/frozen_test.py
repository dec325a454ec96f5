#!/usr/bin/python3
"""A worker whose process is stopped is replaced, unless somebody debugs it; and nobody is, who only waits.

    frozen_test.py [--only NAME] [--long]
"""

import argparse
import ctypes
import os
import pathlib
import signal
import time

from kit import WEIR, Deployment, Suite, children, kill, plugin, wait_for

YAML = """
engine: weir://127.0.0.1:{port}
broker: {{ data: {folder}/data, session_timeout: {session_timeout}s }}
queues:
  work: {{ attempts: 1, backoff: {{ first: 20ms, most: 100ms }} }}
workers:
  w:
    plugin: {plugin}
    queues: [work]
    window: {{ messages: 64, bytes: 16MiB }}
    timeout: 20s
    drain: 2s
    with: {{ ledger: {ledger} }}
"""
SESSION_TIMEOUT = 1
# Three session timeouts; how often it looks, and what a busy machine takes.
REPLACED_WITHIN = 3 * SESSION_TIMEOUT + 1 + 3
MUCH_LONGER = 6 * SESSION_TIMEOUT
PTRACE_SEIZE, PTRACE_INTERRUPT, PTRACE_DETACH, WALL = 0x4206, 0x4207, 17, 0x40000000


class Group(Deployment):
    """`weir up` of one worker."""

    def __init__(self):
        super().__init__(YAML, plugin=plugin("work"), session_timeout=SESSION_TIMEOUT)

    def up(self):
        self.supervisor = self.start("up", WEIR, "up", self.file)
        wait_for("a worker", lambda: any(w["connected"] for w in self.workers() or []))
        return self.pair()

    def pair(self):
        """Process ids of the worker's parent and child; nothing while there are none."""
        for parent in children(self.supervisor.pid):
            try:
                is_worker = b"\0worker\0" in pathlib.Path(f"/proc/{parent}/cmdline").read_bytes()
            except OSError:
                continue  # it has just ended
            if is_worker and (below := children(parent)):
                return parent, below[0]
        return None

    def log(self):
        return (self.folder / "up.log").read_text(errors="replace")

    def handled(self, *numbers):
        wait_for(f"{numbers} handled", lambda: all(self.runs()[1][n] for n in numbers), 10)

    def ends(self, charged=0):
        counts = wait_for("settled", self.settled, 20)
        assert counts["dead"] == charged and counts["retried"] == 0, counts
        self.supervisor.terminate()
        assert self.supervisor.wait(20) == 0, self.log()[-600:]


def by_an_operator():
    """Stopped from outside with messages in hand: another takes its place, and nobody is charged."""
    with Group() as d:
        parent, child = d.up()
        d.publish([{"number": n, "action": "sleep", "millis": 300} for n in range(20)])
        wait_for("they run", lambda: len(d.runs()[0]) == 20)
        os.kill(child, signal.SIGSTOP)
        begin = time.monotonic()
        wait_for("it is killed", lambda: "worker_is_frozen" in d.log(), REPLACED_WITHIN)
        took = time.monotonic() - begin
        assert took > 2 * SESSION_TIMEOUT, f"after {took:.1f} s"
        wait_for("another works", lambda: (pair := d.pair()) and pair[1] != child)
        d.handled(*range(20))
        d.ends()
        return f"after {took:.1f} s"


def by_a_handler():
    """A handler stops its own process, each time: it alone is charged, and the others are handled."""
    with Group() as d:
        d.up()
        d.publish([{"number": n, "action": "poison", "poison": "sigstop"} if n == 5 else
                   {"number": n, "action": "sleep", "millis": 200} for n in range(12)])
        wait_for("it is a dead letter", lambda: (q := d.queue()) and q["dead"] == 1, 6 * REPLACED_WITHIN)
        d.handled(*[n for n in range(12) if n != 5])
        starts, _ = d.runs()
        # Suspected, tried with others, tried alone: and once more where it was sent among those others.
        assert starts[5] <= 4, f"the poison was started {starts[5]} times"
        d.ends(charged=1)
        return f"{starts[5]} starts"


def while_it_is_traced():
    """A debugger holds it: that is said, once, and it is let be; let go, it works on."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long] * 4

    def trace(request, pid):
        if libc.ptrace(request, pid, 0, 0) != 0:
            raise AssertionError(f"ptrace {request}: {os.strerror(ctypes.get_errno())}")

    with Group() as d:
        _, child = d.up()
        threads = [int(each.name) for each in pathlib.Path(f"/proc/{child}/task").iterdir()]
        for each in threads:  # all from this thread: it is the tracer
            trace(PTRACE_SEIZE, each)
            trace(PTRACE_INTERRUPT, each)
            os.waitpid(each, WALL)
        wait_for("it is said", lambda: "worker_is_traced" in d.log(), REPLACED_WITHIN)
        time.sleep(MUCH_LONGER)
        for each in threads:
            trace(PTRACE_DETACH, each)
        d.publish([{"number": 1, "action": "ack"}])
        d.handled(1)
        assert d.pair()[1] == child and d.log().count("worker_is_traced") == 1, d.log()[-600:]
        d.ends()


def while_the_broker_is_away(seconds=MUCH_LONGER):
    """It counts whether there is a broker or not."""
    with Group() as d:
        broker = d.broker()
        worker = d.worker()
        wait_for("it works", lambda: any(w["connected"] for w in d.workers() or []))
        child = children(worker.pid)[0]
        kill(broker)
        time.sleep(seconds)
        d.broker()
        d.publish([{"number": 1, "action": "ack"}])
        d.handled(1)
        assert children(worker.pid) == [child], "it was replaced"
        worker.terminate()
        assert worker.wait(15) == 0


def while_both_are_stopped(seconds=MUCH_LONGER):
    """A machine that slept: who did not look has seen nothing, and gives a fresh time."""
    with Group() as d:
        parent, child = d.up()
        os.kill(parent, signal.SIGSTOP)
        os.kill(child, signal.SIGSTOP)
        time.sleep(seconds)
        os.kill(parent, signal.SIGCONT)
        time.sleep(SESSION_TIMEOUT)
        os.kill(child, signal.SIGCONT)
        d.publish([{"number": 1, "action": "ack"}])
        d.handled(1)
        assert d.pair() == (parent, child) and "worker_is_frozen" not in d.log(), d.log()[-600:]
        d.ends()


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--only", default="")
    options.add_argument("--long", action="store_true")
    args, _ = options.parse_known_args()
    suite = Suite()
    suite.run_all([("stopped by an operator, it is replaced and nobody charged", by_an_operator),
                   ("stopped by a handler, that one is charged", by_a_handler),
                   ("traced, it is let be", while_it_is_traced),
                   ("the broker away, it is let be", while_the_broker_is_away, *[60] * args.long),
                   ("both stopped, it is let be", while_both_are_stopped, *[60] * args.long)], args.only, sanitized_at_once=3)
    suite.end()


if __name__ == "__main__":
    main()
