import asyncio

import pytest
from msgspec.structs import replace

from claiming import claim_callbacks, finish_callback
from gatepost.model import Channel, Status, StatusEvent
from gatepost.outbox import CallbackResult, ReportedEvents, SendResult, callbacks, stuck_statuses
from gatepost.outbox.callbacks import CallbackClaimRequest
from gatepost.outbox.schema import statuses
from gatepost.outbox.states import State
from statements import executed

A, D, O = "accepted", "delivered", "opened"  # noqa: E741  short names for the expected lists below


def acknowledged(call):
    return CallbackResult(seq=call.seq, attempt=call.attempt, acknowledged=True)


def failed(call, seconds=5.0):
    return CallbackResult(
        seq=call.seq, attempt=call.attempt, acknowledged=False, retry_in=seconds, problem="HTTP 503"
    )


def dead(call):
    return CallbackResult(seq=call.seq, attempt=call.attempt, acknowledged=False, problem="HTTP 404")


def interrupted(call):
    return CallbackResult(
        seq=call.seq,
        attempt=call.attempt,
        acknowledged=False,
        retry_in=0.0,
        counts=False,
        problem="interrupted",
    )


@pytest.fixture
def sent(put_and_claim):
    """Return a function that sends a message and records further statuses; it returns the message's id."""

    async def make(outbox, uid="uid-1", *statuses, **fields):
        claim = await put_and_claim(outbox, uid, **fields)
        await outbox.finish(SendResult(id=claim.id, attempt=claim.attempt, state=State.SENT))
        events = [StatusEvent(status=Status(one), message_id=claim.id) for one in statuses]
        await outbox.record(ReportedEvents(instance="relay", events=events))
        return claim.id

    return make


async def test_a_claimed_callback_has_everything_for_its_request(store, sent):
    url = "https://CRM.example:8443/status?a=1"
    identity = await sent(store, channel=Channel.SMS, callback_url=url)

    (call,) = await claim_callbacks(store, 9, 45)

    assert (call.message_id, call.client, call.channel) == (identity, "brand", Channel.SMS)
    assert (call.status, call.callback_url, call.target) == (Status.ACCEPTED, url, "crm.example:8443")
    assert call.attempt == 1


async def test_statuses_are_called_back_in_order_one_at_a_time(store, sent):
    await sent(store, "uid-1", D, O)
    order = []

    for _ in range(3):
        (call,) = await claim_callbacks(store, 9, 45)
        assert await claim_callbacks(store, 9, 45) == []
        assert await finish_callback(store, acknowledged(call))
        order.append(call.status)

    assert order == [A, D, O]
    assert await claim_callbacks(store, 9, 45) == []


async def test_a_status_recorded_during_a_callback_waits_for_its_end(store, sent):
    identity = await sent(store)
    (call,) = await claim_callbacks(store, 9, 45)
    event = StatusEvent(status=Status.DELIVERED, message_id=identity)
    await store.record(ReportedEvents(instance="relay", events=[event]))

    assert await claim_callbacks(store, 9, 45) == []
    await finish_callback(store, acknowledged(call))
    assert [one.status for one in await claim_callbacks(store, 9, 45)] == [D]


async def test_a_status_recorded_after_the_last_callback_is_due_immediately(store, sent):
    identity = await sent(store)
    (call,) = await claim_callbacks(store, 9, 45)
    await finish_callback(store, acknowledged(call))
    event = StatusEvent(status=Status.DELIVERED, message_id=identity)
    await store.record(ReportedEvents(instance="relay", events=[event]))

    assert [one.status for one in await claim_callbacks(store, 9, 45)] == [D]


