"""`gatepost dkim new-key`: the key that it makes signs, and the record that it prints verifies."""

import re
import stat

import dkim as verifier
import pytest
from click.testing import CliRunner

from gatepost.cli.dkim import command
from gatepost.config.toml_file import read_settings
from gatepost_smtp.dkim import sign
from gatepost_smtp.dkim_keys import load_keys
from gatepost_smtp.settings import Settings

CONFIG = """
[clients.brand]
authorization = ["the secret"]
[routes]
email = ["relay"]
[plugins.relay]
use = "smtp"
host = "relay.example"
"""
MAIL = b"From: news@brand.example\r\nSubject: hello\r\n\r\nhello\r\n"


def run(*arguments, code=0):
    result = CliRunner().invoke(command, ["new-key", *map(str, arguments)])
    assert result.exit_code == code, result.output
    return result.output


def zone(output):
    """Return the name and the strings of the record in the form of a zone file."""
    [name, strings] = re.search(r"^(\S+)\. IN TXT \( (.*) \)$", output, re.MULTILINE).groups()
    return name, re.findall(r'"([^"]*)"', strings)


def configured(folder, line):
    """Return the relay's settings with this line."""
    path = folder / "gatepost.toml"
    path.write_text(f"{CONFIG}{line}\n")
    settings, faults = read_settings(path, lambda _: Settings)
    assert faults == []
    return settings.plugins["relay"].settings


@pytest.mark.parametrize("options", [[], ["--ed25519"]], ids=["rsa", "ed25519"])
def test_the_key_signs_and_its_record_verifies(tmp_path, options):
    file = tmp_path / 'a "private" \\ key.pem'

    output = run("Brand.example", *options, "--selector", "s1", "--out", file)

    name, strings = zone(output)
    assert name == "s1._domainkey.brand.example"
    assert max(map(len, strings)) <= 255
    assert f"{name}\n{''.join(strings)}\n" in output
    line = next(line for line in output.splitlines() if line.startswith("dkim = "))
    loaded = load_keys(configured(tmp_path, line).dkim)
    assert not loaded.faults
    content = sign(MAIL, loaded.signers["brand.example"], time=1_700_000_000)
    assert verifier.verify(content, dnsfunc=lambda name, timeout=5: "".join(strings).encode())


def test_the_file_is_private_and_is_never_overwritten(tmp_path):
    file = tmp_path / "dkim.pem"
    output = run("brand.example", "--ed25519", "--out", file)
    before = file.read_bytes()

    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "PRIVATE" not in output
    assert "never overwritten" in run("brand.example", "--ed25519", "--out", file, code=1)
    assert file.read_bytes() == before
    assert "can't be written" in run("brand.example", "--out", tmp_path / "no" / "folder", code=1)


def test_without_a_file_the_key_is_printed():
    output = run("brand.example", "--ed25519")

    assert "BEGIN PRIVATE KEY" in output
    assert re.search(r"^gp\d{6}e\._domainkey\.brand\.example$", output, re.MULTILINE)


@pytest.mark.parametrize(
    "arguments",
    [["brand_example"], ["bränd.example"], ["a b.example"], ["brand.example", "--selector", "a;b"]],
)
def test_what_is_no_name_of_the_dns_is_refused(arguments):
    run(*arguments, code=2)
