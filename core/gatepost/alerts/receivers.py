"""The receivers of alerts: Apprise URLs, which hold secrets, so nothing here quotes one.

Apprise is an extra, and takes more than a second and some megabytes to load. So it is imported only where a URL is
configured.
"""

import logging
import re
import warnings
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from gatepost.config.settings import Alerts
from gatepost.errors import Fault
from gatepost.model import Secret

LOCAL_SCHEMES = frozenset(
    ("blink1", "dbus", "fcm", "gio", "glib", "gnome", "kde", "macosx", "qt", "syslog", "vapid", "windows")
)
"""What Apprise does on this machine itself: it starts a program, calls the desktop or a device, writes the system's log,
or reads and writes files of keys. All others send to a host over the network, this machine's own included."""

_SCHEME = re.compile(r"\s*([a-z0-9]+)://", re.IGNORECASE)

_KEY = "alerts.notify"


class Receiver:
    """One receiver of alerts."""

    def __init__(self, position: int, url: Secret) -> None:
        """``position`` in the configured list, from 1, is how operators are told which one it is."""
        self.position = position
        self._url = url

    @property
    def scheme(self) -> str:
        """The scheme of its URL, the only part that may be shown; empty without one."""
        found = _SCHEME.match(self._url.reveal())
        return found[1].lower() if found else ""

    def send(self, title: str, body: str) -> bool:
        """Send a message; return whether it was taken. It blocks, so call it in a thread."""
        service = self._load()
        return service is not None and bool(service.notify(body=body, title=title, body_format="text"))

    def problem(self) -> str:
        """Return what is wrong with the URL, and what to do; empty if nothing is."""
        scheme = self.scheme
        if not scheme:
            return (
                "is not an Apprise URL: it must begin with a scheme, such as mailtos://, slack:// or https://"
            )
        if scheme in LOCAL_SCHEMES:
            return (
                f"has the scheme {scheme}, which starts programs or touches files on this machine: take one that sends "
                "over the network"
            )
        if self._load() is not None:
            return ""
        if not _is_known(scheme):
            return "has a scheme that Apprise does not know: gatepost[alerts] may be old, or it is misspelled"
        return (
            "can't be used by Apprise: compare it with its service's page in the Apprise documentation, which also says "
            "whether the service needs one more Python package"
        )

    def _load(self) -> Any:
        """Return Apprise's object for the service, or None."""
        library = _apprise()
        asset = library.AppriseAsset(async_mode=False, secure_logging=True, storage_mode="memory")
        asset.app_id = asset.app_desc = "Gatepost"
        return library.Apprise.instantiate(self._url.reveal().strip(), asset=asset, suppress_exceptions=True)


def receivers(alerts: Alerts) -> list[Receiver]:
    """Return the configured receivers."""
    return [Receiver(position, url) for position, url in enumerate(alerts.notify, start=1)]


def receiver_faults(alerts: Alerts) -> Iterator[Fault]:
    """Yield the faults of the receivers; nothing is sent."""
    if alerts.notify and not find_spec("apprise"):
        yield Fault(_KEY, "alerts need apprise: from your checkout, pip install '.[alerts]'")
        return
    for one in receivers(alerts):
        if problem := one.problem():
            yield Fault(_KEY, f"entry {one.position} {problem}")


def _is_known(scheme: str) -> bool:
    # A web address may be the link that a service gives out.
    return scheme in {"http", "https"} or scheme in _apprise().plugins.N_MGR


@cache
def _apprise() -> ModuleType:
    """Return the package with all its services loaded."""
    # Some of its modules import what is deprecated.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        library = import_module("apprise")
        library.plugins.N_MGR.load_modules()
    # Their lines may quote the URL, or what the receiver has answered.
    for name in ("apprise", "urllib3"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    return library
