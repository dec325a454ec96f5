#!/usr/bin/python3
"""What a process inherits: closed descriptors, signals, limits, and a standard output that cannot be written, command by
command."""

import concurrent.futures
import contextlib
import fcntl
import itertools
import os
import pty
import re
import resource
import shutil
import signal
import subprocess
import tempfile
import termios
import time
from pathlib import Path

from cli_test import DONE, FAILED, PLUGIN, Trial, weir
from deployment import BUILD, WEIR, Skipped, free_port, main, wait_until

MIB = 1 << 20
SANITIZED = re.search(r"^WEIR_SANITIZE:\w+=.", (BUILD / "CMakeCache.txt").read_text(), re.MULTILINE) is not None
OWN_COPY = "a copy of the stopped store"  # of each run its own: it is changed
STANDARD = {"standard input": [0], "standard output": [1], "standard error": [2], "all three": [0, 1, 2]}


def answering(trial):
    """Each command that answers and ends, as words; all of them succeed, as often as one likes."""
    engine = ["--engine", trial.engine]
    letter = trial.dead("orders")[0]["id"]
    return [["--version"], ["--help"], ["check", str(trial.file)], ["check", "--explain"],
            ["check-store", str(trial.folder / "stopped")],
            ["queues", *engine], ["queues", "--json", *engine], ["workers", *engine], ["workers", "--json", *engine],
            ["dead", "list", "orders", *engine], ["dead", "list", "orders", "--json", *engine],
            ["dead", "show", "orders", letter, *engine], ["dead", "show", "orders", letter, "--json", "--payload", *engine],
            ["dead", "replay", "notes", "--all", *engine], ["dead", "purge", "notes", "--all", "--yes", *engine],
            ["publish", "notes", "--data", "a note", *engine],
            ["compact", OWN_COPY], ["man", str(trial.folder / "pages")], ["completion", "bash"],
            ["bench", "drain", "--messages", "1", "--data", str(trial.folder)]]


@contextlib.contextmanager
def trial_with_a_dead_letter():
    with Trial() as trial:
        trial.orders({"id": "1", "what": "reject"})
        wait_until(lambda: trial.dead("orders"), "a dead letter")
        stopped = trial.folder / "stopped"
        file = trial.folder / "stopped.yaml"
        file.write_text(f"engine: weir://127.0.0.1:{free_port()}\nbroker: {{ data: {stopped} }}\nqueues: {{ orders: }}\n")
        broker = subprocess.Popen([WEIR, "broker", file], stderr=subprocess.DEVNULL)
        wait_until(lambda: (stopped / "data.mdb").exists() and weir("queues", "-f", str(file)).returncode == DONE, "a store")
        broker.terminate()
        assert broker.wait(20) == DONE
        yield trial


def run(trial, words, *, inherited=lambda: None, timeout=60, **options):
    """To its end; what it inherits is what `inherited` makes of it, last thing before it starts."""
    if OWN_COPY in words:
        copy = shutil.copytree(trial.folder / "stopped", Path(tempfile.mkdtemp(dir=trial.folder)) / "copy")
        words = [str(copy) if each == OWN_COPY else each for each in words]
    options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    return subprocess.run([WEIR, *words], env=trial.environment, cwd=trial.folder, timeout=timeout,
                          preexec_fn=inherited, **options)


def said(result):
    return ((result.stdout or b"") + (result.stderr or b"")).decode(errors="replace")


def all_at_once(check, cases):
    """check(*case) of each; every finding in one."""
    def finding(case):
        try:
            check(*case)
        except AssertionError as error:
            return str(error)
        return None
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        found = [each for each in pool.map(finding, cases) if each]
    assert not found, "\n  ".join(found)


def closing(descriptors):
    return lambda: [os.close(each) for each in descriptors]


def test_the_matrix_has_every_command():
    known = set(re.findall(r"^  (\S+) {2,}\S", weir("--help").stdout.split("Commands:")[1].split("Start here")[0], re.MULTILINE))
    with trial_with_a_dead_letter() as trial:
        tried = {words[0] for words in answering(trial)} | {"up", "broker", "worker", "top"}  # top: commands_test.py
        assert known and known <= tried, f"not in the matrix: {known - tried}"
        for words in answering(trial):
            result = run(trial, words)
            assert result.returncode == DONE and result.stdout, f"{words}: {result.returncode}, {said(result)}"