async def test_a_result_and_a_new_status_in_one_commit_lose_nothing(store, sent):
    identities = [await sent(store, f"uid-{n}") for n in range(8)]
    calls = await claim_callbacks(store, 9, 45)
    events = [StatusEvent(status=Status.DELIVERED, message_id=one) for one in identities]

    await asyncio.gather(
        *(finish_callback(store, acknowledged(call)) for call in calls[:4]),
        store.record(ReportedEvents(instance="relay", events=events)),
        *(finish_callback(store, acknowledged(call)) for call in calls[4:]),
    )

    following = await claim_callbacks(store, 9, 45)
    assert {(call.message_id, call.status.value) for call in following} == {(one, D) for one in identities}


async def test_a_failed_callback_is_retried_and_delays_the_next_status(store, sent, clock, view_of):
    identity = await sent(store, "uid-1", D)
    (call,) = await claim_callbacks(store, 9, 45)

    assert await finish_callback(store, failed(call, 300))

    (first, second) = (await view_of(store, identity)).statuses
    assert (first.callback_state, first.attempts, first.next_attempt_at) == ("queued", 1, clock.now + 300)
    assert (first.problem, second.callback_state) == ("HTTP 503", "waiting")
    clock.advance(299)
    assert await claim_callbacks(store, 9, 45) == []
    clock.advance(1)
    (retry,) = await claim_callbacks(store, 9, 45)
    assert (retry.seq, retry.attempt, retry.status) == (call.seq, 2, A)


async def test_a_dead_callback_does_not_delay_the_next_status(store, sent, view_of):
    identity = await sent(store, "uid-1", D)
    (call,) = await claim_callbacks(store, 9, 45)

    assert await finish_callback(store, dead(call))

    assert [one.status for one in await claim_callbacks(store, 9, 45)] == [D]
    first = (await view_of(store, identity)).statuses[0]
    assert (first.callback_state, first.next_attempt_at, first.problem) == ("dead", None, "HTTP 404")


async def test_messages_do_not_wait_for_each_other(store, sent):
    slow, quick = await sent(store, "slow", D), await sent(store, "quick", D)
    calls = {call.message_id: call for call in await claim_callbacks(store, 9, 45)}
    await finish_callback(store, acknowledged(calls[quick]))

    (call,) = await claim_callbacks(store, 9, 45)

    assert (call.message_id, call.status.value) == (quick, D)
    assert slow in calls


async def test_the_longest_due_callbacks_are_claimed_first_and_once(store, sent, clock):
    ids = []
    for n in range(6):
        ids.append(await sent(store, f"uid-{n}"))
        clock.advance(1)

    answers = [{call.message_id for call in await claim_callbacks(store, 2, 45)} for _ in range(4)]

    assert answers == [set(ids[:2]), set(ids[2:4]), set(ids[4:]), set()]


async def test_concurrent_claims_get_different_callbacks(store, sent):
    for n in range(20):
        await sent(store, f"uid-{n}")

    answers = await asyncio.gather(*(claim_callbacks(store, 3, 45) for _ in range(10)))

    seqs = [call.seq for answer in answers for call in answer]
    assert len(seqs) == len(set(seqs)) == 20


async def test_a_callback_whose_lease_ended_can_be_claimed_again(store, sent, clock):
    await sent(store, "uid-1", D)
    (first,) = await claim_callbacks(store, 9, 45)
    clock.advance(44)
    assert (await store.sweep()).callbacks == 0
    store.callbacks_due.clear()
    clock.advance(1)

    assert (await store.sweep()).callbacks == 1

    assert store.callbacks_due.is_set()
    (call,) = await claim_callbacks(store, 9, 45)
    assert (call.seq, call.attempt) == (first.seq, 2)


@pytest.mark.parametrize("result_of", [acknowledged, failed, dead])
async def test_a_result_of_an_earlier_claim_changes_nothing(store, sent, clock, view_of, result_of):
    identity = await sent(store, "uid-1", D)
    (first,) = await claim_callbacks(store, 9, 45)
    clock.advance(45)
    await store.sweep()
    assert not await finish_callback(store, result_of(first))
    (call,) = await claim_callbacks(store, 9, 45)
    before = await view_of(store, identity)

    assert not await finish_callback(store, result_of(first))

    assert await view_of(store, identity) == before
    assert await finish_callback(store, acknowledged(call))


