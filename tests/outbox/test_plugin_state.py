"""What instances keep over a restart. On both stores."""

import asyncio
from contextlib import nullcontext

import pytest

from gatepost.outbox import plugin_state
from gatepost.outbox.plugin_state import MAX_TOTAL, Replaced, Replacement, StateKey

pytestmark = pytest.mark.parametrize("place", ["sqlite", "postgresql"], indirect=True)


async def read(store, instance, key):
    return await store.coordinate(plugin_state.read, StateKey(instance, key))


async def replace(store, instance, key, old, new):
    return await store.coordinate(plugin_state.replace, Replacement(instance, key, old, new))


async def test_a_value_is_replaced_only_where_it_is_the_old_one(store):
    assert await read(store, "poller", "cursor") == ""
    assert await replace(store, "poller", "cursor", "", "one") is Replaced.DONE
    assert await replace(store, "poller", "cursor", "", "two") is Replaced.OTHER_VALUE
    assert await replace(store, "poller", "cursor", "onE", "two") is Replaced.OTHER_VALUE
    assert await read(store, "poller", "cursor") == "one"
    assert await replace(store, "poller", "cursor", "one", "two") is Replaced.DONE
    assert await read(store, "poller", "cursor") == "two"


async def test_an_empty_value_removes_the_key(store):
    assert await replace(store, "poller", "cursor", "", "") is Replaced.DONE
    assert await replace(store, "poller", "cursor", "", "one") is Replaced.DONE
    assert await replace(store, "poller", "cursor", "one", "") is Replaced.DONE
    assert await read(store, "poller", "cursor") == ""
    assert await replace(store, "poller", "cursor", "one", "two") is Replaced.OTHER_VALUE
    assert await replace(store, "poller", "cursor", "", "two") is Replaced.DONE


async def test_an_instance_sees_only_its_own_values(store):
    await replace(store, "one", "cursor", "", "its own")

    assert await read(store, "other", "cursor") == ""
    assert await replace(store, "other", "cursor", "its own", "") is Replaced.OTHER_VALUE
    assert await replace(store, "other", "cursor", "", "x" * MAX_TOTAL) is Replaced.DONE
    assert await read(store, "one", "cursor") == "its own"


async def test_all_values_of_an_instance_together_are_limited(store):
    assert await replace(store, "poller", "a", "", "x" * (MAX_TOTAL - 2)) is Replaced.DONE
    assert await replace(store, "poller", "b", "", "xxx") is Replaced.TOO_LARGE
    assert await read(store, "poller", "b") == ""
    assert await replace(store, "poller", "b", "", "xx") is Replaced.DONE
    assert await replace(store, "poller", "b", "xx", "xxx") is Replaced.TOO_LARGE
    assert await replace(store, "poller", "b", "xx", "yy") is Replaced.DONE
    assert await replace(store, "poller", "b", "yy", "") is Replaced.DONE
    # In characters, not in bytes.
    assert await replace(store, "poller", "c", "", "éé") is Replaced.DONE
    assert await read(store, "poller", "c") == "éé"


async def test_a_restart_keeps_the_values(place):
    async with place.opened() as store:
        await replace(store, "poller", "cursor", "", "line one\nline two\t'; -- é")
    async with place.opened() as store:
        assert await read(store, "poller", "cursor") == "line one\nline two\t'; -- é"


async def test_of_calls_at_the_same_moment_one_wins(place):
    """On PostgreSQL half of them are made by another replica."""
    async with place.opened() as one:
        shared = place.url.reveal().startswith("postgresql")
        async with place.opened() if shared else nullcontext(one) as other:
            for number in range(20):
                old = await read(one, "poller", "cursor")
                outcomes = await asyncio.gather(
                    *(
                        replace(store, "poller", "cursor", old, f"{number} {place_}")
                        for place_, store in enumerate([one, other] * 3)
                    )
                )
                assert sorted(outcome is Replaced.DONE for outcome in outcomes) == [False] * 5 + [True]
                assert await read(other, "poller", "cursor") == f"{number} {outcomes.index(Replaced.DONE)}"
            large = await asyncio.gather(
                *(
                    replace(store, "large", f"key {place_}", "", "x" * (MAX_TOTAL - 1))
                    for place_, store in enumerate([one, other] * 3)
                )
            )
            assert large.count(Replaced.DONE) == 1
            assert large.count(Replaced.TOO_LARGE) == 5
