"""The canaries: made-up people whose addresses and numbers belong to nobody and occur nowhere else."""

import secrets
from collections.abc import Iterator, Mapping

import msgspec

from gatepost.model import Channel
from gatepost.prove import numbers
from gatepost.prove.search import Needles, person_values

_CONSONANTS = "bcdfghjklmnpqrstvwxz"

_NUMBER_TRIES = 20


class Person(msgspec.Struct, frozen=True, kw_only=True):
    """A canary. An empty field: the person has none."""

    user: str
    """The ext_user_id."""
    email: str = ""
    phone: str = ""
    first_name: str = ""
    last_name: str = ""
    blocked: str = ""

    def recipient(self, channel: Channel) -> str:
        """Return where a message of this channel goes."""
        return self.email if channel is Channel.EMAIL else self.phone

    @property
    def private_text(self) -> str:
        """Everything about the person in one text, as a careless program would write it."""
        return f"{self.first_name} {self.last_name} <{self.email}> {self.phone}"


class Canaries:
    """The people of one run."""

    def __init__(self) -> None:
        # Random letters that no word has, so that nothing else in a log looks like a canary.
        self._stem = _letters(8)
        self.domain = f"{self._stem}-{_letters(5)}.example"
        self.people: list[Person] = []

    def add(
        self,
        *,
        email: str = "",
        domain: str = "",
        phone: str = "",
        blocked: str = "",
        without_phone: bool = False,
    ) -> Person:
        """Add a person. ``email`` and ``phone`` replace the random ones; ``domain`` is where a random address is.

        ``{address}`` in ``blocked`` becomes the address and the number.
        """
        person = Person(
            user=f"prove-user-{len(self.people) + 1}",
            email=email or f"{self._stem}.{_letters(8)}+tag@{domain or self.domain}",
            phone="" if without_phone else phone or self._new_number(),
            first_name=f"{self._stem}{_letters(4)}".title(),
            last_name=f"{self._stem}{_letters(6)}ä".title(),
            blocked=blocked,
        )
        blocked = blocked.replace("{address}", f"{person.email} {person.phone}")
        person = msgspec.structs.replace(person, blocked=blocked)
        self.people.append(person)
        return person

    def word(self) -> str:
        """Return a word that occurs nowhere else."""
        return f"{self._stem}{_letters(6)}"

    def _new_number(self) -> str:
        """Return a number that no other person has; there are hundreds."""
        used = {one.phone for one in self.people}
        found = [numbers.number_for("") for _ in range(_NUMBER_TRIES)]
        return next((number for number in found if number not in used), found[0])

    def needles(self, secret_values: Mapping[str, str]) -> Needles:
        """Return the search for all people, and for these secrets."""
        values = {"all canaries: domain": self.domain}
        for person in self.people:
            values |= {f"{person.user}: {part}": text for part, text in self._values(person)}
        hashed = {f"{one.user}: email": one.email for one in self.people if one.email}
        hashed |= {f"{one.user}: number": one.phone for one in self.people if one.phone}
        return Needles({**values, **secret_values}, hashed)

    def _values(self, person: Person) -> Iterator[tuple[str, str]]:
        code = numbers.code_of(person.phone)
        names = (person.first_name, person.last_name)
        for part, text in person_values(person.email, person.phone, *names, calling_code=code).items():
            # That of a rule or of an emulator is in the configuration, and the others are the same.
            if text and part != "domain":
                yield part, text


def _letters(length: int) -> str:
    return "".join(secrets.choice(_CONSONANTS) for _ in range(length))
