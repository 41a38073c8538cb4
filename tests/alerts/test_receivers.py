"""Which URLs may receive alerts, and that no fault quotes one."""

import re
from pathlib import Path

import apprise
import pytest
from apprise.plugins import N_MGR

from gatepost.alerts import receivers
from gatepost.alerts.receivers import LOCAL_SCHEMES, Receiver, receiver_faults
from gatepost.config.settings import Alerts
from gatepost.model import Secret

FOLDER = Path(apprise.__file__).parent / "plugins"

LOCAL_CODE = re.compile(
    r"^\s*(?:import|from) (?:subprocess|multiprocessing|ctypes|pty|syslog|dbus|gi|win32api|blink1|hid|usb|serial)\b"
    r"|\bos\.(?:system|popen|exec|spawn|replace|rename|remove|unlink|mkdir|makedirs)",
    re.MULTILINE,
)
"""What a module of Apprise has that does something on this machine."""


def faults(*urls):
    return [str(fault) for fault in receiver_faults(Alerts(notify=tuple(map(Secret, urls))))]


@pytest.mark.parametrize(
    "url",
    [
        "json://127.0.0.1:9000/hook",
        "mailtos://user:word@mail.example.com",
        "discord://4174216298/JHMHI8qBe7bk2ZwO5U711o3dV_js",
        "https://hooks.slack.com/services/T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ",
        "tgram://123456789:abcdefg_hijklmnop/12315544/",
    ],
)
def test_what_goes_over_the_network_is_fine_also_to_this_machine(url):
    assert faults(url) == []


@pytest.mark.parametrize("scheme", sorted(LOCAL_SCHEMES))
@pytest.mark.parametrize("form", ["{}://secret", "{}://", " {}://secret"])
def test_what_runs_or_writes_on_this_machine_is_refused(scheme, form):
    for name in (scheme, scheme.upper()):
        (fault,) = faults(form.format(name))
        assert fault.startswith(f"alerts.notify: entry 1 has the scheme {scheme}, which starts programs")


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("", "is not an Apprise URL"),
        ("hunter2", "is not an Apprise URL"),
        ("file:/etc/hunter2", "is not an Apprise URL"),
        ("%73yslog://hunter2", "is not an Apprise URL"),
        ("file:///hunter2", "has a scheme that Apprise does not know"),
        ("hunter2://hunter2", "has a scheme that Apprise does not know"),
        ("json://", "can't be used by Apprise"),
        ("slack://hunter2", "can't be used by Apprise"),
        ("https://hunter2.example/hook", "can't be used by Apprise"),
    ],
)
def test_a_fault_names_the_position_and_never_quotes_the_url(url, problem):
    (fault,) = faults("json://127.0.0.1/", url)
    assert fault.startswith(f"alerts.notify: entry 2 {problem}")
    assert "hunter2" not in fault


def test_without_apprise_there_is_one_fault_with_the_cure(monkeypatch):
    monkeypatch.setattr(receivers, "find_spec", lambda _name: None)
    assert faults() == []
    assert faults("json://a", "json://b") == [
        "alerts.notify: alerts need apprise: from your checkout, pip install '.[alerts]'"
    ]


def test_each_module_of_apprise_that_does_something_on_this_machine_is_refused():
    """A new version of Apprise may have new ones: read what they do, then decide about LOCAL_SCHEMES."""
    local = {
        path.relative_to(FOLDER).with_suffix("").parts[0]
        for path in FOLDER.rglob("*.py")
        if LOCAL_CODE.search(path.read_text("utf-8"))
    }
    Receiver(1, Secret("json://127.0.0.1")).problem()
    schemes = {scheme: N_MGR[scheme].__module__.split(".")[2] for scheme in N_MGR.schemas()}
    undecided = {scheme for scheme, module in schemes.items() if module in local} - LOCAL_SCHEMES
    assert undecided == set()
    assert {"macosx", "syslog", "gnome", "glib", "dbus", "windows", "vapid"} <= local
    assert schemes.keys() >= LOCAL_SCHEMES
