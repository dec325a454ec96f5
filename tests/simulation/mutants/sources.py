"""C++ sources as far as planting needs them: tokens, and which functions stand where. No preprocessor, no types."""

import re
from bisect import bisect_left
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

TOKEN = re.compile(
    r"""(?P<skip>\s+|//[^\n]*|/\*.*?\*/)
      | R"(?P<mark>[^\s()\\]*)\(.*?\)(?P=mark)"
      | "(?:\\.|[^"\\\n])*" | '(?:\\.|[^'\\\n])*'
      | [A-Za-z_]\w* | \d(?:'?[\w.])*
      | .""", re.X | re.S)
DIRECTIVE = re.compile(r"^[ \t]*#(?:[^\n\\]|\\.)*", re.M | re.S)
WORD = re.compile(r"[A-Za-z_]")
# Words before a parenthesis that are no function's name.
NO_NAME = {"alignas", "decltype", "explicit", "noexcept", "requires", "__attribute__", "if", "for", "while", "switch"}
OPENING, CLOSING = frozenset("({["), frozenset(")}]")


@dataclass
class Token:
    text: str
    start: int
    end: int


@dataclass
class Definition:
    """A function, its tokens from { to }; or a constant or variable, from its name to the ;."""
    name: str  # within its namespaces and classes: weir::core::State::queue
    path: Path
    line: int
    body: list = field(repr=False)


def tokens_of(text):
    """Without comments, white space and what the preprocessor reads. Signs are single characters."""
    text = DIRECTIVE.sub(lambda found: " " * len(found[0]), text)
    return [Token(found[0], found.start(), found.end()) for found in TOKEN.finditer(text) if found["skip"] is None]


def closed_at(tokens, at):
    """Where that is closed which opens at `at`."""
    depth = 0
    for i in range(at, len(tokens)):
        if tokens[i].text in OPENING:
            depth += 1
        elif tokens[i].text in CLOSING:
            depth -= 1
            if depth == 0:
                return i
    return len(tokens) - 1


def with_operators(tokens):
    """`operator`, `(`, `)` as one token, and so on."""
    out, at = [], 0
    while at < len(tokens):
        end = at + 1
        if tokens[at].text == "operator":
            end += 2 if [token.text for token in tokens[end:end + 2]] == ["(", ")"] else 0
            while end < len(tokens) and tokens[end].text != "(":
                end += 1
        out.append(Token("".join(token.text for token in tokens[at:end]), tokens[at].start, tokens[end - 1].end))
        at = end
    return out


def scope_of(words):
    """What a `{` after these words opens, if that is a namespace or a class: its name, or ''."""
    for kind in ("namespace", "extern", "class", "struct", "union", "enum"):
        if kind in words:
            names = [word for word in words[words.index(kind) + 1:] if WORD.match(word) and word != "final"]
            if kind == "namespace":
                return "::".join(names)
            return names[0] if names and kind != "extern" else ""
    return None


def name_before(words, call):
    """The name that ends before the parenthesis at `call`, with the classes that it is qualified by."""
    at = call - 1
    while at >= 3 and words[at - 1] == words[at - 2] == ":" and WORD.match(words[at - 3]):
        at -= 3
    return ("~" if at > 0 and words[at - 1] == "~" else "") + "".join(words[at:call])


def function_of(words):
    """(the name of the function that these words declare or None, whether a { after them initialises a member)."""
    depth, call, members = 0, None, False
    for at, word in enumerate(words):
        if depth == 0 and call is None:
            if word == "=":
                return None, False
            if word == "(" and at > 0 and WORD.match(words[at - 1]) and words[at - 1] not in NO_NAME:
                call = at
        elif depth == 0 and word == ":" and ":" not in (words[at - 1], (words + [""])[at + 1]):
            members = True
        depth += (word in OPENING) - (word in CLOSING)
    if call is None:
        return None, False
    return name_before(words, call), members and bool(re.match(r"[A-Za-z_>]", words[-1]))


@lru_cache(maxsize=None)
def definitions_of(path):
    """All that are in a file, outside of functions."""
    text = path.read_text()
    ends = [found.start() for found in re.finditer("\n", text)]
    tokens = with_operators(tokens_of(text))
    found, scopes, head, at = [], [], [], 0

    def define(name, body):
        name = "::".join([scope for scope in scopes if scope] + [name])
        found.append(Definition(name, path, 1 + bisect_left(ends, body[0].start), body))

    while at < len(tokens):
        word = tokens[at].text
        words = [token.text for token in head] if word in "{;:" else []
        end = closed_at(tokens, at) if word in OPENING else at
        if word == "{":
            function, initialises = function_of(words)
            scope = scope_of(words) if function is None else None
            if scope is not None:
                scopes.append(scope)
                head, end = [], at
            elif function is not None and not initialises:
                define(function, tokens[at:end + 1])
                head = []
            else:
                head += tokens[at:end + 1]
        elif word == "}":
            scopes[-1:], head = [], []
        elif word == ";":
            if "=" in words[1:] and WORD.match(words[words.index("=") - 1]):
                define(words[words.index("=") - 1], head[words.index("=") - 1:] + [tokens[at]])
            head = []
        elif word == ":" and words in (["public"], ["private"], ["protected"]):
            head = []
        else:
            head += tokens[at:end + 1]
        at = end + 1
    return found
