"""Signatures: a second implementation (dkimpy) verifies each of them, and refuses each mail that was changed."""

import dkim as verifier
import pytest

from gatepost.model import Mailbox, Secret
from gatepost_smtp.dkim_keys import dns_record, load_keys
from gatepost_smtp.settings import DkimKey


def a_key(name, kind, private_keys, domain="amazing.example"):
    return DkimKey(domain=domain, selector=name, key=Secret(private_keys[kind]))


def records(keys):
    """Return the DNS of these keys, as dkimpy asks for it."""
    loaded = load_keys(keys)
    assert not loaded.faults
    texts = {
        f"{signer.place}.".encode(): dns_record(signer.key).encode()
        for signers in loaded.signers.values()
        for signer in signers
    }
    return lambda name, timeout=5: texts.get(name)


def signature_count(content):
    return content.count(b"DKIM-Signature:")


def verified(content, dns):
    """Return for each signature whether it is valid."""
    return [
        verifier.DKIM(content).verify(idx=number, dnsfunc=dns) for number in range(signature_count(content))
    ]


@pytest.mark.parametrize("kinds", [["rsa2048"], ["ed25519"], ["rsa2048", "ed25519"]], ids="+".join)
async def test_each_signature_is_verified(sink, connected, an_email, private_keys, kinds):
    keys = [a_key(f"gp{number}", kind, private_keys) for number, kind in enumerate(kinds)]
    async with connected(sink.port, dkim=keys) as relay:
        await relay.send_email(an_email(reply_to=Mailbox("help@amazing.example")))

    [received] = sink.mails
    assert verified(received.content, records(keys)) == [True] * len(kinds)
