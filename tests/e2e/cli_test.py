#!/usr/bin/python3
"""The command line program, as people and scripts use it: its words, its exit codes, the processes it leaves."""

import json
import os
import pty
import re
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from pathlib import Path

from deployment import BUILD, ROOT, WEIR, Deployment, free_port, main, wait_until

DONE, FAILED, WRONG_USAGE = 0, 1, 2
PLUGIN = BUILD / "tests/e2e/plugin/trial.so"


def weir(*words, folder="/tmp", stdin="", **variables):
    environment = {name: value for name, value in os.environ.items() if name != "WEIR_ENGINE"}
    return subprocess.run([WEIR, *words], input=stdin, capture_output=True, text=True, timeout=120, cwd=folder,
                          env={**environment, **variables})


def expect(result, code, *words):
    said = result.stdout + result.stderr
    assert result.returncode == code, f"{result.args[1:]} ended with {result.returncode}, not {code}: {said}"
    for word in words:
        assert word in said, f"{result.args[1:]} did not say {word!r}: {said}"


def processes_marked(mark):
    """Every process that was started with MARK in its environment, but for zombies."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdigit() and f"MARK={mark}".encode() in (folder / "environ").read_bytes():
                found.append((int(folder.name), (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()))
        except OSError:
            pass
    return found


class Trial(Deployment):
    """`weir up tests/e2e/trial.yaml`, every process of it marked."""

    def __init__(self, file="tests/e2e/trial.yaml"):
        self.mark = uuid.uuid4().hex
        super().__init__(file, TRIAL_PORT="{port}", TRIAL_FOLDER="{folder}", MARK=self.mark)

    def ledger(self):
        file = self.folder / "ledger"
        return file.read_text().splitlines() if file.exists() else []

    def processes(self, name):
        """Process ids of `weir NAME` in this deployment."""
        return [pid for pid, line in processes_marked(self.mark) if f" {name} " in line]

    def orders(self, *orders):
        self.publish("orders", "trial.Order", orders)

    def attached(self):
        wait_until(lambda: [w for w in json.loads(self.answer("workers", "--json")) if w["connected"]],
                   "a worker is attached")


def ended_well():
    """In place of a supervisor whose end was no good one, as the test wanted."""
    process = subprocess.Popen(["true"])
    process.wait()
    return process


def gone(mark, seconds):
    wait_until(lambda: not processes_marked(mark), f"no process is left: {processes_marked(mark)}", seconds)


def test_a_wrong_command_line_ends_with_2_and_says_what_was_meant():
    expect(weir("pblish", "x"), WRONG_USAGE, "weir: unknown command 'pblish'; did you mean 'publish'?\nsee weir --help")
    expect(weir("publish"), WRONG_USAGE, "weir publish: QUEUE is required\nsee weir publish --help")
    expect(weir("publish", "q", "--tpye", "x"), WRONG_USAGE, "unknown option '--tpye'; did you mean '--type'?")
    expect(weir("publish", "q", "--delay", "5"), WRONG_USAGE, "'5': expected a duration such as 250ms, 1s, 5m, 1h or 90d")
    expect(weir("publish", "q", "--delay", "-5s"), WRONG_USAGE)
    expect(weir("publish", "q", "--header", "x"), WRONG_USAGE, "'x': expected NAME=VALUE")
    expect(weir("dead", "lst"), WRONG_USAGE, "weir dead: unknown command 'lst'; did you mean 'list'?")
    expect(weir("dead", "replay", "orders"), WRONG_USAGE, "which dead letters? weir dead replay orders ID…, or --all")
    expect(weir("dead", "list", "q", "--most", "0"), WRONG_USAGE, "--most: Value 0 not in range 1 to 1000000000")
    expect(weir("up"), WRONG_USAGE, "weir up: FILE is required")
    expect(weir("check"), WRONG_USAGE, "which file? weir check FILE, or weir check --explain")
    expect(weir(), WRONG_USAGE, "see weir --help")


def test_every_command_has_help_with_an_example():
    expect(weir("--help"), DONE, "Start here:", "Exit codes: 0 done, 1 failed, 2 usage or configuration error.")
    for command in ["up", "broker", "worker", "publish", "queues", "workers", "check", "bench", "bench drain",
                    "bench backlog", "bench latency", "bench waiting", "dead", "dead list", "dead show", "dead replay", "dead purge"]:
        expect(weir(*command.split(), "--help"), DONE, "Example:\n  ", "Exit codes:")


def test_the_version_names_protocol_and_compiler():
    said = weir("--version").stdout
    assert re.match(r"weir \d+\.\d+\.\d+\nprotocol \d+ to \d+\ncompiler (g\+\+|clang) ", said), said


def test_without_an_engine_a_command_says_what_it_tried():
    expect(weir("queues", folder=tempfile.gettempdir()), WRONG_USAGE,
           "tried --engine URL (not given), -f FILE (not given), $WEIR_ENGINE (not set) and ./weir.yaml (not there)")


def test_an_engine_that_is_not_there_or_wrong_is_an_error():
    port = free_port()
    expect(weir("queues", "--engine", f"weir://127.0.0.1:{port}"), FAILED, f"weir://127.0.0.1:{port}")
    expect(weir("queues", WEIR_ENGINE=f"weir://127.0.0.1:{port}"), FAILED, str(port))
    for wrong in ("nonsense", "http://127.0.0.1", "weir://127.0.0.1:99999"):
        expect(weir("queues", "--engine", wrong), WRONG_USAGE, wrong)
    expect(weir("publish", "q", "--proto", "x.proto", "--engine", f"weir://127.0.0.1:{port}"), WRONG_USAGE, "--type")
    expect(weir("--engine", f"weir://127.0.0.1:{port}", "queues"), WRONG_USAGE, "write it after 'queues'")
    expect(weir("publish", "q", "--data", "x", "--engine", f"weir://127.0.0.1:{port}"), FAILED, str(port))


def test_check_reports_every_error_at_once():
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "bad.yaml"
        file.write_text("engine: amqp://localhost\nqueues:\n  orders: { order: key, attempts: -1 }\n"
                        "workers:\n  shop: { plugin: ./none.so, queues: [ordres], shard: 2 }\n")
        result = weir("check", str(file))
        expect(result, WRONG_USAGE)
        lines = result.stderr.splitlines()
        assert [line.removeprefix(f"{file}:").split(" ")[0] for line in lines] == [
            "1:9:", "3:13:", "3:35:", "5:19:", "5:39:", "5:48:"], result.stderr
        expect(result, WRONG_USAGE, "amqp:// is not in this version", "key 'order' in queues.orders: not in this version",
               "queues.orders.attempts is '-1': expected a whole number, from 1 to 1000", "none.so",
               "which is not under queues; did you mean 'orders'?", "unknown key 'shard' in workers.shop; did you mean "
               "'shards'?")
        for command in ["up", "broker"]:
            expect(weir(command, str(file)), WRONG_USAGE, "amqp:// is not in this version")
        expect(weir("worker", str(file), "shop"), WRONG_USAGE, "amqp:// is not in this version")
        expect(weir("check", str(Path(folder) / "none.yaml")), WRONG_USAGE, "cannot be read: No such file or directory")


def test_check_looks_at_the_plugin_file():
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "weir.yaml"
        def check(plugin):
            file.write_text(f"queues: {{orders: }}\nworkers:\n  shop: {{ plugin: {plugin}, queues: [orders] }}\n")
            return weir("check", str(file))
        expect(check(PLUGIN), DONE, "good", "shop: 1 × 1 shard")
        expect(check("./weir.yaml"), WRONG_USAGE, "weir.yaml:3:19: workers.shop: plugin ", "is not an ELF file")
        expect(check("/lib/x86_64-linux-gnu/libc.so.6"), WRONG_USAGE, "is no Weir plugin")
        expect(check("./none.so"), WRONG_USAGE, "No such file or directory")


def test_the_deployment_files_that_come_with_weir_are_good():
    for file in ("deploy/local.yaml", "workers/plugins/documents/documents.yaml",
                 "workers/plugins/webhooks/webhooks.yaml"):
        expect(weir("check", str(ROOT / file), WEIR_BUILD=str(BUILD), WEBHOOKS_SECRET="x"), DONE, "good")


def test_check_explains_every_key():
    expect(weir("check", "--explain"), DONE, "queues.NAME.backoff.first: a duration", "(default: 1s)",
           "queues.NAME.order\n    not in this version")


def test_lines_are_published_handled_and_counted():
    with Trial() as trial:
        lines = "".join(json.dumps({"id": f"o{i}"}) + "\n" for i in range(500)) + "\n"
        said = trial.answer("publish", "orders", "--type", "trial.Order", "--id-field", "id", "--header", "a=b",
                            input=lines.encode()).decode()
        assert re.fullmatch(r"published 500 in \d+\.\d\d s \([\d,]+ msg/s\)\n", said), said
        trial.settled("orders")
        queue = trial.queue("orders")
        assert [queue[key] for key in ("published", "acked", "dead", "retried", "in_file")] == [500, 500, 0, 0, True], queue
        assert sorted(trial.ledger()) == sorted(f"o{i}{end}" for i in range(500) for end in ("", " done"))

        trial.answer("publish", "notes", "--data", "water the plants")
        trial.answer("publish", "notes", input=b"one\n\ntwo")
        trial.settled("notes")
        assert trial.ledger()[-4:] == ["water the plants", "one", "", "two"], trial.ledger()[-4:]
        table = trial.answer("queues").decode().splitlines()
        assert table[0].split() == ["QUEUE", "READY", "DELAYED", "LEASED", "DEAD", "PUBLISHED", "ACKED", "RETRIED", "SIZE",
                                    "SESSIONS"], table
        assert table[2].split()[:7] == ["orders", "0", "0", "0", "0", "500", "500"], table


def test_publishing_finds_its_engine_and_types_in_more_than_one_way():
    with Trial() as trial:
        proto = Path(__file__).parent / "plugin/trial.proto"
        line = '{"id": "a"}\n'
        for words in (["--proto", str(proto)], ["--plugin", str(PLUGIN)]):
            expect(weir("publish", "orders", "--engine", trial.engine, "--type", "trial.Order", *words, stdin=line), DONE)
        expect(weir("publish", "orders", "--engine", trial.engine, "--type", "trial.Order", stdin=line), WRONG_USAGE,
               "what describes it? --proto FILE, --plugin FILE, or -f FILE")
        expect(weir("publish", "orders", "--type", "trial.Ordr", "--plugin", str(PLUGIN), stdin=line,
                    WEIR_ENGINE=trial.engine), FAILED, "no type 'trial.Ordr'", "did you mean 'trial.Order'?")
        expect(weir("publish", "ordres", "--data", "x", "--engine", trial.engine), FAILED,
               "no queue 'ordres'", "did you mean 'orders'?")
        trial.settled("orders")
        assert trial.queue("orders")["acked"] == 2


def test_a_line_that_does_not_fit_is_named_and_ends_publishing():
    with Trial() as trial:
        lines = '{"id": "a"}\n\n{"id": "b"}\n{"id": 5, "nosuch": 1}\n{"id": "c"}\n'
        result = trial.ask("publish", "orders", "--type", "trial.Order", input=lines.encode())
        assert result.returncode == FAILED, result
        assert result.stdout.startswith(b"published 2 in "), result.stdout
        assert b"line 4: nosuch: Cannot find field.; it and what follows was not published" in result.stderr, result.stderr
        result = trial.ask("publish", "orders", "--type", "trial.Order", "--id-field", "number", input=b'{"id": "a"}\n')
        assert b"line 1: it has no field 'number'" in result.stderr, result.stderr
        trial.settled("orders")
        assert trial.queue("orders")["published"] == 2


def test_a_slow_pipe_is_published_as_it_comes():
    with Trial() as trial:
        publish = subprocess.Popen([WEIR, "publish", "notes", "--engine", trial.engine], stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE)
        for text in (b"first\n", b"second\n"):
            publish.stdin.write(text)
            publish.stdin.flush()
            wait_until(lambda: text.decode().strip() in trial.ledger(), "the line is handled while the pipe is open", 10)
        publish.stdin.close()
        assert publish.wait(10) == DONE
        assert publish.stdout.read().startswith(b"published 2 in ")


def test_a_delayed_message_waits():
    with Trial() as trial:
        trial.answer("publish", "notes", "--data", "later", "--delay", "2s")
        assert trial.queue("notes")["delayed"] == 1, trial.queue("notes")
        assert trial.ledger() == []
        trial.settled("notes", seconds=10)
        assert trial.ledger() == ["later"]


def test_dead_letters_are_listed_shown_replayed_and_purged():
    with Trial() as trial:
        trial.orders({"id": "bad", "what": "fail"}, {"id": "worse", "what": "reject"}, {"id": "good"})
        trial.settled("orders")
        dead = {each["last_error"]: each for each in trial.dead("orders")}
        assert set(dead) == {"asked to fail", "asked to reject"}, dead
        letter = dead["asked to fail"]
        assert letter["attempts"] == 2 and letter["type"] == "trial.Order", letter
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", letter["dead_since"]), letter
        assert dead["asked to reject"]["attempts"] == 1, dead
        assert trial.queue("orders")["retried"] == 1
        table = trial.answer("dead", "list", "orders").decode()
        assert table.splitlines()[0].split()[:3] == ["ID", "TYPE", "ATTEMPTS"] and letter["id"] in table, table

        shown = trial.answer("dead", "show", "orders", letter["id"]).decode()
        assert shown.count("asked to fail") == 3 and "trial/" in shown and "bad" not in shown, shown
        assert "bad" in trial.answer("dead", "show", "orders", letter["id"], "--payload").decode()
        history = json.loads(trial.answer("dead", "show", "orders", letter["id"], "--json"))["history"]
        assert [each["number"] for each in history] == [1, 2], history
        assert all(each["error"] == "asked to fail" and each["worker"].startswith("trial/") for each in history), history

        before = trial.ledger().count("bad")
        assert trial.answer("dead", "replay", "orders", letter["id"]) == b"replayed 1 of orders\n"
        wait_until(lambda: trial.ledger().count("bad") == before + 2, "it is tried twice again")
        wait_until(lambda: len(trial.dead("orders")) == 2, "it is dead again")

        result = trial.ask("dead", "purge", "orders", "--all")
        assert result.returncode == WRONG_USAGE and b"would purge 2 dead letters of orders" in result.stderr, result
        assert len(trial.dead("orders")) == 2
        assert trial.answer("dead", "purge", "orders", "--all", "--yes") == b"purged 2 of orders\n"
        assert trial.dead("orders") == [] and trial.queue("orders")["dead"] == 0
        result = trial.ask("dead", "list", "ordres")
        assert result.returncode == FAILED and b"ordres" in result.stderr, result


def test_workers_says_alive_connected_and_consuming():
    with Trial() as trial:
        trial.attached()
        [worker] = json.loads(trial.answer("workers", "--json"))
        assert worker["group"] == "trial" and sorted(worker["queues"]) == ["notes", "orders"], worker
        assert [worker[key] for key in ("alive", "connected", "consuming")] == [True, True, True], worker
        assert worker["window_messages"] == 16 and worker["held_messages"] == 0, worker
        assert "trial/" in trial.answer("workers").decode()


def test_ctrl_c_drains_and_leaves_no_process():
    trial = Trial()
    with trial:
        trial.orders({"id": "slow", "what": "sleep", "milliseconds": 700})
        wait_until(lambda: trial.ledger() == ["slow"], "the handler runs")
        trial.stop()
        assert trial.ledger() == ["slow", "slow done"], trial.ledger()
        gone(trial.mark, 0.5)


def test_a_stop_right_after_the_start_is_a_clean_one():
    for pause in (0.05, 0.1, 0.15, 0.2, 0.3, 0.4):
        trial = Trial()
        trial.process = subprocess.Popen([WEIR, "up", trial.file], stderr=open(trial.log, "wb"), env=trial.environment)
        wait_until(lambda: b"process_started" in trial.log.read_bytes(), "it has started")
        time.sleep(pause)
        trial.process.send_signal(signal.SIGTERM)
        assert trial.process.wait(20) == DONE, f"stopped after {pause} s: {trial.log.read_text()}"
        gone(trial.mark, 1)


def test_a_terminals_ctrl_c_reaches_the_supervisor_alone():
    """As typed: the kernel sends SIGINT to the terminal's foreground processes."""
    trial = Trial()
    master, terminal = pty.openpty()
    def control_the_terminal():
        os.setsid()
        import fcntl
        import termios
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    trial.process = subprocess.Popen([WEIR, "up", trial.file], stdin=terminal, stdout=subprocess.DEVNULL,
                                     stderr=open(trial.log, "wb"), env=trial.environment, cwd=trial.folder,
                                     preexec_fn=control_the_terminal)
    os.close(terminal)
    wait_until(lambda: trial.ask("queues").returncode == 0, "the broker answers")
    trial.orders({"id": "slow", "what": "sleep", "milliseconds": 700})
    wait_until(lambda: trial.ledger() == ["slow"], "the handler runs")
    os.write(master, b"\x03")
    assert trial.process.wait(20) == DONE, trial.log.read_text()
    assert trial.ledger() == ["slow", "slow done"], trial.ledger()
    gone(trial.mark, 0.5)
    os.close(master)


