#!/usr/bin/python3
"""deploy/EVENTS.md lists every log event of the code, with its level and its fields.

The events are read from the sources: calls of log::debug, info, warn, error and write, and of the broker core's note().
A field that a line has only sometimes is written with a question mark, here and on the page: `left_out?`.
"""

import functools
import re
import subprocess
from collections import namedtuple
from pathlib import Path

import checks

ROOT = Path(__file__).resolve().parents[2]
PAGE = "deploy/EVENTS.md"
TRACKED = subprocess.run(["git", "-C", ROOT, "ls-files", "-co", "--exclude-standard"], capture_output=True, text=True,
                         check=True).stdout.splitlines()
PRODUCT = ("framework/weir/", "workers/weir/", "workers/plugins/")
FILES = sorted({name for name in TRACKED if name.startswith(PRODUCT) and name.endswith((".cpp", ".hpp"))
                and not name.endswith("_test.cpp") and (ROOT / name).exists()})

# Path -> the section of the page that has its events; the first that fits.
SECTIONS = [
    ("framework/weir/telemetry/", "Any command"),
    ("framework/weir/inherited/", "Any command"),
    ("workers/weir/main.cpp", "Any command"),
    ("framework/weir/deployment/", "Supervisor"),
    ("workers/weir/up.cpp", "Supervisor"),
    ("framework/weir/broker/core/", "Broker: sessions and messages"),
    ("framework/weir/broker/", "Broker: process, store and connections"),
    ("framework/weir/worker/", "Worker"),
    ("workers/weir/", "Publisher and other commands"),
]

# The event's name is a parameter in these calls: (file, the name as it is written) -> why, and what it prints.
# `NOTICES` are the names that clients give to notice_() in framework/weir/engine/weir/client.cpp.
NOTICES = "notices"
BY_HAND = {
    ("framework/weir/worker/run.cpp", "event"):
        ("a worker's clients tell it of their connections", [(NOTICES, "info", ["worker", "text"])]),
    ("workers/weir/publish.cpp", "event"):
        ("so do a publisher's; `connected` is left out", [(NOTICES, "warn", ["text"])]),
    ("framework/weir/worker/delivery_context.cpp", "event"):
        ("ctx.log(): events are the handlers' own; the page has them in a paragraph", []),
    ("framework/weir/broker/note_log.cpp", "note.event"):
        ("writes the core's notes, which are read where they are made", []),
}
NOTICES_LEFT_OUT = {"workers/weir/publish.cpp": 'event != "connected"'}  # must stand in the call's statement

# Fields that are put into a list before the call: file -> event -> fields. The test sees to it that the file names
# these fields and no others.
FIELDS_BY_HAND = {
    "framework/weir/broker/core/identity.cpp": {
        "store_is_older": ["by?", "start?", "client", "doing"],
        "store_is_another": ["client", "doing"],
    },
}
# Fields that are added to an event on its way to the log: (file, field) -> event; None: to each note, as `left_out?`.
ADDED = {
    ("framework/weir/broker/server.cpp", "file"): "store_value_damaged",
    ("framework/weir/broker/note_log.cpp", "left_out"): None,
}
NOTE_ADDS = {event: [field] for (_, field), event in ADDED.items() if event}

Event = namedtuple("Event", "section name level fields place")
Unread = namedtuple("Unread", "place why")

CALL = re.compile(r"\blog::(debug|info|warn|error|write)\s*\(")
CALL_INSIDE = re.compile(r"(?<![\w.:>])(debug|info|warn|error|write)\s*\(")  # in namespace weir::log
NOTE = re.compile(r"\bnote\s*\(")
NOTICE = re.compile(r"\bnotice_?\s*\(")
TOKEN = re.compile(r'//[^\n]*|/\*.*?\*/|R"(\w*)\(.*?\)\1"|"(?:\\.|[^"\\\n])*"|'
                   r"(?<![0-9A-Fa-f])'(?:\\.|[^'\\\n])+'", re.S)
