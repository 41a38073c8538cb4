"""The kit's result about a plugin's CPU does not depend on the speed of the machine."""

import time

import pytest

from gatepost.hookspecs import hookimpl
from gatepost.testing.conformance import cpu_units
from gatepost_example import Example


class Computes(Example):
    @hookimpl
    async def find_contact(self, ext_user_id):
        cpu_units.do_work(3 * cpu_units.MAX_UNITS)
        return await super().find_contact(ext_user_id)

    @hookimpl
    async def send_sms(self, message):
        cpu_units.do_work(3 * cpu_units.MAX_UNITS)
        return await super().send_sms(message)

    @hookimpl
    async def parse_webhook(self, request):
        cpu_units.do_work(3 * cpu_units.MAX_UNITS)
        return await super().parse_webhook(request)


@pytest.fixture
def as_slow(monkeypatch):
    """A function that simulates a machine on which all work takes ``factor`` times as long."""
    own = time.thread_time
    return lambda factor: monkeypatch.setattr(time, "thread_time", lambda: own() * factor)


CHECKS = pytest.mark.parametrize("check_id", ["contacts.free_loop", "send.free_loop", "webhooks.free_loop"])


@CHECKS
async def test_a_plugin_that_holds_the_loop_is_found_on_a_fast_machine(verdict, as_slow, check_id):
    as_slow(0.01)
    assert "ms of CPU" in await verdict(check_id, Computes, "ms of CPU")


@CHECKS
async def test_a_plugin_that_frees_the_loop_passes_on_a_slow_machine(verdict, as_slow, check_id):
    as_slow(1000)
    assert await verdict(check_id, Example, "") == ""