def test_a_command_whose_standard_output_cannot_be_written_fails():
    with trial_with_a_dead_letter() as trial, open("/dev/full", "w") as full:
        def fails(words, why, **options):
            result = run(trial, words, **options)
            assert result.returncode == FAILED, f"{words}, {why}: {result.returncode}, {said(result)}"
            # Why is known where the last write failed.
            assert f"standard output could not be written: {why}" in said(result) or \
                said(result).endswith("standard output could not be written\n"), f"{words}: {said(result)}"
        commands = answering(trial)
        all_at_once(lambda words: fails(words, "No space left on device", stdout=full), [(each,) for each in commands])
        all_at_once(lambda words: fails(words, "Bad file descriptor", inherited=closing([1])), [(each,) for each in commands])

        def fails_quietly(words):
            read, write = os.pipe()
            os.close(read)
            result = run(trial, words, stdout=write, inherited=lambda: signal.signal(signal.SIGPIPE, signal.SIG_DFL))
            os.close(write)
            assert result.returncode == FAILED, f"{words} | true: {result.returncode}, {said(result)}"
            assert "standard output" not in said(result), f"{words} | true: {said(result)}"
        all_at_once(fails_quietly, [(each,) for each in commands])


def test_closed_descriptors_change_no_answer():
    with trial_with_a_dead_letter() as trial:
        def answers(words, name, closed):
            result = run(trial, words, inherited=closing(closed))
            expected = FAILED if 1 in closed else DONE
            assert result.returncode == expected, f"{words} without {name}: {result.returncode}, {said(result)}"
            assert 1 in closed or result.stdout, f"{words} without {name} said nothing"
        all_at_once(answers, [(words, *each) for words in answering(trial) for each in STANDARD.items()])

        result = run(trial, ["publish", "notes", "--engine", trial.engine], inherited=closing([0]), timeout=10)
        assert result.returncode == FAILED and "cannot read standard input: it is closed" in said(result), said(result)


class Running:
    """A command that runs until it is stopped, with its log in a file; and what it needs."""

    def __init__(self, folder, command, *, inherited=lambda: None, log=None, **options):
        self.folder = Path(tempfile.mkdtemp(dir=folder))
        self.engine = f"weir://127.0.0.1:{free_port()}"
        self.file = self.folder / "weir.yaml"
        self.file.write_text(f"engine: {self.engine}\nbroker: {{ data: ./data }}\nqueues: {{ orders: , notes: }}\n"
                             f"workers: {{ w: {{ plugin: {PLUGIN}, queues: [orders, notes], drain: 2s,\n"
                             f"  with: {{ ledger: {self.folder}/ledger }} }} }}\n")
        self.log = self.folder / "log"
        self.broker = None
        if command == "worker":
            self.broker = subprocess.Popen([WEIR, "broker", self.file], stderr=subprocess.DEVNULL)
        words = [command, self.file] + (["w"] if command == "worker" else [])
        self.process = subprocess.Popen([WEIR, "--log-level", "debug", *words], preexec_fn=inherited, cwd=self.folder,
                                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=log or open(self.log, "wb"), **options)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in (self.process, self.broker):
            if process and process.poll() is None:
                process.kill()
                process.wait()

    def ask(self, *words):
        return weir(*words, "--engine", self.engine)

    def works(self):
        """It answers, or is attached; fails if it ended."""
        def ready():
            assert self.process.poll() is None, f"{self.process.args} ended with {self.process.returncode}: {self.text()}"
            if self.process.args[3] == "broker":
                return self.ask("queues").returncode == DONE
            return '"connected":true' in self.ask("workers", "--json").stdout.replace(" ", "")
        wait_until(ready, f"{self.process.args} works", 20)

    def text(self):
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def tree(self):
        """Process ids of it and of all below."""
        found = [self.process.pid]
        for pid in found:
            for task in Path(f"/proc/{pid}/task").glob("*/children"):
                found += [int(child) for child in task.read_text().split()]
        return found

    def drains(self):
        self.process.terminate()
        assert self.process.wait(20) == DONE, f"{self.process.args}: {self.process.returncode}, {self.text()}"


RUNNING = ("broker", "worker", "up")


def each_running(check, **how):
    """check(running) of each command that runs until it is stopped."""
    with tempfile.TemporaryDirectory(prefix="weir-e2e-") as folder:
        def one(command):
            with Running(folder, command, **{name: make() for name, make in how.items()}) as running:
                running.works()
                check(running)
        all_at_once(one, [(command,) for command in RUNNING])


