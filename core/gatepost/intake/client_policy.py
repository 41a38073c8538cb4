"""What the configuration allows a client: the senders that it may use and the recipients of its previews."""

import msgspec

from gatepost.config.client import Client
from gatepost.errors import Code, Refused
from gatepost.intake.requests import EmailRequest, SmsRequest
from gatepost.model import Channel
from gatepost.routing.senders import canonical_senders, sender_listed


def check_sender(client: Client, request: EmailRequest | SmsRequest) -> None:
    """Raise Refused(SENDER_REFUSED) unless the client may use this sender.

    An SMS without a sender passes: the plugin's default is the operator's own choice. The reply-to address is not
    restricted, because nothing is sent in its name.
    """
    if isinstance(request, SmsRequest):
        if request.sender is not None and not may_send_as(client, Channel.SMS, request.sender):
            raise Refused(Code.SENDER_REFUSED, "from_number is not one of the client's sms_senders")
    elif not may_send_as(client, Channel.EMAIL, request.sender.address):
        raise Refused(Code.SENDER_REFUSED, "from_email_address is not one of the client's email_senders")


def may_send_as(client: Client, channel: Channel, sender: str) -> bool:
    """Return whether the client may use a sender: the canonical address of an email's, or that of a text message."""
    if channel is Channel.SMS:
        return not client.sms_senders or sender in client.sms_senders
    return not client.email_senders or sender_listed(sender, canonical_senders(client.email_senders))


def with_default_sender(client: Client, request: EmailRequest | SmsRequest) -> EmailRequest | SmsRequest:
    """Return the request with the client's ``sms_default_sender`` where a text message brings no sender.

    From here on the default is the message's sender, also for the conditions of routes. The fingerprint stays that of
    the request: a repeat is the same message, whatever the default is by then.
    """
    if isinstance(request, SmsRequest) and request.sender is None and client.sms_default_sender:
        return msgspec.structs.replace(request, sender=client.sms_default_sender)
    return request


def check_preview(client: Client, request: EmailRequest | SmsRequest) -> None:
    """Raise Refused(PREVIEW_REFUSED) when the request names a recipient that is not in ``preview_recipients``."""
    if isinstance(request, SmsRequest) or request.preview_to is None:
        return
    if request.preview_to not in client.preview_recipients:
        raise Refused(Code.PREVIEW_REFUSED, "to_email_address is not one of the client's preview_recipients")
