"""The processes of a storm, and everything that may happen to them."""

import errno
import os
import random
import shutil
import signal
import subprocess
import time

from kit import WEIR, Deployment, children, plugin, wait_for
from ledger import BrokerLog
from machines import FarMachine, Shim, set_loopback
from proxy import FAULTS, Proxy
from publishers import Numbers, Publisher

SESSION_TIMEOUT = 3.0
HANDLER_TIMEOUT = 2.0
YAML = """
engine: weir://127.0.0.1:{proxy}
broker: {{ data: {data}, listen: "127.0.0.1:{port}", session_timeout: 3s, reserve: 16MiB }}
queues:
  work: {{ ahead: {ahead}, attempts: 4, backoff: {{ first: 50ms, most: 1s }} }}
workers:
  w:
    plugin: {plugin}
    queues: [work]
    shards: 2
    window: {{ messages: 32, bytes: 16MiB }}
    timeout: 2s
    drain: 2s
    with: {{ ledger: {ledger} }}
"""
DISK_BYTES = 256 << 20
WHO = ("broker", "parent", "child", "publisher", "supervisor")
# Everything that may happen: the Storm's function, and in which forms. What stands twice happens twice as often.
EVENTS = {
    "kill": (*WHO, "broker", "child"),
    "stop": WHO,
    "cut": ("cut", "reset"),
    "half_open": ("client", "server"),
    "link": FAULTS,
    "loopback": ("down",),
    "cable": ("out", "out for long"),
    "full_disk": ("full",),
    "failing_disk": ("sync EIO", "sync ENOSPC", "write EIO", "write ENOSPC", "lost_sync EIO"),
    "wall_clock": ("here forward", "here back", "there forward", "there back"),
}