def test_what_runs_needs_none_of_its_standard_descriptors():
    each_running(Running.drains, inherited=lambda: closing([0, 1, 2]))


def test_a_reader_of_the_log_that_ends_ends_nobody():
    with tempfile.TemporaryDirectory(prefix="weir-e2e-") as folder:
        def one(command):
            read, write = os.pipe()
            with Running(folder, command, log=write, inherited=lambda: signal.signal(signal.SIGPIPE, signal.SIG_DFL)) as running:
                os.close(write)
                running.works()
                before = running.tree()
                os.close(read)
                # Each says something to nobody: that one is attached, what came, and that it ended.
                for number in range(3):
                    assert running.ask("publish", "notes", "--data", str(number)).returncode == DONE
                time.sleep(0.5)
                assert running.tree() == before, f"{command}: {before}, then {running.tree()}"
                running.drains()
        all_at_once(one, [(command,) for command in RUNNING])


def test_a_hang_up_that_was_ignored_stays_ignored():
    def goes_on(running):
        before = running.tree()
        for pid in before:
            os.kill(pid, signal.SIGHUP)
        time.sleep(0.5)
        assert running.tree() == before and "hang_up" not in running.text() and "draining" not in running.text(), running.text()
        running.drains()
    each_running(goes_on, inherited=lambda: lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))


def heeding():
    """As in a session without nohup, whatever the tests themselves inherited."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def test_without_a_terminal_a_hang_up_is_kept_for_a_reload():
    def goes_on(running):
        os.kill(running.process.pid, signal.SIGHUP)
        wait_until(lambda: "hang_up_kept" in running.text(), f"a line about it: {running.text()}", 10)
        before = running.tree()
        running.works()
        assert running.tree() == before and running.text().count("hang_up_kept") == 1, running.text()
        running.drains()
    each_running(goes_on, inherited=lambda: heeding, start_new_session=lambda: True)


def test_a_terminal_that_goes_drains_and_its_second_hang_up_is_no_second_word():
    with tempfile.TemporaryDirectory(prefix="weir-e2e-") as folder:
        def one(command):
            master, slave = pty.openpty()

            def own_terminal():
                heeding()
                fcntl.ioctl(slave, termios.TIOCSCTTY, 0)

            with Running(folder, command, inherited=own_terminal, start_new_session=True, pass_fds=[slave]) as running:
                os.close(slave)
                running.works()
                running.ask("publish", "orders", "--type", "trial.Order", "--plugin", str(PLUGIN), "--data",
                            '{"id": "1", "what": "sleep", "milliseconds": 1200}')
                if command != "broker":
                    wait_until(lambda: (running.folder / "ledger").exists(), "its handler runs")
                os.close(master)
                time.sleep(0.2)
                running.process.send_signal(signal.SIGHUP)
                assert running.process.wait(20) == DONE, f"{command}: {running.process.returncode}, {running.text()}"
                assert "at_once" not in running.text() and "second signal" not in running.text(), running.text()
                if command != "broker":
                    assert "1 done" in (running.folder / "ledger").read_text(), running.text()
        all_at_once(one, [(command,) for command in RUNNING])


def takes(pid, which):
    caught = re.search(r"^SigCgt:\s*(\w+)", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return bool(int(caught[1], 16) >> (which - 1) & 1)


def test_signals_that_were_blocked_or_ignored_are_heard():
    def inherited():
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT, signal.SIGCHLD})

    def hears(running):
        if running.process.args[3] == "up":
            before = running.tree()
            os.kill(before[1], signal.SIGKILL)
            wait_until(lambda: "process_died" in running.text(), f"the end of a child is noticed: {running.text()}", 10)
            running.works()
        running.drains()
    each_running(hears, inherited=lambda: inherited)
    with Trial() as trial:
        publish = subprocess.Popen([WEIR, "publish", "notes", "--engine", trial.engine], stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=inherited)
        wait_until(lambda: takes(publish.pid, signal.SIGTERM), "it is about to read")
        publish.terminate()
        assert publish.wait(10) == FAILED and b"interrupted" in publish.stderr.read()


# What a command that runs says once it works, or has found that something else does not.
RUNS = {"broker": "broker_listening", "worker": " working ", "up": " working |process_died"}


def ends_in_words(trial, words, name, limit, inherited, expected, **options):
    """Under that limit it works, or says which limit it is; never a library's abort."""
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen([WEIR, *words], env=trial.environment, cwd=trial.folder, preexec_fn=inherited,
                                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log, **options)

        def text():
            return os.pread(log.fileno(), 1 << 20, 0).decode(errors="replace")
        try:
            runs = RUNS.get(words[0])
            wait_until(lambda: process.poll() is not None or (runs and re.search(runs, text())), f"{words} runs or ends", 30)
            process.terminate()
            process.wait(30)
        finally:
            process.kill()
            process.wait()
        where = f"{words[:2]} with {name} {limit}"
        assert process.returncode in (DONE, FAILED), f"{where} ended with {process.returncode}: {text()}"
        assert "(src/" not in text() and "signal=6" not in text() and "terminate" not in text(), f"{where}: {text()}"
        assert process.returncode == DONE or re.search(expected, text()), f"{where} does not say why: {text()}"
        return process.returncode