@pytest.mark.parametrize("newer_first", [True, False])
async def test_of_two_claims_whose_results_come_together_the_newer_one_counts(
    store, sent, clock, view_of, newer_first
):
    identity = await sent(store)
    (first,) = await claim_callbacks(store, 9, 45)
    clock.advance(45)
    await store.sweep()
    (newer,) = await claim_callbacks(store, 9, 45)
    results = [dead(first), acknowledged(newer)]
    expected = [False, True]
    if newer_first:
        results.reverse()
        expected.reverse()

    assert await store.finish_callbacks(lambda: results) == expected

    (status,) = (await view_of(store, identity)).statuses
    assert (status.callback_state, status.attempts) == ("acknowledged", 2)


@pytest.mark.parametrize(
    "place", ["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)], indirect=True
)
async def test_results_of_all_kinds_are_recorded_together(store, sent, view_of):
    identities = [await sent(store, f"uid-{n}", D) for n in range(4)]
    calls = {call.message_id: call for call in await claim_callbacks(store, 9, 45)}
    results = [
        kind(calls[identity])
        for kind, identity in zip((acknowledged, failed, dead, interrupted), identities, strict=True)
    ]

    assert all(await store.finish_callbacks(lambda: results))

    views = [(await view_of(store, identity)).statuses for identity in identities]
    assert [(first.callback_state, first.attempts, then.callback_state) for first, then in views] == [
        ("acknowledged", 1, "queued"),
        ("queued", 1, "waiting"),
        ("dead", 1, "queued"),
        ("queued", 0, "waiting"),
    ]
    assert [first.problem for first, _ in views] == ["", "HTTP 503", "HTTP 404", "interrupted"]
    assert [first.next_attempt_at is None for first, _ in views] == [True, False, True, False]


@pytest.mark.parametrize("result_of", [acknowledged, failed, dead])
async def test_a_callback_result_from_another_process_changes_nothing(place, sent, result_of):
    async with place.opened() as outbox:
        await sent(outbox)
        (call,) = await claim_callbacks(outbox, 9, 45)
    async with place.opened() as outbox:
        assert not await finish_callback(outbox, result_of(call))
        (other,) = await claim_callbacks(outbox, 9, 45)
        assert other.seq == call.seq


@pytest.mark.parametrize("first", [acknowledged, failed, dead])
@pytest.mark.parametrize("then", [acknowledged, failed, dead])
@pytest.mark.parametrize("together", [True, False])
async def test_only_the_first_result_of_a_callback_counts(store, sent, view_of, first, then, together):
    identity = await sent(store)
    (call,) = await claim_callbacks(store, 9, 45)

    if together:
        recorded = await asyncio.gather(
            finish_callback(store, first(call)), finish_callback(store, then(call))
        )
    else:
        recorded = [await finish_callback(store, first(call)), await finish_callback(store, then(call))]

    assert recorded == [True, False]
    expected = {acknowledged: "acknowledged", failed: "queued", dead: "dead"}[first]
    assert (await view_of(store, identity)).statuses[0].callback_state == expected


async def test_a_result_of_an_unknown_callback_changes_nothing(store):
    assert not await finish_callback(store, CallbackResult(seq=99, attempt=1, acknowledged=True))


async def test_statuses_without_a_callback_url_are_only_recorded(store, sent, view_of):
    identity = await sent(store, "uid-1", D, callback_url="")

    assert await claim_callbacks(store, 9, 45) == []
    statuses = (await view_of(store, identity)).statuses
    assert [(one.status, one.callback_state) for one in statuses] == [(A, "none"), (D, "none")]


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("https://crm.example/status", "crm.example:443"),
        ("http://crm.example/status", "crm.example:80"),
        ("https://[2001:DB8::1]/status", "[2001:db8::1]:443"),
        ("http://[::1]:8080/status", "[::1]:8080"),
    ],
)
async def test_a_target_is_a_host_and_a_port(store, sent, url, target):
    await sent(store, callback_url=url)

    assert [call.target for call in await claim_callbacks(store, 9, 45)] == [target]


