"""The settings of a client: who it is, and what it may send."""

from typing import Annotated

import msgspec
from msgspec import Meta

from gatepost.config.networks import Network
from gatepost.config.numbers import Limit
from gatepost.config.unsubscribe_page import UnsubscribePage
from gatepost.model import Channel, Secret


class Client(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A client: the Smartico account of one brand."""

    authorization: Annotated[
        tuple[Secret, ...],
        Meta(
            min_length=1,
            description="the whole Authorization header; several while you rotate it",
            examples=[["env:GATEPOST_SECRET"]],
        ),
    ]
    callback_api_key: Annotated[
        Secret, Meta(description="sent with every callback", examples=["env:SMARTICO_API_KEY"])
    ] = Secret("")
    sms_authorization: Annotated[
        bool,
        Meta(
            description="false: /sms needs only an address in allow_ips; Smartico's older documentation has no header there"
        ),
    ] = True
    allow_ips: Annotated[
        tuple[Network, ...],
        Meta(
            description="addresses and networks of this client, IPv4 and IPv6; empty: every request is refused"
        ),
    ] = ()
    callback_hosts: Annotated[
        tuple[str, ...],
        Meta(description="hosts that callbacks may go to: a name, *.name, or an address; any port"),
    ] = ()
    callback_url: Annotated[str, Meta(description="where callbacks go when a request names no URL")] = ""
    allow_private_callbacks: Annotated[
        bool, Meta(description="true: callbacks may use http and private addresses; for tests and demos")
    ] = False
    preview_recipients: Annotated[
        tuple[Secret, ...],
        Meta(
            description="the exact addresses that a request may name as recipient: for previews, mails to risk and support"
        ),
    ] = ()
    email_senders: Annotated[
        tuple[str, ...], Meta(description="From addresses or @domains that this client may use; empty: any")
    ] = ()
    sms_senders: Annotated[
        tuple[str, ...], Meta(description="sender ids that this client may use; empty: any")
    ] = ()
    sms_default_sender: Annotated[
        str, Meta(description="the sender id of a request without one; empty: the plugin's default")
    ] = ""
    contacts: Annotated[
        tuple[str, ...],
        Meta(
            description="contact sources of this client alone, queried in this order; empty: contacts.sources"
        ),
    ] = ()
    max_queued: Annotated[
        Limit, Meta(description="messages not at their end; above it code 12; 0: no limit")
    ] = 0
    email_per_day: Annotated[
        Limit, Meta(description="emails accepted per day (UTC); above it code 14; 0: no limit")
    ] = 0
    sms_per_day: Annotated[
        Limit, Meta(description="texts accepted per day (UTC); above it code 14; 0: no limit")
    ] = 0
    sms_max_parts: Annotated[Limit, Meta(description="parts of one text; above it code 14; 0: no limit")] = 0
    per_user_per_day: Annotated[
        Limit, Meta(description="messages to one user per day (UTC); above it code 14; 0: no limit")
    ] = 0
    merge_fields: Annotated[
        bool,
        Meta(
            description="true: {{contact.NAME|DEFAULT}} in subjects and bodies is filled from the contact's attributes"
        ),
    ] = False
    public_url: Annotated[
        str,
        Meta(description="this brand's own URL of the gateway, for links in mails; empty: server.public_url"),
    ] = ""
    unsubscribe: Annotated[
        bool,
        Meta(description="true: emails have List-Unsubscribe headers (RFC 8058), which this gateway answers"),
    ] = False
    unsubscribe_page: Annotated[
        UnsubscribePage | None,
        Meta(
            description="texts, languages and colours of the page behind the link",
            examples=[{"background": "#ffffff"}],
        ),
    ] = None
    open_pixel: Annotated[
        bool,
        Meta(
            description="true: emails have a pixel that tells that they were opened; ask the users for consent"
        ),
    ] = False
    count_machine_opens: Annotated[
        bool,
        Meta(
            description="true: pixels that mail systems load without a person, such as Apple's, count as opened too"
        ),
    ] = False

    def per_day(self, channel: Channel) -> int:
        """Return the most messages of this channel that are accepted in a day; 0: no limit."""
        return self.email_per_day if channel is Channel.EMAIL else self.sms_per_day
