"""Contents that are encrypted at rest, in a real gateway: keys that rotate, and keys that are missing."""

import asyncio
import json
import re
import shutil

import pytest
from click.testing import CliRunner

from gatepost.cli import main
from gatepost.content_keys import ContentKeys
from gatepost.model import Secret
from gateway.conftest import until
from gateway.test_reload import change

KEYS = {name: str(number) * 64 for number, name in enumerate(("old", "new"), start=1)}
IDS = {name: ContentKeys([Secret(key)]).ids[0] for name, key in KEYS.items()}


@pytest.fixture
def box(deployment):
    """A gateway with a provider that never leaves the machine, and a file for each key."""
    deployment.tables["plugins.box"] = {"use": "sandbox", "folder": "box"}
    deployment.tables["routes"] = {"sms": ["box"]}
    for name, key in KEYS.items():
        (deployment.folder / name).write_text(f"{key}\n")
    return deployment


def use(deployment, *names):
    change(deployment, "store", content_keys=[f"file:{name}" for name in names] or None)


def files_of(folder):
    return b"".join(path.read_bytes() for path in folder.glob("gatepost.db*") if path.is_file())


async def problems(folder):
    """Return what the status says about missing keys."""
    arguments = ["status", "--json", "--config", str(folder / "gatepost.toml")]
    result = await asyncio.to_thread(CliRunner().invoke, main, arguments)
    found = json.loads(result.output)["problems"]
    assert result.exit_code == bool(found)
    return [one for one in found if one["kind"] == "content_key_missing"]


async def test_keys_rotate_by_reloads_and_every_message_is_sent(box, run, tmp_path):
    """The steps of docs/how-to/rotate-secrets.md, with a message that waits through all of them."""
    async with box.running() as gateway:
        await run("pause", "--channel", "sms")
        messages = [await box.sms(body="frumious plain")]
        assert b"frumious plain" in files_of(tmp_path)
        for names in [("old",), ("old", "new"), ("new", "old")]:
            use(box, *names)
            assert "store.content_keys" in await run("reload")
            body = "frumious " + "-".join(names)
            messages.append(await box.sms(body=body))
            assert body.encode() not in files_of(tmp_path)

        output = re.sub(r"\s+", " ", await run("check"))
        assert f"entry 1 (key {IDS['new']}) encrypts; 1 stored content with it" in output
        assert f"entry 2 (key {IDS['old']}): 2 stored contents with it" in output
        assert "1 stored content without encryption, from before" in output

        await run("resume", "--channel", "sms")
        for message in messages:
            await box.hears(message, "accepted")
        output = re.sub(r"\s+", " ", await run("check"))
        assert f"entry 2 (key {IDS['old']}): no stored content has it, so you can remove it" in output
        use(box, "new")
        await run("reload")
        # The uid is known, and Smartico gets the same answer as before.
        await gateway.settled()
    sent = "".join(path.read_text() for path in (tmp_path / "box").iterdir())
    assert all(f"frumious {one}" in sent for one in ("plain", "old", "old-new", "new-old"))


async def test_a_message_whose_key_is_missing_waits_and_goes_on_when_it_is_back(box, run, tmp_path):
    use(box, "old")
    async with box.running() as gateway:
        await run("pause", "--channel", "sms")
        message = await box.sms()
    use(box, "new")
    async with box.running() as gateway:
        assert f"the key {IDS['old']} is missing, and 1 stored content" in re.sub(
            r"\s+", " ", await run("check")
        )
        await run("resume", "--channel", "sms")
        other = await box.sms()
        await box.hears(other, "accepted")

        await until(lambda: problems(tmp_path))
        (problem,) = await problems(tmp_path)
        assert problem["text"] == (
            "messages wait because their content can't be read: 1; store.content_keys does not have the key "
            + IDS["old"]
        )
        shown = json.loads(await run("messages", "show", message, "--json"))
        assert f"its content is encrypted with the key {IDS['old']}" in json.dumps(shown)
        assert box.crm.statuses_of(message) == []

        use(box, "new", "old")
        await run("reload")
        await box.hears(message, "accepted")
        assert not await problems(tmp_path)
        await gateway.settled()


async def test_the_log_names_a_missing_key_once_and_shows_no_key(box, begin, run, tmp_path):
    use(box, "old")
    process, _ = await begin()
    await run("pause", "--channel", "sms")
    for _ in range(3):
        await box.sms()
    assert await asyncio.to_thread(process.terminate) == 0
    use(box, "new")
    process, _ = await begin()
    await run("resume", "--channel", "sms")

    await until(lambda: problems(tmp_path))

    (problem,) = await problems(tmp_path)
    log = process.log.read_text()
    assert log.count('"event": "content_key_missing"') == 1
    assert f'"key": "{IDS["old"]}"' in log
    assert not any(key in log for key in KEYS.values())
    assert problem["cure"].startswith("put that key back, as the last entry, and call gatepost reload")


async def test_keys_with_faults_change_nothing(box, run, tmp_path):
    use(box, "old")
    async with box.running() as gateway:
        (tmp_path / "old").write_text("tooshort\n")
        output = await run("reload", code=1)
        assert "store.content_keys: entry 1 must be 32 random bytes in base64 or hexadecimal" in output
        assert "tooshort" not in output
        (tmp_path / "old").write_text(KEYS["old"])
        use(box, "old", "old")
        assert "entry 2 is the same key as an entry before it" in await run("reload", code=1)
        assert (await gateway.sms())["error_code"] == 0
        await gateway.settled()


async def test_a_copy_of_a_users_data_needs_the_key(box, run, tmp_path):
    use(box, "old")
    async with box.running():
        await run("pause", "--channel", "sms")
        message = await box.sms(body="frumious")
        assert "frumious" in await run("export", "anna")
        shutil.move(tmp_path / "old", tmp_path / "gone")
        # Other commands need no key.
        await run("messages", "show", message)
        output = await run("export", "anna", code=1)
        assert f"is encrypted with the key {IDS['old']}, which store.content_keys does not have" in re.sub(
            r"\s+", " ", output
        )