async def test_a_claim_can_exclude_targets_or_name_one(store, sent):
    for host in ("a.example", "b.example:1", "b.example:2"):
        await sent(store, host, callback_url=f"https://{host}/status")

    excluded = frozenset({"a.example:443", "b.example:1"})
    assert [call.target for call in await claim_callbacks(store, 9, 45, excluded_targets=excluded)] == [
        "b.example:2"
    ]
    assert [call.target for call in await claim_callbacks(store, 9, 45, target="b.example:1")] == [
        "b.example:1"
    ]
    assert await claim_callbacks(store, 9, 45, target="unknown.example:443") == []
    assert [call.target for call in await claim_callbacks(store, 9, 45)] == ["a.example:443"]


async def test_excluded_targets_do_not_count_against_the_limit(store, sent):
    for n in range(5):
        await sent(store, f"slow-{n}", callback_url="https://slow.example/")
    await sent(store, "fast", callback_url="https://fast.example/")

    calls = await claim_callbacks(store, 1, 45, excluded_targets=frozenset({"slow.example:443"}))

    assert [call.target for call in calls] == ["fast.example:443"]


async def test_a_claim_can_name_a_client_or_exclude_some(store, sent):
    for client in ("a", "b", "c"):
        await sent(store, client, client=client)

    assert [call.client for call in await claim_callbacks(store, 9, 45, client="b")] == ["b"]
    assert await claim_callbacks(store, 9, 45, client="b") == []
    assert [
        call.client for call in await claim_callbacks(store, 9, 45, excluded_clients=frozenset({"a"}))
    ] == ["c"]
    assert [call.client for call in await claim_callbacks(store, 9, 45)] == ["a"]


