"""The ledger of a storm: what was confirmed against what ran and what is dead; and why something ran twice."""

import collections
import dataclasses
import itertools
import json
import threading
import time

from kit import Tail

# What fails on purpose, so that a counted second attempt needs no other cause.
FAILING = ("fail", "never")
TOLD_LATE = 0.5  # seconds after it happened may a line of the broker's log be read
FLUSH = 5.0      # and so long after it gave up what it held may a process that drains say goodbye


@dataclasses.dataclass
class Start:
    number: int
    attempt: int
    pid: int
    name: str
    at: float
    ended: bool = False


def read(path):
    """Of each place (message id): its starts, in time order."""
    places = collections.defaultdict(list)
    for line in path.read_text().splitlines():
        what, number, attempt, pid, place, name, at = line.split()
        if what == "start":
            places[place].append(Start(int(number), int(attempt), int(pid), name, float(at)))
        else:
            for start in reversed(places[place]):
                if start.pid == int(pid) and start.attempt == int(attempt):
                    start.ended = True
                    break
    return places


class BrokerLog:
    """What brokers' logs tell: of each session, by process and shard, when a HELLO came and when and why it ended.

    The time is when the line was read: the log's own is by the wall clock, which jumps.
    """

    def __init__(self, folder):
        self.folder, self.tails, self.closing = folder, {}, False
        self.sessions = collections.defaultdict(list)  # (pid, shard) -> [(time, "hello", "goodbye" or "lost")]
        self.starts = []
        self.thread = threading.Thread(target=self.follow, daemon=True)
        self.thread.start()

    def follow(self):
        while True:
            last = self.closing
            for log in self.folder.glob("up-*.log"):
                if log not in self.tails:
                    self.tails[log] = Tail(log)
                for line in self.tails[log].new():
                    self.read(line, time.monotonic())
            if last:
                return
            time.sleep(0.02)

    def read(self, line, now):
        if '"broker_listening"' in line:
            self.starts.append(now)
        if any(f'"{event}"' in line for event in ("worker_attached", "worker_back", "session_ended")):
            told = json.loads(line)
            pid, shard = map(int, told["worker"].split("/")[2:])
            what = "hello" if told["event"] != "session_ended" else "goodbye" if told["why"] == "goodbye" else "lost"
            self.sessions[pid, shard].append((now, what))

    def end(self):
        """Both are whole, to the end of the logs; it follows no further."""
        self.closing = True
        self.thread.join()
        return self

    def of(self, pid):
        return [events for (each, _), events in self.sessions.items() if each == pid]

    def lost_while(self, pid, begin, end):
        """A session of the process was ended between these times; or before, and until then it had not said HELLO again."""
        return any(what == "lost" and at <= end + TOLD_LATE and all(again >= begin - TOLD_LATE for again, _ in events[n + 1:n + 2])
                   for events in self.of(pid) for n, (at, what) in enumerate(events))

    def said_goodbye(self, pid, begin, end):
        return any(what == "goodbye" and begin <= at <= end for events in self.of(pid) for at, what in events)


class Judge:
    """`actions`: number -> what it was told to do; `timeout`: of its handler, seconds."""

    def __init__(self, places, actions, log, timeout):
        self.places, self.actions, self.log, self.timeout = places, actions, log, timeout

    def lost_messages(self, confirmed, dead):
        """Numbers that were confirmed and neither handled nor dead."""
        handled = {start.number for starts in self.places.values() for start in starts if start.ended}
        dead_numbers = {start.number for place in dead for start in self.places.get(place, [])}
        return set(confirmed) - handled - dead_numbers

    def cause(self, before, after):
        """Why it ran again, or None."""
        if not before.ended and after.attempt == before.attempt + 1:
            if self.actions[before.number] in FAILING:
                return "as they failed"
            if after.at - before.at >= self.timeout:
                return "as they timed out"  # their process, or its machine, stood still
        # Whoever starts first, one of the two was no longer its holder.
        if self.log.lost_while(before.pid, before.at, after.at) or self.log.lost_while(after.pid, after.at, after.at):
            return "as their session had ended"
        drained = self.log.said_goodbye(before.pid, before.at, after.at + FLUSH)
        if drained and not before.ended and after.attempt == before.attempt:
            return "as their process drained"
        return None

    def doubles(self):
        """(how many ran again by cause, [descriptions of those that did without one])."""
        explained, without = collections.Counter(), []
        for place, starts in self.places.items():
            for before, after in zip(starts, starts[1:]):
                cause = self.cause(before, after)
                if cause:
                    explained[cause] += 1
                else:
                    without.append(f"{place} ({self.actions[before.number]}): attempt {before.attempt} in {before.pid}"
                                   f"{', ended' if before.ended else ''}, then {after.attempt} in {after.pid} "
                                   f"{after.at - before.at:.2f} s later")
        return explained, without

    def places_of_two(self):
        """Places at which two numbers ran."""
        return [place for place, starts in self.places.items() if len({start.number for start in starts}) > 1]

    def renamed(self, published_again):
        """Numbers that ran under two names, though no other publisher published them again; and names of two numbers."""
        names, numbers = collections.defaultdict(set), collections.defaultdict(set)
        for start in itertools.chain(*self.places.values()):
            names[start.number].add(start.name)
            numbers[start.name].add(start.number)
        return ([number for number, all_of_them in names.items() if len(all_of_them) > 1 and number not in published_again],
                [name for name, all_of_them in numbers.items() if len(all_of_them) > 1])

    def stored_twice(self, confirmed, published_again, broker_starts):
        """Numbers in two places, though their publisher did not die, nor their broker before it had confirmed them.

        A message that was handled ahead of its commit is unknown to the next broker, and its publisher sends it again. Then
        that broker started after the first handler did and before the second, and the confirmation came later than that.
        """
        places = collections.defaultdict(dict)
        for place, starts in self.places.items():
            for start in starts:
                first = places[start.number].get(place, start.at)
                places[start.number][place] = min(first, start.at)

        def sent_again(number, first, second):
            heard = confirmed.get(number, float("inf"))
            return any(first <= at <= min(second, heard) + TOLD_LATE for at in broker_starts)

        return [number for number, where in places.items() if len(where) > 1 and number not in published_again
                and not all(sent_again(number, *pair) for pair in itertools.pairwise(sorted(where.values())))]
