"""A deployment under test: `weir up` in a folder and on a port of its own, and what one asks it."""

import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("WEIR_BUILD") or ROOT / "build").resolve()
WEIR = BUILD / "bin" / "weir"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until(condition, what, seconds=60):
    """The first true value of condition(); fails with `what` when the time is over."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        time.sleep(0.05)


class Deployment:
    """`with Deployment("workers/plugins/shop/shop.yaml", SHOP_PORT=…) as weir:`; variables are the file's own.

    The log is kept if the body fails, and its end printed.
    """

    def __init__(self, file, **variables):
        self.folder = Path(tempfile.mkdtemp(prefix="weir-e2e-"))
        self.file = ROOT / file
        self.port = free_port()
        self.engine = f"weir://127.0.0.1:{self.port}"
        known = {"folder": self.folder, "port": self.port}
        self.environment = {**os.environ, "WEIR_BUILD": str(BUILD),
                            **{name: str(value).format(**known) for name, value in variables.items()}}
        self.log = self.folder / "weir.log"
        self.process = None

    def __enter__(self):
        self.process = subprocess.Popen([WEIR, "up", self.file], stdout=open(self.log, "wb"), stderr=subprocess.STDOUT,
                                        env=self.environment, cwd=self.folder)
        wait_until(lambda: self.ask("queues", "--json").returncode == 0 or self.ended(), "the broker answers")
        assert not self.ended(), f"weir up ended with {self.process.returncode}: {self.log.read_text()}"
        return self

    def __exit__(self, kind, error, trace):
        try:
            self.stop()
        finally:
            if kind is None:
                shutil.rmtree(self.folder)
            else:
                print(f"the end of {self.log}:", *self.log.read_text(errors="replace").splitlines()[-20:], sep="\n  ")

    def ended(self):
        return self.process.poll() is not None

    def stop(self):
        """As Ctrl-C; fails unless everything ended well."""
        if not self.ended():
            self.process.send_signal(signal.SIGINT)
        try:
            code = self.process.wait(timeout=45)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise AssertionError("weir up did not end within 45 s of SIGINT") from None
        assert code == 0, f"weir up ended with exit code {code}"

    def ask(self, command, *arguments, **options):
        """A weir command about this deployment, to its end."""
        return subprocess.run([WEIR, command, *arguments, "-f", self.file], env=self.environment, cwd=self.folder,
                              capture_output=True, **options)

    def answer(self, command, *arguments, **options):
        """What it printed; fails if it failed."""
        result = self.ask(command, *arguments, **options)
        said = result.stderr.decode(errors="replace")
        assert result.returncode == 0, f"weir {command} {' '.join(arguments)} ended with {result.returncode}: {said}"
        return result.stdout

    def queue(self, name):
        return next(queue for queue in json.loads(self.answer("queues", "--json")) if queue["name"] == name)

    def dead(self, queue):
        return json.loads(self.answer("dead", "list", queue, "--json"))

    def publish(self, queue, message_type, objects):
        lines = "".join(json.dumps(each) + "\n" for each in objects)
        self.answer("publish", queue, "--type", message_type, input=lines.encode())

    def settled(self, *queues, seconds=120):
        """Waits until nothing of these queues is ready, delayed or leased."""
        def idle():
            states = [self.queue(name) for name in queues]
            return all(state["ready"] + state["delayed"] + state["leased"] == 0 for state in states)
        wait_until(idle, f"everything in {', '.join(queues)} is handled", seconds)


class Skipped(Exception):
    """Says what this machine lacks for a test."""


def main(tests):
    """Runs the functions `test_…` of a module's globals(); prints what ./tests/run counts."""
    failed = 0
    for name, test in [(key, value) for key, value in tests.items() if key.startswith("test_")]:
        try:
            test()
            print("PASS", name, flush=True)
        except Skipped as lacks:
            print(f"SKIP {name}: {lacks}", flush=True)
        except AssertionError as error:
            failed = 1
            print(f"FAIL {name}: {error}", flush=True)
    raise SystemExit(failed)
