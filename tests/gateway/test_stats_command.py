"""`gatepost stats` beside a running gateway: a message counts from its acceptance on, without its address."""

import asyncio
import json

from click.testing import CliRunner

from gatepost.cli import main


async def test_a_text_message_is_counted_with_the_parts_that_the_gateway_counts(
    gateway, tmp_path, wait_until
):
    def run():
        config = str(tmp_path / "gatepost.toml")
        return CliRunner().invoke(
            main, ["stats", "--by", "channel,plugin,country", "--json", "--config", config]
        )

    async def rows():
        result = await asyncio.to_thread(run)
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)["rows"]

    assert await rows() == []
    await gateway.sms(body="x" * 161)
    await wait_until(rows)
    (row,) = await rows()
    assert (row["channel"], row["plugin"], row["accepted"]) == ("sms", "box", 1)
    assert (row["parts"], row["counted_parts"]) == (0, 2)
