"""What `check --live` says of the relay itself, beside the DNS."""

from collections.abc import Iterator

from gatepost_smtp.connection import ProbeResult
from gatepost_smtp.dns_findings import Grade, Line
from gatepost_smtp.settings import Settings

_THIS_MACHINE = "localhost", "127.0.0.1", "::1"


def describe_probe(probe: ProbeResult, settings: Settings) -> Iterator[Line]:
    """Yield a line about the connection, and those about what comes back after a mail."""
    yield _connection(probe, settings)
    if probe.offers_reports:
        yield Line(Grade.GOOD, "DSN: the relay offers reports of deliveries")
    elif settings.wants_success:
        yield Line(Grade.PROBLEM, "DSN: the relay offers no reports of deliveries, so none will come")
    if settings.webhook_secret:
        yield _bounces(settings)


def _connection(probe: ProbeResult, settings: Settings) -> Line:
    encryption = f"{probe.tls_version} with a trusted certificate" if probe.tls_version else "without TLS"
    sign_in = ", signed in" if settings.password else ""
    text = f"connection: {settings.host} port {settings.effective_port()} answers, {encryption}{sign_in}"
    if probe.tls_version or settings.host in _THIS_MACHINE:
        return Line(Grade.GOOD, text)
    text += '. If the way to it is not your own network alone, set security to "starttls" or "tls"'
    return Line(Grade.UNKNOWN, text)


def _bounces(settings: Settings) -> Line:
    if settings.bounce_domain:
        text = f"bounces: go to {settings.bounce_domain}, with a signed return path for each message"
        if settings.bounce_listen:
            text += f", and the gateway takes them at {settings.bounce_listen}"
        return Line(Grade.GOOD, text)
    if settings.return_path:
        return Line(Grade.GOOD, f"bounces: go to a mailbox at {settings.return_path.rpartition('@')[2]}")
    text = "bounces: go to the sender of each mail: forward those to Gatepost, or set return_path or bounce_domain"
    return Line(Grade.UNKNOWN, text)
