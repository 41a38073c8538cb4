"""The alert rules of the repository, on the series of a real gateway: when each begins and ends."""

import asyncio
import json
import re
import shutil
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from gatepost import cli
from gatepost.delivery import attempt
from gatepost.errors import Rejected, Unavailable, Uncertain
from gatepost.model import Receipt
from gatepost.observe import metrics
from gatepost.testing import emulator
from gatepost.webhooks import handler

REPO = Path(__file__).parents[2]
FOLDER = REPO / "deploy" / "prometheus"
RULES = {
    rule["alert"]: rule
    for group in yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"]
    for rule in group["rules"]
}
TESTS = yaml.safe_load((FOLDER / "alerts_test.yml").read_text())["tests"]
METRICS = {
    name for rule in RULES.values() for name in re.findall(r"\b(?:gatepost|process)_\w+", rule["expr"])
}
COMMANDS = sorted(
    {
        command
        for rule in RULES.values()
        for command in re.findall(r"`gatepost ([^`]+)`", rule["annotations"]["description"])
    }
)
PROMTOOL = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(
    PROMTOOL is None, reason="promtool is not installed (make programs; Debian's package prometheus)"
)
TARGET = {"job": "gatepost", "instance": "gateway:8080"}


@pytest.fixture
def limited(deployment, sendgrid):
    """Give the client a limit, without which there is no series of one."""
    deployment.tables["clients.brand"]["email_per_day"] = 1_000
    return deployment


def name(metric: str, labels: dict[str, str]) -> str:
    """Return a series as Prometheus writes it, with its labels in order."""
    text = ",".join(f'{label}="{value}"' for label, value in sorted(labels.items()))
    return f"{metric}{{{text}}}" if text else metric


def without_target(series: str) -> str:
    """Return a series of the tests as the gateway exposes it: in order, and without the labels of its target."""
    metric, _, labels = series.partition("{")
    pairs = dict(re.findall(r'(\w+)="([^"]*)"', labels))
    return name(metric, {label: value for label, value in pairs.items() if label not in TARGET})


async def scrape(gateway) -> dict[str, float]:
    return {name(one.name, one.labels): one.value for one in await gateway.scrape()}


async def promtool(*arguments: object) -> str:
    """Run promtool, which must succeed; return what it prints."""
    process = await asyncio.create_subprocess_exec(
        PROMTOOL,
        *map(str, arguments),
        cwd=FOLDER,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    return output.decode()


def alerts_of(test) -> list[set[str]]:
    """Return the alerts that are expected to fire, for each moment that the test looks at."""
    return [
        set(re.findall(r'alertname="(\w+)"', json.dumps(one["exp_samples"]).replace("\\", "")))
        for one in test["promql_expr_test"]
    ]


def among_all_series(test, start: dict[str, float]):
    """Return the test with all other series of a gateway, which keep the values of its first scrape."""
    changing = {without_target(one["series"]) for one in test["input_series"]}
    constant = [
        {"series": series, "values": f"{value:g}x1600"}
        for series, value in start.items()
        if series.partition("{")[0] in METRICS and series not in changing
    ]
    return test | {"input_series": [*test["input_series"], *constant]}


def test_every_alert_begins_and_ends_in_a_test():
    for test in TESTS:
        before, *during, after = alerts_of(test)
        assert (before, after) == (set(), set()), test["name"]
        assert all(during), test["name"]
    assert {alert for test in TESTS for alerts in alerts_of(test) for alert in alerts} == set(RULES)


@pytest.mark.parametrize("alert", RULES)
def test_an_alert_has_a_severity_a_summary_and_a_way_out(alert):
    rule = RULES[alert]
    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert rule["annotations"].keys() == {"summary", "description"}
    # A command to run.
    assert "`gatepost " in rule["annotations"]["description"]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_that_an_alert_names_exists(command):
    arguments = re.sub(r"{{.*?}}", "name", command).split()
    assert CliRunner().invoke(cli.main, [*arguments, "--help"]).exit_code == 0


def test_every_alert_has_a_row_in_the_documentation():
    page = (REPO / "docs" / "how-to" / "monitoring.md").read_text()
    assert set(re.findall(r"`(Gatepost\w+)`", page)) == set(RULES)


async def test_every_series_of_a_test_and_every_metric_of_a_rule_exists_from_the_start(limited):
    async with limited.running(email=["sendgrid-main"]) as gateway:
        start = await scrape(gateway)
    changing = {without_target(one["series"]) for test in TESTS for one in test["input_series"]}
    versions = {one for one in changing if one.startswith("gatepost_build_info")}
    assert changing - versions - {"up"} - start.keys() == set()
    assert METRICS - {one.partition("{")[0] for one in start} == set()


def test_the_lists_of_label_values_are_complete():
    answers = [Receipt(), Rejected("reason"), Unavailable("reason"), Uncertain("reason")]
    assert {attempt.outcome_label(answer) for answer in answers} == set(metrics.SEND_OUTCOMES)
    assert {200, *handler._STATUSES.values()} == set(metrics.WEBHOOK_STATUSES)


@needs_promtool
@pytest.mark.slow
async def test_the_rules_are_valid_and_their_tests_pass():
    assert f"{len(RULES)} rules found" in await promtool("check", "rules", "alerts.yml")
    await promtool("test", "rules", "alerts_test.yml")


@needs_promtool
@pytest.mark.slow
async def test_no_other_alert_begins_on_the_series_of_a_gateway(limited, tmp_path):
    async with limited.running(email=["sendgrid-main"]) as gateway:
        start = await scrape(gateway)
    file = tmp_path / "tests.yml"
    tests = [among_all_series(test, start) for test in TESTS]
    file.write_text(json.dumps({"rule_files": [str(FOLDER / "alerts.yml")], "tests": tests}))
    await promtool("test", "rules", file)


async def test_events_add_no_series(limited, sendgrid):
    """An alert on a series that begins with its first event would miss that event."""
    async with limited.running(email=["sendgrid-main"]) as gateway:
        before = await scrape(gateway)
        await limited.hears(await limited.email(), "accepted")
        assert (await limited.crm.send_email(ext_user_id="nobody"))["error_code"] == 1
        limited.crm.authorization = "wrong"
        assert (await limited.crm.send_email(ext_user_id="anna"))["error_code"] == 3
        limited.crm.authorization = "the-secret"
        sendgrid.failure = emulator.answer(400)
        await limited.hears(await limited.email(), "rejected")
        sendgrid.failure = emulator.NO_FAILURE
        async with gateway.http.post(f"{gateway.url}/webhooks/sendgrid-main", data=b"[]") as response:
            assert response.status == 401
        await gateway.settled()
        after = await scrape(gateway)
    assert after.keys() == before.keys()
    changed = {one for one in after if after[one] != before[one]}
    assert {one.partition("{")[0] for one in changed} >= {
        "gatepost_answers_total",
        "gatepost_sends_total",
        "gatepost_statuses_total",
        "gatepost_callbacks_total",
        "gatepost_webhooks_total",
        "gatepost_messages_ended_total",
        "gatepost_limit_used_ratio",
        "gatepost_accept_duration_seconds_count",
        "gatepost_queue_wait_seconds_count",
        "gatepost_send_duration_seconds_count",
        "gatepost_callback_duration_seconds_count",
        "gatepost_store_transaction_duration_seconds_count",
    }
