"""The contract between Smartico and a gateway, as Smartico's stand-in checks it: callbacks and answers."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from aiohttp import web

from gatepost.model import Channel, Status

PARAMETERS = ("type", "ext_message_id", "status", "api_key")
"""What the gateway adds to the callback URL's own query."""

_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def callback_violations(
    request: web.BaseRequest, path: str, own_query: Mapping[str, str], api_key: str
) -> Iterator[str]:
    """Yield what in a callback breaks the contract, in words that quote no value.

    ``path``, ``own_query`` and ``api_key`` are those of the callback URL and the key that were agreed on.
    """
    if request.method != "GET" or request.path != path:
        yield f"{request.method} instead of GET, or not to the callback_url's path"
        return
    query = request.query
    names = dict.fromkeys((*PARAMETERS, *own_query))
    for name in names:
        count = len(query.getall(name, ()))
        if count != 1:
            yield f"{name} is there {count} times instead of once"
    if unknown := len(set(query) - set(names)):
        yield f"{unknown} parameters that the contract does not have"
    allowed = {name: {value} for name, value in own_query.items() if name not in PARAMETERS}
    allowed |= {"type": set(Channel), "status": set(Status), "api_key": {api_key}}
    for name, values in allowed.items():
        if name in query and query[name] not in values:
            yield f"{name} has a value that the contract does not allow here"
    if "ext_message_id" in query and not _ID.fullmatch(query["ext_message_id"]):
        yield "ext_message_id is not a UUID in lower case"


def decode_answer(content: bytes) -> dict[str, Any]:
    """Return the gateway's answer; raise AssertionError unless it is one of the two kinds in the contract."""
    try:
        decoded = msgspec.json.decode(content, type=dict[str, Any])
    except msgspec.DecodeError:
        raise AssertionError("the answer is not a JSON object") from None
    code = decoded.get("error_code")
    wanted = "ext_message_id" if code == 0 else "error_message"
    if type(code) is not int or code < 0 or decoded.keys() != {"error_code", wanted}:
        raise AssertionError(f"the answer's fields are {sorted(decoded)}, its error_code {code!r}")
    if not isinstance(decoded[wanted], str) or not decoded[wanted]:
        raise AssertionError(f"{wanted} is not a text")
    return decoded
