"""Messages through every route at providers that quote the recipient, and what these report."""

from collections.abc import Sequence

import msgspec

from gatepost.model import Channel
from gatepost.prove import stand_in
from gatepost.prove.client import GatewayClient
from gatepost.prove.outcomes import Outcomes
from gatepost.prove.route_plan import RouteTest
from gatepost.prove.surroundings import Surroundings
from gatepost.testing.webhook_requests import webhook_request

_PREVIEW = "preview"


async def send_by_route(
    test: RouteTest, gateway: GatewayClient, around: Surroundings, outcomes: Outcomes
) -> None:
    """Let the providers of a route do everything that a provider can do with a message."""
    if test.route.refuse:
        answer = await _send(test, gateway, "accept")
        outcomes.expect(test.where, "code 14, the route refuses", answer[0], 14)
        return
    first = test.route.instances[0]
    before, sent = await gateway.sends(), []
    for task, words in stand_in.TASKS.items():
        code, identity = await _send(test, gateway, f"{task}:{first}" if task == "unavailable" else task)
        outcomes.expect(test.where, f"code 0, accepted; then {words}", code, 0)
        sent += [identity] if identity else []
    if not await gateway.wait_for_sends(before + len(sent)):
        outcomes.missing(test.where, "every try to send has ended", "some have not within 10 seconds")
    if sent:
        await _report(test, sent[0], gateway, around, outcomes)


async def send_preview(
    client: str, sender: str, gateway: GatewayClient, around: Surroundings, outcomes: Outcomes
) -> None:
    """Send an email to an address that the request itself names."""
    fields = {"ext_user_id": _PREVIEW, "sender": sender, "activity_type": _PREVIEW}
    answer = await gateway.send(
        client, Channel.EMAIL, {**fields, "to_email_address": around.preview, "text": "reject"}
    )
    outcomes.expect(
        f"{client}, email", "code 0, accepted; a preview, which the provider rejects", answer.code, 0
    )


async def send_while_source_is_down(
    tests: Sequence[RouteTest], gateway: GatewayClient, outcomes: Outcomes
) -> None:
    """Send messages to somebody about whom the contact source can't answer."""
    for test in {(test.client, test.channel): test for test in tests}.values():
        fields = {"ext_user_id": stand_in.UNREACHABLE, "sender": test.sender}
        answer = await gateway.send(test.client, test.channel, fields)
        outcomes.expect(
            f"{test.client}, {test.channel}", "code 0, accepted; the contact source is down", answer.code, 0
        )


async def _send(test: RouteTest, gateway: GatewayClient, text: str) -> tuple[int, str]:
    fields = {"ext_user_id": test.person.user, "sender": test.sender, "text": f"{text} please"}
    answer = await gateway.send(test.client, test.channel, fields)
    return answer.code, answer.id


async def _report(
    test: RouteTest, identity: str, gateway: GatewayClient, around: Surroundings, outcomes: Outcomes
) -> None:
    """Report on a message by webhooks that quote the recipient; some of them fail."""
    # With a split any of them may have it; each may report on each message.
    url = f"{around.url}/webhooks/{test.route.instances[0]}"
    expected = {**dict.fromkeys(stand_in.REPORTS, 200), "bad": 400, "forged": 401, "retry": 503, "crash": 503}
    for kind, status in expected.items():
        body = {"kind": kind, "id": identity, "who": test.person.recipient(test.channel)}
        answer = await gateway.report(webhook_request(f"{url}?to={body['who']}", msgspec.json.encode(body)))
        outcomes.expect(test.where, f"webhook: {kind}", answer, status)
