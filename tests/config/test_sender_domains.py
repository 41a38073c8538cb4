"""The domains of the senders whose emails an instance may get."""

from pathlib import Path

import pytest

from gatepost.config.client import Client
from gatepost.config.routes import Route, Routes
from gatepost.config.sender_domains import sender_domains
from gatepost.config.settings import Contacts, Delivery, Logs, Server, Settings, Store
from gatepost.model import Secret


def gateway(senders, *routes):
    """Return the settings of a gateway with these senders by client, and these routes."""
    return Settings(
        path=Path("gatepost.toml"),
        server=Server(),
        store=Store(),
        clients={
            name: Client(authorization=(Secret("x"),), email_senders=some) for name, some in senders.items()
        },
        contacts=Contacts(),
        delivery=Delivery(),
        routes=Routes(email=routes),
        logs=Logs(),
        plugins={},
    )


CLIENTS = {
    "one": ("@One.example", "news@bücher.example", "@one.example"),
    "two": ("@two.example",),
    "any": (),
}


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({}, ("one.example", "xn--bcher-kva.example", "two.example")),
        ({"clients": ("two",)}, ("two.example",)),
        ({"clients": ("any",)}, ()),
        ({"clients": ("one",), "senders": ("a@one.example",)}, ("one.example",)),
        ({"clients": ("any",), "senders": ("@three.example",)}, ("three.example",)),
        ({"clients": ("two",), "senders": ("@one.example",)}, ()),
    ],
)
def test_the_senders_of_the_clients_on_a_route(rule, expected):
    settings = gateway(CLIENTS, Route(name="rule", use=("first", "relay"), **rule))

    assert sender_domains(settings, "relay") == expected
    assert sender_domains(settings, "other") == ()


def test_several_routes_add_up_and_a_wrong_entry_is_left_out():
    settings = gateway(
        {"one": ("@one.example", "@.."), "two": ("@two.example",)},
        Route(name="first", clients=("two",), split={"relay": 1.0}),
        Route(name="second", clients=("one",), use=("relay",)),
    )

    assert sender_domains(settings, "relay") == ("two.example", "one.example")
