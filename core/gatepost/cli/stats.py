"""``gatepost stats``: how many messages were accepted, delivered, failed and so on, by what an operator asks for."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import rich_click as click
from sqlalchemy import Connection

from gatepost.cli import store
from gatepost.cli.common import config_option, refuse_empty, report_faults
from gatepost.cli.known_names import require_known
from gatepost.cli.moments import PastMoment
from gatepost.cli.stats_table import as_text
from gatepost.config.toml_file import config_path
from gatepost.model import Channel
from gatepost.outbox import statistics_table
from gatepost.outbox.counters import DAY
from gatepost.outbox.statistics import HOURS_KEPT
from gatepost.outbox.statistics_parts import Period
from gatepost.outbox.statistics_report import (
    Dimension,
    StatisticsFilter,
    count,
    is_by_plugin,
)
from gatepost.outbox.statistics_table import NO_MESSAGES, STATUS, Table

_CHOICES = [*(one.value for one in Dimension), STATUS]


class _By(click.ParamType[Sequence[str]]):
    """Dimensions with commas between them."""

    name = "list"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Sequence[str]:
        """Return the dimensions, each once; fail for another word."""
        words = value.split(",") if isinstance(value, str) else value
        chosen = list(dict.fromkeys(word.strip() for word in words))
        for one in chosen:
            if one not in _CHOICES:
                self.fail(f"'{one}' is none of {', '.join(_CHOICES)}", param, ctx)
        return chosen


@click.command()
@click.option(
    "--by",
    type=_By(),
    default="day",
    show_default=True,
    help="What to group by, with commas: day, hour, client, channel, route, plugin, country, status.",
)
@click.option(
    "--since",
    type=PastMoment(),
    default="7d",
    show_default=True,
    help="Accepted since then: 2027-01-31T09:00Z, or 2h ago.",
)
@click.option("--until", type=PastMoment(), help="Accepted before then, in the same two forms.")
@click.option("--client", default="", callback=refuse_empty, help="Only messages of this client.")
@click.option(
    "--channel",
    type=click.Choice([channel.value for channel in Channel]),
    help="Only messages of this channel.",
)
@click.option("--route", default="", callback=refuse_empty, help="Only messages of this route.")
@click.option("--plugin", default="", callback=refuse_empty, help="Only what this plugin had.")
@click.option(
    "--country", default="", callback=refuse_empty, help="Only messages to this country, such as DE."
)
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV, for a spreadsheet.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
@config_option
def command(
    by: Sequence[str], *, as_csv: bool, as_json: bool, config: Path | None, **conditions: Any
) -> None:
    """Count messages by what you ask for: how many were accepted, delivered, failed, and what they cost.

    A message counts for the hour in which it was accepted, also for what becomes known of it later. The counts stay when
    the messages are forgotten: hours for 8 days, days for three years.
    """
    if as_csv and as_json:
        raise click.UsageError("give either --csv or --json")
    wanted = _filter_of(conditions)
    dimensions = [Dimension(one) for one in by if one != STATUS]
    with report_faults(config_path(config)):
        settings = store.load_settings(config)
        require_known(settings, client=conditions["client"], route=wanted.route)

        def query(connection: Connection) -> tuple[Table, Period]:
            now = store.clock(settings)(connection)
            counted = count(connection, wanted, dimensions, now)
            return statistics_table.build(counted.groups, by), counted.period

        table, period = asyncio.run(store.fetch(settings, query))
    _warn_of_hours(wanted, period)
    if as_csv:
        click.echo(statistics_table.as_csv(table), nl=False)
    elif as_json:
        click.echo(_json(table, period, by))
    else:
        click.echo(_text(table, period, by_plugin=is_by_plugin(wanted, dimensions)))


def _filter_of(conditions: Mapping[str, Any]) -> StatisticsFilter:
    since, until = conditions["since"], conditions["until"]
    if until is not None and since >= until:
        raise click.UsageError("--since must be before --until")
    return StatisticsFilter(
        since=since,
        until=until,
        clients=[conditions["client"]] if conditions["client"] else [],
        channel=Channel(conditions["channel"]) if conditions["channel"] else None,
        route=conditions["route"],
        plugin=conditions["plugin"],
        country=conditions["country"].upper(),
    )


def _warn_of_hours(wanted: StatisticsFilter, period: Period) -> None:
    """Say on stderr that hours before the period are left out, because only their days are kept."""
    if wanted.since is not None and period.since is not None and period.since > wanted.since * 1000:
        days = HOURS_KEPT // DAY
        problem = f"hours are kept for {days} days: what came before {_utc(period.since)} is left out"
        click.echo(f"gatepost: {problem}; --by day has it", err=True)


def _json(table: Table, period: Period, by: Sequence[str]) -> str:
    document = {
        "since": period.since and _utc(period.since).replace(" ", "T"),
        "until": period.until and _utc(period.until).replace(" ", "T"),
        "by": by,
        "rows": statistics_table.as_json(table),
    }
    return msgspec.json.format(msgspec.json.encode(document)).decode()


def _text(table: Table, period: Period, *, by_plugin: bool) -> str:
    since = f" since {_utc(period.since)}" if period.since is not None else ""
    until = f" until {_utc(period.until)}" if period.until is not None else ""
    title = f"Messages accepted from Smartico{since}{until}"
    if not table.rows:
        return f"{title}: nothing was counted for these options."
    lines = [title, "", as_text(table)]
    if by_plugin and STATUS not in (column.name for column in table.columns):
        lines += ["", NO_MESSAGES]
    return "\n".join(lines)


def _utc(moment: int) -> str:
    return datetime.fromtimestamp(moment / 1000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
