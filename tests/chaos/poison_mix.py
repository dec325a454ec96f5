"""Every way there is to end a process, or to fail in no words, at once among innocent messages (poison_test.py runs it)."""

import collections
import random

# Its own thread takes a signal, or calls exit: each start is charged.
NAMED = ["null_pointer", "abort", "stack_overflow", "exit", "exit_at_once", "exec", "sigtrap", "trap", "divide_by_zero",
         "jump_to_nowhere", "bus_error", "sigsys", "thread_exit", "noexcept_throw", "offload/null_pointer"]
# The handler fails, and its process lives.
RETRIED = ["null_what", "empty_what", "throw_int", "posted_exception", "spawned_exception", "timer_exception"]
# Nobody can say of what the process died: it is suspect, tried, and charged.
SUSPECT = ["sigkill", "posted_exit_while_it_waits", "thread_aborts", "thread_throws", "thread_exits", "closed_files"]
# So too; it is killed for it three session timeouts later.
STOPPED = ["sigstop"]
# So too; but its handler has returned by then. If its ack was heard in time it is done, and its process died once.
MAY_BE_ACKED = ["posted_crash", "posted_exit", "timer_crash", "spawned_crash", "late_thread", "alarm"]
ALL = NAMED + RETRIED + SUSPECT + STOPPED + MAY_BE_ACKED


def drawn(seed):
    """A few of each sort."""
    dice = random.Random(seed)
    return (dice.sample(NAMED, 2) + dice.sample(RETRIED, 2) + dice.sample(SUSPECT, 2) + dice.sample(MAY_BE_ACKED, 2))


def task(number, kind):
    action = "offload_poison" if kind.startswith("offload/") else "poison"
    return {"number": number, "action": action, "poison": kind.removeprefix("offload/")}


def tasks(kinds, good):
    """The poisons among so many good ones, and by which number each kind goes."""
    step = (good + len(kinds)) // (len(kinds) + 1)
    poison = {step * (i + 1): kind for i, kind in enumerate(kinds)}
    all_tasks = [task(n, poison[n]) if n in poison else
                 {"number": n, "action": "sleep" if n % 3 == 0 else "ack", "millis": 20}
                 for n in range(good + len(kinds))]
    return all_tasks, poison


class Ledger:
    """What the handlers wrote: of each number the starts, their attempts, and its ids."""

    def __init__(self, path):
        self.starts, self.ends = collections.Counter(), collections.Counter()
        self.attempts, self.ids = collections.defaultdict(set), collections.defaultdict(set)
        for line in path.read_text().splitlines():
            what, number, attempt, _, identity = line.split()[:5]
            if what == "end":
                self.ends[int(number)] += 1
                continue
            self.starts[int(number)] += 1
            self.attempts[int(number)].add(int(attempt))
            self.ids[int(number)].add(identity)


def check(ledger, poison, good, attempts, letters):
    """`letters`: history by id. Returns how many were acked, and how often the poisons were started."""
    innocent = [n for n in range(good + len(poison)) if n not in poison]
    missing = [n for n in innocent if ledger.ends[n] == 0]
    assert not missing, f"{len(missing)} good ones were not handled, e.g. {missing[:3]}"
    charged = [n for n in innocent if ledger.attempts[n] != {1}]
    assert not charged, f"good ones were charged: {[(n, ledger.attempts[n]) for n in charged[:3]]}"
    acked, dead = [], 0
    for number, kind in poison.items():
        starts = ledger.starts[number]
        assert starts <= 2 * attempts + 1, f"{kind} was started {starts} times"
        history = next((letters[i] for i in ledger.ids[number] if i in letters), None)
        if history is None:
            assert kind in MAY_BE_ACKED, f"{kind} is no dead letter"
            acked.append(kind)
            continue
        dead += 1
        numbers = [entry["number"] for entry in history]
        assert numbers == list(range(1, attempts + 1)), f"{kind} was charged {numbers}"
    assert dead == len(letters), f"{len(letters)} dead letters, {dead} poisons among them"
    return acked, {kind: ledger.starts[number] for number, kind in poison.items()}
