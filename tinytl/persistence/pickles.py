"""A reader of pickles that executes nothing: bytes in, plain values out.

A pickle is a program for a machine with a stack and a memo. Python's machine can import
any name and call it with any arguments, which is why pickles of unknown origin must not
be read with it. This one has the instructions that describe data, and no others. Names
("GLOBAL") become inert ``Name`` objects; a "call" (REDUCE) looks the name up in a table
that the caller gives, and is refused if it isn't there; nothing is ever imported.

Its memory is bounded: an instruction makes at most one object, of at most the bytes
that it takes from the file, and instructions are counted.

Source of the format: pickletools.py in Python's library, which documents each opcode.
"""

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

CONSTANTS = {b"N": None, b"\x88": True, b"\x89": False}
NUMBERS = {b"J": "<i", b"K": "<B", b"M": "<H", b"G": ">d"}
INTEGERS = {b"\x8a": "<B", b"\x8b": "<i"}  # a length, then so many bytes
TEXTS = {b"X": "<I", b"\x8c": "<B", b"\x8d": "<Q"}  # likewise
PUTS = {b"q": "<B", b"r": "<I"}
GETS = {b"h": "<B", b"j": "<I"}
EMPTIES = {b"]": list, b"}": dict, b")": tuple}
TUPLES = {b"\x85": 1, b"\x86": 2, b"\x87": 3}
IGNORED = {b"\x80": "<B", b"\x95": "<Q"}  # protocol, frame

LONGEST_INTEGER = 32  # bytes
DEEPEST = 64  # containers in containers
MOST_STEPS = 2_000_000  # a hundred for each tensor is usual
PLAIN = (type(None), bool, int, float, str)


@dataclass(frozen=True, slots=True)
class Name:
    """A name that a pickle mentions, "module.name". It stands for nothing."""

    text: str


def read_pickle(
    content: bytes,
    start: int = 0,
    calls: Mapping[str, Callable[..., Any]] | None = None,
    names: frozenset[str] = frozenset(),
    persistent: Callable[[Any], Any] | None = None,
) -> tuple[Any, int]:
    """The value that a pickle in `content` describes, and where the pickle ends.

    Args:
        content: bytes that hold the pickle, perhaps among others.
        start: where it begins.
        calls: what may be "called", by name; the functions are ours.
        names: what else may be named.
        persistent: makes objects from "persistent ids", or None to refuse them.

    Raises:
        ValueError: it is damaged, or needs something that isn't allowed, which is
            named.
    """
    machine = _Machine(content, start, calls or {}, names, persistent)
    for _ in range(MOST_STEPS):
        machine.step()
        if machine.stopped:
            return machine.stack[-1], machine.place
    raise ValueError(f"a pickle of more than {MOST_STEPS:,} instructions is refused")


