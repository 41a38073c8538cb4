"""Contacts in several files: a user about whom they contradict each other gets nothing until that is mended."""

HEADER = "ext_user_id,email,phone\n"


async def test_a_message_waits_while_two_files_contradict_each_other(
    deployment, sendgrid, run, wait_until, capfd
):
    folder = deployment.folder / "players"
    folder.mkdir()
    (folder / "a.csv").write_text(f"{HEADER}anna,anna@players.example,\nbob,bob@players.example,\n")
    (folder / "b.csv").write_text(f"{HEADER}anna,anna.old@players.example,\n")
    deployment.tables["plugins.players"] |= {"path": "players/*.csv"}
    async with deployment.running(email=["sendgrid-main"]) as gateway:
        waiting = await deployment.email("anna")
        await deployment.hears(await deployment.email("bob"), "accepted")
        await gateway.waits("email", "queued")
        shown = " ".join((await run("status", code=1)).split())
        assert "files contradict each other about 1 of the users" in shown
        assert "a.csv line 2 and b.csv line 2" in shown

        (folder / "b.csv").write_text(f"{HEADER}cleo,cleo@players.example,\n")
        await deployment.hears(waiting, "accepted")
    recipients = [one.message["personalizations"][0]["to"][0]["email"] for one in sendgrid.taken]
    assert sorted(recipients) == ["anna@players.example", "bob@players.example"]
    assert "anna.old" not in capfd.readouterr().err