def test_a_second_ctrl_c_stops_at_once():
    trial = Trial()
    with trial:
        trial.orders({"id": "long", "what": "sleep", "milliseconds": 60000})
        wait_until(lambda: trial.ledger() == ["long"], "the handler runs")
        begin = time.monotonic()
        trial.process.send_signal(signal.SIGINT)
        time.sleep(0.3)
        assert not trial.ended(), "it drains for up to 2 s"
        trial.process.send_signal(signal.SIGINT)
        assert trial.process.wait(10) == FAILED
        assert time.monotonic() - begin < 1.9, f"took {time.monotonic() - begin} s"
        gone(trial.mark, 3)
        # The broker ends last, and has heard of it: the next one need not wait for a session that nobody has.
        assert "its process was ended by signal 9" in trial.log.read_text(), trial.log.read_text()
        trial.process = ended_well()


def test_kill_9_of_the_supervisor_leaves_no_process():
    trial = Trial()
    with trial:
        trial.attached()
        assert len(processes_marked(trial.mark)) >= 4, processes_marked(trial.mark)
        trial.process.kill()
        trial.process.wait()
        gone(trial.mark, 15)
        trial.process = ended_well()


def test_what_dies_is_started_again_and_goes_on():
    with Trial() as trial:
        trial.attached()
        for victim in ("worker", "worker-child", "broker"):
            before = trial.processes(victim)
            assert len(before) == 1, (victim, processes_marked(trial.mark))
            os.kill(before[0], signal.SIGKILL)
            wait_until(lambda: trial.processes(victim) not in ([], before), f"another {victim} runs", 15)
            wait_until(lambda: trial.ask("queues").returncode == 0, "the broker answers")
            trial.orders({"id": victim})
            wait_until(lambda: f"{victim} done" in trial.ledger(), f"messages are handled after the death of a {victim}", 15)


