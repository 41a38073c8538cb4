"""What an instance keeps of a plugin's Receipt and Rejected, and which attributes of a class it takes."""

import decimal
from decimal import Decimal

import pytest
import structlog

from gatepost.config.settings import InstanceSettings
from gatepost.errors import ConfigError, Rejected
from gatepost.hookspecs import hookimpl
from gatepost.model import Receipt, Secret, Sms, Status
from gatepost.plugin_host import isolation
from gatepost.plugin_host.instances import Instance

SMS = Sms(id="1" * 36, recipient=Secret("+447700900123"), sender=None, text="Hello", lifetime=60.0)


class Answers:
    def __init__(self, answer=None):
        self.answer = answer

    @hookimpl
    async def send_sms(self, message):
        # The answer is checked in the plugin's own task, where this is in force.
        decimal.getcontext().prec = 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture(autouse=True)
def own_decimal_context():
    """Keep what the plugin does to the context of decimals from the tests after this one."""
    with decimal.localcontext():
        yield


def instance(plugin):
    return Instance(InstanceSettings(name="relay", use="fake"), plugin)


@pytest.fixture
def problems(monkeypatch):
    """Return a function for the problems that were logged."""
    with structlog.testing.capture_logs() as entries:
        monkeypatch.setattr(isolation, "_log", structlog.get_logger())
        yield lambda: [one["problem"] for one in entries]


class Loud(str):
    """A text that raises an error when it is compared."""

    __slots__ = ()
    __hash__ = None

    def __eq__(self, other):
        raise RuntimeError("hands off")


@pytest.mark.parametrize(
    ("price", "copied"),
    [
        (Decimal("0.0075"), "0.0075"),
        (Decimal("0.007500000"), "0.0075"),
        (Decimal("123.456789"), "123.456789"),
        (Decimal("999999.999999"), "999999.999999"),
        (Decimal(1_000_000), "1000000"),
        (Decimal("1000000.0000000"), "1000000"),
        (Decimal("1E+2"), "100"),
        (Decimal("0E-9"), "0"),
        (Decimal(0), "0"),
    ],
)
async def test_a_receipt_keeps_what_the_message_cost(problems, price, copied):
    receipt = await instance(Answers(Receipt("id-1", 255, price, "EUR"))).send(SMS)

    assert receipt == Receipt("id-1", 255, Decimal(copied), "EUR")
    assert str(receipt.price) == copied
    assert problems() == []


@pytest.mark.parametrize(
    "price",
    [
        Decimal("0.0000001"),
        Decimal("1000000.000001"),
        Decimal(1_000_001),
        Decimal("-0.01"),
        Decimal("-0"),
        Decimal("NaN"),
        Decimal("sNaN"),
        Decimal("Infinity"),
        Decimal("1E+1000000"),
        Decimal("1E-1000000"),
        Decimal("0." + "1" * 1_000),
        0.01,
        1,
        "0.01",
        [],
    ],
    ids=lambda price: repr(price)[:30],
)
async def test_a_wrong_price_is_dropped_and_the_message_is_sent(problems, price):
    it = instance(Answers(Receipt("id-1", 2, price, "EUR")))

    assert await it.send(SMS) == Receipt("id-1", 2, None, "EUR")
    assert problems() == [
        "returned a price that is not a Decimal from 0 to 1,000,000 with at most 6 decimals"
    ]
    assert it.violations == 1


@pytest.mark.parametrize("parts", [-1, 256, True, 1.0, "1", None])
async def test_wrong_parts_are_dropped(problems, parts):
    assert await instance(Answers(Receipt("id-1", parts))).send(SMS) == Receipt("id-1")
    assert problems() == ["returned parts that are not a whole number from 0 to 255"]


@pytest.mark.parametrize("currency", ["eur", "EU", "EURO", "ÉUR", "EUR\n", 978, None, Loud("EUR")], ids=repr)
async def test_a_wrong_currency_is_dropped(problems, currency):
    receipt = await instance(Answers(Receipt("id-1", 1, Decimal("0.1"), currency))).send(SMS)

    assert receipt == Receipt("id-1", 1, Decimal("0.1"))
    assert problems() == ["returned a currency that is not three capital letters"]


async def test_each_wrong_field_is_a_violation_of_its_own(problems):
    it = instance(Answers(Receipt("447700900123", 999, 1, "?")))

    assert await it.send(SMS) == Receipt()
    assert len(problems()) == it.violations == 4


@pytest.mark.parametrize("status", [Status.UNSUBSCRIBED, Status.COMPLAINED, None])
async def test_a_refusal_keeps_what_it_says_about_the_user(problems, status):
    with pytest.raises(Rejected) as raised:
        await instance(Answers(Rejected("no", code="21610", status=status))).send(SMS)

    assert (raised.value.reason, raised.value.code, raised.value.status) == ("no", "21610", status)
    assert problems() == []


OTHERS = [status for status in Status if status not in {Status.UNSUBSCRIBED, Status.COMPLAINED}]


@pytest.mark.parametrize(
    "status", [*OTHERS, "unsubscribed", "", 0, False, Loud("unsubscribed"), []], ids=repr
)
async def test_a_refusal_with_another_status_is_a_refusal_all_the_same(problems, status):
    with pytest.raises(Rejected) as raised:
        await instance(Answers(Rejected("no", status=status))).send(SMS)

    assert (raised.value.reason, raised.value.status) == ("no", None)
    assert problems() == ["raised Rejected with a status other than unsubscribed or complained"]


async def send_nothing(_plugin, _message):
    return "POST /"


@pytest.mark.parametrize("seconds", [0, 0.0, 1, 900.0, 86_400])
def test_an_instance_knows_how_long_a_repeat_is_safe(seconds):
    class Safe(Answers):
        replay_safe = seconds

    assert instance(Safe()).replay_safe == seconds
    assert instance(Answers()).replay_safe == 0


@pytest.mark.parametrize("seconds", [-1, 86_400.5, float("nan"), float("inf"), True, "900", None])
def test_another_replay_safe_refuses_the_start(seconds):
    class Unsafe(Answers):
        replay_safe = seconds

    with pytest.raises(
        ConfigError, match="replay_safe that is not a number of seconds from 0 to 86400"
    ) as raised:
        instance(Unsafe())
    assert raised.value.faults[0].key == "plugins.relay"


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("delivers", "no", "delivers that is not True or False"),
        ("delivers", None, "delivers that is not True or False"),
        ("reports_itself", 1, "reports_itself that is not True or False"),
        ("preview_request", "POST /", "preview_request that is not a plain method"),
        ("preview_request", send_nothing, "preview_request that is not a plain method"),
    ],
)
def test_an_attribute_of_another_kind_refuses_the_start(name, value, problem):
    with pytest.raises(ConfigError, match=problem):
        instance(type("Odd", (Answers,), {name: value})())


@pytest.mark.parametrize("hook", ["find_contacts", "find_user"])
def test_a_source_without_find_contact_refuses_the_start(hook):
    async def find_contacts(self, ext_user_ids):
        return {}

    async def find_user(self, channel, recipient):
        return []

    method = {"find_contacts": find_contacts, "find_user": find_user}[hook]
    plugin = type("Half", (), {hook: hookimpl(method)})

    with pytest.raises(ConfigError, match=f"implements {hook} without find_contact"):
        instance(plugin())
