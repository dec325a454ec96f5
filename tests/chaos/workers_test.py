#!/usr/bin/python3
"""`weir workers` says of each whether it is alive, connected and consuming: each is false when it should be, and only then."""

import json
import os
import signal
import time

from kit import WEIR, Deployment, Suite, children, plugin, wait_for
from proxy import Proxy

YAML = """
engine: weir://127.0.0.1:{port}
broker: {{ data: {folder}/data, session_timeout: {session_timeout} }}
queues:
  work:
workers:
  w:
    plugin: {plugin}
    queues: [work]
    window: {{ messages: 16, bytes: 16MiB }}
    timeout: 60s
    drain: 2s
    with: {{ ledger: {ledger} }}
"""
ALL_WELL = (True, True, True)


class Watched:
    """One worker behind a proxy, and what is said of it."""

    def __init__(self, d):
        self.d = d
        d.broker()
        self.proxy = Proxy(d.port)
        file = d.folder / "proxied.yaml"
        file.write_text(d.file.read_text().replace(f":{d.port}", f":{self.proxy.port}"))
        self.process = d.start("worker", WEIR, "worker", file, "w")
        self.becomes(ALL_WELL)

    def said(self):
        """(alive, connected, consuming); None if it is not listed."""
        all_of_them = json.loads(self.d.weir("workers", "--json", "--engine", self.d.engine).stdout)
        assert len(all_of_them) <= 1, all_of_them
        return tuple(all_of_them[0][key] for key in ("alive", "connected", "consuming")) if all_of_them else None

    def becomes(self, *wanted, seconds=10.0):
        """Waits until one of them is said; what was said until then, each once, and how long it took."""
        begin, before = time.monotonic(), []

        def one():
            now = self.said()
            if now in wanted:
                return True
            if not before or before[-1] != now:
                before.append(now)
            return False
        try:
            wait_for(f"alive, connected, consuming are {wanted}", one, seconds, 0.05)
        except AssertionError as late:
            raise AssertionError(f"{late}; said was {before}") from None
        return before, time.monotonic() - begin

    def stays(self, wanted, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            now = self.said()
            assert now == wanted, f"{now}, not {wanted}"
            time.sleep(0.1)

    def signal(self, number):
        for pid in [self.process.pid, *children(self.process.pid)]:
            os.kill(pid, number)


def deployment(session_timeout):
    return Deployment(YAML, session_timeout=session_timeout, plugin=plugin("work"))


def stopped_process():
    """SIGSTOP: it is not alive before it is given up, and is again when it runs on."""
    with deployment("8s") as d:
        w = Watched(d)
        w.signal(signal.SIGSTOP)
        try:
            before, took = w.becomes((False, True, False), (False, False, False), seconds=8)
            assert took < 7.5, f"only after {took:.1f} s, when its session ends"
        finally:
            w.signal(signal.SIGCONT)
        w.becomes(ALL_WELL, seconds=3)
        return f"after {took:.1f} s of a session_timeout of 8 s"


def cut_connection():
    """It is not connected, while it is still alive; and both again once it gets through."""
    with deployment("8s") as d:
        w = Watched(d)
        w.proxy.fault = "refused"
        w.proxy.cut_all()
        before, took = w.becomes((True, False, False), seconds=4)
        assert set(before) <= {ALL_WELL}, before
        w.proxy.fault = None
        w.becomes(ALL_WELL, seconds=3)
        return f"after {took:.1f} s"


def blocked_loop():
    """A handler that blocks its loop: alive and connected, but not consuming. One that only takes long: all well."""
    with deployment("2s") as d:
        w = Watched(d)
        d.publish([{"number": 1, "action": "sleep", "millis": 4000}])
        wait_for("it runs", lambda: d.runs()[0])
        w.stays(ALL_WELL, 3)
        wait_for("it has run", lambda: d.runs()[1])
        d.publish([{"number": 2, "action": "block", "millis": 6000}])
        before, took = w.becomes((True, True, False), seconds=4)
        assert set(before) <= {ALL_WELL}, before
        w.stays((True, True, False), 1.5)
        wait_for("it has blocked", lambda: 2 in d.runs()[1])
        w.becomes(ALL_WELL, seconds=2)
        return f"after {took:.1f} s"


def idle_and_gone():
    """A worker with nothing to do stays well; one that has ended is listed no more."""
    with deployment("2s") as d:
        w = Watched(d)
        w.stays(ALL_WELL, 3)
        w.process.terminate()
        assert w.process.wait(10) == 0
        w.becomes(None, seconds=1)


def main():
    suite = Suite()
    suite.run("a stopped process is not alive", stopped_process)
    suite.run("a worker whose connections are cut is not connected", cut_connection)
    suite.run("a worker whose loop is blocked is not consuming", blocked_loop)
    suite.run("an idle worker is well, and one that ended is gone", idle_and_gone)
    suite.end()


if __name__ == "__main__":
    main()
