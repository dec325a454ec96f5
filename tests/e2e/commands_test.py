#!/usr/bin/python3
"""What the commands show, and where: on a terminal of 80 columns, in a pipe, in a shell that completes them."""

import fcntl
import json
import os
import pty
import re
import select
import shutil
import struct
import subprocess
import tempfile
import termios
import time
import unicodedata
from pathlib import Path

from deployment import WEIR, Deployment, Skipped, free_port, main, wait_until

PROTO = Path(__file__).parent / "plugin/trial.proto"
HARMFUL = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def trial():
    return Deployment("tests/e2e/trial.yaml", TRIAL_PORT="{port}", TRIAL_FOLDER="{folder}")


def attached(weir):
    wait_until(lambda: [w for w in json.loads(weir.answer("workers", "--json")) if w["connected"]], "a worker is attached")


class Terminal:
    """A program in a terminal of its own, and what it has written there."""

    def __init__(self, words, columns=80, lines=24, **variables):
        self.pid, self.master = pty.fork()
        if self.pid == 0:
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
            os.execve(WEIR, ["weir", *map(str, words)], {**os.environ, "TERM": "xterm-256color", **variables})
        self.text = ""

    def read(self, seconds=0.1):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if not select.select([self.master], [], [], 0.05)[0]:
                continue
            try:
                part = os.read(self.master, 65536)
            except OSError:  # Linux: the other side is closed
                break
            if not part:
                break
            self.text += part.decode(errors="replace")
        return self.text

    def shows(self, words, seconds=15):
        wait_until(lambda: words in self.read() or None, f"the terminal shows {words!r}; it has {self.text[-2000:]!r}", seconds)

    def press(self, keys):
        self.text = ""
        os.write(self.master, keys.encode())

    def ended(self):
        """Its exit code, once everything is read."""
        while True:
            self.read()
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.read()
                os.close(self.master)
                return os.waitstatus_to_exitcode(status)


def plain(text):
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


def width(line):
    return sum(0 if unicodedata.combining(c) else 1 for c in line)


def on_terminal(*words, columns=80, **variables):
    terminal = Terminal(words, columns, **variables)
    terminal.ended()
    return terminal.text.replace("\r\n", "\n")


def commands(words=()):
    """Every command that helps, as its own words."""
    said = subprocess.run([WEIR, *words, "--help"], capture_output=True, text=True).stdout
    found = [list(words)]
    if "\nCommands:\n" in said:
        for name in re.findall(r"^  ([a-z-]+)  ", said.split("\nCommands:\n")[1].split("\n\n")[0], re.M):
            found += commands([*words, name])
    return found


def test_dead_show_tells_a_crash_once_and_decodes_the_payload():
    with trial() as weir:
        weir.publish("orders", "trial.Order", [{"id": "bad", "what": "crash"}])
        wait_until(lambda: weir.dead("orders"), "it is dead", 60)
        [letter] = weir.dead("orders")
        shown = weir.answer("dead", "show", "orders", letter["id"], "--payload").decode()
        assert shown.count("abort") <= 2 and "attempts 1 and 2 ended their processes at one place" in shown, shown
        assert "boost::asio" not in shown and "std::allocator" not in shown, shown
        assert '{"id":"bad","what":"crash"}' in shown, shown
        by_proto = subprocess.run([WEIR, "dead", "show", "orders", letter["id"], "--payload", "--engine", weir.engine,
                                   "--proto", PROTO], capture_output=True, text=True)
        assert '{"id":"bad","what":"crash"}' in by_proto.stdout, by_proto
        narrow = on_terminal("dead", "show", "orders", letter["id"], "--engine", weir.engine)
        assert all(width(plain(line)) <= 80 for line in narrow.splitlines()[10:]), narrow


