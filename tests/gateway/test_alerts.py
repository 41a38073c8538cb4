"""The alert rules of the repository, on the series of a real gateway: each fires for the first event."""

import asyncio
import json
import re
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner
from prometheus_client.parser import text_string_to_metric_families

from gatepost import cli
from gatepost.delivery import attempt
from gatepost.errors import Rejected, Unavailable, Uncertain
from gatepost.model import Receipt
from gatepost.observe import metrics
from gatepost.testing import emulator
from gatepost.webhooks import handler

REPO = Path(__file__).parents[2]
RULES = REPO / "deploy" / "prometheus" / "gatepost.rules.yml"
ALERTS = re.findall(r"^ *- alert: (\w+)$", RULES.read_text(), re.MULTILINE)
METRICS = set(re.findall(r"\bgatepost_\w+", RULES.read_text()))
COMMANDS = sorted(set(re.findall(r"\bgatepost ([a-z]+(?: [a-z]+)*(?: --[a-z]+)*)", RULES.read_text())))
PROMTOOL = shutil.which("promtool")

NOTHING = "nothing happens"
# For each event the alerts that must fire at minute 25, and the values of series minute by minute after the start
# (0x10: 0 for eleven minutes; _: no scrape). All other series keep the values of the first scrape.
EVENTS = {
    NOTHING: (set(), {}),
    "no answer": ({"GatepostDown"}, {"up": "1x10 0x30"}),
    "not even scraped": ({"GatepostDown"}, {"up": "1x5 _x30"}),
    "the store refuses": ({"GatepostNotReady"}, {"gatepost_ready": "1x10 0x30"}),
    "a request is turned away": (
        {"GatepostRequestsTurnedAway"},
        {'gatepost_answers_total{channel="email",client="brand",code="12"}': "0x21 1x30"},
    ),
    "an internal error": (
        {"GatepostRequestsTurnedAway"},
        {'gatepost_answers_total{channel="sms",client="brand",code="99"}': "0x21 1x30"},
    ),
    "messages wait": (
        {"GatepostMessagesWait"},
        {'gatepost_queue_age_seconds{channel="email"}': "0x5 0+60x30"},
    ),
    "a message is held": (
        {"GatepostMessagesHeld"},
        {'gatepost_queue_messages{channel="email",state="held"}': "0x10 1x30"},
    ),
    "a message fails": (
        {"GatepostMessagesFailed"},
        {'gatepost_messages_ended_total{channel="email",state="failed"}': "0x10 1x30"},
    ),
    "messages had failed before the first scrape": (
        {"GatepostMessagesFailed"},
        {'gatepost_messages_ended_total{channel="sms",state="failed"}': "_x12 7x30"},
    ),
    "a wrong key behind a fallback": (
        {"GatepostProviderMisconfigured"},
        {'gatepost_plugin_breaker{plugin="sendgrid-main",state="misconfigured"}': "0x10 1x30"},
    ),
    "a provider rests": (
        {"GatepostProviderRests"},
        {'gatepost_plugin_breaker{plugin="sendgrid-main",state="usable"}': "1x5 0x30"},
    ),
    "answers are lost": (
        {"GatepostAnswersLost"},
        {'gatepost_sends_total{outcome="uncertain",plugin="sendgrid-main"}': "0x10 8x30"},
    ),
    "a plugin violates its contract": (
        {"GatepostPluginViolations"},
        {'gatepost_plugin_violations_total{plugin="players"}': "0x10 1x30"},
    ),
    "a contact source is away": (
        {"GatepostContactSourceFails"},
        {'gatepost_contact_lookups_failed_total{plugin="players"}': "0x10 1x30"},
    ),
    "users are unknown": (
        {"GatepostUsersUnknown"},
        {
            'gatepost_answers_total{channel="email",client="brand",code="0"}': "0+1x30",
            'gatepost_answers_total{channel="email",client="brand",code="1"}': "0x5 1+1x30",
        },
    ),
    "a report is forged again and again": (
        {"GatepostWebhooksRefused"},
        {'gatepost_webhooks_total{plugin="sendgrid-main",status="401"}': "0x10 8x30"},
    ),
    "an instance has no key for reports": (
        {"GatepostWebhooksRefused"},
        {'gatepost_webhooks_total{plugin="sendgrid-main",status="404"}': "0x10 8x30"},
    ),
    "a callback is given up": ({"GatepostCallbacksDead"}, {"gatepost_callbacks_dead": "0x10 1x30"}),
    "Smartico does not answer": ({"GatepostCallbacksWait"}, {"gatepost_callbacks_age_seconds": "0+120x30"}),
}
EVALUATION_MINUTE = 25


