"""The warm-up of a plugin on the pages of the console."""

import pytest

from console_site import CONFIG, open_site
from gatepost.outbox import warmups
from gatepost.outbox.startup import warmup_plan

WARMUP = CONFIG.replace('folder = "box"', 'folder = "box"\nwarmup = { from = 2 }')


@pytest.fixture
async def site(tmp_path, new):
    async with open_site("sqlite:///outbox.db", tmp_path, new, WARMUP) as site:
        plan = warmup_plan(site.admin.settings.plugins["box"])
        for _ in range(2):
            assert await site.outbox.change(warmups.take_places, plan)
        yield site


@pytest.mark.parametrize("path", ["/", "/plugins"])
async def test_it_stands_beside_its_plugin_for_those_who_see_all_of_it(site, path):
    status, text = await site.get(path)
    assert status == 200
    assert "warm-up: 2 of 2 in the day until" in text
    assert "it has begun" in text


@pytest.mark.parametrize("path", ["/", "/plugins"])
async def test_a_user_of_one_client_does_not_learn_what_all_send(site, path):
    status, text = await site.get(path, user="vera")
    assert status == 200
    assert "warm-up" not in text


async def test_a_message_that_waits_says_it(site):
    identity = await site.wait()
    _, text = await site.get(f"/messages/{identity}")
    assert "box is at its warm-up cap of 2; a new day begins" in text
