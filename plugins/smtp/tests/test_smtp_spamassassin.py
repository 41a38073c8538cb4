"""SpamAssassin finds nothing to say about how mails are written, with its local rules."""

import os
import re
import shutil
import subprocess

import pytest

from gatepost.model import Email, Mailbox, Secret
from gatepost_smtp.dkim import sign
from gatepost_smtp.dkim_keys import load_keys
from gatepost_smtp.mime import build_mail
from gatepost_smtp.settings import DkimKey

PROGRAM = "spamassassin"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        shutil.which(PROGRAM) is None,
        reason=f"{PROGRAM} is not installed (make programs; Debian's package {PROGRAM})",
    ),
]

LINK = '<a href="https://amazing.example/spring">See what is new this week</a>'
WORDS = (
    "The new season has begun, and our team has prepared three tables for you. Each of them opens at seven in "
    "the evening and stays open until midnight. "
)
LETTER = f"<html><head><title>Letter</title></head><body><p>Hello Ann,</p><p>{WORDS}</p><p>{LINK}</p></body></html>"
LETTER_TEXT = f"Hello Ann,\n\n{WORDS}\n\nhttps://amazing.example/spring\n"
PICTURE = (
    '<img src="https://amazing.example/a.png" alt="Three tables open at seven" width="600" height="200">'
)
UNSUBSCRIBE = {
    "List-Unsubscribe": f"<https://amazing.example/u/{'Kx7' * 40}>",
    "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
}

KINDS = {
    "both parts": {},
    "only text": {"html": "", "text": LETTER_TEXT},
    "two addresses": {"reply_to": Mailbox("support@help.example")},
    "unsubscribe": {"headers": UNSUBSCRIBE, "client": "amazing"},
    "reply-to": {"reply_to": Mailbox("help@amazing.example", "Amazing help")},
    "without a name": {"sender": Mailbox("news@amazing.example")},
    "non-ascii name": {"sender": Mailbox("news@amazing.example", "Großartig & Söhne")},
    "comma in the name": {"sender": Mailbox("news@amazing.example", "Amazing, Inc.")},
    "german": {
        "subject": "Schöne Grüße aus dem Süden",
        "html": LETTER.replace("Hello", "Schöne Grüße"),
        "text": LETTER_TEXT.replace("Hello", "Schöne Grüße"),
    },
    "cyrillic": {
        "subject": "Новости недели",
        "html": f"<p>{'Здравствуйте, мы открыли три новых стола. ' * 5}</p>",
        "text": "Здравствуйте, мы открыли три новых стола. " * 5,
    },
    "chinese": {
        "subject": "本周新闻",
        "html": f"<p>{'我们开了三张新桌子。' * 9}</p>",
        "text": "我们开了三张新桌子。" * 9,
    },
    "long subject": {
        "subject": "Three tables open at seven in the evening, and all of them stay open until midnight this week"
    },
    "emoji": {"subject": "Three tables open at seven 🎲"},
    "one picture and its text": {
        "html": f"<html><body><p>{WORDS * 30}</p>{PICTURE}</body></html>",
        "text": f"{WORDS * 30}\n\nThree tables open at seven\n",
    },
    "short code": {"subject": "Your code", "html": "<p>Your code is 4711.</p>", "text": "Your code is 4711."},
    "long": {"html": LETTER.replace(WORDS, WORDS * 100), "text": LETTER_TEXT.replace(WORDS, WORDS * 100)},
    "one long line": {"html": LETTER.replace("\n", ""), "text": WORDS * 20},
    "lines with dots": {
        "text": "." + LETTER_TEXT.replace("\n", "\n."),
        "html": LETTER.replace("<p>", "\n.<p>"),
    },
    "long link": {
        "html": LETTER.replace("spring", "spring/" + "xyz-" * 70),
        "text": LETTER_TEXT.replace("spring", "spring/" + "xyz-" * 70),
    },
    "tables": {
        "html": f"<html><body><table><tr><td>{WORDS}</td><td>{LINK}</td></tr></table></body></html>",
        "text": LETTER_TEXT,
    },
}

NEUTRAL = re.compile(
    # About the path of the mail and the DNS, which are missing here, and that there is HTML.
    r"NO_RECEIVED|NO_RELAYS|DKIM_SIGNED|T_DKIM_INVALID|DKIM_INVALID|HTML_MESSAGE|SPF_\w+|T_SPF_\w+"
)


def letter(**changes):
    values = {
        "id": "0192d3a4-5b6c-7d8e-9f00-112233445566",
        "recipient": Secret("ann@post.example"),
        "sender": Mailbox("news@amazing.example", "Amazing"),
        "subject": "Three tables open at seven",
        "html": LETTER,
        "text": LETTER_TEXT,
        "lifetime": 3600.0,
    }
    return Email(**(values | changes))


@pytest.fixture(scope="module")
def rules(tmp_path_factory, private_keys):
    """The rules that match each kind of mail."""
    folder = tmp_path_factory.mktemp("spamassassin")
    key = DkimKey(selector="gp1", key=Secret(private_keys["rsa2048"]))
    signers = load_keys({"amazing.example": key}).signers["amazing.example"]
    files = []
    for number, changes in enumerate(KINDS.values()):
        content = sign(build_mail(letter(**changes)).content, signers, time=1_700_000_000)
        files.append(folder / f"{number:02}.eml")
        files[-1].write_bytes(content.replace(b"\r\n", b"\n"))
    # One process for all: it compiles its rules at the start.
    arguments = [
        PROGRAM,
        "--local",
        "--test-mode",
        "--nocreate-prefs",
        "--prefspath",
        folder / "none",
        *files,
    ]
    output = subprocess.run(
        arguments, check=True, capture_output=True, env=os.environ | {"HOME": str(folder)}
    ).stdout
    statuses = re.findall(
        r"^X-Spam-Status: .*?tests=(.*?)\s+autolearn",
        output.decode(errors="replace"),
        re.MULTILINE | re.DOTALL,
    )
    assert len(statuses) == len(KINDS)
    return dict(zip(KINDS, (re.split(r",\s*", status) for status in statuses), strict=True))


@pytest.mark.parametrize("kind", KINDS)
def test_no_rule_matches_how_a_mail_is_written(rules, kind):
    assert [rule for rule in rules[kind] if not NEUTRAL.fullmatch(rule)] == []