async def test_a_callback_claim_reads_the_index_in_order_and_no_other_rows(store):
    """The number of other callbacks that wait does not matter."""
    requests = [
        CallbackClaimRequest(9, 45, "brand", frozenset({"slow.example:443"})),
        CallbackClaimRequest(1, 45, "brand", target="slow.example:443"),
    ]

    def plans(connection):
        tx = store._begin(connection)
        statements = executed(connection)
        callbacks.claim_callbacks(tx, [requests])
        return [
            [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", values)]
            for text, values, _ in statements[:2]
        ]

    for plan in await store._database.transact(plans):
        assert any(
            "USING COVERING INDEX statuses_due (callback_state=? AND client=? AND due_at>? AND" in step
            for step in plan
        )
        assert plan.count("SEARCH messages USING PRIMARY KEY (id=?)") == 2
        assert not any("TEMP B-TREE" in step for step in plan)


@pytest.mark.parametrize("place", ["sqlite", "postgresql"], indirect=True)
async def test_claims_for_many_clients_are_made_where_callbacks_are_due(store, sent):
    first, second = "it's", '"{[,\\'
    for client in (first, "b", second):
        await sent(store, client, client=client, callback_url="https://smartico.example/")
    requests = [CallbackClaimRequest(9, 45.0, client) for client in ("d", second, "e", first, "f")]
    requests.append(CallbackClaimRequest(9, 45.0, "b", frozenset({"smartico.example:443"})))
    statements = executed(store._database.engine)

    claimed = await store.claim_callbacks(lambda: requests)

    assert [[call.client for call in calls] for calls in claimed] == [[], [second], [], [first], [], []]
    assert sum("UPDATE statuses" in one.text for one in statements) == 3
    # What is left is found as before, and only when it is due.
    assert [call.client for call in await claim_callbacks(store, 9, 45)] == ["b"]


async def test_the_question_for_clients_with_due_callbacks_reads_the_index_of_each(store):
    requests = [CallbackClaimRequest(9, 45.0, f"brand{number}") for number in range(5)]

    def plan(connection):
        statements = executed(connection)
        callbacks.claim_callbacks(store._begin(connection), [requests])
        (only,) = statements
        return [
            row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {only.text}", only.parameters)
        ]

    steps = await store._database.transact(plan)
    assert any(
        "USING COVERING INDEX statuses_due (callback_state=? AND client=? AND due_at>? AND" in step
        for step in steps
    )
    assert not any(step.startswith("SCAN") and "json_each" not in step for step in steps), steps


async def test_the_end_of_a_lifetime_is_called_back(store, put_and_claim, clock):
    claim = await put_and_claim(store, lifetime=60)
    await store.finish(SendResult(id=claim.id, attempt=claim.attempt, state=State.QUEUED, delay=30))
    clock.advance(60)
    await store.sweep()

    (call,) = await claim_callbacks(store, 9, 45)

    assert call.status is Status.FAILED


def make_stuck(outbox, identity):
    """Set every queued status of this message to waiting, so that nothing would ever let it go."""

    def update(connection):
        return connection.execute(
            statuses.update()
            .where(statuses.c.message_id == identity, statuses.c.callback_state == "queued")
            .values(callback_state="waiting", due_at=None)
        ).rowcount

    return outbox._database.transact(update)


async def test_a_stuck_status_is_found_and_called_back(store, sent):
    identity = await sent(store, "uid-1", D)
    assert await make_stuck(store, identity) == 1
    assert (await store.sweep()).changes == 0
    assert await claim_callbacks(store, 9, 45) == []

    assert await store.queue_stuck_statuses() == 1

    order = []
    while calls := await claim_callbacks(store, 9, 45):
        order += [call.status for call in calls]
        assert await finish_callback(store, acknowledged(calls[0]))
    assert order == [A, D]


async def test_a_status_behind_a_queued_or_calling_one_is_not_stuck(store, sent):
    await sent(store, "uid-1", D)
    assert await store.queue_stuck_statuses() == 0
    (call,) = await claim_callbacks(store, 9, 45)
    assert await store.queue_stuck_statuses() == 0
    assert await claim_callbacks(store, 9, 45) == []
    assert await finish_callback(store, failed(call, 300))
    assert await store.queue_stuck_statuses() == 0


async def test_each_search_continues_where_the_last_one_stopped(store, sent, monkeypatch):
    monkeypatch.setattr(stuck_statuses, "SEARCH_BATCH", 2)
    ids = [await sent(store, f"uid-{number}") for number in range(5)]
    for identity in ids:
        await make_stuck(store, identity)

    assert [await store.queue_stuck_statuses() for _ in range(4)] == [2, 2, 1, 0]
    await make_stuck(store, ids[0])
    assert [await store.queue_stuck_statuses() for _ in range(3)].count(1) == 1


async def test_who_reported_a_status_and_how_smartico_answered_is_kept(store, sent, view_of, clock):
    identity = await sent(store, "uid-1", D)
    (call,) = await claim_callbacks(store, 9, 45)
    clock.advance(2)
    await finish_callback(store, replace(acknowledged(call), http_status=204))
    called_at = clock.now

    accepted, delivered = (await view_of(store, identity)).statuses

    assert (accepted.reporter, accepted.called_at, accepted.http_status) == ("", called_at, 204)
    assert (delivered.reporter, delivered.called_at, delivered.http_status) == ("relay", None, 0)


async def test_a_plan_that_fails_does_not_stop_other_work(store):
    def fail():
        raise ZeroDivisionError

    async with asyncio.timeout(20):
        with pytest.raises(ZeroDivisionError):
            await store.claim_callbacks(fail)
        assert await claim_callbacks(store, 1, 45.0) == []
