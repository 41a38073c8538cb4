"""The settings of an SES instance."""

import re
from collections.abc import Iterator
from typing import Annotated

import msgspec
from msgspec import Meta

from gatepost import wire
from gatepost.errors import Fault
from gatepost.model import Secret

_FORMS = {
    "region": (r"[a-z]{2}(-[a-z]+)+-[0-9]+", "a region, such as eu-west-1"),
    "access_key_id": (r"|\w{16,128}", "the id of an access key, such as AKIAIOSFODNN7EXAMPLE"),
    "configuration_set": (r"[\w-]{0,64}", "at most 64 letters, digits, _ and -"),
    "topic_arn": (r"|arn:aws(-us-gov)?:sns:[a-z0-9-]+:[0-9]{12}:[\w-]{1,256}", "the ARN of a standard topic"),
    # A certificate that came without TLS proves nothing.
    "sns_url": (r"|https:.*|http://127\.0\.0\.1:[0-9]+", "an https URL"),
}


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A ``[plugins.NAME]`` table with ``use = "ses"``."""

    region: Annotated[str, Meta(description="the region of the account's identities, such as eu-west-1")]
    access_key_id: Annotated[str, Meta(description="the id of an access key; required without use_role")] = ""
    secret_access_key: Annotated[Secret | None, Meta(description="the access key's secret; likewise")] = None
    session_token: Annotated[Secret | None, Meta(description="the token of a temporary access key")] = None
    use_role: Annotated[bool, Meta(description="true: sign as this machine's role instead of a key")] = False
    configuration_set: Annotated[str, Meta(description="the one whose event destination is the topic")] = ""
    topic_arn: Annotated[str, Meta(description="the SNS topic; without it no reports are accepted")] = ""
    base_url: Annotated[str, Meta(description="SES's URL, such as a VPC endpoint; empty: the region's")] = ""
    sns_url: Annotated[str, Meta(description="SNS's URL, likewise; empty: the topic's region's")] = ""
    connection: wire.ConnectionSetting = None


def check(settings: Settings) -> Iterator[Fault]:
    """Yield every fault that the types can't express, and that no other module finds."""
    for name, (form, advice) in _FORMS.items():
        if not re.fullmatch(form, getattr(settings, name), re.ASCII):
            yield Fault(name, f"must be {advice}")
    secret, role = settings.secret_access_key, settings.use_role
    yield from wire.key_faults(secret_access_key=secret, session_token=settings.session_token)
    if role if settings.session_token else settings.access_key_id.startswith("ASIA"):
        yield Fault("session_token", "goes with a temporary access key (ASIA…), and never with use_role")
    key = {"access_key_id": settings.access_key_id or None, "secret_access_key": secret}
    for name, value in key.items():
        if (value is not None) == role:
            problem = "has no effect with use_role = true" if role else "is missing"
            yield Fault(name, f"{problem}: set an access key, or use_role = true where Gatepost runs on AWS")
