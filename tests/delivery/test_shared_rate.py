"""Two replicas on PostgreSQL that send through an instance with a rate."""

import asyncio
import time

from torture import goals, shared_rate

PER_SECOND = 50.0


async def test_the_replicas_together_never_begin_a_send_before_its_turn(postgres_server, tmp_path):
    """However late each send is: at no moment were there more of them than turns."""
    url = postgres_server.new_database()
    await shared_rate.put(url, tmp_path, 60)
    provider = shared_rate.Provider()
    began = time.monotonic()
    async with (
        shared_rate.replica(url, tmp_path, provider, PER_SECOND),
        shared_rate.replica(url, tmp_path, provider, PER_SECOND),
    ):
        while len(provider.sends) < 60:  # noqa: ASYNC110  no event exists
            await asyncio.sleep(0.05)

    assert len({message_id for _, message_id in provider.sends}) == len(provider.sends) == 60
    for number, (moment, _) in enumerate(sorted(provider.sends)):
        assert number <= (moment - began) * PER_SECOND


async def test_replicas_that_do_not_share_the_rate_miss_the_goals(postgres_server, tmp_path):
    figures = await shared_rate.measure(
        postgres_server.new_database(),
        tmp_path,
        per_second=20.0,
        seconds=3.0,
        build=shared_rate.unshared_member,
    )

    missed = [line.figure for line in goals.lines("shared-rate", figures) if line.reached is False]
    assert missed == ["beyond the rate"]


async def test_slow_lookups_bring_no_sends_together(postgres_server, tmp_path):
    figures = await shared_rate.measure(
        postgres_server.new_database(),
        tmp_path,
        per_second=20.0,
        seconds=4.0,
        source=shared_rate.SlowUsers(0.1, 0.9),
    )
    assert figures["beyond the rate"] == 0, figures
    assert figures["sent"] > 20, figures
