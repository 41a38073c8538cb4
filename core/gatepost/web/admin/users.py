"""The operations about one user: what is stored, and what the contact sources know."""

from gatepost.config.settings import Settings
from gatepost.contacts.examination import ContactReport, examine
from gatepost.errors import StoreError
from gatepost.observe import logs
from gatepost.outbox import Outbox, audit
from gatepost.outbox import forget as forgetting
from gatepost.outbox.audit import AuditEntry
from gatepost.outbox.forget import ForgetOrder, Forgetting
from gatepost.web.admin.requests import ContactRequest, ExportRequest, ForgetRequest, RevealRequest
from gatepost.web.admin.services import AdminServices, require_client

_log = logs.get(__name__)


async def forget(_settings: Settings, outbox: Outbox, request: ForgetRequest, actor: str) -> Forgetting:
    """Forget a user. The client may have been removed from the configuration.

    Unlike a cancel it goes on to its end when the command is interrupted: half of it helps nobody.
    """
    order = ForgetOrder((request.client, request.ext_user_id), actor)
    progress = await outbox.cancel(forgetting.forget, order)
    while not progress.done:
        progress = await outbox.cancel(forgetting.forget, order._replace(progress=progress))
    try:
        await outbox.erase_copies()
    except StoreError as error:
        _log.warning("erased_copies_remain", reason=str(error))
    # Without the user: an id may look like an address, and the log can't be made to forget.
    _log.info("user_forgotten", client=request.client, messages=progress.messages)
    return progress


async def record_export(_settings: Settings, outbox: Outbox, request: ExportRequest, actor: str) -> None:
    """Record in the audit log that somebody reads all that is stored of a user."""
    target = {"client": request.client, audit.USER: request.ext_user_id}
    await outbox.change(audit.append, AuditEntry(actor=actor, operation="export", target=target))
    _log.info("user_exported", client=request.client)


async def record_reveal(_settings: Settings, outbox: Outbox, request: RevealRequest, actor: str) -> None:
    """Record in the audit log that somebody reads the address and the number of a user."""
    target = {"client": request.client, audit.USER: request.ext_user_id}
    await outbox.change(audit.append, AuditEntry(actor=actor, operation="reveal", target=target))
    _log.info("user_revealed", client=request.client)


async def contact(services: AdminServices, request: ContactRequest, _actor: str) -> ContactReport:
    """Ask the contact sources about a user; the answer has no address and no number. Raises OperationRefused."""
    require_client(services.settings, request.client)
    return (await examine(services.contacts, request.client, request.ext_user_id)).report
