"""AWS's Signature Version 4 for requests without a query. Pure functions."""

import hmac
from collections.abc import Mapping
from datetime import datetime
from hashlib import sha256
from urllib.parse import urlsplit

from gatepost_ses_exercise.settings import Settings


def signed_headers(
    method: str, path: str, body: bytes, settings: Settings, *, now: datetime
) -> Mapping[str, str]:
    """Return the headers of a request to SES with its signature; ``now`` is in UTC."""
    api = urlsplit(settings.api)
    stamp = now.strftime("%Y%m%dT%H%M%SZ")
    # In the order of their names.
    headers = {"content-type": "application/json", "host": api.netloc, "x-amz-date": stamp}
    names = ";".join(headers)
    lines = [f"{name}:{value}" for name, value in headers.items()]
    request = "\n".join([method, api.path + path, "", *lines, "", names, sha256(body).hexdigest()])
    scope = f"{stamp[:8]}/{settings.region}/ses/aws4_request"
    content = "\n".join(["AWS4-HMAC-SHA256", stamp, scope, sha256(request.encode()).hexdigest()])
    key = b"AWS4" + settings.secret_access_key.reveal().encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.digest(key, content.encode(), "sha256").hex()
    credential = f"AWS4-HMAC-SHA256 Credential={settings.access_key_id}/{scope}"
    return {**headers, "authorization": f"{credential}, SignedHeaders={names}, Signature={signature}"}
