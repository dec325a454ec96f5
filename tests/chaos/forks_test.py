#!/usr/bin/python3
"""What handlers fork, and what a terminal does to `weir up`: every process ends, stops and goes on as it should.

    forks_test.py [--only NAME]
"""

import argparse
import os
import pathlib
import pty
import signal
import subprocess
import termios

from kit import WEIR, Deployment, Suite, children, plugin, wait_for

YAML = """
engine: weir://127.0.0.1:{port}
broker: {{ data: {folder}/data, session_timeout: 2s }}
queues:
  work: {{ attempts: 2, backoff: {{ first: 20ms, most: 100ms }} }}
workers:
  w:
    plugin: {plugin}
    queues: [work]
    window: {{ messages: 16, bytes: 16MiB }}
    timeout: 20s
    drain: 2s
    with: {{ ledger: {ledger} }}
"""
LEFT = ("fork_left", "fork_deaf", "fork_exec", "fork_stopped", "spawn", "daemon")


class Marked(Deployment):
    """All its processes, and all that they start, bear its mark in their environment."""

    def __init__(self):
        super().__init__(YAML, plugin=plugin("work"))
        self.environment = {**os.environ, "WEIR_TEST_MARK": str(self.folder)}

    def start(self, name, *argv, **options):
        return super().start(name, *argv, env=self.environment, **options)

    def __exit__(self, *error):
        for pid in self.marked():
            os.kill(pid, signal.SIGKILL)
        super().__exit__(*error)

    def marked(self):
        """Process ids of those that live."""
        mark, found = f"WEIR_TEST_MARK={self.folder}".encode(), []
        for each in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                if mark in (each / "environ").read_bytes().split(b"\0") and status(each.name, "State")[0] not in "ZX":
                    found.append(int(each.name))
            except (OSError, KeyError):
                pass
        return found

    def log_of(self, name):
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def handled(self, *numbers):
        wait_for(f"{numbers} handled", lambda: all(self.runs()[1][n] for n in numbers), 10)


def status(pid, field):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return line.split(":", 1)[1].strip()
    raise KeyError(field)


def has(pid, field, which):
    """Is the signal in that set (SigIgn, SigBlk) of the process?"""
    return bool(int(status(pid, field), 16) >> (which - 1) & 1)


def leave_some(d):
    """A worker whose handlers left a process of each kind, and those processes."""
    d.broker()
    worker = d.worker()
    before = set(wait_for("a child", lambda: len(d.marked()) >= 3 and d.marked()))
    d.publish([{"number": n, "action": "poison", "poison": kind} for n, kind in enumerate(LEFT)])
    d.handled(*range(len(LEFT)))
    wait_for("settled", d.settled)
    left = wait_for("they run", lambda: len(set(d.marked()) - before) == len(LEFT) and set(d.marked()) - before)
    return worker, left


def ends_with_its_worker(how):
    """The worker is asked to end, or dies: what its handlers had started is gone with it, whoever its parent is by now."""
    with Marked() as d:
        worker, left = leave_some(d)
        if how == signal.SIGTERM:
            worker.terminate()
        else:
            child = next(pid for pid in children(worker.pid) if pid not in left)
            os.kill(child, how)
        assert worker.wait(15) == (0 if how == signal.SIGTERM else 3), d.log_of("worker-w")[-600:]
        alive = set(d.marked()) & left
        assert not alive, [pathlib.Path(f"/proc/{pid}/stat").read_text() for pid in alive]
        assert "forks_ended" in d.log_of("worker-w")


def ends_without_its_parent():
    """The parent is killed, so the worker drains: what is still of its process group, and hears SIGTERM, ends with it."""
    with Marked() as d:
        worker, left = leave_some(d)
        worker.kill()
        worker.wait()
        wait_for("the worker has drained", lambda: d.workers() == [], 10)
        wait_for("all but the deaf one and the daemon ended", lambda: len(set(d.marked()) & left) <= 2, 5)
        assert "drained" in d.log_of("worker-w") and "stopped_at_once" not in d.log_of("worker-w")