def test_a_configuration_that_no_restart_mends_ends_up():
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "weir.yaml"
        workers = f"workers: {{shop: {{plugin: {PLUGIN}, queues: [orders, emails]}}}}\n"
        file.write_text(f"engine: weir://127.0.0.1:{free_port()}\nqueues: {{orders: , emails: }}\n{workers}")
        expect(weir("up", str(file)), WRONG_USAGE,
               f"weir.yaml:3:{workers.index('emails') + 1}: workers.shop: queue 'emails' has no handler")
        expect(weir("worker", str(file), "shoq"), WRONG_USAGE, "no group 'shoq' under workers; it has shop")
        # What only the worker itself finds.
        file.write_text(f"engine: weir://127.0.0.1:{free_port()}\nqueues: {{orders: , notes: }}\nworkers:\n"
                        f"  shop: {{plugin: {PLUGIN}, queues: [orders, notes], shards: 2, with: {{twice: in shard 1}}}}\n")
        expect(weir("up", str(file)), WRONG_USAGE, "two handlers for type 'trial.Order'", "process_refused_its_configuration")


def test_a_group_has_more_queues_than_one_hello_holds():
    with tempfile.TemporaryDirectory() as folder:
        names = [f"many.queues.with.long.names.{i}" for i in range(1, 3001)]
        file, ledger = Path(folder) / "weir.yaml", Path(folder) / "ledger"
        file.write_text(f"engine: weir://127.0.0.1:{free_port()}\nqueues:\n" + "".join(f"  {name}:\n" for name in names) +
                        f"workers: {{shop: {{plugin: {PLUGIN}, queues: [{', '.join(names)}],\n"
                        f"  with: {{many: 3000, ledger: {ledger}}}}}}}\n")
        expect(weir("check", "--load", str(file)), DONE, "good")
        up = subprocess.Popen([WEIR, "up", file], stderr=open(Path(folder) / "log", "wb"))
        for name in (names[0], names[-1]):
            expect(weir("publish", name, "--data", name, "-f", str(file)), DONE)
        wait_until(lambda: ledger.exists() and ledger.read_text().split() == [names[0], names[-1]], "both are handled", 20)
        up.send_signal(signal.SIGTERM)
        assert up.wait(20) == DONE, (Path(folder) / "log").read_text()[-600:]


