"""What the database says, and what it means."""

import pytest
from gatepost.errors import ConfigError, Unavailable
from gatepost.model import Contact, Secret


async def test_a_user_is_found_under_the_exact_id_only(plugin, provider):
    provider.load_contacts({"anna": Contact(email=Secret("anna@people.invalid"))})

    assert await plugin.find_contact("anna") == Contact(email=Secret("anna@people.invalid"))
    assert await plugin.find_contact("ANNA") is None


async def test_a_database_without_the_table_can_not_answer(plugin):
    with pytest.raises(Unavailable, match="OperationalError"):
        await plugin.ping()


@pytest.mark.parametrize("url", ["", "no url", "mysql+nodriver://host/users", "sqlite://user:secret@host:x/"])
async def test_a_url_that_can_not_be_used_is_a_fault_that_does_not_quote_it(make_plugin, url):
    with pytest.raises(ConfigError) as error:
        make_plugin(url=url)

    assert [fault.key for fault in error.value.faults] == ["url"]
    assert "secret" not in str(error.value)
