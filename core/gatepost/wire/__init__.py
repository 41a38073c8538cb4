"""What plugins for HTTP APIs share: a pooled client with exact outcomes, and helpers to compose.

    self._http = wire.connect(settings.base_url, timeout=context.timeout, connections=context.concurrency,
                              headers=wire.bearer(settings.api_key), options=settings.connection)
    ...
    reply = await self._http.post("/v1/messages", body)
    wire.expect_success(reply)

No request is sent twice, and none is redirected. No proxy variable, cookie or ``.netrc`` is read.
"""

from gatepost.wire.client import Body as Body
from gatepost.wire.client import Http as Http
from gatepost.wire.client import connect as connect
from gatepost.wire.credentials import Login as Login
from gatepost.wire.credentials import basic_auth as basic_auth
from gatepost.wire.credentials import bearer as bearer
from gatepost.wire.credentials import expect_basic_auth as expect_basic_auth
from gatepost.wire.credentials import expect_same as expect_same
from gatepost.wire.heads import HEADER_NAME as HEADER_NAME
from gatepost.wire.heads import can_set_header as can_set_header
from gatepost.wire.options import ConnectionOptions as ConnectionOptions
from gatepost.wire.options import ConnectionSetting as ConnectionSetting
from gatepost.wire.options import check_base_url as check_base_url
from gatepost.wire.options import key_faults as key_faults
from gatepost.wire.pointers import Pointer as Pointer
from gatepost.wire.pointers import parse_pointer as parse_pointer
from gatepost.wire.pointers import resolve as resolve
from gatepost.wire.replies import ANY_REFUSAL as ANY_REFUSAL
from gatepost.wire.replies import MAX_REPLY_BYTES as MAX_REPLY_BYTES
from gatepost.wire.replies import MISCONFIGURED as MISCONFIGURED
from gatepost.wire.replies import Reply as Reply
from gatepost.wire.replies import expect_success as expect_success
from gatepost.wire.replies import retry_after as retry_after
from gatepost.wire.tokens import Token as Token
from gatepost.wire.values import own_id as own_id
from gatepost.wire.values import quoted_mailbox as quoted_mailbox
from gatepost.wire.values import safe_code as safe_code
from gatepost.wire.values import safe_id as safe_id
from gatepost.wire.values import says_stop as says_stop
from gatepost.wire.values import sender_of as sender_of
from gatepost.wire.webhooks import collect_events as collect_events
from gatepost.wire.webhooks import decode_events as decode_events
from gatepost.wire.webhooks import expect_hmac as expect_hmac
from gatepost.wire.webhooks import read_webhook as read_webhook
