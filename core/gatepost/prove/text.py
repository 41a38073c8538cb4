"""The report as text for a terminal."""

from collections.abc import Iterator, Sequence

from gatepost.prove.report import Report, Verdict

VERDICTS = {
    Verdict.CLEAN: "Nothing was found, and every planted leak was. No canary has left its place.",
    Verdict.LEAK: "A canary or a secret was found where it must not be.",
    Verdict.BLIND: "The search did not find a leak that was planted: this run proves nothing.",
    Verdict.INCOMPLETE: "No message was accepted: this run proves nothing. See what was not exercised.",
}

MEMORY_NOTE = (
    "Told, not judged: a recipient is in memory while a message is sent, and Python does not overwrite memory that it "
    "has freed. Treat core dumps and swap of this process as personal data."
)


def text_lines(report: Report, limit: int = 20) -> Iterator[str]:
    """Yield the lines of the report; of long lists the first ``limit`` entries."""
    config = report.configuration
    yield f"Gatepost {report.gatepost}, Python {report.python}, {report.started}, {report.seconds:g} s"
    yield f"Configuration: {config.file} (sha256 {config.sha256[:16]}…)"
    yield f"Network: {report.network}"
    yield ""
    yield "Sending plugins"
    for plugin in report.plugins:
        yield f"  {plugin.instance}: {plugin.plugin} {plugin.version}, at {plugin.stood_for_by}"
    for rehearsal in report.rehearsals:
        yield ""
        yield f"Rehearsal “{rehearsal.name}”: {rehearsal.title}"
        yield f"  {rehearsal.requests:,} requests, {rehearsal.callbacks:,} callbacks"
        yield f"  {len(rehearsal.exercised):,} kinds of event, {sum(one.count for one in rehearsal.exercised):,} events"
        missing = [f"{one.where}: {one.what}: {one.why}" for one in rehearsal.not_exercised]
        yield from _listed("Not exercised", missing, limit)
        memory = rehearsal.memory
        yield "  Memory: " + (
            f"not read: {memory.why_not}"
            if memory.why_not
            else f"{size(memory.bytes)}; {memory.found} of {memory.people} canaries have plain traces in it"
        )
    yield f"  {MEMORY_NOTE}"
    yield ""
    yield f"Searched {size(report.bytes)} for {report.people} canaries in {report.spellings:,} spellings,"
    yield f"  each place read as: {', '.join(report.views)}; and for plain hashes"
    for searched in report.searched:
        yield f"  {searched.rehearsal}: {searched.place}: {size(searched.bytes)} ({', '.join(searched.names[:4])})"
    yield ""
    seen = sum(plant.found for plant in report.plants)
    yield f"Planted leaks: {seen} of {len(report.plants)} found"
    for plant in report.plants:
        if not plant.found:
            yield f"  ✗ {plant.place}, {plant.spelling}"
    yield from _listed(
        "Found", [finding_line(report, number) for number in range(len(report.findings))], limit
    )


def finding_line(report: Report, number: int) -> str:
    """Return a finding on one line."""
    one = report.findings[number]
    return f"{one.place}, {one.name} (rehearsal “{one.rehearsal}”): {one.value}, {one.spelling}"


def size(number: int) -> str:
    """Return a number of bytes for people."""
    if number < 10_000:
        return f"{number:,} bytes"
    return f"{number / 1e3:,.0f} kB" if number < 1_000_000 else f"{number / 1e6:,.1f} MB"


def _listed(title: str, lines: Sequence[str], limit: int) -> Iterator[str]:
    if lines:
        yield f"  {title}:"
        yield from (f"  - {line}" for line in lines[:limit])
        if len(lines) > limit:
            yield f"  - and {len(lines) - limit} more: --json and --html list them all"