LEVELS = {"debug": "debug", "info": "info", "warn": "warn", "warning": "warn", "error": "error"}


class Source:
    """A file twice, place for place: `text` without comments, `code` also without what stands in quotes."""

    def __init__(self, name, text):
        def blank(found, keep_strings):
            token = found.group()
            if token.startswith("/") or not keep_strings:
                inner = re.sub(r"[^\n]", " ", token)
                return inner if token.startswith("/") else '"' + inner[2:] + '"'
            return token

        self.name = name
        self.text = TOKEN.sub(lambda found: blank(found, True), text)
        self.code = TOKEN.sub(lambda found: blank(found, False), text)
        assert len(self.text) == len(self.code) == len(text), name

    def place(self, at):
        return f"{self.name}:{self.text.count(chr(10), 0, at) + 1}"

    def parts(self, begin, end, separators):
        """Ranges of what `separators` part, outside of all brackets, from begin to end or to the bracket's end."""
        depth, since, out = 0, begin, []
        at = begin
        while at < end:
            char = self.code[at]
            if char in "([{":
                depth += 1
            elif char in ")]}":
                if depth == 0:
                    break
                depth -= 1
            elif self.code[at:at + 2] == "::":
                at += 1
            elif depth == 0 and char in separators:
                out.append((since, at))
                since = at + 1
            at += 1
        out.append((since, at))
        return [self.trimmed(*one) for one in out]

    def trimmed(self, begin, end):
        while begin < end and self.text[begin].isspace():
            begin += 1
        while begin < end and self.text[end - 1].isspace():
            end -= 1
        return begin, end

    def read(self, one):
        return " ".join(self.text[slice(*one)].split())

    def choices(self, one):
        """(condition, what it may be) of `a ? b : c`, or (None, what it is)."""
        parts = self.parts(*one, "?:")
        texts = [self.read(part) for part in parts]
        return (texts[0], texts[1:]) if len(parts) == 3 else (None, [self.read(one)])

    def names(self, one):
        """(condition, names) where `one` is a name in quotes, a constant of this file, or a choice of such; or None."""
        condition, texts = self.choices(one)
        out = []
        for text in texts:
            constant = text and re.search(rf'\bconstexpr\b[^;={{]*\b{re.escape(text)}\s*=\s*("\w+")', self.text)
            found = re.fullmatch(r'"(\w+)"', constant[1] if constant else text)
            if not found:
                return None
            out.append(found[1])
        return condition, out

    def levels(self, one):
        """(condition, levels), or None."""
        condition, texts = self.choices(one)
        found = [re.fullmatch(r"(?:\w+::)*Level::(\w+)", text) for text in texts]
        return (condition, [LEVELS[each[1]] for each in found]) if all(found) else None

    def fields(self, one):
        """Of `{{"a", …}, {"b", …}}`; None if it is something else."""
        if self.code[one[0]] != "{":
            return None
        out = []
        for part in self.parts(one[0] + 1, one[1], ","):
            if part[0] == part[1]:
                continue
            found = re.match(r'\{\s*"(\w+)"\s*,', self.text[slice(*part)])
            if not found:
                return None
            out.append(found[1])
        return out


def section_of(name):
    return next((section for start, section in SECTIONS if name.startswith(start)), None)


def paired(levels, names):
    """(level, name), each that is printed: one condition for both chooses both at once."""
    (on, all_levels), (by, all_names) = levels, names
    if on and on == by:
        return list(zip(all_levels, all_names))
    return [(level, name) for level in all_levels for name in all_names]