async def scrape(gateway) -> dict[str, float]:
    """Return every series of a scrape, by its name in Prometheus."""
    async with gateway.http.get(f"{gateway.url}/metrics") as response:
        text = await response.text()
    return {
        name(sample.name, sample.labels): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def name(metric: str, labels: dict[str, str]) -> str:
    text = ",".join(f'{label}="{value}"' for label, value in sorted(labels.items()))
    return f"{metric}{{{text}}}" if text else metric


def scenario(event: str, start: dict[str, float]) -> dict[str, object]:
    """Return a test for promtool, as JSON, which is YAML too."""
    alerts, changes = EVENTS[event]
    constant = {one: f"{value:g}x30" for one, value in start.items() if one.partition("{")[0] in METRICS}
    series = constant | {"up": "1x30"} | changes
    return {
        "name": event,
        "interval": "1m",
        "input_series": [
            {"series": with_target(one), "values": values} for one, values in sorted(series.items())
        ],
        "promql_expr_test": [
            {
                "expr": 'count by (alertname) (ALERTS{alertstate="firing"})',
                "eval_time": f"{EVALUATION_MINUTE}m",
                "exp_samples": [{"labels": f'{{alertname="{alert}"}}', "value": 1} for alert in alerts],
            }
        ],
    }


def with_target(series: str) -> str:
    """Return a series with the labels that Prometheus adds for its target."""
    metric, _, labels = series.partition("{")
    return f'{metric}{{job="gatepost",instance="10.0.0.11:8080"{"," if labels else ""}{labels or "}"}'


async def test_every_series_of_a_scenario_or_a_rule_exists_from_the_start(deployment, sendgrid):
    async with deployment.running(email=["sendgrid-main"]) as gateway:
        start = await scrape(gateway)
    changed = {one for _, changes in EVENTS.values() for one in changes} - {"up"}
    assert changed - start.keys() == set()
    assert METRICS - {one.partition("{")[0] for one in start} == set()


def test_every_alert_has_a_scenario_and_a_row_in_the_documentation():
    assert {alert for alerts, _ in EVENTS.values() for alert in alerts} == set(ALERTS)
    page = (REPO / "docs" / "how-to" / "monitoring.md").read_text()
    assert set(re.findall(r"`(Gatepost\w+)`", page)) == set(ALERTS)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_that_an_alert_names_exists(command):
    assert CliRunner().invoke(cli.main, [*command.split(), "--help"]).exit_code == 0


def test_the_lists_of_label_values_are_complete():
    answers = [Receipt(), Rejected("reason"), Unavailable("reason"), Uncertain("reason")]
    assert {attempt.outcome_label(answer) for answer in answers} == set(metrics.SEND_OUTCOMES)
    assert {200, *handler._STATUSES.values()} == set(metrics.WEBHOOK_STATUSES)


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed (Debian's package prometheus)")
async def test_each_alert_fires_for_the_first_event_after_a_start_and_for_no_other(
    deployment, sendgrid, tmp_path
):
    async with deployment.running(email=["sendgrid-main"]) as gateway:
        start = await scrape(gateway)
    test = tmp_path / "test.yml"
    test.write_text(
        json.dumps({"rule_files": [str(RULES)], "tests": [scenario(event, start) for event in EVENTS]})
    )
    process = await asyncio.create_subprocess_exec(
        PROMTOOL, "test", "rules", test, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()


async def test_events_add_no_series(deployment, sendgrid, wait_until):
    """An alert on a series that begins with its first event would miss that event."""
    async with deployment.running(email=["sendgrid-main"]) as gateway:
        before = await scrape(gateway)
        await deployment.hears(await deployment.email(), "accepted")
        assert (await deployment.crm.send_email(ext_user_id="nobody"))["error_code"] == 1
        deployment.crm.authorization = "wrong"
        assert (await deployment.crm.send_email(ext_user_id="anna"))["error_code"] == 3
        deployment.crm.authorization = "the-secret"
        sendgrid.failure = emulator.answer(400)
        await deployment.hears(await deployment.email(), "rejected")
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
        "gatepost_callbacks_total",
        "gatepost_webhooks_total",
        "gatepost_messages_ended_total",
    }