def hang_up_is_no_second_word():
    """SIGHUP and SIGTERM drain together, in whichever order they come: of an orphaned group the kernel sends both."""
    for first, then in ((signal.SIGHUP, signal.SIGTERM), (signal.SIGTERM, signal.SIGHUP)):
        with Marked() as d:
            d.broker()
            worker = d.worker()
            child = wait_for("a child", lambda: children(worker.pid))[0]
            wait_for("a worker works", lambda: any(w["connected"] for w in d.workers() or []))
            d.publish([{"number": 1, "action": "sleep", "millis": 1000}])
            wait_for("it has started", lambda: d.runs()[0][1])
            os.kill(child, first)
            wait_for("it drains", lambda: "draining" in d.log_of("worker-w"))
            os.kill(child, then)
            assert worker.wait(15) == 0, d.log_of("worker-w")[-600:]
            assert d.runs()[1][1] == 1 and "stopped_at_once" not in d.log_of("worker-w"), d.log_of("worker-w")[-600:]


def a_copy_that_comes_back(*how):
    """A fork that returns from its handler, from offload, or into the loop ends at once; the worker goes on."""
    with Marked() as d:
        d.broker()
        worker = d.worker()
        before = sorted(wait_for("a child", lambda: len(d.marked()) >= 3 and d.marked()))
        for number, (action, kind) in enumerate(how):
            d.publish([{"number": number, "action": action, "poison": kind}])
            wait_for("the copy has ended",
                     lambda: d.log_of("worker-w").count("came back from the handler") == number + 1, 5)
        wait_for("no copy is left", lambda: sorted(d.marked()) == before, 5)
        wait_for("settled", d.settled)
        assert sorted(pid for pid in d.marked() if pid in before) == before and worker.poll() is None
        assert d.queue()["acked"] == len(how) and d.queue()["retried"] == 0, d.queue()
        worker.terminate()
        assert worker.wait(15) == 0, d.log_of("worker-w")[-600:]


def ignores(pid):
    """What Weir takes or ignores, or a caller of it may, and this process ignores or blocks."""
    return [which.name for which in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGPIPE, signal.SIGTTIN,
                                     signal.SIGTTOU, signal.SIGURG)
            if has(pid, "SigIgn", which) or has(pid, "SigBlk", which)]


def signals_are_defaults_in_what_is_started():
    """By fork or by posix_spawn, on the loop or in offload: nothing is ignored or blocked, and SIGTERM ends it."""
    with Marked() as d:
        worker, left = leave_some(d)
        before = set(d.marked())
        d.publish([{"number": 90, "action": "offload_poison", "poison": "spawn"},
                   {"number": 91, "action": "offload_poison", "poison": "fork_exec"}])
        d.handled(90, 91)
        offloaded = wait_for("they run", lambda: len(set(d.marked()) - before) == 2 and set(d.marked()) - before)
        for pid in left | offloaded:
            # One has said itself that it does not want to end.
            assert ignores(pid) in ([], ["SIGTERM"]), (status(pid, "Name"), ignores(pid))
        assert sum(ignores(pid) == ["SIGTERM"] for pid in left | offloaded) == 1
        for pid in offloaded:
            os.kill(pid, signal.SIGTERM)
        wait_for("SIGTERM ends them", lambda: not set(d.marked()) & offloaded, 5)
        worker.terminate()
        worker.wait(15)


def a_broken_pipe_ends_nobody():
    """A handler that writes where nobody reads is told so; its process goes on."""
    with Marked() as d:
        d.broker()
        worker = d.worker()
        d.publish([{"number": 1, "action": "poison", "poison": "broken_pipe"}])
        d.handled(1)
        wait_for("settled", d.settled)
        assert d.queue()["acked"] == 1 and "worker_died" not in d.log_of("worker-w"), d.log_of("worker-w")[-600:]
        worker.terminate()
        assert worker.wait(15) == 0


