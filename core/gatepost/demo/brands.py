"""The three brands of `gatepost demo --console`: their players, and what they write to them."""

from collections.abc import Mapping, Sequence

import msgspec

from gatepost.demo.requests import User

PLAYERS = 60
"""Players of each brand."""

_FICTIONAL_NUMBERS = {
    "GB": "+4477009{brand}{number:03}",
    "DE": "+49171392000{number:02}",
    "FR": "+33639980{brand}{number:02}",
    "SE": "+467017406{number:02}",
}
"""Numbers that the countries have set aside for films and books."""

_BEHAVIOURS = {36: "bounce.", 45: "complain.", 50: "unsubscribe."}
"""The beginning of the address of a few players, which says what their mailboxes do; many others open their mails."""


class Brand(msgspec.Struct, frozen=True, kw_only=True):
    """One brand: a client of the gateway."""

    name: str
    id_prefix: str
    """With what the ids of its players begin."""
    sender: str
    sms_sender: str
    countries: Sequence[str]
    """Where its players live, each as often as its share."""
    share: float
    """Its part of all traffic."""
    subjects: Sequence[str]
    """Of its mails, the most frequent first."""
    texts: Sequence[str]
    """Of its text messages, the most frequent first."""

    def players(self) -> list[User]:
        """Return its players, always the same."""
        return [self._player(number) for number in range(PLAYERS)]

    def country(self, number: int) -> str:
        """Return where the player with this number lives."""
        return self.countries[number % len(self.countries)]

    def _player(self, number: int) -> User:
        identity = f"{self.id_prefix}{1001 + number}"
        behaviour = _BEHAVIOURS.get(number, "open." if number % 5 < 2 else "")
        # The last two digits stay below 91, from which on they say what the handset does.
        phone = _FICTIONAL_NUMBERS[self.country(number)].format(
            brand=BRANDS.index(self) + 1, number=number + 10
        )
        return User(ext_user_id=identity, email=f"{behaviour}{identity}@players.example".lower(), phone=phone)


BRANDS = (
    Brand(
        name="amazing",
        id_prefix="AM",
        sender="Amazing <noreply@amazing.example>",
        sms_sender="Amazing",
        countries=("GB", "DE", "GB", "FR", "SE"),
        share=0.5,
        subjects=("Your daily reward is here", "Welcome to Amazing", "Your withdrawal is on its way"),
        texts=("Your Amazing code is ready", "10 free spins until midnight", "Dein Bonus ist da"),
    ),
    Brand(
        name="lucky",
        id_prefix="LK",
        sender="Lucky Star <news@lucky.example>",
        sms_sender="LuckyStar",
        countries=("DE", "DE", "FR", "GB"),
        share=0.32,
        subjects=("Weekend tournament", "Confirm your email address", "Your level has changed"),
        texts=("The tournament begins at 20:00", "Your Lucky Star code is ready", "Bonus für dich ✨"),
    ),
    Brand(
        name="nordic",
        id_prefix="NO",
        sender="Nordic Play <hej@nordic.example>",
        sms_sender="Nordic",
        countries=("SE", "SE", "GB"),
        share=0.18,
        subjects=("Weekend offer", "Your monthly statement", "Confirm your email address"),
        texts=("Din kod är klar", "Weekend offer: ends tonight", "Your Nordic code is ready"),
    ),
)

BY_NAME: Mapping[str, Brand] = {brand.name: brand for brand in BRANDS}
