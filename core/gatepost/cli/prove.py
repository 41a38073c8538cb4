"""``gatepost prove``: proves to an operator and an auditor that no address and no number leaves its place."""

import asyncio
import signal
import sys
from pathlib import Path

import aiohttp
import rich_click as click
from rich.console import Console
from rich.text import Text
from sqlalchemy.exc import DBAPIError

from gatepost import app
from gatepost.cli.common import config_option, fail, printable, report_faults
from gatepost.config.settings import Settings
from gatepost.config.toml_file import config_path
from gatepost.errors import ConfigError
from gatepost.model import Secret
from gatepost.outbox.driver_errors import store_error
from gatepost.outbox.store_url import sqlite_path
from gatepost.prove import isolation, page, places, report, run, text
from gatepost.prove.report import Report, Verdict

_PROMISE = (
    "Your store, your providers, your contact sources and Smartico are not touched: "
    "the run uses a private copy of the configuration in a temporary folder."
)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@click.option(
    "--html",
    "html",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Also write the report as one page to print.",
)
@click.option(
    "--store",
    "store_url",
    metavar="URL",
    default="",
    help="An empty PostgreSQL database for the run (postgresql://…). Default: a new SQLite file.",
)
@config_option
def command(as_json: bool, html: Path | None, store_url: str, config: Path | None) -> None:
    """Prove that no address and no phone number leaves its place, on your own configuration.

    Made-up recipients (canaries) go through every route and client of a private copy of the configuration, with every
    refusal, failure, report and callback. Then the log, the store, every page, answer and callback are searched for
    them in every spelling. A leak is planted first, to show that the search sees.

    Nothing of yours is touched, and nothing leaves this machine. The exit code is 0 only if nothing was found and every
    planted leak was.
    """
    path = config_path(config)
    console = Console(highlight=False, stderr=as_json)
    console.print(_PROMISE, style="dim", soft_wrap=True)
    _check_store(store_url)
    if html is not None:
        # Before the run: it takes a minute.
        _write_page(html, "")
    # Before anything starts a thread. With a database elsewhere the network is needed.
    network = "not cut off, because --store is reached by it" if store_url else isolation.cut_off()
    with report_faults(path):
        settings, _instances = app.load(path)
    try:
        found = asyncio.run(_run(settings, path, store_url, network, console))
    except (KeyboardInterrupt, asyncio.CancelledError):
        fail("interrupted: nothing was proved")
    except ConfigError as error:
        fail(str(error))
    except (RuntimeError, aiohttp.ClientError, OSError) as error:
        fail(f"the run could not be finished: {error}")
    except DBAPIError as error:
        fail(f"--store: the database can't be used: {store_error(error)}")
    _show(console, found, as_json=as_json, html=html)
    sys.exit(0 if found.verdict is Verdict.CLEAN else 1)


def _write_page(file: Path, content: str) -> None:
    try:
        file.write_text(content, "utf-8")
    except OSError as error:
        fail(f"{file} can't be written: {error.strerror}")


def _check_store(url: str) -> None:
    if not url:
        return
    try:
        is_file = sqlite_path(Secret(url), Path()) is not None
    except ConfigError:
        is_file = True
    if is_file:
        fail("--store takes a PostgreSQL database, such as postgresql://user:password@host/empty")


async def _run(settings: Settings, path: Path, store_url: str, network: str, console: Console) -> Report:
    task = asyncio.current_task()
    assert task is not None, "runs in a task"
    # On SIGTERM too the gateways are stopped and the folder removed.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    if store_url and (tables := await places.table_names(store_url)):
        fail(f"--store: the database has tables ({', '.join(tables[:3])}): name an empty one")
    return await run.prove(
        settings,
        path,
        store_url=store_url,
        network=network,
        tell=lambda line: console.print(line, style="dim", markup=False),
    )


def _show(console: Console, found: Report, *, as_json: bool, html: Path | None) -> None:
    if html is not None:
        _write_page(html, page.html_page(found))
    if as_json:
        sys.stdout.write(report.encode(found).decode())
        return
    console.print()
    for line in text.text_lines(found):
        console.print(printable(line), markup=False, soft_wrap=True)
    is_good = found.verdict is Verdict.CLEAN
    console.print()
    mark, style = ("✓", "green") if is_good else ("✗", "bold red")
    console.print(Text(f"{mark} {text.VERDICTS[found.verdict]}", style))
    if html is not None:
        console.print(f"The page is in {printable(str(html))}", markup=False, soft_wrap=True)