def test_a_port_in_use_is_an_error_and_not_a_loop():
    with socket.socket() as taken, tempfile.TemporaryDirectory() as folder:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        file = Path(folder) / "weir.yaml"
        file.write_text(f"engine: weir://127.0.0.1:{taken.getsockname()[1]}\nqueues: {{orders: }}\n")
        expect(weir("broker", str(file)), FAILED, str(taken.getsockname()[1]))
        expect(weir("up", str(file)), FAILED, "process_never_came_up")


def test_a_data_folder_that_cannot_be_used_is_named():
    with Trial() as trial, tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "weir.yaml"
        def start(data):
            file.write_text(f"engine: weir://127.0.0.1:{free_port()}\nbroker: {{ data: {data} }}\nqueues: {{orders: }}\n")
            return weir("broker", str(file))
        expect(start(trial.folder / "data"), FAILED, str(trial.folder / "data"), "another broker")
        expect(start("/dev/null/data"), FAILED, "/dev/null/data")


def test_a_message_that_is_too_large_is_named_and_the_others_stay():
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "weir.yaml"
        file.write_text(f"engine: weir://127.0.0.1:{free_port()}\nbroker: {{ message_most: 1KiB }}\n"
                        "queues: {orders: }\n")
        broker = subprocess.Popen([WEIR, "broker", file], stderr=subprocess.DEVNULL)
        wait_until(lambda: weir("queues", "-f", str(file)).returncode == 0, "the broker answers")
        result = weir("publish", "orders", "-f", str(file), stdin=f"small\n{'x' * 2000}\nsmall\n")
        expect(result, FAILED, "published 1 in", "line 2: ", "1024")
        broker.terminate()
        assert broker.wait(10) == DONE