def events_of(source, notices=()):
    """Events and unread calls of one file."""
    place = source.place
    section = section_of(source.name)

    def told(levels, names, arguments, more, at):
        fields = source.fields(arguments[0]) if arguments else []
        by_hand = FIELDS_BY_HAND.get(source.name)
        for level, name in paired(levels, names):
            own = fields if fields is not None else (by_hand or {}).get(name)
            if own is None or len(arguments) > 1:
                yield Unread(place(at), f"the fields of `{name}` are not in its call; list them there, or in "
                                        "FIELDS_BY_HAND")
            elif section is None:
                yield Unread(place(at), f"this file has no section of {PAGE}; give it one in SECTIONS")
            else:
                yield Event(section, name, level, [*own, *more(name)], place(at))

    def by_hand(written, at, statement):
        if (source.name, written) not in BY_HAND:
            return [Unread(place(at), f"the event's name is not in the call, but '{written}'; write it there, or in "
                                      "BY_HAND")]
        out = []
        for name, level, fields in BY_HAND[source.name, written][1]:
            left_out = NOTICES_LEFT_OUT.get(source.name)
            if left_out and left_out not in statement:
                return [Unread(place(at), f"'{left_out}' is not in this statement any more; correct NOTICES_LEFT_OUT")]
            out += [Event(section, each, level, fields, place(at)) for each in (notices if name == NOTICES else [name])
                    if not left_out or f'"{each}"' not in left_out]
        return out

    is_log = "namespace weir::log" in source.code
    for call in (CALL_INSIDE if is_log else CALL).finditer(source.code):
        arguments = source.parts(call.end(), len(source.code), ",")
        kind = call[1]
        if kind == "write":
            levels = source.levels(arguments.pop(0))
        else:
            levels = (None, [kind])
        limited = []
        names = source.names(arguments[0]) if arguments else None
        if not names and kind == "warn" and len(arguments) > 1:  # a limit stands before the name
            limited, names = ["left_out?"], source.names(arguments[1])
            if names:
                arguments.pop(0)
        if is_log and not names:
            continue  # the log itself: its functions, and what they pass on
        if not names or not levels:
            statement = source.text[max(source.text.rfind(char, 0, call.start()) for char in ";{}"):call.start()]
            yield from by_hand(source.read(arguments[0]), call.start(), statement)
            continue
        yield from told(levels, names, arguments[1:], lambda name, more=limited: more, call.start())

    for call in NOTE.finditer(source.code):
        arguments = source.parts(call.end(), len(source.code), ",")
        if len(arguments) < 3 or "&" in source.read(arguments[0]):
            continue  # another function's, or the declaration
        levels, names = source.levels(arguments[1]), source.names(arguments[2])
        if not levels or not names:
            yield Unread(place(call.start()), "the level or the name of this note is not in the call; write it there")
            continue
        yield from told(levels, names, arguments[3:], lambda name: [*NOTE_ADDS.get(name, []), "left_out?"],
                        call.start())


@functools.cache
def source_of(name):
    return Source(name, (ROOT / name).read_text())


def read_notices():
    """Names that clients give to notice_(); and those calls whose name cannot be read."""
    names, unread = [], []
    for name in FILES:
        source = source_of(name)
        for call in NOTICE.finditer(source.code):
            arguments = source.parts(call.end(), len(source.code), ",")
            if len(arguments) < 2:
                continue  # its initialization
            found = source.names(arguments[0])
            names += found[1] if found else []
            if not found:
                unread.append(Unread(source.place(call.start()), "the name of this notice is not in the call; write it "
                                                                 "there"))
    return names, unread


def read_code():
    notices, unread = read_notices()
    said = []
    for name in FILES:
        for one in events_of(source_of(name), notices):
            (said if isinstance(one, Event) else unread).append(one)
    return said, unread


