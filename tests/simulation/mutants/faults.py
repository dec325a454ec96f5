"""Planted faults: the form of a .fault file, and what the sources become with one. README.md beside this says how to write one."""

import re
from dataclasses import dataclass, field
from pathlib import Path

from sources import definitions_of, tokens_of, with_operators

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
FOLDER = "framework/weir"
STORE = ROOT / "framework/weir/broker/store"
KEYS = ("in", "folder", "replace", "with", "found by", "breaks")


class Unfit(Exception):
    """Why a fault cannot be planted."""


@dataclass
class Edit:
    where: str  # a function or constant
    folder: str
    old: str
    new: str


@dataclass
class Fault:
    name: str
    edits: list = field(default_factory=list)
    found_by: str = ""  # a program and its options; else the simulator, or store_kill
    breaks: str = ""  # what the simulator is to say


def words(text):
    return [token.text for token in with_operators(tokens_of(text))]


def lines_of(text):
    """(key, value) of each key: what follows it, and the indented lines below it."""
    key = None
    for line in text.splitlines():
        found = re.match(r"([a-z]+(?: [a-z]+)?):(?:\s+(.*)|)$", line)
        if found and found[1] in KEYS:
            if key:
                yield key, value.strip("\n")
            key, value = found[1], found[2] or ""
        elif key and (line.startswith(" ") or not line.strip()):
            value += "\n" + line
        elif key:
            raise Unfit(f"'{line.strip()}' is none of {', '.join(KEYS)}; lines that go on are indented")
    if key:
        yield key, value.strip("\n")


def read(path):
    fault, where, folder, old = Fault(path.stem), "", FOLDER, None
    for key, value in lines_of(path.read_text()):
        if key == "in":
            where = value
        elif key == "folder":
            folder = value
        elif key == "replace":
            old = value
        elif key == "with":
            if not where or old is None:
                raise Unfit("each `with` follows a `replace`, and that an `in`")
            fault.edits.append(Edit(where, folder, old, value))
            old = None
        elif key == "found by":
            fault.found_by = value
        else:
            fault.breaks = value
    if not fault.edits or old is not None:
        raise Unfit("it needs `in`, `replace` and `with`")
    return fault


def sources(folder):
    return sorted(path for path in (ROOT / folder).rglob("*.?pp") if path.suffix in (".cpp", ".hpp"))


def places(old, definitions):
    """(definition, first token, last token) wherever the old tokens stand."""
    found = []
    for definition in definitions:
        body = [token.text for token in definition.body]
        for at in range(len(body) - len(old) + 1):
            if body[at] == old[0] and body[at:at + len(old)] == old:
                found.append((definition, definition.body[at], definition.body[at + len(old) - 1]))
    return found


def at(found):
    return ", ".join(f"{definition.name} ({definition.path.relative_to(ROOT)}:{definition.line})" for definition in found[:5])


def place_of(edit):
    every = [definition for path in sources(edit.folder) for definition in definitions_of(path)]
    named = [one for one in every if one.name == edit.where or one.name.endswith("::" + edit.where)]
    old = words(edit.old)
    if not old:
        raise Unfit("`replace` names no tokens")
    found = places(old, named)
    if len(found) == 1:
        return found[0]
    if found:
        raise Unfit(f"`replace` stands {len(found)} times: {at([place[0] for place in found])}; give more tokens, a name that"
                    " is qualified, or a folder")
    elsewhere = [place[0] for place in places(old, every)]
    hint = f"; they stand in {at(elsewhere)}" if elsewhere else ""
    if not named:
        raise Unfit(f"nothing in {edit.folder} is named '{edit.where}'{hint}")
    raise Unfit(f"'{edit.where}' ({at(named)}) has not the tokens `{' '.join(edit.old.split())}`{hint}")


def planted(fault):
    """What each source becomes: path → text."""
    changes = {}
    for edit in fault.edits:
        definition, first, last = place_of(edit)
        changes.setdefault(definition.path, []).append((first.start, last.end, edit.new))
    texts = {}
    for path, spans in changes.items():
        text, spans = path.read_text(), sorted(spans, reverse=True)
        if any(after[0] < before[1] for after, before in zip(spans, spans[1:])):
            raise Unfit(f"two of its edits overlap in {path.relative_to(ROOT)}")
        for start, end, new in spans:
            text = text[:start] + new + text[end:]
        texts[path] = text
    return texts


def names():
    return sorted(path.stem for path in HERE.glob("*.fault"))
