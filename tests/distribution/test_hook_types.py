"""The hooks are typed: the type checker reports a hook with another signature."""

import subprocess
import sys

import pytest

PLUGIN = """\
from contextlib import AbstractAsyncContextManager
from typing import Any

from gatepost.hookspecs import ContactSource, EmailSender, HasLifespan, SmsSender, WebhookParser, hookimpl
from gatepost.model import Contact, Email, Receipt, Report, Sms, WebhookRequest


class Good(ContactSource, EmailSender):
    @hookimpl
    async def find_contact(self, ext_user_id: str) -> Contact | None:
        return None

    @hookimpl
    async def send_email(self, message: Email) -> Receipt:
        return Receipt()


class Wrong(ContactSource, EmailSender, SmsSender, HasLifespan, WebhookParser):
    @hookimpl
    async def find_contact(self, ext_user_id: int) -> Contact | None:  # its argument
        return None

    @hookimpl
    def send_email(self, message: Email) -> Receipt:  # not async
        return Receipt()

    @hookimpl
    async def send_sms(self, message: Sms) -> str:  # what it returns
        return ""

    @hookimpl
    async def parse_webhook(self, request: WebhookRequest, strict: bool) -> Report:  # one argument more
        return Report()

    @hookimpl
    async def lifespan(self) -> AbstractAsyncContextManager[None]:  # async
        raise NotImplementedError
"""


@pytest.mark.slow
def test_a_hook_with_another_signature_is_an_error(tmp_path):
    (tmp_path / "plugin.py").write_text(PLUGIN)
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--cache-dir", tmp_path / "cache", "plugin.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    found = {int(line.split(":")[1]) for line in checked.stdout.splitlines() if ": error:" in line}
    wrong = {number for number, line in enumerate(PLUGIN.splitlines(), 1) if "  # " in line}
    assert len(wrong) == 5
    assert found == wrong, checked.stdout
