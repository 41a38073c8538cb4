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
    "access_key_id": (r"\w{16,128}", "an access key's id, such as AKIAIOSFODNN7EXAMPLE"),
    "region": (r"[a-z]{2}(-[a-z]+)+-[0-9]+", "a region, such as eu-west-1"),
    "configuration_set": (r"[A-Za-z0-9_-]{0,64}", "at most 64 letters, digits, _ and -"),
    "topic_arn": (
        r"|arn:aws:sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_-]{1,256}",
        "a topic's ARN, such as arn:aws:sns:eu-west-1:123456789012:mail",
    ),
}


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A ``[plugins.NAME]`` table for Amazon SES."""

    access_key_id: Annotated[str, Meta(description="the id of the access key, which may send with SES")]
    secret_access_key: Annotated[Secret, Meta(description="the secret of access_key_id")]
    region: Annotated[str, Meta(description="the region of the account's identities")]
    configuration_set: Annotated[
        str, Meta(description="the configuration set, whose event destination is the topic")
    ] = ""
    topic_arn: Annotated[
        str, Meta(description="the ARN of the SNS topic with the reports; without it none are accepted")
    ] = ""
    base_url: Annotated[str, Meta(description="the URL of the API; empty: the region's")] = ""
    sns_url: Annotated[
        str,
        Meta(description="where certificates are and subscriptions are confirmed; empty: the topic's region"),
    ] = ""
    connection: wire.ConnectionSetting = None

    @property
    def api(self) -> str:
        """The URL of SES, without a slash at its end."""
        return (self.base_url or f"https://email.{self.region}.amazonaws.com").rstrip("/")

    @property
    def sns(self) -> str:
        """The URL of SNS, without a slash at its end."""
        region = self.topic_arn.split(":")[3] if self.topic_arn.count(":") == 5 else self.region
        return (self.sns_url or f"https://sns.{region}.amazonaws.com").rstrip("/")


def check(settings: Settings) -> Iterator[Fault]:
    """Yield every fault that the types can't express."""
    yield from wire.key_faults(secret_access_key=settings.secret_access_key)
    for name, (form, advice) in _FORMS.items():
        if not re.fullmatch(form, getattr(settings, name), re.ASCII):
            yield Fault(name, f"must be {advice}")
