"""What the scripts that hurt real processes share: deployments, processes, ledgers, verdicts."""

import collections
import concurrent.futures
import json
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

BUILD = pathlib.Path(os.environ.get("WEIR_BUILD", "build")).resolve()
WEIR = str(BUILD / "bin" / "weir")
CACHE = BUILD / "CMakeCache.txt"
# What a process then needs of memory is mostly the sanitizer's, which also keeps what was freed.
SANITIZED = CACHE.exists() and re.search(r"^WEIR_SANITIZE:\w+=.", CACHE.read_text(), re.MULTILINE) is not None


def plugin(name):
    found = [p for p in BUILD.rglob(name + ".so")]
    if not found:
        raise SystemExit(f"FAIL setup: {name}.so is not under {BUILD}; build first")
    return str(found[0])


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(what, condition, seconds=10.0, every=0.02):
    """Waits until condition() is true; its value. Fails the test when the time is out."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"{what}: not within {seconds:g} s")
        time.sleep(every)


class Deployment:
    """A deployment of its own: port, folder, file, and every process started from it."""

    def __init__(self, yaml, **values):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="weir-test-"))
        self.port = free_port()
        self.ledger = self.folder / "ledger.txt"
        self.file = self.folder / "weir.yaml"
        self.engine = f"weir://127.0.0.1:{self.port}"
        self.processes = []
        text = yaml.format(port=self.port, folder=self.folder, ledger=self.ledger, **values)
        self.file.write_text(text)

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        for process in self.processes:
            if process.poll() is None:
                process.kill()
                process.wait()
        if kind is not None and kind is not SystemExit:
            for log in sorted(self.folder.glob("*.log")):
                tail = log.read_text(errors="replace").splitlines()[-15:]
                print(f"--- {log.name}", *tail, sep="\n    ")
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self, name, *argv, **options):
        log = open(self.folder / f"{name}.log", "ab")
        options.setdefault("stdout", log)
        process = subprocess.Popen([str(a) for a in argv], stderr=log, cwd=self.folder, **options)
        self.processes.append(process)
        return process

    def broker(self):
        process = self.start("broker", WEIR, "broker", self.file)
        wait_for("broker listening", lambda: self.listening() or self.ended(process, "broker"))
        return process

    def ended(self, process, name):
        if process.poll() is not None:
            raise AssertionError(f"{name} ended with {process.returncode}: "
                                 + (self.folder / f"{name}.log").read_text(errors="replace")[-600:])
        return False

    def listening(self):
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def worker(self, group="w", name=None, prefix=()):
        return self.start(name or f"worker-{group}", *prefix, WEIR, "worker", self.file, group)

    def weir(self, *argv, stdin=None, check=True, timeout=120):
        done = subprocess.run([WEIR, *map(str, argv)], input=stdin, capture_output=True, text=True, timeout=timeout,
                              cwd=self.folder)
        if check and done.returncode != 0:
            raise AssertionError(f"weir {' '.join(map(str, argv))} exited {done.returncode}: {done.stderr[-600:]}")
        return done

    def publish(self, tasks, queue="work", type_name="work.Task"):
        lines = "".join(json.dumps(t) + "\n" for t in tasks)
        return self.weir("publish", queue, "--engine", self.engine, "--type", type_name, "--plugin", plugin("work"),
                         stdin=lines)

    def queue(self, name="work"):
        """One queue's counts; None while the broker does not answer."""
        done = self.weir("queues", "--json", "--engine", self.engine, check=False, timeout=15)
        if done.returncode != 0:
            return None
        return next(q for q in json.loads(done.stdout) if q["name"] == name)

    def workers(self):
        """The sessions of workers; None while the broker does not answer."""
        done = self.weir("workers", "--json", "--engine", self.engine, check=False, timeout=15)
        return json.loads(done.stdout) if done.returncode == 0 else None

    def dead(self, queue="work"):
        return json.loads(self.weir("dead", "list", queue, "--json", "--engine", self.engine).stdout)

    def runs(self):
        """Of each number: how often its handler started, and how often it ended."""
        starts, ends = collections.Counter(), collections.Counter()
        if self.ledger.exists():
            # The last one may be half there yet: a line that crosses a page can be seen so.
            for line in self.ledger.read_text().split("\n")[:-1]:
                what, number = line.split()[:2]
                (starts if what == "start" else ends)[int(number)] += 1
        return starts, ends

    def settled(self, queue="work"):
        """True once nothing is ready, delayed or leased."""
        counts = self.queue(queue)
        return counts if counts and counts["ready"] + counts["delayed"] + counts["leased"] == 0 else None


class Tail:
    """The lines of a file that grows, each once it is whole: a line that crosses a page can be seen half written."""

    def __init__(self, path):
        self.file, self.half = open(path), ""

    def new(self):
        *whole, self.half = (self.half + self.file.read()).split("\n")
        return whole

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()


def children(pid):
    """Process ids below `pid`, all generations."""
    found = []
    for task in pathlib.Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            for child in task.read_text().split():
                found += [int(child), *children(int(child))]
        except OSError:
            pass
    return found


def rss_anon_mib(pid):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) / 1024
    raise AssertionError(f"no RssAnon of {pid}")


def kill(process):
    process.send_signal(signal.SIGKILL)
    process.wait()


class Suite:
    """Runs test functions, one verdict line each."""

    def __init__(self):
        self.failed = 0

    def run(self, name, function, *args):
        begin = time.monotonic()
        try:
            note = function(*args)
            print(f"PASS {name} ({time.monotonic() - begin:.1f} s{'; ' + note if note else ''})", flush=True)
        except Exception as error:  # the verdict is this line; details stand above it
            self.failed += 1
            print(f"FAIL {name}: {type(error).__name__}: {error}", flush=True)

    def run_all(self, tests, only="", sanitized_at_once=None):
        """Those (name, function, argument…) whose name has `only` in it, all at once: they mostly wait. Where that is not so
        under a sanitizer, as their processes take seconds to start, so many at once there."""
        tests = [each for each in tests if only in each[0]]
        at_once = sanitized_at_once if SANITIZED and sanitized_at_once else max(1, len(tests))
        with concurrent.futures.ThreadPoolExecutor(at_once) as pool:
            for each in [pool.submit(self.run, *test) for test in tests]:
                each.result()

    def end(self):
        sys.exit(1 if self.failed else 0)
