"""Where the CPU of a profile goes, by part: a package of the core, a plugin, or a library."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence

SMALLEST = 0.01
"""The share below which in every column a part is one of the others."""

OTHERS, STANDARD_LIBRARY, EVENT_LOOP, DATABASE = (
    "others",
    "Python's library",
    "uvloop: loop, sockets, parser",
    "SQLite",
)
_THREAD = re.compile(r"thread \((\d+)\)")
_FRAME = re.compile(r"(?P<function>.*) \((?P<file>[^()]+)\)$")
_MODULE = re.compile(
    r".*(?:/site-packages/|/core/(?=gatepost/)|/plugins/\w+/(?=gatepost_))(?P<package>\w+)(?:/(?P<part>\w+))?"
)
"""A path of the core or a plugin, in a checkout or installed, or of a library."""

_WAITING = {("_worker", "concurrent/futures/thread.py"), ("Condition.wait", "threading.py")}
"""Functions in which a thread has nothing to do; py-spy counts some of that, because it stops and continues the threads."""

Samples = Mapping[int, Counter[str]]
"""By thread, how many samples are of which part."""


def parse(raw: str) -> Samples:
    """Read what ``py-spy record --format raw --threads --full-filenames --nolineno`` has written."""
    samples: dict[int, Counter[str]] = defaultdict(Counter)
    for line in raw.splitlines():
        stack, _, count = line.rpartition(" ")
        thread, *frames = stack.split(";")
        number = _THREAD.match(thread)
        if number is None:
            raise ValueError(f"this line does not begin with a thread: {line[:80]}")
        if frames and not _is_waiting(frames[-1]):
            samples[int(number[1])][_part(frames)] += int(count)
    return samples


def _is_waiting(frame: str) -> bool:
    match = _FRAME.match(frame)
    return match is not None and any(
        match["function"] == function and match["file"].endswith(file) for function, file in _WAITING
    )


def _part(frames: Sequence[str]) -> str:
    """Return the part of a stack: that of its innermost frame which is not of Python's own library."""
    for frame in reversed(frames):
        match = _FRAME.match(frame)
        if match and (part := _part_of(match["function"], match["file"])):
            return part
    return STANDARD_LIBRARY


def _part_of(function: str, file: str) -> str | None:
    # All that SQLAlchemy does there is to call the driver, which is written in C.
    if file.endswith("sqlalchemy/engine/default.py") and ".do_" in function:
        return DATABASE
    if (match := _MODULE.match(file)) is None:
        return None
    if match["package"] != "gatepost":
        return match["package"].replace("gatepost_", "plugin ")
    # The command only runs the loop, which is written in C.
    return EVENT_LOOP if match["part"] == "cli" else f"gatepost.{match['part']}"


def shares(samples: Samples, cpu: Mapping[int, float]) -> dict[str, float]:
    """Return each part's share of the CPU.

    ``cpu`` is what each thread has used. The samples only divide it, because a thread that waits is sampled too at times.
    """
    known = {thread: cpu.get(thread, 0.0) for thread in samples}
    if not sum(known.values()):
        raise ValueError("no samples of a thread that did anything: sample for longer")
    found: Counter[str] = Counter()
    for thread, parts in samples.items():
        for part, count in parts.items():
            found[part] += known[thread] / sum(known.values()) * count / parts.total()
    return dict(found)


def table(columns: Mapping[str, Mapping[str, float]], kernel: Mapping[str, float]) -> Iterator[str]:
    """Yield the lines of a Markdown table; ``columns`` are the shares by part of each profile."""
    names = {part for column in columns.values() for part in column}
    largest = {part: max(column.get(part, 0.0) for column in columns.values()) for part in names}
    yield f"| share of the CPU | {' | '.join(columns)} |"
    yield f"| --- |{' --- |' * len(columns)}"
    for part in sorted(names, key=lambda one: -largest[one]):
        if largest[part] >= SMALLEST:
            yield _line(part, [column.get(part, 0.0) for column in columns.values()])
    rest = [
        sum(share for part, share in column.items() if largest[part] < SMALLEST)
        for column in columns.values()
    ]
    yield _line(OTHERS, rest)
    yield _line("of all this, in the kernel", [kernel[name] for name in columns])


def _line(name: str, figures: Sequence[float]) -> str:
    return f"| {name} | {' | '.join(f'{figure:.0%}' for figure in figures)} |".replace("%", " %")
