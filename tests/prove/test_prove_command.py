"""``gatepost prove`` on real configurations: what it exercises, what it finds, and what it leaves alone."""

import re
import socket

import pytest

from gatepost.prove.isolation import CUT_OFF
from gatepost.prove.report import FORMAT
from prove.configurations import DEMO, EVERYTHING, KEY, LEAKY

KEYS = {
    *("format", "verdict", "gatepost", "python", "system", "started", "seconds", "network", "store"),
    *("configuration", "plugins", "people", "spellings", "views", "hashes", "rehearsals", "searched"),
    *("plants", "findings"),
}


@pytest.mark.slow
def test_the_demo_leaks_nothing_and_nothing_of_the_operator_is_touched(prove, tmp_path):
    proof = prove(DEMO)

    assert proof.code == 0, proof.stderr
    report = proof.report
    assert (report["format"], report["verdict"], report["findings"]) == (FORMAT, "clean", [])
    assert report.keys() == KEYS
    assert all(plant["found"] for plant in report["plants"])
    assert "are not touched" in proof.stderr.splitlines()[0]
    assert [path.name for path in (tmp_path / "operator").iterdir()] == ["gatepost.toml"]
    # Neither the operator's secrets nor a canary are in what an auditor gets.
    for text in (proof.page, str(report)):
        assert KEY not in text
        assert "the-operators-secret" not in text
        assert "+447700900" not in text
    assert "clients.smartico.callback_api_key = •••••" in report["configuration"]["lines"]


@pytest.mark.slow
def test_rules_several_clients_and_every_shipped_plugin_leak_nothing(prove, tmp_path, private_key):
    proof = prove(EVERYTHING.replace('"file:key.pem"', f'"""{private_key}"""'))

    assert proof.code == 0, proof.stderr + str(proof.report.get("findings"))
    emulated, echo = proof.exercised("emulators"), proof.exercised("echo")
    for name in ("grid (sendgrid)", "relay (smtp)", "texts (vonage)", "aggregator (http)", "box (sandbox)"):
        done = [what for where, what in emulated if where.startswith(name)]
        assert "sent to the emulator of its provider" in done
        assert "the provider refuses the message" in done
        assert any(what.startswith("report ") for what in done)
    codes = {int(code) for _, what in echo for code in re.findall(r"^code (\d+)", what)}
    assert codes == {*range(15)} - {8}
    routes = {where for where, _ in echo if " route " in where}
    assert routes == {
        *(f"{client}, email route {route}" for client in ("first", "second") for route in ("big", "other")),
        *(f"{client}, sms route {route}" for client in ("first", "second") for route in ("closed", "rest")),
        "first, sms route germany",
    }
    (missing,) = {
        one["why"]
        for rehearsal in proof.report["rehearsals"]
        for one in rehearsal["not_exercised"]
        if one["where"] == "first, sms route guernsey"
    }
    assert missing == "any number that the rule takes may be somebody's"
    assert any(what.startswith("gatepost forget ") for _, what in echo)
    assert (
        "route rest: per_day lifted, because the run sends more" in proof.report["configuration"]["changes"]
    )


@pytest.mark.slow
def test_a_plugin_that_leaks_is_found_wherever_it_does(prove, leaky):
    proof = prove(LEAKY, **leaky)

    assert proof.code == 1
    assert proof.report["verdict"] == "leak"
    found = proof.found("email")
    assert {("log", "plain hash (sha256), hexadecimal"), ("store", "plain hash (md5), hexadecimal")} <= found
    assert ("store", "plain hash (sha1), hexadecimal") in found
    assert ("other files of the gateway's folder", "plain") in proof.found("local part")
    # What stands around a canary is in no report.
    assert "+tag" not in str(proof.report)
    assert not re.search(r"<script|https?://(?!127)|@import|url\(", proof.page)
    assert "A canary or a secret was found" in proof.page


@pytest.mark.slow
def test_a_database_of_postgresql_and_traces_are_searched(prove, postgres_server, monkeypatch):
    """Nothing goes to the operator's own collector: here the network is not cut off."""
    url = postgres_server.new_database()
    with socket.create_server(("127.0.0.1", 0)) as own_collector:
        host, port = own_collector.getsockname()
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://{host}:{port}")

        proof = prove(DEMO, "--store", url)

        own_collector.settimeout(0)
        with pytest.raises(BlockingIOError):
            own_collector.accept()
    searched = {(one["rehearsal"], one["place"]) for one in proof.report["searched"]}
    assert {("emulators", "traces"), ("echo", "traces")} <= searched

    assert proof.code == 0, proof.stderr
    assert "table messages" in str(proof.report["searched"])
    assert proof.report["store"] == "postgresql"
    assert ("a copy of: store", True) in [(one["place"], one["found"]) for one in proof.report["plants"]]


@pytest.mark.slow
def test_the_gateway_of_a_run_reaches_no_other_machine(tmp_path, leaky, run_python):
    answer = run_python(
        "from gatepost.prove import isolation\nfrom leaky import connect_outside\n"
        "print(isolation.cut_off())\nprint(connect_outside())",
        leaky,
    ).splitlines()

    if answer[0] != CUT_OFF:
        pytest.skip(answer[0])
    assert answer[1] == "Network is unreachable"


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("--store", "sqlite:///own.db"), "--store takes a PostgreSQL database"),
        (("--store", "nonsense"), "--store takes a PostgreSQL database"),
        (("--html", "/nowhere/at/all.html"), "can't be written"),
    ],
)
def test_an_option_that_can_not_be_used_is_refused_before_the_run(prove, arguments, problem):
    proof = prove(DEMO, *arguments)

    assert proof.code == 1
    assert problem in proof.stderr
    assert "Rehearsing" not in proof.stderr


def test_a_configuration_with_faults_is_refused_as_by_serve(prove):
    proof = prove(DEMO + 'color = "red"\n')

    assert proof.code == 1
    assert "plugins.sandbox.color" in proof.stderr
    assert proof.report == {}


@pytest.mark.slow
def test_a_database_with_tables_is_refused(prove, postgres_server, store_tables):
    url = postgres_server.new_database()
    store_tables(url)

    proof = prove(DEMO, "--store", url)

    assert proof.code == 1
    assert "has tables (" in proof.stderr
