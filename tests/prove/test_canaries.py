"""The canaries of ``gatepost prove`` belong to nobody."""

import phonenumbers
import pytest

from gatepost.contacts.addresses import canonical_email, canonical_phone
from gatepost.model import Channel
from gatepost.prove import numbers
from gatepost.prove.canaries import Canaries
from gatepost.routing.countries import country_of


def test_an_address_is_usable_random_and_in_a_domain_that_nobody_can_have():
    first, second = Canaries(), Canaries()

    person, other = first.add(), second.add()

    assert canonical_email(person.email) == person.email
    assert person.email.endswith(".example")
    assert not {person.email, person.first_name, person.last_name} & {
        other.email,
        other.first_name,
        other.last_name,
    }
    assert person.recipient(Channel.SMS) == person.phone


def test_no_two_people_have_the_same_number():
    canaries = Canaries()
    for _ in range(60):
        canaries.add()

    assert len({person.phone for person in canaries.people}) == 60


@pytest.mark.parametrize("country", numbers.FICTION)
def test_a_country_with_numbers_for_fiction_gets_one_of_them(country):
    number = numbers.number_for(country)

    assert canonical_phone(number, "") == number
    assert country_of(number) == country
    assert number.startswith(numbers.FICTION[country][0])


@pytest.mark.parametrize("country", ["PH", "MT", "UA", "BR", "JP", "KZ"])
def test_another_country_gets_a_number_that_its_numbering_plan_does_not_have(country):
    number = numbers.number_for(country)

    assert canonical_phone(number, "") == number
    assert country_of(number) == country
    assert not phonenumbers.is_valid_number(phonenumbers.parse(number))


@pytest.mark.parametrize("prefix", ["+4477", "+4478", "+49171", "+639", "+1"])
def test_a_number_begins_as_a_rule_demands(prefix):
    number = numbers.number_for("", (prefix,))

    assert number.startswith(prefix)
    assert canonical_phone(number, "") == number


def test_there_is_no_number_where_any_may_be_somebodys():
    assert numbers.number_for("GG") == ""


def test_the_name_of_a_hit_says_which_canary_it_is_and_holds_none():
    canaries = Canaries()
    person = canaries.add()

    hits = {
        hit.value for hit in canaries.needles({"secret: key": "tulgey-wood"}).search(person.email.encode())
    }

    assert hits == {"all canaries: domain", f"{person.user}: local part"}


def test_the_reason_of_a_blocked_canary_holds_its_own_address():
    person = Canaries().add(blocked="closed {address}")

    assert person.blocked == f"closed {person.email} {person.phone}"
