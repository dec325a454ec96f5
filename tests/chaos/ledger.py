"""The ledger of a storm: what was confirmed against what ran and what is dead; and why something ran twice."""

import collections
import dataclasses
import itertools

# What fails on purpose, so that a counted second attempt needs no other cause.
FAILING = ("fail", "never")
# Seconds around the end of a session in which its process may still start what it holds: it was cut off for as long, and
# learns when it is back that its leases are lost. (The longest fault of a link, its session timeout, and some lag.)
CUT_OFF = 10.0
TOLD_LATE = 0.5  # and so much later may the broker's log tell it


@dataclasses.dataclass
class Start:
    number: int
    attempt: int
    pid: int
    at: float
    ended: bool = False


def read(path):
    """Of each place (message id): its starts, in time order."""
    places = collections.defaultdict(list)
    for line in path.read_text().splitlines():
        what, number, attempt, pid, place, at = line.split()
        if what == "start":
            places[place].append(Start(int(number), int(attempt), int(pid), float(at)))
        else:
            for start in reversed(places[place]):
                if start.pid == int(pid) and start.attempt == int(attempt):
                    start.ended = True
                    break
    return places


class Judge:
    """`actions`: number -> what it was told to do; `hurt`: [(from, to, {pids})]; `lost`: [(time, pid)] of sessions that ended."""

    def __init__(self, places, actions, hurt, lost):
        self.places, self.actions, self.hurt, self.lost = places, actions, hurt, lost

    def was_hurt(self, pid, begin, end):
        return any(pid in pids and since <= end and until >= begin for since, until, pids in self.hurt)

    def lost_messages(self, confirmed, dead):
        """Numbers that were confirmed and neither handled nor dead."""
        handled = {start.number for starts in self.places.values() for start in starts if start.ended}
        dead_numbers = {start.number for place in dead for start in self.places.get(place, [])}
        return set(confirmed) - handled - dead_numbers

    def lost_its_lease(self, pid, begin, end):
        return any(each == pid and begin - CUT_OFF <= at <= end + TOLD_LATE for at, each in self.lost)

    def cause(self, before, after):
        """Why it ran again, or None."""
        if self.was_hurt(before.pid, before.at, after.at):
            return "as their process was hurt"
        # Whoever starts first, one of the two was no longer its holder.
        if self.lost_its_lease(before.pid, before.at, after.at) or self.lost_its_lease(after.pid, after.at, after.at):
            return "as their session had ended"
        if self.actions[before.number] in FAILING and not before.ended and after.attempt == before.attempt + 1:
            return "as they failed"
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