def test_logs_are_json_lines_if_asked():
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "weir.yaml"
        file.write_text(f"engine: weir://127.0.0.1:{free_port()}\nqueues: {{orders: }}\n")
        up = subprocess.Popen([WEIR, "--log", "json", "up", file], stderr=subprocess.PIPE, text=True)
        wait_until(lambda: weir("queues", "-f", str(file)).returncode == 0, "the broker answers")
        up.send_signal(signal.SIGTERM)
        lines = up.stderr.read().splitlines()
        assert up.wait() == DONE and lines, lines
        assert all("event" in json.loads(line) for line in lines), lines


def test_bench_measures_separate_processes():
    with tempfile.TemporaryDirectory() as folder:
        for workload, *more in (["drain"], ["backlog"], ["latency", "--rate", "20000"], ["waiting", "--handler-ms", "10"]):
            result = weir("bench", workload, "--messages", "20000", "--data", folder, *more)
            expect(result, DONE, "20,000 messages of 256 B")
            line = json.loads(result.stdout)
            assert (line["peer"], line["workload"], line["durability"], line["messages"]) == (
                "weir", workload, "fsync", 20000), line
            for field in ("msgs_per_s", "publish_msgs_per_s", "cpu_s", "broker_rss_mb", "worker_rss_mb"):
                assert line[field] > 0, line
            assert "duplicates" not in line, line
            assert (line["p50_ms"] is not None) == (workload == "latency"), line
        assert list(Path(folder).iterdir()) == [], "it leaves nothing behind"


def test_an_interrupted_bench_clears_away_what_it_made():
    with tempfile.TemporaryDirectory() as folder:
        mark = uuid.uuid4().hex
        bench = subprocess.Popen([WEIR, "bench", "drain", "--messages", "1000000000", "--data", folder],
                                 stderr=subprocess.PIPE, text=True, env={**os.environ, "MARK": mark})
        wait_until(lambda: len(processes_marked(mark)) == 4, "it runs")
        bench.send_signal(signal.SIGINT)
        assert bench.wait(20) == FAILED and "interrupted" in bench.stderr.read()
        gone(mark, 5)
        assert list(Path(folder).iterdir()) == []


if __name__ == "__main__":
    main(globals())