NOBODY_IS_ASKED = ("check", "check-store", "compact", "man", "completion", "bench")


def under_limits(name, limits, expected, inherited, options=dict, work=()):
    """Every command under each limit: the least is refused, under the last the answering ones and those of `work` work."""
    with trial_with_a_dead_letter() as trial:
        os.chmod(trial.folder, 0o755)

        def file():
            folder = Path(tempfile.mkdtemp(dir=trial.folder))
            os.chmod(folder, 0o777)
            each = folder / "weir.yaml"
            each.write_text(f"engine: weir://127.0.0.1:{free_port()}\nbroker: {{ data: {folder}/data }}\nqueues: {{ notes: }}\n"
                            f"workers: {{ w: {{ plugin: {PLUGIN}, queues: [notes] }} }}\n")
            return str(each)

        # Without what asks nobody, or is root's alone.
        answer = [words for words in answering(trial) if words[0][0] != "-" and words[0] not in NOBODY_IS_ASKED]
        cases = [(words, limit) for limit in limits
                 for words in answer + [["broker", file()], ["worker", file(), "w"], ["up", file()]]]
        codes = {}

        def one(words, limit):
            codes[limit, *words] = ends_in_words(trial, words, name, limit, lambda: inherited(limit), expected, **options())
        all_at_once(one, cases)
        assert all(code == FAILED for (limit, *_), code in codes.items() if limit == limits[0]), codes
        works = {tuple(words) for words in answer}
        assert all(code == DONE for (limit, *words), code in codes.items()
                   if limit == limits[-1] and (tuple(words) in works or words[0] in work)), codes


def lower(which, limit):
    resource.setrlimit(which, (limit, limit))


def test_too_few_descriptors_are_told_in_words():
    under_limits("RLIMIT_NOFILE", (5, 8, 14, 17, 20, 24, 28, 33, 38, 43, 64), "RLIMIT_NOFILE is",
                 lambda limit: lower(resource.RLIMIT_NOFILE, limit), work=("broker", "worker", "up"))


def test_too_few_threads_are_told_in_words():
    if os.geteuid() != 0:
        raise Skipped("root, which runs each as a user who has no other process")
    nobodies = 60000 + os.getpid() % 50 * 100
    others = itertools.count(nobodies)
    if subprocess.run([WEIR, "--version"], user=nobodies, capture_output=True).returncode != DONE:
        raise Skipped("a build folder that every user may read")
    under_limits("RLIMIT_NPROC", (1, 3, 5, 7, 9, 11, 14, 60), "RLIMIT_NPROC is",
                 lambda limit: lower(resource.RLIMIT_NPROC, limit),
                 lambda: {"user": next(others)}, work=("broker", "worker", "up"))


def test_too_few_addresses_are_told_in_words():
    # The broker maps its store: it has words of its own for that, and does not run under any of these.
    under_limits("RLIMIT_AS", (36, 48, 64, 80, 110, 130, 160, 200), "RLIMIT_AS",
                 lambda limit: lower(resource.RLIMIT_AS, limit * MIB), work=("worker",))


if SANITIZED:  # which need descriptors, threads and addresses of their own
    del test_too_few_descriptors_are_told_in_words, test_too_few_threads_are_told_in_words
    del test_too_few_addresses_are_told_in_words

if __name__ == "__main__":
    main(globals())
