#!/usr/bin/python3
"""A plugin that dies by itself, whatever it handles: a thread of its own crashes. No message becomes a dead letter.

    dying_plugin_test.py [--long]

`weir up` goes on starting it; the broker tries those suspected, finds that it dies without them as well, and says so.
Once the plugin is mended, all is handled.
"""

import argparse
import re
import time

from kit import SANITIZED, WEIR, Deployment, Suite, plugin, wait_for

YAML = """
engine: weir://127.0.0.1:{port}
broker: {{ data: {folder}/data, session_timeout: 2s }}
queues:
  work: {{ attempts: 3, backoff: {{ first: 20ms, most: 100ms }} }}
workers:
  w:
    plugin: {plugin}
    queues: [work]
    processes: {{ least: {processes} }}
    window: {{ messages: 512, bytes: 16MiB }}
    concurrency: 512
    timeout: 60s
    drain: 1s
    with: {{ ledger: {ledger}, crashes_while: {folder}/crashes, crashes_after_ms: "{crashes_after_ms}" }}
"""


def dies_by_itself(messages, seconds, processes, found_within, then):
    """Handlers of so many seconds; in each process a thread crashes after half of that. It goes on so when it is found."""
    crashes_after_ms = int(seconds * 500)
    with Deployment(YAML, plugin=plugin("work"), processes=processes, crashes_after_ms=crashes_after_ms) as d:
        (d.folder / "crashes").touch()
        up = d.start("up", WEIR, "up", d.file)
        wait_for("the broker", lambda: d.ended(up, "up") or d.listening())
        d.publish([{"number": n, "action": "sleep", "millis": int(seconds * 1000)} for n in range(messages)])
        log = d.folder / "up.log"
        begin = time.monotonic()
        line = wait_for("it is found", lambda: next((each for each in log.read_text(errors="replace").splitlines()
                                                     if "plugin_dies_by_itself" in each), None), found_within, 0.2)
        took = time.monotonic() - begin
        assert "crash_of_its_own" in line or "poison::abort" in line, f"its stack is not told: {line}"
        time.sleep(then)
        counts = d.queue()
        assert counts["dead"] == 0 and counts["acked"] == 0, counts
        (d.folder / "crashes").unlink()
        wait_for("all are handled", lambda: (q := d.queue()) and q["acked"] == messages,
                 30 + 4 * seconds * (messages // 512 + 1) * (4 if SANITIZED else 1), 0.2)
        counts = d.queue()
        assert counts["dead"] == 0, counts
        # The first charge in an hour is free, and never the last attempt.
        assert counts["retried"] <= 2, counts
        deaths = len(re.findall("process_died", log.read_text(errors="replace")))
        up.terminate()
        assert up.wait(30) == 0, log.read_text(errors="replace")[-600:]
        return f"{deaths} deaths, found after {took:.0f} s, {counts['retried']} retried, 0 dead"


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--long", action="store_true", help="1,000 handlers of 10 s, as well")
    args, _ = options.parse_known_args()
    suite = Suite()
    tests = [("one process", dies_by_itself, 100, 1, 1, 60, 10), ("a group of two", dies_by_itself, 100, 1, 2, 60, 10)]
    if args.long:
        tests.append(("1,000 handlers of 10 s", dies_by_itself, 1000, 10, 2, 240, 120))
    suite.run_all(tests)
    suite.end()


if __name__ == "__main__":
    main()
