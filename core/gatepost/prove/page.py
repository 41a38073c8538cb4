"""The report as one page to print: without scripts, and without anything from elsewhere."""

from collections.abc import Iterable, Sequence
from html import escape

from gatepost.prove.report import Report, Verdict
from gatepost.prove.text import MEMORY_NOTE, VERDICTS, finding_line, size

_STYLE = """
:root { color-scheme: light }
body { font: 11pt/1.45 system-ui, sans-serif; color: #1a1a1a; max-width: 52rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.5rem; margin-bottom: 0 } h2 { font-size: 1.1rem; margin: 2rem 0 .4rem } p { margin: .4rem 0 }
table { border-collapse: collapse; width: 100%; font-size: .85rem; overflow-wrap: break-word }
th, td { text-align: left; vertical-align: top; padding: .2rem .5rem .2rem 0; border-bottom: 1px solid #ccc }
td.number { text-align: right; white-space: nowrap } thead { display: table-header-group } tr { break-inside: avoid }
.verdict { border: 2px solid; padding: .6rem 1rem; font-weight: 600; margin: 1rem 0 }
.good { color: #17662c } .good::before { content: "✓ " } .bad { color: #a31515 } .bad::before { content: "✗ " } .note { color: #555; font-size: .85rem }
code { font-size: .8rem; white-space: pre-wrap }
@media print { body { margin: 0; max-width: none } }
"""

_INTRODUCTION = (
    "Made-up recipients (canaries), whose addresses and numbers belong to nobody, went through a private copy of the "
    "configuration. Then everything that the gateway wrote, answered or sent was searched for them. The operator's "
    "store, providers, contact sources and Smartico were not touched."
)


def html_page(report: Report) -> str:
    """Return the page."""
    config = report.configuration
    about = (
        f"{report.started}, Gatepost {report.gatepost}, Python {report.python} on {report.system}, "
        f"{report.seconds:g} seconds"
    )
    parts = [
        "<h1>Gatepost: proof of privacy</h1>",
        f"<p class=note>{escape(about)}</p>",
        f'<p class="verdict {_grade(report)}">{escape(VERDICTS[report.verdict])}</p>',
        f"<p>{_INTRODUCTION}</p>",
        f"<p>Network: {escape(report.network)}. Store: {escape(report.store)}.</p>",
        *_findings(report),
        *_search(report),
        *_plugins(report),
        *(part for number, _ in enumerate(report.rehearsals) for part in _rehearsal(report, number)),
        "<h2>The configuration</h2>",
        f"<p>{escape(config.file)}<br>sha256 <code>{config.sha256}</code></p>",
        f"<p><code>{escape(chr(10).join(config.lines))}</code></p>",
        "<p>What differed in the private copy:</p>",
        _list(config.changes),
    ]
    body = "\n".join(parts)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>Gatepost: proof of privacy</title>\n'
        f"<style>{_STYLE}</style></head>\n<body>\n{body}\n</body></html>\n"
    )


def _grade(report: Report) -> str:
    return "good" if report.verdict is Verdict.CLEAN else "bad"


def _findings(report: Report) -> list[str]:
    found = [finding_line(report, number) for number in range(len(report.findings))]
    return ["<h2>What was found</h2>", _list(found) if found else "<p>Nothing.</p>"]


def _search(report: Report) -> list[str]:
    rows = [(one.rehearsal, one.place, ", ".join(one.names), size(one.bytes)) for one in report.searched]
    plants = [(one.place, one.spelling, "found" if one.found else "NOT FOUND") for one in report.plants]
    amount = f"{size(report.bytes)}, for {report.people} canaries in {report.spellings:,} spellings"
    ways = f"Each place was read as: {', '.join(report.views)}"
    hashes = f"Plain hashes were looked for too: {', '.join(report.hashes)}"
    return [
        "<h2>What was searched</h2>",
        f"<p>{escape(f'{amount}. {ways}. {hashes}.')}</p>",
        _table(("Rehearsal", "Place", "Which", "Size"), rows),
        "<h2>Planted leaks</h2>",
        "<p>A canary was written into a copy of each place first, to show that the search sees it.</p>",
        _table(("Place", "Spelling", "Result"), plants),
    ]


def _plugins(report: Report) -> list[str]:
    rows = [(one.instance, f"{one.plugin} {one.version}", one.stood_for_by) for one in report.plugins]
    return ["<h2>Sending plugins</h2>", _table(("Instance", "Plugin", "Its provider was"), rows)]


def _rehearsal(report: Report, number: int) -> list[str]:
    one = report.rehearsals[number]
    memory = one.memory
    found = (
        f"Not read: {memory.why_not}."
        if memory.why_not
        else f"{size(memory.bytes)} were read; {memory.found} of {memory.people} canaries have plain traces in it."
    )
    return [
        f"<h2>Rehearsal “{escape(one.name)}”: {escape(one.title)}</h2>",
        f"<p>{one.requests:,} requests, {one.callbacks:,} callbacks.</p>",
        _table(("Where", "What", "Times"), [(e.where, e.what, f"{e.count:,}") for e in one.exercised]),
        "<p>Not exercised:</p>" if one.not_exercised else "",
        _list([f"{e.where}: {e.what}: {e.why}" for e in one.not_exercised]),
        f"<p>Memory of the running gateway: {escape(found)}</p><p class=note>{escape(MEMORY_NOTE)}</p>",
    ]


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(text)}</th>" for text in heads)
    body = "\n".join(f"<tr>{''.join(f'<td>{escape(text)}</td>' for text in row)}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody></table>"


def _list(items: Iterable[str]) -> str:
    lines = "\n".join(f"<li>{escape(item)}</li>" for item in items)
    return f"<ul>\n{lines}\n</ul>" if lines else ""
