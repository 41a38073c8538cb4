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
from gatepost.outbox.statistics import DAYS_KEPT, HOURS_KEPT
from gatepost.outbox.statistics_report import (
    Dimension,
    Period,
    TooManyNumbers,
    first_hour,
    is_by_plugin,
    read_groups,
    regroup,
    whole_period,
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

MAX_ROWS = 500
"""Rows on the page; the CSV has all."""

MAX_NUMBERS = 50_000
"""Numbers that are read for a page: more would take the process from what it sends for too long."""

_HOURLY = 3 * STEPS[Dimension.DAY]
"""Milliseconds up to which a period is drawn hour by hour."""

HOURS_NOTE = f"Hours are kept for {HOURS_KEPT // STEPS[Dimension.DAY]} days: what came before is left out. Days have it."

_TOO_MANY = (
    f"these groups have more than {number(MAX_NUMBERS)} numbers: choose a shorter period or fewer groups; "
    "gatepost stats, on the gateway's machine, has no such limit"
)


class Report(NamedTuple):
    """What was counted."""

    table: Table
    chart: Chart
    period: Period


@get("/stats")
async def stats_page(request: ConsoleRequest) -> Response[Any]:
    """Show the statistics that the parameters ask for."""
    query, can_choose, report = await _read(request)
    return _page(request, query, can_choose, report)


@get("/stats.csv")
async def stats_download(request: ConsoleRequest) -> Response[Any]:
    """Return the same numbers as ``gatepost stats --csv``."""
    query, can_choose, report = await _read(request)
    if report is None:
        return _page(request, query, can_choose, None)
    return Response(
        as_csv(report.table).encode(),
        media_type="text/csv",
        headers={"content-disposition": 'attachment; filename="gatepost-stats.csv"'},
    )


async def _read(request: ConsoleRequest) -> tuple[StatsQuery, Choices, Report | None]:
    """Return the query, the names that can be chosen in it, and what was counted: None where the query has a problem."""
    services: ConsoleServices = request.app.state[SERVICES_KEY]
    clients = request.user.user.clients
    clock = services.reader.clock
    queues, now = await services.reader.read(lambda connection: (all_queues(connection), clock(connection)))
    can_choose = choices(services.admin.settings, queues, clients)
    query = parse(lambda name: request.query_params.getall(name, []), can_choose, clients, now / 1000)
    if query.problems:
        return query, can_choose, None
    try:
        return query, can_choose, await services.reader.read(partial(read_report, query, now))
    except TooManyNumbers:
        return msgspec.structs.replace(query, problems={"by": _TOO_MANY}), can_choose, None


def read_report(query: StatsQuery, now: int, connection: Connection) -> Report:
    """Read the table and the chart; ``now`` is in milliseconds. Raises TooManyNumbers."""
    by, step = query.dimensions, _step(query, now)
    groups = read_groups(connection, query.wanted, by, now, MAX_NUMBERS)
    if step in by:
        steps = regroup(groups, by.index(step))
    else:
        steps = read_groups(connection, query.wanted, [step], now)
    period = whole_period(query.wanted, by, now)
    begin = max(period.since or 0, now - DAYS_KEPT)
    end = min(now + 1, period.until or now + 1)
    chart = draw(steps, step, begin, end, by_plugin=is_by_plugin(query.wanted, by))
    return Report(build(groups, query.by), chart, period)


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
    if query.wanted.since is not None and (report.period.since or 0) > query.wanted.since * 1000:
        yield HOURS_NOTE
    if is_by_plugin(query.wanted, query.dimensions):
        yield NO_MESSAGES
    if len(report.table.rows) > MAX_ROWS:
        yield f"The table shows {MAX_ROWS} of {number(len(report.table.rows))} rows; the CSV has all of them."
