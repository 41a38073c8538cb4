"""AWS's Signature Version 4 of a request, as AWS checks it. Written from its documentation, without botocore."""

import hmac
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from urllib.parse import quote

from aiohttp import web

_ALGORITHM = "AWS4-HMAC-SHA256"
_MAX_SKEW = timedelta(minutes=15)


def signature_error(
    request: web.BaseRequest, body: bytes, *, keys: Mapping[str, str], token: str, region: str
) -> str:
    """Return the error of a request that none of the keys signed for SES in this region; empty for a good one."""
    algorithm, _, rest = request.headers.get("Authorization", "").partition(" ")
    if not algorithm:
        return "MissingAuthenticationTokenException"
    parts = dict(part.strip().partition("=")[::2] for part in rest.split(","))
    names = parts.get("SignedHeaders", "").split(";")
    if algorithm != _ALGORITHM or not {"host", "x-amz-date"} <= {*names} or names != sorted(names):
        return "IncompleteSignature"
    stamp = request.headers.get("X-Amz-Date", "")
    if not _is_now(stamp):
        return "RequestExpired"
    key_id, _, scope = parts.get("Credential", "").partition("/")
    if key_id not in keys or request.headers.get("X-Amz-Security-Token", "") != token:
        return "UnrecognizedClientException"
    to_sign = "\n".join([_ALGORITHM, stamp, scope, _canonical_hash(request, body, names)])
    key = f"AWS4{keys[key_id]}".encode()
    for part in (*scope.split("/"), to_sign):
        key = hmac.digest(key, part.encode(), "sha256")
    is_same = hmac.compare_digest(key.hex(), parts.get("Signature", ""))
    is_here = scope == f"{stamp[:8]}/{region}/ses/aws4_request"
    return "" if is_same and is_here else "InvalidSignatureException"


def _is_now(stamp: str) -> bool:
    try:
        sent = datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        return False
    return abs(datetime.now(UTC) - sent) <= _MAX_SKEW


def _canonical_hash(request: web.BaseRequest, body: bytes, names: list[str]) -> str:
    headers = [f"{name}:{' '.join(request.headers.get(name, '').split())}" for name in names]
    lines = [
        request.method,
        quote(request.path),
        request.query_string,
        *headers,
        "",
        ";".join(names),
        sha256(body).hexdigest(),
    ]
    return sha256("\n".join(lines).encode()).hexdigest()
