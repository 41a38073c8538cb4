"""The metrics of a real gateway: their names, the page and the dashboard about them, and what they measure."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

REPO = Path(__file__).parents[2]
DASHBOARD = json.loads((REPO / "deploy" / "grafana" / "gatepost.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
RULES = yaml.safe_load((REPO / "deploy" / "prometheus" / "alerts.yml").read_text())
EXPRESSIONS = [
    *(rule["expr"] for group in RULES["groups"] for rule in group["rules"]),
    *(target["expr"] for panel in PANELS for target in panel["targets"]),
]
VARIABLES = {"$job": "gatepost", "$__rate_interval": "5m", "$__range": "6h"}
# What Prometheus adds to every series of a target.
TARGET = {"job": "gatepost", "instance": "gateway:8080"}
# The endings of a histogram's series.
PARTS = r"_(?:bucket|count|sum)$"
MATCHES = {
    "=": lambda value, text: value == text,
    "!=": lambda value, text: value != text,
    "=~": lambda value, text: re.fullmatch(text, value) is not None,
    "!~": lambda value, text: re.fullmatch(text, value) is None,
}


@pytest.fixture
async def samples(deployment, sendgrid, vonage):
    """Return the samples of a gateway that has just started, with everything in its configuration that is measured."""
    deployment.tables["clients.brand"] |= {"email_per_day": 1_000, "sms_per_day": 1_000, "max_queued": 1_000}
    deployment.tables["plugins.sendgrid-main"] |= {"warmup": {"from": 500}}
    async with deployment.running(email=["sendgrid-main"], sms=["vonage-eu"]) as gateway:
        return await gateway.scrape()


def without_variables(expression: str) -> str:
    for variable, value in VARIABLES.items():
        expression = expression.replace(variable, value)
    return expression


def selectors(expression: str) -> list[tuple[str, list[tuple[str, str, str]]]]:
    """Return the name and the matchers (label, operator, text) of each selector of an expression."""
    found = re.findall(r"\b((?:gatepost|process)_\w+)(\{[^}]*\})?", without_variables(expression))
    return [(name, re.findall(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"', matchers)) for name, matchers in found]


def grouping_labels(expression: str) -> set[str]:
    lists = re.findall(r"\b(?:by|on|without|group_left) \(([^)]*)\)", expression)
    return {label.strip() for labels in lists for label in labels.split(",") if label.strip()}


async def test_the_dashboard_and_the_rules_select_series_that_exist(samples):
    labels_of = {}
    for sample in samples:
        labels_of.setdefault(sample.name, []).append({**sample.labels, **TARGET})
    for expression in EXPRESSIONS:
        for name, matchers in selectors(expression):
            assert any(
                all(MATCHES[operator](labels.get(label, ""), text) for label, operator, text in matchers)
                for labels in labels_of.get(name, [])
            ), (name, matchers)
            # An unknown label would match an empty text, or group everything together.
            known = labels_of[name][0].keys()
            assert {label for label, _, _ in matchers} <= known, expression
        grouped_by = grouping_labels(expression)
        assert grouped_by <= {label for name, _ in selectors(expression) for label in labels_of[name][0]}


@pytest.mark.skipif(
    shutil.which("promtool") is None,
    reason="promtool is not installed (make programs; Debian's package prometheus)",
)
def test_the_dashboard_is_valid_promql(tmp_path):
    rules = [
        {"record": f"panel:{number}", "expr": without_variables(expression)}
        for number, expression in enumerate(EXPRESSIONS)
    ]
    file = tmp_path / "rules.yml"
    file.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    checked = subprocess.run(
        ["promtool", "check", "rules", file], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_the_dashboard_can_be_imported_with_any_data_source():
    first = DASHBOARD["templating"]["list"][0]
    assert (first["name"], first["type"], first["query"]) == ("datasource", "datasource", "prometheus")
    sources = [one["datasource"]["uid"] for panel in PANELS for one in (panel, *panel["targets"])]
    assert set(sources) == {"${datasource}"}
    identities = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(identities)) == len(identities)
    assert all(panel["title"] and panel["description"] for panel in PANELS)


def test_no_two_panels_overlap():
    places = [panel["gridPos"] for panel in DASHBOARD["panels"]]
    cells = [
        (x, y)
        for place in places
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) < 24


async def test_the_page_lists_every_metric_with_its_labels_and_no_other(samples):
    page = (REPO / "docs" / "reference" / "metrics.md").read_text()
    listed = {
        name: set(re.findall(r"`(\w+)`", labels))
        for name, labels in re.findall(r"^\| `(\w+)` \|([^|]*)\|", page, re.MULTILINE)
        if name.startswith(("gatepost_", "process_"))
    }
    exposed = {}
    for sample in samples:
        is_part = re.search(PARTS, sample.name)
        name = re.sub(PARTS, "", sample.name) if is_part else sample.name
        exposed.setdefault(name, set()).update(sample.labels.keys() - {"le"})
    assert listed == exposed


async def test_names_follow_the_conventions_of_prometheus(samples):
    for name in {re.sub(PARTS, "", sample.name) for sample in samples}:
        assert not re.search(r"_(ms|millis\w*|minutes|hours|kb|mb|percent)(_|$)", name), name
    counters = {sample.name for sample in samples if sample.name.endswith("_total")}
    durations = {sample.name for sample in samples if sample.name.endswith("_bucket")}
    assert counters
    assert all(re.sub(PARTS, "", name).endswith("_seconds") for name in durations)


async def test_the_build_is_named(samples):
    (build,) = (one for one in samples if one.name == "gatepost_build_info")
    assert build.value == 1
    assert all(build.labels.values())


async def test_each_step_of_a_message_is_timed_once(deployment, sendgrid):
    async with deployment.running(email=["sendgrid-main"]) as gateway:
        message = await deployment.email()
        await deployment.hears(message, "accepted")
        await sendgrid.report([sendgrid.event("delivered", sendgrid.taken[0])])
        await deployment.hears(message, "accepted", "delivered")
        await gateway.settled()
        counts = await gateway.metrics()
    assert counts["gatepost_accept_duration_seconds_count", "email"] == 1
    assert counts["gatepost_accept_duration_seconds_count", "sms"] == 0
    assert counts["gatepost_queue_wait_seconds_count", "email"] == 1
    assert counts["gatepost_send_duration_seconds_count", "sendgrid-main"] == 1
    assert counts["gatepost_delivery_duration_seconds_count", "email", "sendgrid-main"] == 1
    assert counts["gatepost_callback_duration_seconds_count", "brand"] == 2
    assert counts["gatepost_statuses_total", "email", "sendgrid-main", "delivered"] == 1
    assert counts["gatepost_store_transaction_duration_seconds_count",] > 0


async def test_a_limit_shows_how_much_of_it_is_used(deployment, sendgrid):
    deployment.tables["clients.brand"] |= {"email_per_day": 4, "max_queued": 10}
    async with deployment.running(email=["sendgrid-main"]) as gateway:
        await deployment.hears(await deployment.email(), "accepted")
        await gateway.settled()
        figures = await gateway.metrics()
    assert figures["gatepost_limit_used_ratio", "clients.brand.email_per_day"] == 0.25
    assert figures["gatepost_limit_used_ratio", "clients.brand.max_queued"] == 0.0
