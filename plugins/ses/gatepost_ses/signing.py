"""Requests to SES with AWS's Signature Version 4, which botocore computes."""

import asyncio
import logging
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from botocore.auth import SigV4Auth  # type: ignore[import-untyped]
from botocore.awsrequest import AWSRequest  # type: ignore[import-untyped]
from botocore.credentials import ReadOnlyCredentials  # type: ignore[import-untyped]

from gatepost.errors import Unavailable
from gatepost_ses.settings import Settings

# At DEBUG it logs every request with its session token.
logging.getLogger("botocore").setLevel(logging.WARNING)


class Signer:
    """Signs with the access key of the settings, or as the role that AWS has given to this machine."""

    def __init__(self, settings: Settings) -> None:
        secret, token = settings.secret_access_key, settings.session_token
        key = (settings.access_key_id, secret.reveal(), token and token.reveal()) if secret else None
        self._settings = settings
        self._credentials = ReadOnlyCredentials(*key) if key else None
        self._role: Any = None
        self._next_search = 0.0
        self._lock = asyncio.Lock()

    async def headers(self, method: str, url: str, body: bytes) -> Mapping[str, str]:
        """Return the headers of a request; raise Unavailable where AWS has no credentials for this machine."""
        if self._settings.use_role:
            await self._search()
        if self._credentials is None:
            raise Unavailable("no AWS credentials: give this machine a role", code="role", misconfigured=True)
        request = AWSRequest(method, url, headers={"Content-Type": "application/json"}, data=body)
        SigV4Auth(self._credentials, "ses", self._settings.region).add_auth(request)
        return dict(request.headers)

    async def _search(self) -> None:
        """Ask botocore once a minute: it caches credentials, and renews them 15 minutes before their end."""
        loop = asyncio.get_running_loop()
        async with self._lock:
            if loop.time() >= self._next_search:
                # Its errors are of any type. What it has found before is used up to its end.
                with suppress(Exception):
                    async with asyncio.timeout(3.0):
                        self._credentials = await asyncio.to_thread(self._find)
                self._next_search = loop.time() + (60.0 if self._credentials else 5.0)

    def _find(self) -> ReadOnlyCredentials | None:
        # Imported here: it takes another 0.1 s of CPU and 2 MiB.
        from botocore.session import Session  # type: ignore[import-untyped]  # noqa: PLC0415

        self._role = self._role or Session().get_credentials()
        return self._role.get_frozen_credentials() if self._role else None