class Storm:
    """`weir up` and a publisher here, a worker and a publisher on a far machine, all through a proxy; and what hurts them."""

    def __init__(self, seed):
        self.chance = random.Random(seed)
        self.numbers = Numbers(seed)
        self.proxy = Proxy(to=None, seed=seed, host="0.0.0.0")
        self.ahead = seed % 2 == 0
        self.deployment = Deployment(YAML, ahead=str(self.ahead).lower(), proxy=self.proxy.port, data="./disk/data",
                                     plugin=plugin("work"))
        self.proxy.to = self.deployment.port
        self.disk = self.deployment.folder / "disk"
        self.shim = Shim(self.deployment.folder / "shim")
        self.broker_log = BrokerLog(self.deployment.folder)
        self.far = FarMachine()
        self.far_shim = Shim(self.deployment.folder / "far-shim")
        self.far_file = self.deployment.folder / "far.yaml"
        here, there = (f"weir://{host}:{self.proxy.port}" for host in ("127.0.0.1", FarMachine.NEAR))
        self.engines = {"here": here, "there": there}
        self.far_file.write_text(self.deployment.file.read_text().replace(here, there))
        self.up = self.extra = None
        self.publishers, self.ended_publishers = {}, []  # the first: by where they run
        self.names = 0

    def __enter__(self):
        self.disk.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "weir-storm", self.disk], check=True)
        self.keep_running()
        return self

    def __exit__(self, kind, error, trace):
        for publisher in self.publishers.values():
            publisher.closing = True
        if self.up:
            for pid in [*children(self.up.pid), self.up.pid]:
                self.signal(pid, signal.SIGKILL)
        self.deployment.__exit__(kind, error, trace)
        self.far.close()
        subprocess.run(["umount", "-l", self.disk], check=False, stderr=subprocess.DEVNULL)
        shutil.rmtree(self.deployment.folder, ignore_errors=True)

    def start(self, name, *argv, prefix=(), **options):
        self.names += 1
        return self.deployment.start(f"{name}-{self.names}", *prefix, *argv, **options)

    def keep_running(self):
        """Starts what is not there (any more)."""
        if self.up is None or self.up.poll() is not None:
            # Its children end with it, each in its own time.
            wait_for("the port is free", lambda: not self.deployment.listening(), 20)
            self.up = self.start("up", WEIR, "--log", "json", "up", self.deployment.file, env=self.shim.environment(self.disk))
        there = {"prefix": self.far.prefix, "env": self.far_shim.environment()}
        if self.extra is None or self.extra.poll() is not None:
            self.extra = self.start("extra", WEIR, "--log", "json", "worker", self.far_file, "w", **there)
        for where, how in (("here", {"env": self.shim.environment()}), ("there", there)):
            publisher = self.publishers.get(where)
            if publisher and publisher.process.poll() is not None:
                publisher.gone()
                self.ended_publishers.append(publisher)
            if publisher is None or publisher.process.poll() is not None:
                self.publishers[where] = Publisher(self, self.engines[where], self.numbers, **how)

    # Who is who.

    def processes(self):
        """{"broker": pid, "parent": [pids], "child": [pids], …} of what lives."""
        found = {"supervisor": [self.up.pid], "broker": [], "parent": [self.extra.pid], "child": [],
                 "publisher": [each.process.pid for each in self.publishers.values()]}
        for pid in children(self.up.pid):
            try:
                words = open(f"/proc/{pid}/cmdline", "rb").read().split(b"\0")
            except OSError:
                continue
            if b"broker" in words:
                found["broker"].append(pid)
            elif b"worker" in words:
                found["parent"].append(pid)
        for parent in found["parent"]:
            found["child"] += children(parent)
        found["child"] = [pid for pid in found["child"] if pid not in found["parent"]]
        found["parent"] = list(dict.fromkeys(found["parent"]))
        found["child"] = list(dict.fromkeys(found["child"]))
        return found

    @staticmethod
    def signal(pid, what):
        try:
            os.kill(pid, what)
        except ProcessLookupError:
            pass

    # What happens.

    def kill(self, kind):
        there = self.processes()[kind]
        if not there:
            return None
        pid = self.chance.choice(there)
        self.signal(pid, signal.SIGKILL)
        return f"kill -9 {kind} {pid}"

    def stop(self, kind):
        there = self.processes()[kind]
        if not there:
            return None
        pid, seconds = self.chance.choice(there), self.chance.choice([0.1, 0.5, 2.0, SESSION_TIMEOUT * 1.5])
        self.signal(pid, signal.SIGSTOP)
        time.sleep(seconds)
        self.signal(pid, signal.SIGCONT)
        return f"SIGSTOP {kind} {pid} for {seconds} s"

    def cut(self, how):
        done = sum(self.proxy.cut(how == "reset") for _ in range(self.chance.randrange(1, 8)))
        return done and f"{how} {done} connections"

    def half_open(self, side):
        done = sum(self.proxy.lose(side) for _ in range(self.chance.randrange(1, 4)))
        return done and f"{done} connections half-open, without the {side}"

    def link(self, fault):
        seconds = self.chance.choice([0.3, 1.0, 2.0, SESSION_TIMEOUT * 1.5])
        self.proxy.fault = fault
        time.sleep(seconds)
        self.proxy.fault = None
        return f"links {fault} for {seconds} s"

    def loopback(self, _down):
        seconds = self.chance.choice([0.3, 1.0, 2.0])
        set_loopback(False)
        time.sleep(seconds)
        set_loopback(True)
        return f"the link down for {seconds} s"

    def cable(self, how):
        seconds = SESSION_TIMEOUT * 1.5 if how == "out for long" else self.chance.choice([0.3, 1.0, 2.0])
        self.far.plug(False)
        time.sleep(seconds)
        self.far.plug(True)
        return f"the far machine's cable out for {seconds} s"

    def full_disk(self, _full):
        filler, seconds = self.disk / "filler", self.chance.choice([0.5, 2.0])
        try:
            with filler.open("wb", buffering=0) as out:
                while out.write(bytes(1 << 20)):
                    pass
        except OSError:
            pass
        time.sleep(seconds)
        filler.unlink()
        return f"the disk full for {seconds} s"

    def failing_disk(self, how):
        what, name = how.split()
        before = self.shim.failed()
        if what == "lost_sync":  # one sync says so, and what was not synced is lost
            self.shim.lose_at_sync(Shim.TOLD)
            time.sleep(0.1)
        self.shim.set(**{what.replace("lost_", "") + "_errno": getattr(errno, name)})
        time.sleep(self.chance.uniform(0.05, 0.5))
        self.shim.set()
        self.shim.lose_at_sync(Shim.NONE)
        failed = self.shim.failed() - before
        return failed and f"{how}, {failed} times"

    def wall_clock(self, how):
        where, way = how.split()
        shim = self.shim if where == "here" else self.far_shim
        seconds = self.chance.choice([5, 3600, 86400]) * (1 if way == "forward" else -1)
        shim.set(wall_offset_us=seconds * 1_000_000)
        time.sleep(self.chance.uniform(0.2, 2.0))
        shim.set()
        return f"the wall clock {where} {seconds:+d} s and back"

    def heal(self):
        self.proxy.fault = None
        self.shim.set()
        self.far_shim.set()
        set_loopback(True)
        self.far.plug(True)
        for kind in self.processes().values():
            for pid in kind:
                self.signal(pid, signal.SIGCONT)

    def finish_publishing(self):
        """Waits for the last answers. What a dead publisher left over may stay unpublished: nobody was told otherwise."""
        for publisher in self.publishers.values():
            publisher.closing = True
        wait_for("the publishers end", lambda: all(p.process.poll() is not None for p in self.publishers.values()), 60)
        for publisher in self.publishers.values():
            publisher.gone()
        self.ended_publishers += self.publishers.values()
        self.publishers = {}

    def wait_until_settled(self):
        """Until everything is handled or dead. How many had to wait for a clock.

        A broker goes by the wall clock at its start. One that started while the clock was ahead leaves retries behind that
        the next one, started by the right clock, finds due in an hour, or in a day: late, as the clock was wrong, but there.
        So that the storm can end, that hour passes: all of them but those must be settled by then.
        """
        late, end = 0, time.monotonic() + 120
        while not self.deployment.settled("work"):
            counts = self.deployment.queue("work")
            if time.monotonic() > end:
                raise AssertionError(f"everything is handled or dead: not within 120 s: {counts}")
            waits_for_its_time = counts and counts["ready"] + counts["leased"] == 0
            if not late and waits_for_its_time and time.monotonic() > end - 100:
                late = counts["delayed"]
                self.shim.set(wall_offset_us=(86400 + 3600) * 1_000_000)
                self.signal(self.processes()["broker"][0], signal.SIGKILL)
            time.sleep(0.2)
        return late

    # What is known in the end.

    def confirmed(self):
        """Number -> when its publisher heard it."""
        return {n: at for each in [*self.publishers.values(), *self.ended_publishers] for n, at in each.confirmed.items()}