class _Machine:
    """Stack, memo and place of one pickle."""

    def __init__(
        self,
        content: bytes,
        start: int,
        calls: Mapping[str, Callable[..., Any]],
        names: frozenset[str],
        persistent: Callable[[Any], Any] | None,
    ):
        self.content = content
        self.place = start
        self.calls = calls
        self.names = names
        self.persistent = persistent
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []  # the stacks under the open marks
        self.memo: dict[int, Any] = {}
        self.stopped = False

    def step(self) -> None:
        """One instruction."""
        at = self.place
        code = self._take(1)
        try:
            if not self._push_plain(code) and not self._use_memo(code):
                self._build(code)
        except (IndexError, KeyError):  # stack or memo are emptier than it thinks
            raise ValueError(
                f"damaged pickle: instruction {code!r} at byte {at} finds nothing to "
                "work on"
            ) from None

    # -- reading

    def _take(self, size: int) -> bytes:
        if not 0 <= size <= len(self.content) - self.place:
            raise ValueError(
                f"damaged pickle: {size} bytes are wanted at byte {self.place}, and "
                f"{len(self.content) - self.place} are left"
            )
        self.place += size
        return self.content[self.place - size : self.place]

    def _number(self, form: str) -> Any:
        return struct.unpack(form, self._take(struct.calcsize(form)))[0]

    def _line(self) -> str:
        end = self.content.find(b"\n", self.place)
        if not 0 <= end - self.place <= 200:
            raise ValueError(f"damaged pickle: no name at byte {self.place}")
        text = _decode(self._take(end - self.place))
        self.place += 1
        return text

    # -- instructions: constants, the memo, and what puts values together

    def _push_plain(self, code: bytes) -> bool:
        if code in CONSTANTS:
            self.stack.append(CONSTANTS[code])
        elif code in NUMBERS:
            self.stack.append(self._number(NUMBERS[code]))
        elif code in TEXTS:
            self.stack.append(_decode(self._take(self._number(TEXTS[code]))))
        elif code in INTEGERS:
            size = self._number(INTEGERS[code])
            if size > LONGEST_INTEGER:
                raise ValueError(f"an integer of {size} bytes is refused")
            self.stack.append(int.from_bytes(self._take(size), "little", signed=True))
        elif code in EMPTIES:
            self.stack.append(EMPTIES[code]())
        elif code in IGNORED:
            self._number(IGNORED[code])
        else:
            return False
        return True

    def _use_memo(self, code: bytes) -> bool:
        if code in PUTS:
            self.memo[self._number(PUTS[code])] = self.stack[-1]
        elif code == b"\x94":
            self.memo[len(self.memo)] = self.stack[-1]
        elif code in GETS:
            self.stack.append(self.memo[self._number(GETS[code])])
        elif code == b"(":
            self.below.append(self.stack)
            self.stack = []
        else:
            return False
        return True

    def _build(self, code: bytes) -> None:
        if code == b"t":
            row = tuple(self._above_mark())
            self.stack.append(row)
        elif code in TUPLES:
            count = TUPLES[code]
            self.stack[-count:] = [tuple(self.stack[-count + k] for k in range(count))]
        elif code in (b"a", b"e"):
            items = self._above_mark() if code == b"e" else [self.stack.pop()]
            self._top(list, code).extend(items)
        elif code in (b"s", b"u"):
            pairs = self._above_mark() if code == b"u" else self._last(2)
            self._set_items(self._top(dict, code), pairs)
        elif code == b"c":
            self._push_name(f"{self._line()}.{self._line()}")
        elif code == b"\x93":
            module, name = self._last(2)
            if type(module) is not str or type(name) is not str:
                raise ValueError("damaged pickle: a name that is no text")
            self._push_name(f"{module}.{name}")
        elif code == b"R":
            self._call(*self._last(2))
        elif code == b"b":
            self.stack.pop()  # attributes, as torch keeps versions in an OrderedDict
            self._top(dict, code)
        elif code == b"Q":
            self._push_persistent(self.stack.pop())
        elif code == b".":
            self._stop()
        else:
            raise ValueError(
                f"instruction {code!r} at byte {self.place - 1} is none that describes "
                "plain data; it is refused"
            )

    def _last(self, count: int) -> list[Any]:
        if len(self.stack) < count:
            raise IndexError
        items = self.stack[-count:]
        del self.stack[-count:]
        return items

    def _above_mark(self) -> list[Any]:
        items, self.stack = self.stack, self.below.pop()
        return items

    def _top(self, kind: type, code: bytes) -> Any:
        if type(self.stack[-1]) is not kind:
            raise ValueError(
                f"instruction {code!r} on a {_kind(self.stack[-1])} is refused"
            )
        return self.stack[-1]

    def _set_items(self, target: dict[Any, Any], pairs: list[Any]) -> None:
        if len(pairs) % 2:
            raise IndexError
        for key, value in zip(pairs[::2], pairs[1::2], strict=True):
            if not isinstance(key, PLAIN):
                raise ValueError(
                    f"a dict has a {_kind(key)} as a key; needed are texts and numbers"
                )
            target[key] = value

    def _push_name(self, name: str) -> None:
        if name not in self.calls and name not in self.names:
            raise ValueError(
                f"it names {name[:200]!r}, which is refused: a file of weights needs "
                f"none but {', '.join(sorted({*self.calls, *self.names}))}"
            )
        self.stack.append(Name(name))

    def _call(self, name: Any, arguments: Any) -> None:
        if not isinstance(name, Name) or name.text not in self.calls:
            raise ValueError(f"a call of a {_kind(name)} is refused")
        if type(arguments) is not tuple:
            raise ValueError(f"arguments of {name.text} are a {_kind(arguments)}")
        self.stack.append(self.calls[name.text](*arguments))

    def _push_persistent(self, key: Any) -> None:
        if self.persistent is None:
            raise ValueError("it refers to data outside of it, which is refused")
        self.stack.append(self.persistent(key))

    def _stop(self) -> None:
        if len(self.stack) != 1 or self.below:
            raise ValueError("damaged pickle: it ends with values left over")
        self.stopped = True


def check_tree(value: Any, leaves: tuple[type, ...], most: int) -> None:
    """Demand plain values in lists, tuples and dicts, as a tree of bounded size.

    Shared parts are counted wherever they occur: fifty lists, each of which holds the
    one before twice, are few bytes in a pickle and 2^50 parts for whoever walks along.

    Args:
        value: what a pickle described.
        leaves: types that are allowed beside the plain ones.
        most: how many parts it may have.

    Raises:
        ValueError: something else is in it, it holds itself, is nested too deeply, or
            is too large.
    """
    sizes: dict[int, int] = {}  # of containers that are done; 0 while they are open
    todo, depth = [(value, False)], 0
    while todo:
        part, done = todo.pop()
        if type(part) in (*PLAIN, *leaves):
            continue
        inside = _inside(part)
        if done:
            sizes[id(part)] = 1 + sum(sizes.get(id(item), 1) for item in inside)
            depth -= 1
            if sizes[id(part)] > most:
                raise ValueError("its parts refer to each other too often")
        elif id(part) not in sizes:
            sizes[id(part)] = 0
            depth += 1
            if depth > DEEPEST:
                raise ValueError(f"it is nested more than {DEEPEST} deep")
            todo.append((part, True))
            todo.extend((item, False) for item in inside)
        elif sizes[id(part)] == 0:
            raise ValueError("it holds itself")


def _inside(part: Any) -> list[Any]:
    if type(part) is dict:
        return list(part.values())
    if type(part) in (list, tuple):
        return list(part)
    raise ValueError(f"it holds a {_kind(part)}, which isn't plain data")


def _decode(text: bytes) -> str:
    try:
        return text.decode()
    except UnicodeDecodeError:
        raise ValueError("damaged pickle: a text that is not UTF-8") from None


def _kind(value: Any) -> str:
    return value.text if isinstance(value, Name) else type(value).__name__
