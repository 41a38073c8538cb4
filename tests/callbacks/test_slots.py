"""What one client may claim of the slots, and when a target of its is asked again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost import throttle
from gatepost.callbacks import slots as callback_slots
from gatepost.callbacks.slots import ClaimPlan, ClientSlots, allowed_calls
from gatepost.errors import Unavailable
from gatepost.throttle import BreakerState

SLOTS = 96


@given(st.lists(st.integers(0, 19), min_size=1, max_size=400))
def test_every_client_finds_a_slot_whatever_the_others_hold(arrivals):
    """Twenty clients, each of which takes all that it gets and gives nothing back."""
    held = [0] * 20
    for client in arrivals:
        without = sum(not one for place, one in enumerate(held) if place != client)
        held[client] += allowed_calls(held[client], SLOTS - sum(held), without)

    assert all(held[client] for client in arrivals)
    assert max(held) <= SLOTS * 3 // 4
    assert SLOTS - sum(held) >= held.count(0)


@pytest.mark.parametrize(("clients", "each"), [(1, 72), (2, 42), (3, 30)])
def test_clients_that_want_everything_end_with_nearly_equal_shares(clients, each):
    held = [0] * clients
    held[0] = allowed_calls(0, SLOTS)
    for turn in range(40 * SLOTS):
        ended, client = turn % 7 % clients, turn % clients
        held[ended] = max(0, held[ended] - 1)
        held[client] += allowed_calls(held[client], SLOTS - sum(held))

    assert max(held) - min(held) <= 1 + callback_slots.SLOTS_PER_FREE_SLOT
    assert max(held) <= each


def test_the_last_slot_is_for_a_client_that_holds_none():
    assert (allowed_calls(0, 1), allowed_calls(1, 1), allowed_calls(0, 0)) == (1, 0, 0)


def trip(slots, target, now=0.0):
    for _ in range(throttle.FAILURE_THRESHOLD):
        slots.begin(target, now)
        slots.end(target, now, Unavailable("down"))


def rested(slots, target):
    """A moment at which its rest is over."""
    return slots._breakers[target].rest_remaining(0.0)


def test_a_tripped_target_is_passed_over_and_then_probed_alone():
    slots = ClientSlots(SLOTS)
    trip(slots, "crm.example:443")
    trip(slots, "crm.example:8443")
    now = rested(slots, "crm.example:443")

    asks = list(slots.plan_claims(now, 10, SLOTS))

    resting = frozenset({"crm.example:443", "crm.example:8443"})
    assert ClaimPlan(1, only="crm.example:443") in asks
    assert [ask for ask in asks if not ask.only] == [ClaimPlan(10, resting)]
    assert ClaimPlan(1, only="crm.example:443") not in list(slots.plan_claims(now, 10, SLOTS))
    assert ClaimPlan(1, only="crm.example:443") in list(
        slots.plan_claims(now + callback_slots.RECHECK_INTERVAL, 10, SLOTS)
    )


def test_a_probe_that_went_well_ends_the_rest():
    slots = ClientSlots(SLOTS)
    trip(slots, "crm.example:443")
    now = rested(slots, "crm.example:443")
    slots.begin("crm.example:443", now)
    slots.end("crm.example:443", now, None)

    assert list(slots.plan_claims(now, 10, SLOTS)) == [ClaimPlan(10)]


def test_however_many_targets_are_tripped_few_are_asked_for_a_probe_and_all_in_their_turn():
    slots = ClientSlots(SLOTS)
    targets = {f"crm.example:{port}" for port in range(1, 3 * callback_slots.MAX_PROBES + 1)}
    for target in targets:
        trip(slots, target)

    rounds = [
        [ask.only for ask in slots.plan_claims(throttle.MAX_REST, 1, SLOTS) if ask.only] for _ in range(3)
    ]

    assert [len(probed) for probed in rounds] == [callback_slots.MAX_PROBES] * 3
    assert {target for probed in rounds for target in probed} == targets


def test_a_client_with_nothing_but_resting_targets_is_looked_at_once_in_a_while():
    slots = ClientSlots(SLOTS)
    trip(slots, "crm.example:443")
    (ask,) = slots.plan_claims(0.0, 10, SLOTS)
    slots.note_claim(ask, 0, 0.0)

    assert list(slots.plan_claims(0.0, 10, SLOTS)) == []
    later = callback_slots.RECHECK_INTERVAL
    assert ask in list(slots.plan_claims(later, 10, SLOTS))


def test_an_operator_ends_a_rest():
    slots = ClientSlots(SLOTS)
    trip(slots, "crm.example:443")
    slots.end_rest("crm.example:443", 0.0)
    slots.end_rest("never.seen:443", 0.0)

    assert ClaimPlan(1, only="crm.example:443") in list(slots.plan_claims(0.0, 10, SLOTS))
    assert slots._breakers["crm.example:443"].state(0.0) is BreakerState.PROBING


def test_breakers_are_bounded_and_what_is_used_is_kept(monkeypatch):
    monkeypatch.setattr(callback_slots, "MAX_TARGETS", 3)
    slots = ClientSlots(SLOTS)
    slots.begin("busy:1", 0.0)
    trip(slots, "ill:2")
    for port in range(3, 50):
        slots.begin(f"well:{port}", 0.0)
        slots.end(f"well:{port}", 0.0, None)
        trip(slots, "ill:2")

    assert len(slots._breakers) <= 3
    assert {"busy:1", "ill:2"} <= slots._breakers.keys()
    assert slots._tripped.keys() == {"ill:2"}


def test_what_ends_while_a_claim_is_under_way_leaves_no_pause():
    """All that the client may have at one fast target: it ends before the claim that found nothing more."""
    slots = ClientSlots(SLOTS)
    for _ in range(SLOTS * 9 // 16):
        slots.begin("crm.example:443", 0.0)
    share = allowed_calls(slots.in_flight, SLOTS - slots.in_flight)
    (ask,) = slots.plan_claims(0.0, 10, share)
    assert ask.reserved
    for _ in range(SLOTS * 9 // 16):
        slots.end("crm.example:443", 0.0, None)
    slots.note_claim(ask, 0, 0.0)

    assert [one.only for one in slots.plan_claims(0.0, 10, allowed_calls(0, SLOTS))] == [""]