def other_ways():
    """Ways to the log that this test does not read, and which the code does not use."""
    ways = [
        (r"\bspdlog::", "uses spdlog by itself; use weir::log", "framework/weir/telemetry/log.cpp"),
        (r"\busing\s+(?:namespace\s+)?(?:weir::)?log(?:::(?:debug|info|warn|error|write))?\s*;",
         "makes calls of the log look like others; write log::warn(…)", ""),
        (r"(?<!struct )\bNote\s*\{", "makes a note by itself; use note()", "framework/weir/broker/core/sessions.cpp"),
        (r'\bctx\.log\s*\(', "logs by ctx.log(), which this test does not read yet: let it", ""),
    ]
    for name in FILES:
        source = source_of(name)
        for pattern, why, may in ways:
            if name != may:
                yield from (Unread(source.place(found.start()), why) for found in re.finditer(pattern, source.code))


def read_page():
    """Events of the tables, and what is wrong with rows."""
    rows, wrong, section = [], [], None
    for number, line in enumerate((ROOT / PAGE).read_text().splitlines(), 1):
        place = f"{PAGE}:{number}"
        if line.startswith("## "):
            section = next((name for _, name in SECTIONS if line[3:].startswith(name)), None)
        if section is None or not line.startswith("| `"):
            continue
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        name = re.fullmatch(r"`(\w+)`", cells[0])
        if len(cells) != 5 or not all(cells) or not name or cells[1] not in LEVELS.values():
            wrong.append(f"{place}: a row is: | `event` | level | `fields` or – | meaning | what to do |")
            continue
        fields = re.findall(r"`(\w+\??)`", re.sub(r"\([^)]*\)", "", cells[2]))  # without units and values
        if not fields and cells[2] != "–":
            wrong.append(f"{place}: `{name[1]}` names no field; write – if it has none")
        rows.append(Event(section, name[1], cells[1], fields, place))
    return rows, wrong


SAID, UNREAD = read_code()
ROWS, WRONG_ROWS = read_page()


def by_event(events):
    """(section, name) -> level -> events."""
    out = {}
    for one in events:
        out.setdefault((one.section, one.name), {}).setdefault(one.level, []).append(one)
    return out


CODE = by_event(SAID)
LISTED = by_event(ROWS)


def together(events):
    """The fields of an event that stands in several places: what one of them lacks is there only sometimes."""
    every = [set(one.fields) for one in events]
    names = {field.rstrip("?") for fields in every for field in fields}
    return {name if all(name in fields for fields in every) else name + "?" for name in names}


def places(levels):
    return ", ".join(dict.fromkeys(one.place for events in levels.values() for one in events))


def lines(found):
    return "".join(f"\n  {each}" for each in found)


def test_every_call_of_the_log_can_be_read():
    found = [f"{place}: {why}" for place, why in UNREAD]
    assert not found, lines(found)


def test_every_event_of_the_code_is_on_the_page():
    assert len(CODE) >= 75, f"only {len(CODE)} events were found in the code: this test reads it wrongly"
    found = [f"{places(levels)}: `{name}` ({', '.join(levels)}) is not on {PAGE}; add a row to '{section}'"
             for (section, name), levels in CODE.items() if (section, name) not in LISTED]
    assert not found, lines(found)


def test_every_event_of_the_page_is_in_the_code():
    found = []
    for (section, name), levels in LISTED.items():
        if (section, name) in CODE:
            continue
        others = [other for other, event in CODE if event == name and (other, event) not in LISTED]
        do = f"move the row to '{others[0]}'" if others else "remove the row, or write the event's new name"
        found.append(f"{places(levels)}: nothing under '{section}' says `{name}`; {do}")
    assert not found, lines(found)


def test_levels_on_the_page_are_those_of_the_code():
    found = []
    for key in CODE.keys() & LISTED.keys():
        code, page = CODE[key], LISTED[key]
        if code.keys() != page.keys():
            found.append(f"{places(page)}: `{key[1]}` is {' and '.join(sorted(page))} here, and "
                         f"{' and '.join(sorted(code))} in {places(code)}; a row for each level of the code")
    assert not found, lines(sorted(found))