def test_dead_letters_come_whole_in_one_go_and_a_replay_leaves_its_mark():
    with trial() as weir:
        weir.publish("orders", "trial.Order", [{"id": f"order-{i}", "what": "reject"} for i in range(3)])
        wait_until(lambda: len(weir.dead("orders")) == 3, "all are dead")
        weir.answer("dead", "replay", "orders", "--all")
        def again():
            letters = json.loads(weir.answer("dead", "list", "orders", "--json", "--history", "--payload"))
            return letters if len(letters) == 3 and all(len(each["history"]) == 3 for each in letters) else None
        for letter in wait_until(again, "all are dead again"):
            first, mark, second = letter["history"]
            assert first["number"] == second["number"] == 1 and list(mark) == ["replayed_at"], letter
            assert letter["payload"]["what"] == "reject" and letter["payload_base64"], letter
        shown = weir.answer("dead", "show", "orders", letter["id"]).decode()
        assert "replayed: attempts count from 1 again" in shown, shown
        assert weir.answer("dead", "list", "notes", "--json", "--payload") == b"[]\n"


def test_bytes_of_strangers_steer_no_terminal_and_break_no_json():
    with trial() as weir:
        attached(weir)
        evil = b"a\xc2\x9b2J\xe2\x80\xaeb\xff"
        weir.answer("publish", "orders", "--type", "trial.Order", "--data", '{"what": "reject"}',
                    "--header", b"raw=" + evil, "--header", b"\xc2\x85name=x")
        wait_until(lambda: weir.dead("orders"), "it is dead")
        letter = json.loads(weir.answer("dead", "show", "orders", weir.dead("orders")[0]["id"], "--json").decode("utf-8"))
        assert letter["headers"]["raw"] == "a\x9b2J\u202eb\ufffd", letter
        assert letter["headers_base64"] == {"raw": "YcKbMkrigK5i/w=="}, letter
        for words in (["dead", "show", "orders", letter["id"]], ["dead", "show", "orders", letter["id"], "--json"],
                      ["dead", "show", evil, "x"]):
            said = plain(on_terminal(*[os.fsdecode(word) for word in words], "--engine", weir.engine))
            assert not HARMFUL.search(said), (words, said)
        assert not HARMFUL.search(plain(weir.log.read_text(errors="replace"))), "the log"


class Broker:
    """A broker alone, whose file the test writes."""

    def __init__(self, folder):
        self.folder, self.file, self.port = folder, Path(folder) / "weir.yaml", free_port()
        self.process = None

    def start(self, queues):
        self.file.write_text(f"engine: weir://127.0.0.1:{self.port}\nqueues:\n{queues}")
        self.process = subprocess.Popen([WEIR, "broker", self.file], stderr=subprocess.DEVNULL)
        wait_until(lambda: self.ask("queues").returncode == 0, "the broker answers")

    def ask(self, *words):
        return subprocess.run([WEIR, *words, "-f", self.file], capture_output=True, text=True)

    def stop(self, kill=False):
        self.process.kill() if kill else self.process.terminate()
        self.process.wait(10)


def test_a_queue_that_left_the_file_and_a_command_that_is_none_are_called_that():
    with tempfile.TemporaryDirectory() as folder:
        broker = Broker(folder)
        broker.start("  in:\n  out:\n")
        assert broker.ask("publish", "out", "--data", "x").returncode == 0
        broker.stop()
        broker.start("  in:\n")
        said = broker.ask("publish", "out", "--data", "x")
        assert said.returncode == 1 and "'out' is not in the broker's deployment file any more" in said.stderr, said
        assert "did you mean" not in said.stderr, said
        broker.stop()
    said = subprocess.run([WEIR, "qeues", "-f", "x"], capture_output=True, text=True)
    assert said.returncode == 2 and "unknown command 'qeues'; did you mean 'queues'?" in said.stderr, said


