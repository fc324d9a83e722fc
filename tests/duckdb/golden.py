"""The golden files of the engine, read: the same format as `engine/golden/README.md` describes it."""

import copy
import json
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Event:
    stream: str
    partition: int
    record: dict


@dataclass
class Case:
    file: str = ""
    name: str = ""
    streams: str = ""
    tables: dict = field(default_factory=dict)
    events: list = field(default_factory=list)
    sql: str = ""
    beside: dict = field(default_factory=dict)
    # How much later than `lateness` an event may be and count all the same.
    allowed_lateness: str = "0 seconds"
    cooldown: bool = False
    refused: bool = False
    expect: list = field(default_factory=list)

    @property
    def place(self):
        return f"{self.file}: {self.name}"


@dataclass(frozen=True)
class Record:
    """One line below `expect`: the alert's time, how many rows it stands for, and its columns as text."""

    time: str
    count: int
    cells: str


def cases(folder):
    """All cases of all files."""
    return [case for file in sorted(Path(folder).glob("*.golden")) for case in _cases_of(file)]


def _cases_of(file):
    shared, found = Case(file=file.stem), []
    for heading, body in _sections(file.read_text(encoding="utf-8")):
        word, _, rest = heading.partition(" ")
        if word == "case":
            found.append(copy.deepcopy(shared))
            found[-1].name = rest
        else:
            _take(found[-1] if found else shared, word, rest, body)
    return found


def _sections(text):
    """A heading at the margin, and the lines that stand indented below it."""
    sections = []
    for line in text.splitlines():
        if line.lstrip().startswith("#") or not line.strip():
            continue
        if line.startswith("  ") and sections:
            sections[-1][1].append(line[2:])
        else:
            sections.append((line.rstrip(), []))
    return sections


def _take(case, word, rest, body):
    text = "\n".join(body)
    if word == "streams":
        case.streams = text
    elif word == "table":
        case.tables[rest] = [json.loads(line) for line in body]
    elif word == "events":
        case.events = [_event(line) for line in body]
    elif word == "sql":
        case.sql = text
    elif word == "beside":
        case.beside[rest] = text
    elif word == "allowed_lateness":
        case.allowed_lateness = rest
    elif word == "cooldown":
        case.cooldown = True
    elif word == "expect":
        case.expect = [_record(line) for line in body]
    elif word == "refused":
        case.refused = True
    elif word != "pending":
        raise SystemExit(f"{case.place}: `{word}` is no heading of a golden file that this script knows")


def _event(line):
    stream, partition, record = line.split(" ", 2)
    return Event(stream, int(partition), json.loads(record))


def _record(line):
    head, _, cells = line.partition(" | ")
    time, count = head.split(" ")[:2]
    return Record(time, int(count.removeprefix("x")), cells)