def process_1_reaps():
    """As in a container: what handlers leave becomes process 1's, which is `weir worker` itself."""
    unshare = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
    if subprocess.run([*unshare, "true"], capture_output=True).returncode != 0:
        print("SKIP weir worker as process 1 reaps what handlers leave: needs unshare --pid, as root has it", flush=True)
        return
    with Marked() as d:
        d.broker()
        first = d.worker(prefix=unshare)
        worker = wait_for("a worker", lambda: children(first.pid))[0]
        assert status(worker, "NSpid").split()[-1] == "1", status(worker, "NSpid")
        d.publish([{"number": 1, "action": "poison", "poison": "orphans"}])
        d.handled(1)
        wait_for("settled", d.settled)

        def zombies():
            return [pid for pid in children(worker) if status(pid, "State")[0] == "Z"]
        wait_for("no zombie is left", lambda: not zombies(), 5)
        assert len(children(worker)) == 1, [status(pid, "State") for pid in children(worker)]
        os.kill(worker, signal.SIGTERM)
        assert first.wait(15) == 0, d.log_of("worker-w")[-600:]


def ctrl_z_and_fg():
    """As typed: the terminal stops its foreground, `weir up`, and all that it runs stops with it; `fg` continues all."""
    with Marked() as d:
        pid, master = pty.fork()
        if pid == 0:  # a shell of one job
            job = os.fork()
            if job == 0:
                os.setpgid(0, 0)
                signal.signal(signal.SIGTTOU, signal.SIG_IGN)
                os.tcsetpgrp(0, os.getpid())
                signal.signal(signal.SIGTTOU, signal.SIG_DFL)
                os.execve(WEIR, ["weir", "up", str(d.file)], d.environment)
            os.waitpid(job, 0)
            os._exit(0)
        settings = termios.tcgetattr(master)
        settings[3] |= termios.TOSTOP  # the hardest terminal: who writes in the background is stopped
        termios.tcsetattr(master, termios.TCSANOW, settings)
        wait_for("a worker works", lambda: any(w["connected"] for w in d.workers() or []))
        d.publish([{"number": 1, "action": "ack"}])
        d.handled(1)
        before = sorted(p for p in d.marked())
        up = next(p for p in before if b"\0up\0" in pathlib.Path(f"/proc/{p}/cmdline").read_bytes())
        os.write(master, b"\x1a")
        wait_for("all are stopped", lambda: all(status(p, "State")[0] == "T" for p in before), 5)
        os.killpg(os.getpgid(up), signal.SIGCONT)  # as fg does
        wait_for("all go on", lambda: all(status(p, "State")[0] != "T" for p in before), 5)
        d.publish([{"number": 2, "action": "ack"}])
        d.handled(2)
        assert sorted(d.marked()) == before, "something was started anew"
        # Here Weir ignores what would stop it for its writing to the terminal: what handlers start does not.
        child = next(p for p in before if has(p, "SigIgn", signal.SIGTTOU) and b"\0worker-child\0" in
                     pathlib.Path(f"/proc/{p}/cmdline").read_bytes())
        d.publish([{"number": 3, "action": "poison", "poison": "spawn"}])
        d.handled(3)
        spawned = wait_for("it runs", lambda: set(d.marked()) - set(before)).pop()
        wait_for("it is what was started", lambda: status(spawned, "Name") == "sleep", 5)
        assert not ignores(spawned), (child, ignores(spawned))
        os.write(master, b"\x03")
        wait_for("all have ended", lambda: not d.marked(), 10)
        os.close(master)
        os.waitpid(pid, 0)


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--only", default="")
    args, _ = options.parse_known_args()
    suite = Suite()
    # It forks this program itself, which is to have one thread then.
    suite.run_all([("Ctrl-Z stops the tree and fg continues it", ctrl_z_and_fg)], args.only)
    suite.run_all([("what handlers started ends with a worker that drains", ends_with_its_worker, signal.SIGTERM),
                   ("what handlers started ends with a worker that is killed", ends_with_its_worker, signal.SIGKILL),
                   ("what handlers started ends without the worker's parent", ends_without_its_parent),
                   ("SIGHUP beside SIGTERM is no second word", hang_up_is_no_second_word),
                   ("a fork that comes back ends at once", a_copy_that_comes_back, ("poison", "fork_comes_back"),
                    ("offload_poison", "fork_comes_back"), ("poison", "fork_on_the_loop")),
                   ("signals are the defaults in what handlers start", signals_are_defaults_in_what_is_started),
                   ("a pipe that nobody reads ends no process", a_broken_pipe_ends_nobody),
                   ("weir worker as process 1 reaps what handlers leave", process_1_reaps)],
                  args.only, sanitized_at_once=3)
    suite.end()


if __name__ == "__main__":
    main()