def test_a_lost_broker_is_called_that_and_publishing_goes_on_with_the_next():
    with tempfile.TemporaryDirectory() as folder:
        broker = Broker(folder)
        broker.start("  orders:\n")
        publish = subprocess.Popen([WEIR, "publish", "orders", "-f", broker.file], stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        publish.stdin.write(b"first\n")
        publish.stdin.flush()
        wait_until(lambda: json.loads(broker.ask("queues", "--json").stdout)[0]["ready"] == 1, "it is there")
        broker.stop(kill=True)
        os.set_blocking(publish.stderr.fileno(), False)
        said, line = b"", b"x" * 1000 + b"\n"
        os.set_blocking(publish.stdin.fileno(), False)
        sent = 0
        end = time.monotonic() + 30
        while b"waiting_for_room" not in said and time.monotonic() < end:
            try:
                sent += os.write(publish.stdin.fileno(), line * 50)
            except BlockingIOError:
                time.sleep(0.05)
            said += publish.stderr.read() or b""
        assert b"the connection to the broker is lost; it goes on once the broker is back" in said, said
        broker.start("  orders:\n")
        os.set_blocking(publish.stdin.fileno(), True)
        publish.stdin.write(line[sent % len(line):] if sent % len(line) else b"")
        publish.stdin.close()
        assert publish.wait(60) == 0, publish.stderr.read()
        broker.stop()


def test_what_nobody_takes_is_said():
    with trial() as weir:
        attached(weir)
        result = weir.ask("publish", "orders", "--data", "hello")
        assert result.returncode == 0 and b"nobody_takes_it queue=orders type=text waiting=1" in result.stderr, result
        assert weir.ask("publish", "notes", "--data", "hello").stderr == b""


def test_a_host_that_nobody_knows_is_called_that():
    result = subprocess.run([WEIR, "queues", "--engine", "weir://no-such-host.invalid:7733"], capture_output=True, text=True)
    assert result.returncode == 1 and "host 'no-such-host.invalid' is not known" in result.stderr, result


def test_help_fits_every_terminal():
    for words in commands():
        piped = subprocess.run([WEIR, *words, "--help"], capture_output=True, text=True).stdout
        assert all(width(line) <= 80 for line in piped.splitlines()), piped
    for columns in (60, 80, 140):
        said = on_terminal("publish", "--help", columns=columns)
        assert all(width(line) <= columns for line in said.splitlines()), (columns, said)


def test_tables_fit_their_terminal_and_say_what_is_left_out():
    with trial() as weir:
        attached(weir)
        for words in (["queues"], ["workers"], ["dead", "list", "orders"]):
            for columns in (80, 140):
                for variables in ({}, {"NO_COLOR": "1"}):
                    said = on_terminal(*words, "--engine", weir.engine, columns=columns, **variables)
                    assert all(width(plain(line)) <= columns for line in said.splitlines()), said
                    assert ("\x1b[" in said) == (not variables), said
        assert "(no room for " in on_terminal("workers", "--engine", weir.engine)
        assert "(no room for " not in weir.answer("workers").decode(), "a pipe has all columns"


def test_bash_completes_from_the_same_table():
    script = subprocess.run([WEIR, "completion", "bash"], capture_output=True, text=True, check=True).stdout
    def complete(*words):
        asked = 'eval "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _weir 2>/dev/null; echo "${COMPREPLY[@]}"'
        return subprocess.run(["bash", "-c", asked, "bash", script, *words], capture_output=True, text=True).stdout.split()
    names = {words[0] for words in commands() if words}
    assert set(complete("weir", "")) == names, (complete("weir", ""), names)
    assert complete("weir", "-f", "x", "dead", "re") == ["replay"]
    assert complete("weir", "dead", "list", "q", "--hi") == ["--history"]
    assert complete("weir", "bench", "drain", "--durability", "") == ["fsync", "os", "none"]
    for words in commands():
        said = subprocess.run([WEIR, *words, "--help"], capture_output=True, text=True).stdout
        options = re.findall(r"--[a-z-]+", "\n".join(re.findall(r"^  (-.*?)(?:  |$)", said, re.M)))
        assert set(options) <= set(complete("weir", *words, "--")), words


def test_zsh_and_fish_take_theirs():
    shells = [shell for shell in ("zsh", "fish") if shutil.which(shell)]
    if not shells:
        raise Skipped("neither zsh nor fish")
    with tempfile.TemporaryDirectory() as folder:
        for shell in shells:
            script = Path(folder, f"weir.{shell}")
            script.write_bytes(subprocess.run([WEIR, "completion", shell], capture_output=True, check=True).stdout)
            result = subprocess.run([shell, "-n", script], capture_output=True)
            assert result.returncode == 0 and not result.stderr, result
        if "fish" in shells:  # it says what it would complete without a terminal
            asked = f"source {folder}/weir.fish; complete -C 'weir -f x dead re'"
            said = subprocess.run(["fish", "--no-config", "-c", asked], capture_output=True, text=True,
                                  env={**os.environ, "HOME": folder}).stdout
            assert said.split("\t")[0] == "replay", said


def test_every_command_has_a_man_page():
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([WEIR, "man", f"{folder}/man1"], check=True, capture_output=True)
        pages = {page.name for page in Path(folder, "man1").iterdir()}
        assert pages == {"-".join(["weir", *words]) + ".1" for words in commands()}, pages
        for page in Path(folder, "man1").iterdir():
            result = subprocess.run(["groff", "-man", "-ww", "-Tutf8", page], capture_output=True, text=True)
            assert result.returncode == 0 and not result.stderr, (page.name, result.stderr)


def test_a_stopped_store_is_compacted_and_goes_on():
    with trial() as weir:
        data = weir.folder / "data"
        weir.answer("publish", "notes", "--delay", "1h", "--data", "kept")
        weir.answer("publish", "orders", input=b"".join(b"%d" % i + b"x" * 20_000 + b"\n" for i in range(500)))
        assert weir.ask("compact", data).returncode == 2, "-f is none of its options"
        refused = subprocess.run([WEIR, "compact", data], capture_output=True, text=True)
        assert refused.returncode == 1 and "in use by a broker" in refused.stderr, refused
        weir.stop()
        before = (data / "data.mdb").stat().st_size
        # Nobody takes them; a broker whose file has no such queue would keep them too.
        result = subprocess.run([WEIR, "compact", data], capture_output=True, text=True)
        assert result.returncode == 0 and re.search(r"data\.mdb was .* and is ", result.stdout), result
        assert (data / "data.mdb").stat().st_size <= before
        weir.__enter__()
        assert weir.queue("orders")["ready"] == 500 and weir.queue("notes")["delayed"] == 1
        assert subprocess.run([WEIR, "check-store", data], capture_output=True).returncode != 0, "it is in use"


def test_top_lives_through_a_restart_of_the_broker_and_leaves_the_terminal_as_it_was():
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "weir.yaml"
        engine = f"weir://127.0.0.1:{free_port()}"
        names = "".join(f"  queue-{i:03}:\n" for i in range(1000))
        file.write_text(f"engine: {engine}\nqueues:\n{names}")
        def broker():
            process = subprocess.Popen([WEIR, "broker", file], stderr=subprocess.DEVNULL)
            wait_until(lambda: subprocess.run([WEIR, "queues", "-f", file], capture_output=True).returncode == 0, "it answers")
            return process
        process = broker()
        subprocess.run([WEIR, "publish", "queue-500", "-f", file, "--data", "x"], check=True, capture_output=True)
        top = Terminal(["top", "--engine", engine, "--every", "200ms"])
        top.shows("1,000 queues, 0 sessions")
        top.shows("queue-018")
        top.press("ss")  # by name, ready, delayed
        top.shows("sort: DELAYED")
        top.press("/q")
        top.shows("/q")
        top.press("ueue-500\r")
        top.shows("queue-500")
        top.shows("no worker")
        process.kill()
        process.wait()
        top.shows("no broker answers; as it was ")
        process = broker()
        top.press("")
        top.shows("1,000 queues")
        top.press("q")
        assert top.ended() == 0 and "\x1b[?1049l" in top.text and "\x1b[?25h" in top.text, top.text[-200:]
        process.terminate()
        assert process.wait(10) == 0
    result = subprocess.run([WEIR, "top", "--engine", engine], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert result.returncode == 2 and "weir queues --json" in result.stderr, result


if __name__ == "__main__":
    main(globals())
