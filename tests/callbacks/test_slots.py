"""The slots of one client: how many calls it may claim, and when a target that failed is called again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost import throttle
from gatepost.callbacks import slots as callback_slots
from gatepost.callbacks.claim_planner import MAX_CALLS, REMOVED_CLIENTS_CALLS, ClaimPlanner
from gatepost.callbacks.slots import ClaimPlan, ClientSlots, allowed_calls
from gatepost.errors import Unavailable
from gatepost.throttle import BreakerState

SLOTS = 96


@given(st.lists(st.integers(0, 19), min_size=1, max_size=400))
def test_every_client_gets_a_slot_whatever_the_others_hold(arrivals):
    """Twenty clients, each of which takes all slots that it may and frees none."""
    held = [0] * 20
    for client in arrivals:
        without = sum(not one for place, one in enumerate(held) if place != client)
        held[client] += allowed_calls(held[client], SLOTS - sum(held), without)

    assert all(held[client] for client in arrivals)
    assert max(held) <= SLOTS * 3 // 4
    assert SLOTS - sum(held) >= held.count(0)


@pytest.mark.parametrize(("clients", "each"), [(1, 72), (2, 42), (3, 30)])
def test_clients_with_many_calls_end_with_nearly_equal_shares(clients, each):
    held = [0] * clients
    held[0] = allowed_calls(0, SLOTS)
    for turn in range(40 * SLOTS):
        ended, client = turn % 7 % clients, turn % clients
        held[ended] = max(0, held[ended] - 1)
        held[client] += allowed_calls(held[client], SLOTS - sum(held))

    assert max(held) - min(held) <= 1 + callback_slots.SLOTS_PER_FREE_SLOT
    assert max(held) <= each


def test_the_last_slot_is_for_a_client_without_a_call_in_flight():
    assert (allowed_calls(0, 1), allowed_calls(1, 1), allowed_calls(0, 0)) == (1, 0, 0)


@pytest.mark.parametrize("in_flight", [0, 3])
def test_more_calls_than_slots_leave_none(in_flight):
    assert allowed_calls(in_flight, -16) == 0


def test_the_callbacks_of_removed_clients_are_claimed_although_results_that_were_refused_take_all_slots():
    planner = ClaimPlanner(["brand", "other"], clock=lambda: 0.0)

    (removed,) = planner.plan(MAX_CALLS + 48)

    assert removed == ("", ClaimPlan(REMOVED_CLIENTS_CALLS))


def trip(slots, target, now=0.0):
    for _ in range(throttle.FAILURE_THRESHOLD):
        slots.begin(target, now)
        slots.end(target, now, Unavailable("down"))


def end_of_rest(slots, target):
    """Return a time at which its rest is over."""
    return slots._breakers[target].rest_remaining(0.0)


def test_a_reserved_slot_is_claimed_again_only_after_a_while():
    slots = ClientSlots(SLOTS)
    for _ in range(54):
        slots.begin("crm.example:443", 0.0)
    assert slots.may_claim(0.0, 18)
    (plan,) = slots.plan_claims(0.0, 18, 18)
    assert plan.reserved
    slots.note_claim(plan, 0, 0.0)
    slots.begin("crm.example:443", 0.0)
    slots.end("crm.example:443", 0.0, None)

    assert not slots.may_claim(0.09, 18)
    assert list(slots.plan_claims(0.09, 18, 18)) == []
    assert slots.may_claim(0.1, 18)
    (plan,) = slots.plan_claims(0.1, 18, 18)
    assert plan.reserved


def test_a_slot_that_is_not_reserved_is_claimed_at_once():
    slots = ClientSlots(SLOTS)
    for _ in range(54):
        slots.begin("crm.example:443", 0.0)
    (plan,) = slots.plan_claims(0.0, 18, 18)
    slots.note_claim(plan, 0, 0.0)
    slots.end("crm.example:443", 0.0, None)

    assert slots.may_claim(0.0, 19)
    assert list(slots.plan_claims(0.0, 18, 19)) == [ClaimPlan(1)]


def test_a_resting_target_is_left_out_and_then_probed_alone():
    slots = ClientSlots(SLOTS)
    trip(slots, "crm.example:443")
    trip(slots, "crm.example:8443")
    now = end_of_rest(slots, "crm.example:443")

    plans = list(slots.plan_claims(now, 10, SLOTS))

    resting = frozenset({"crm.example:443", "crm.example:8443"})
    assert ClaimPlan(1, target="crm.example:443") in plans
    assert [plan for plan in plans if not plan.target] == [ClaimPlan(10, resting)]
    assert ClaimPlan(1, target="crm.example:443") not in list(slots.plan_claims(now, 10, SLOTS))
    assert ClaimPlan(1, target="crm.example:443") in list(
        slots.plan_claims(now + callback_slots.RECHECK_INTERVAL, 10, SLOTS)
    )


def test_a_successful_probe_ends_the_rest():
    slots = ClientSlots(SLOTS)
    trip(slots, "crm.example:443")
    now = end_of_rest(slots, "crm.example:443")
    slots.begin("crm.example:443", now)
    slots.end("crm.example:443", now, None)

    assert list(slots.plan_claims(now, 10, SLOTS)) == [ClaimPlan(10)]


def test_of_many_resting_targets_a_few_are_probed_at_once_and_all_in_turn():
    slots = ClientSlots(SLOTS)
    targets = {f"crm.example:{port}" for port in range(1, 3 * callback_slots.MAX_PROBES + 1)}
    for target in targets:
        trip(slots, target)

    rounds = [
        [plan.target for plan in slots.plan_claims(throttle.MAX_REST, 1, SLOTS) if plan.target]
        for _ in range(3)
    ]

    assert [len(probed) for probed in rounds] == [callback_slots.MAX_PROBES] * 3
    assert {target for probed in rounds for target in probed} == targets


def test_a_client_with_only_resting_targets_is_checked_at_intervals():
    slots = ClientSlots(SLOTS)
    trip(slots, "crm.example:443")
    (plan,) = slots.plan_claims(0.0, 10, SLOTS)
    slots.note_claim(plan, 0, 0.0)

    assert list(slots.plan_claims(0.0, 10, SLOTS)) == []
    later = callback_slots.RECHECK_INTERVAL
    assert plan in list(slots.plan_claims(later, 10, SLOTS))


def test_end_rest_lets_a_target_be_probed_at_once():
    slots = ClientSlots(SLOTS)
    trip(slots, "crm.example:443")
    slots.end_rest("crm.example:443", 0.0)
    slots.end_rest("never.seen:443", 0.0)

    assert ClaimPlan(1, target="crm.example:443") in list(slots.plan_claims(0.0, 10, SLOTS))
    assert slots._breakers["crm.example:443"].state(0.0) is BreakerState.PROBING


def test_the_number_of_breakers_is_limited_and_those_in_use_stay(monkeypatch):
    monkeypatch.setattr(callback_slots, "MAX_TARGETS", 3)
    slots = ClientSlots(SLOTS)
    slots.begin("busy:1", 0.0)
    trip(slots, "failing:2")
    for port in range(3, 50):
        slots.begin(f"working:{port}", 0.0)
        slots.end(f"working:{port}", 0.0, None)
        trip(slots, "failing:2")

    assert len(slots._breakers) <= 3
    assert {"busy:1", "failing:2"} <= slots._breakers.keys()
    assert slots._tripped.keys() == {"failing:2"}


def test_a_call_that_ends_during_a_claim_causes_no_pause():
    """All calls of the client go to one fast target, and end before the claim that finds no more."""
    slots = ClientSlots(SLOTS)
    for _ in range(SLOTS * 9 // 16):
        slots.begin("crm.example:443", 0.0)
    allowed = allowed_calls(slots.in_flight, SLOTS - slots.in_flight)
    (plan,) = slots.plan_claims(0.0, 10, allowed)
    assert plan.reserved
    for _ in range(SLOTS * 9 // 16):
        slots.end("crm.example:443", 0.0, None)
    slots.note_claim(plan, 0, 0.0)

    assert [plan.target for plan in slots.plan_claims(0.0, 10, allowed_calls(0, SLOTS))] == [""]


def test_the_targets_that_rest_are_named_with_the_reason_until_one_answers():
    slots = ClientSlots(SLOTS)
    for _ in range(throttle.FAILURE_THRESHOLD):
        slots.begin("dead.example:443", 0.0)
        slots.end("dead.example:443", 0.0, Unavailable("HTTP 500"))
    slots.begin("fine.example:443", 0.0)
    slots.end("fine.example:443", 0.0, None)
    (one,) = slots.resting(7.0)
    assert (one.target, one.failing_for, one.reason) == ("dead.example:443", 7.0, "HTTP 500")
    slots.begin("dead.example:443", 500.0)
    slots.end("dead.example:443", 500.0, None)
    assert [*slots.resting(500.0)] == []
