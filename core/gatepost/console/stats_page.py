"""The page of the statistics, and the same numbers as CSV."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import msgspec
from litestar import Response, get
from sqlalchemy import Connection

from gatepost.console.access import ConsoleRequest
from gatepost.console.charts import STEPS, Chart, draw
from gatepost.console.rendering import number, page
from gatepost.console.services import SERVICES_KEY, ConsoleServices
from gatepost.console.stats_query import GROUPINGS, PERIODS, Choices, StatsQuery, choices, parse
from gatepost.outbox.queues import all_queues
from gatepost.outbox.statistics import DAYS_KEPT, HOURS_KEPT, first_hour
from gatepost.outbox.statistics_parts import Period
from gatepost.outbox.statistics_report import (
    Dimension,
    Group,
    count,
    is_by_plugin,
    read_groups,
    regroup,
)
from gatepost.outbox.statistics_table import (
    NO_MESSAGES,
    Cell,
    Column,
    Table,
    as_csv,
    build,
    plain,
    readable_name,
    visible,
)
from gatepost.web.admin.words import moment_text

MAX_ROWS = 500
"""Rows on the page; the CSV has all."""

PAGE_SECONDS = 0.1
"""How long a page counts, the newest messages first: then it shows what it has, and says since when."""

CSV_SECONDS = 3.0
"""The same for the CSV, which has all that was asked for, or is not made."""

_HOURLY = 3 * STEPS[Dimension.DAY]
"""Milliseconds up to which a period is drawn hour by hour."""

HOURS_NOTE = f"Hours are kept for {HOURS_KEPT // STEPS[Dimension.DAY]} days: what came before is left out. Days have it."

_ADVICE = "Choose a shorter period, one client or one route; gatepost stats, on the gateway's machine, counts without a limit."

_TOO_LONG = f"to count this would take more than {CSV_SECONDS:g} seconds. {_ADVICE}"


class Report(NamedTuple):
    """What was counted."""

    table: Table
    chart: Chart
    period: Period
    is_complete: bool
    """Whether nothing was left out because counting took too long."""


@get("/stats")
async def stats_page(request: ConsoleRequest) -> Response[Any]:
    """Show the statistics that the parameters ask for."""
    query, can_choose, report = await _read(request, PAGE_SECONDS)
    return _page(request, query, can_choose, report)


@get("/stats.csv")
async def stats_download(request: ConsoleRequest) -> Response[Any]:
    """Return the same numbers as ``gatepost stats --csv``."""
    query, can_choose, report = await _read(request, CSV_SECONDS)
    if report is not None and not report.is_complete:
        query = msgspec.structs.replace(query, problems={"period": _TOO_LONG})
        report = None
    if report is None:
        return _page(request, query, can_choose, None)
    return Response(
        as_csv(report.table).encode(),
        media_type="text/csv",
        headers={"content-disposition": 'attachment; filename="gatepost-stats.csv"'},
    )


async def _read(request: ConsoleRequest, seconds: float) -> tuple[StatsQuery, Choices, Report | None]:
    """Return the query, the names that can be chosen in it, and what was counted: None where the query has a problem."""
    services: ConsoleServices = request.app.state[SERVICES_KEY]
    clients = request.user.user.clients
    clock = services.reader.clock
    queues, now = await services.reader.read(lambda connection: (all_queues(connection), clock(connection)))
    can_choose = choices(services.admin.settings, queues, clients)
    query = parse(lambda name: request.query_params.getall(name, []), can_choose, clients, now / 1000)
    if query.problems:
        return query, can_choose, None
    report = await services.reader.read(partial(read_report, query, now, seconds))
    return query, can_choose, report


def read_report(query: StatsQuery, now: int, seconds: float, connection: Connection) -> Report:
    """Read the table and the chart; ``now`` is in milliseconds, and both together take about so many seconds."""
    by, step = query.dimensions, _step(query, now)
    has_steps = step in by
    counted = count(connection, query.wanted, by, now, seconds if has_steps else seconds / 2)
    if has_steps:
        steps: Sequence[Group] = regroup(counted.groups, by.index(step))
    else:
        since = counted.period.since
        same = msgspec.structs.replace(query.wanted, since=None if since is None else since / 1000)
        steps = read_groups(connection, same, [step], now)
    period = counted.period
    begin = max(period.since or 0, now - DAYS_KEPT)
    end = min(now + 1, period.until or now + 1)
    chart = draw(steps, step, begin, end, by_plugin=is_by_plugin(query.wanted, by))
    return Report(build(counted.groups, query.by), chart, period, counted.is_complete)


def _step(query: StatsQuery, now: int) -> Dimension:
    """Return how fine the chart is: as the table, if that has times."""
    for step in STEPS:
        if step in query.dimensions:
            return step
    since, until = query.wanted.since or 0.0, query.wanted.until
    begin, end = since * 1000, now if until is None else until * 1000
    return Dimension.HOUR if begin >= first_hour(now) and end - begin <= _HOURLY else Dimension.DAY


def _page(
    request: ConsoleRequest, query: StatsQuery, can_choose: Choices, report: Report | None
) -> Response[Any]:
    context: dict[str, Any] = {
        "query": query,
        "choices": can_choose,
        "periods": PERIODS,
        "groupings": GROUPINGS,
    }
    if report is None:
        return page(request, "stats.html", status=400, report=None, **context)
    table, shown = report.table, visible(report.table)
    return page(
        request,
        "stats.html",
        report=report,
        columns=[(_title(table.columns[place]), place >= table.names) for place in shown],
        rows=[[_text(table, row, place) for place in shown] for row in table.rows[:MAX_ROWS]],
        notes=list(_notes(query, report)),
        **context,
    )


def _title(column: Column) -> str:
    """Return a title that is understood without the column before it."""
    return column.name.replace("_percent", " %") if column.title == "%" else column.title


def _text(table: Table, row: Sequence[Cell], place: int) -> str:
    cell = row[place]
    if place < table.names:
        return readable_name(table.columns[place].name, str(cell))
    return number(cell) if isinstance(cell, int) else plain(cell)


def _notes(query: StatsQuery, report: Report) -> Iterator[str]:
    if not report.is_complete:
        since = moment_text((report.period.since or 0) / 1000)
        yield f"Counting took too long: only messages accepted since {since} are counted. {_ADVICE}"
    elif query.wanted.since is not None and (report.period.since or 0) > query.wanted.since * 1000:
        yield HOURS_NOTE
    if is_by_plugin(query.wanted, query.dimensions):
        yield NO_MESSAGES
    if len(report.table.rows) > MAX_ROWS:
        yield f"The table shows {MAX_ROWS} of {number(len(report.table.rows))} rows; the CSV has all of them."