def test_fields_on_the_page_are_those_of_the_code():
    found = []
    for key in CODE.keys() & LISTED.keys():
        for level in CODE[key].keys() & LISTED[key].keys():
            code, page = together(CODE[key][level]), set(LISTED[key][level][0].fields)
            differs = [f"lacks {sorted(code - page)}"] * bool(code - page) + \
                      [f"has {sorted(page - code)}, which the code has not"] * bool(page - code)
            if differs:
                where = ", ".join(one.place for one in CODE[key][level])
                found.append(f"{LISTED[key][level][0].place}: `{key[1]}` {' and '.join(differs)}; see {where}")
    assert not found, lines(sorted(found))


def test_rows_are_whole_sorted_and_there_once():
    found = list(WRONG_ROWS)
    for section in dict.fromkeys(section for _, section in SECTIONS):
        rows = [(one.name, one.level) for one in ROWS if one.section == section]
        if not rows:
            found.append(f"{PAGE}: there is no section '## {section}' with events")
        found += [f"{PAGE}: under '{section}' {b} comes after {a}; sort by event, then level, each once"
                  for a, b in zip(rows, rows[1:]) if b <= a]
    assert not found, lines(found)


def test_what_is_read_by_hand_is_still_there():
    found = []
    for name, written in BY_HAND:
        source = source_of(name)
        calls = [source.parts(call.end(), len(source.code), ",") for call in CALL.finditer(source.code)]
        if not any(written in [source.read(one) for one in call[:2]] for call in calls):
            found.append(f"BY_HAND: no call of the log in {name} takes its name from '{written}' any more")
    # Fields that are put into a list of fields by name, wherever that is.
    there = {(name, field) for name in FILES for field in re.findall(
        r'\b(?:fields|all)\.(?:emplace_back\(|push_back\(\{)\s*"(\w+)"', source_of(name).text)}
    known = {(name, field.rstrip("?")) for name, events in FIELDS_BY_HAND.items() for fields in events.values()
             for field in fields}
    known |= ADDED.keys() | {("framework/weir/telemetry/log.cpp", "left_out")}  # of a limited warning
    found += [f"{name} adds field `{field}` to a list; say in FIELDS_BY_HAND or ADDED of which event" for name, field
              in sorted(there - known)]
    found += [f"{name} adds no field `{field}` any more; remove it from this test" for name, field
              in sorted(known - there)]
    found += [f"{place}: {why}" for place, why in other_ways()]
    assert not found, lines(found)


SAMPLE = r'''
// log::info("in_a_comment");
constexpr const char* held = "in_a_constant";
void f() {
  /* log::info("in_another"); */ log::warn(
      limit_, is_new ? "first"
                     : "second",  // "third"
      {{"text", "a, b) }{ \" log::error(\"in_a_string\")"},
       {"count", std::max(1'000, two({3, 4}))}});
  log::error(held);
  log::write(bad ? log::Level::error : log::Level::debug, bad ? "it_is" : "it_is_not", {{"why", ")"}});
  note(actions, fatal ? Note::Level::error : Note::Level::info, "noted", {{"queue", queue.name}});
  note(queue);
  log::info(variable, {{"text", text}});
}
'''


def test_calls_are_read_over_lines_comments_strings_constants_and_choices():
    read = list(events_of(Source("framework/weir/worker/sample.cpp", SAMPLE)))
    said = {(one.name, one.level): one.fields for one in read if isinstance(one, Event)}
    limited = ["text", "count", "left_out?"]
    noted = ["queue", "left_out?"]
    assert said == {("first", "warn"): limited, ("second", "warn"): limited, ("in_a_constant", "error"): [],
                    ("it_is", "error"): ["why"], ("it_is_not", "debug"): ["why"], ("noted", "error"): noted,
                    ("noted", "info"): noted}, said
    unread = [one for one in read if isinstance(one, Unread)]
    assert len(unread) == 1 and unread[0].place == "framework/weir/worker/sample.cpp:14", unread


if __name__ == "__main__":
    checks.run(globals())
