"""What is particular to this protocol."""

import pytest
from gatepost.errors import (
    ConfigError,
    Rejected,  # <sms>
    Unavailable,
)
from gatepost.testing.features import FailureMode


async def test_a_connection_is_kept_for_the_next_request(plugin, provider):
    await plugin.ping()
    await plugin.ping()

    assert provider.connections == 1


async def test_a_connection_that_the_server_closed_is_not_used_again(plugin, provider):
    provider.simulate(FailureMode.DROP)
    with pytest.raises(Unavailable):
        await plugin.ping()
    provider.simulate(None)

    await plugin.ping()

    assert provider.connections == 2


async def test_every_fault_of_the_settings_is_named_at_once(make_plugin):
    with pytest.raises(ConfigError) as error:
        make_plugin(key="", host=" ")

    assert [fault.key for fault in error.value.faults] == ["key", "host"]


# <email>
async def test_an_email_reaches_the_server(plugin, provider, email):
    receipt = await plugin.send_email(email(subject="Hello"))

    (message,) = provider.received()
    assert receipt.provider_id
    assert (message.subject, message.html) == ("Hello", "<p>Hello</p>")


# </email>
# <sms>
async def test_a_text_message_reaches_the_server(plugin, provider, sms):
    receipt = await plugin.send_sms(sms())

    (message,) = provider.received()
    assert receipt.provider_id
    assert (message.sender, message.text) == ("Amazing", "Hello")


async def test_a_text_message_without_a_sender_is_rejected(plugin, sms):
    with pytest.raises(Rejected):
        await plugin.send_sms(sms(sender=None))


# </sms>
