"""The console in a real browser: what it looks like, and that it can be used with a keyboard and a screen reader."""

import json
import re
import shutil
import subprocess
import sys
from importlib.resources import files
from urllib.request import Request, urlopen

import pytest
from playwright.sync_api import expect

if shutil.which("chromium") is None:
    # The module and not each test, so that it is one line.
    pytest.skip("chromium is not installed: `make programs` installs it", allow_module_level=True)

HTML_USER = "<img src=x onerror=alert(1)>"

PAGES = {
    "overview": "/",
    "messages": "/messages",
    "filtered": "/messages?client=nordic&channel=sms&state=queued",
    "refused": "/messages?refused=1",
    "nothing": "/messages?user=nobody-has-this-id",
    "wrong filter": "/messages?since=yesterday",
    "plugins": "/plugins",
    "callbacks": "/callbacks",
    "statistics": "/stats?by=client,channel,country",
    "audit": "/audit",
    "no page": "/nope",
}


@pytest.fixture(scope="module")
def axe():
    """Return the source of axe-core."""
    return files("axe_playwright_python").joinpath("axe.min.js").read_text()


def find_barriers(page, axe):
    """Return what axe finds that bars people from using the page, with the elements."""
    page.evaluate(axe)
    found = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")["violations"]
    return [
        (one["id"], [node["html"] for node in one["nodes"]])
        for one in found
        if one["impact"] in {"serious", "critical"}
    ]


def check_looks(tab, axe):
    """Check the page that a tab shows in both schemes and both widths."""
    page = tab.page
    for scheme, width in (("light", 1280), ("dark", 360), ("light", 360), ("dark", 1280)):
        page.emulate_media(color_scheme=scheme)
        page.set_viewport_size({"width": width, "height": 900})
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= width, f"{page.url} is {wide} wide at {width}"
        if (scheme, width) in {("light", 360), ("dark", 1280)}:
            assert find_barriers(page, axe) == [], f"{page.url}, {scheme}, {width}"


def test_the_page_to_sign_in_and_a_wrong_password(new_tab, axe):
    tab = new_tab()
    tab.open("/audit?operation=pause")
    assert tab.title == "Sign in to Gatepost"
    expect(tab.page.get_by_label("Name")).to_be_focused()
    check_looks(tab, axe)
    tab.sign_in("maria", "a wrong password")
    expect(tab.page.get_by_role("alert")).to_contain_text("no user with this name and this password")
    assert tab.page.get_by_label("Password").input_value() == ""
    # The browser itself notes the status 401.
    assert [one for one in tab.problems if "401" not in one] == []
    tab.problems.clear()
    tab.sign_in("maria")
    assert tab.title == "Audit"
    assert "operation=pause" in tab.page.url
    tab.page.get_by_role("button", name="Sign out").click()
    assert tab.title == "Sign in to Gatepost"
    tab.page.go_back()
    assert tab.title == "Sign in to Gatepost"


@pytest.mark.parametrize("name", PAGES)
def test_each_page_fits_and_has_no_barrier(name, maria, axe):
    maria.open(PAGES[name])
    check_looks(maria, axe)
    # The browser itself notes the status of pages with an error.
    maria.problems[:] = [
        one for one in maria.problems if "the server responded with a status of 40" not in one
    ]


def focused(page, attribute="id"):
    return page.evaluate(f"document.activeElement.getAttribute('{attribute}')")


def tab_to(page, selector):
    """Press the tabulator key until an element of this selector has the focus."""
    for _ in range(80):
        page.keyboard.press("Tab")
        if page.evaluate(f"document.activeElement.matches({selector!r})"):
            return
    raise AssertionError(f"the tabulator key does not lead to {selector}")


def test_a_keyboard_leads_from_the_sign_in_to_a_message(new_tab, demo):
    tab = new_tab()
    tab.open()
    keyboard = tab.page.keyboard
    keyboard.type("maria")
    keyboard.press("Tab")
    keyboard.type(demo.password)
    keyboard.press("Enter")
    expect(tab.page.get_by_role("heading", level=1)).to_have_text("Overview")
    tab_to(tab.page, "nav a[href='/messages']")
    keyboard.press("Enter")
    expect(tab.page.get_by_role("heading", level=1)).to_have_text("Messages")
    keyboard.press("Tab")
    assert tab.page.evaluate("document.activeElement.innerText") == "To the content"
    keyboard.press("Enter")
    assert focused(tab.page) == "main"
    tab_to(tab.page, "#results a[href^='/messages/']")
    message = focused(tab.page, "href")
    keyboard.press("Enter")
    tab.page.wait_for_url(f"**{message}")
    assert tab.title == f"Message {message.removeprefix('/messages/')}"


def send_sms(demo, brand, **fields):
    """Send a text message as Smartico does."""
    client = demo.settings["clients"][brand]
    body = json.dumps({"from_number": "Test", "body": "Hello", **fields}).encode()
    headers = {"Authorization": client["authorization"][0], "Content-Type": "application/json"}
    url = demo.settings["server"]["public_url"] + "/sms"
    with urlopen(Request(url, body, headers)) as answer:
        return json.load(answer)


def change_all(tab, query, button):
    """Begin a change of all messages that match a filter; return their number, as the page asks about it."""
    tab.open(f"/messages?{query}")
    tab.page.get_by_text("Change all messages that match, on all pages").click()
    tab.page.get_by_role("button", name=button).click()
    question = tab.page.get_by_role("heading", name=re.compile(r"\d message.* accepted until .*Z\?"))
    expect(question).to_be_visible()
    return int(re.search(r"([\d,]+) message", question.inner_text())[1].replace(",", ""))


def test_a_campaign_is_cancelled_up_to_the_moment_that_was_shown(maria, demo, axe):
    number = change_all(maria, "client=nordic&channel=sms&state=queued", "Cancel…")
    check_looks(maria, axe)
    # The text messages of this brand are paused, so it waits too; but it came after the question.
    late = send_sms(demo, "nordic", ext_user_id="NO1001", im_uid="after-the-question")
    maria.page.get_by_label("Reason").fill("wrong link")
    maria.page.get_by_role("button", name="Cancel ").click()
    expect(maria.page.get_by_role("heading", level=1)).to_have_text(
        re.compile(f"Done: {number} messages? cancelled")
    )
    check_looks(maria, axe)
    maria.open("/audit?operation=cancel")
    expect(maria.page.locator("main table")).to_contain_text("wrong link")
    maria.open(f"/messages/{late['ext_message_id']}")
    expect(maria.page.locator("#live")).to_contain_text("queued")
    check_looks(maria, axe)


def test_failed_messages_are_sent_again(maria):
    number = change_all(maria, "state=failed&channel=sms", "Send again…")
    maria.page.get_by_role("button", name="Send again").click()
    expect(maria.page.get_by_role("heading", level=1)).to_have_text(
        re.compile(f"Done: {number} messages? queued again")
    )


def test_a_question_is_asked_before_callbacks_are_made_again(maria):
    maria.open("/callbacks")
    button = maria.page.get_by_role("button", name="Tell all again")
    maria.page.once("dialog", lambda dialog: dialog.dismiss())
    button.click()
    assert maria.page.url.endswith("/callbacks")
    maria.page.once("dialog", lambda dialog: dialog.accept())
    button.click()
    expect(maria.page.get_by_role("status").filter(has_text="made again now")).to_be_visible()


def refresh(tab):
    """Let so much time pass that the page refreshes itself."""
    with tab.page.expect_response(lambda one: one.request.headers.get("hx-request") == "true") as answer:
        tab.page.clock.run_for(15_000)
    return answer.value


def test_a_refresh_leaves_the_focus_and_what_is_open(maria):
    maria.page.clock.install()
    maria.open("/")
    maria.page.get_by_text("The same as a table").click()
    maria.page.locator("#traffic-table").focus()
    maria.page.evaluate("document.getElementById('live').dataset.old = 'yes'")
    assert refresh(maria).status == 200
    expect(maria.page.locator("#live[data-old]")).to_have_count(0)
    assert focused(maria.page) == "traffic-table"
    expect(maria.page.locator("#traffic-table")).to_be_visible()


def test_an_id_that_is_html_stays_text(maria, demo):
    assert send_sms(demo, "lucky", ext_user_id=HTML_USER, im_uid="html")["error_code"] != 0
    for _ in range(100):
        maria.open("/messages?refused=1&client=lucky")
        if maria.page.get_by_text(HTML_USER).count():
            break
    expect(maria.page.get_by_text(HTML_USER)).to_be_visible()
    expect(maria.page.locator("main img")).to_have_count(0)


def test_a_viewer_gets_no_button_that_changes_something(new_tab):
    tab = new_tab()
    tab.open()
    tab.sign_in("vera")
    expect(tab.page.get_by_role("heading", level=1)).to_have_text("Overview")
    for path in PAGES.values():
        tab.open(path)
        expect(tab.page.locator("main form[method=post]:not(.find)")).to_have_count(0)
    tab.open("/messages?state=held")
    tab.page.locator("#results a").first.click()
    expect(tab.page.get_by_role("heading", name="What happened")).to_be_visible()
    expect(tab.page.get_by_text("What you can do")).to_have_count(0)
    tab.problems[:] = [one for one in tab.problems if "the server responded with a status of 40" not in one]


def test_a_session_that_ends_leads_back_to_the_sign_in(new_tab, demo):
    tab = new_tab()
    tab.page.clock.install()
    tab.open()
    tab.sign_in("vera")
    expect(tab.page.get_by_role("heading", level=1)).to_have_text("Overview")
    change = ["console", "add-user", "vera", "--role", "viewer", "--config", str(demo.config)]
    # Waited for from now on: the page's own clock may refresh it before the command has ended.
    with tab.page.expect_response(lambda one: one.status == 401):
        subprocess.run(
            [sys.executable, "-m", "gatepost", *change], input=demo.password, text=True, check=True
        )
        tab.page.clock.run_for(15_000)
    # Not wait_for_url: a refresh that begins meanwhile makes the page go there a second time.
    expect(tab.page).to_have_url(f"{demo.url}/login?next=%2F")
    tab.problems[:] = [one for one in tab.problems if "401" not in one]
    tab.sign_in("vera")
    expect(tab.page.get_by_role("heading", level=1)).to_have_text("Overview")


def test_a_form_of_an_earlier_session_in_another_tab_does_nothing(new_tab):
    first = new_tab()
    first.open()
    first.sign_in("maria")
    expect(first.page.get_by_role("heading", level=1)).to_have_text("Overview")
    first.open("/plugins")
    first.page.get_by_label("Route").select_option("germany")
    second = new_tab.beside(first)
    second.open()
    second.page.get_by_role("button", name="Sign out").click()
    second.sign_in("maria")
    expect(second.page.get_by_role("heading", level=1)).to_have_text("Overview")
    first.page.get_by_role("button", name="Pause", exact=True).click()
    expect(first.page.get_by_role("alert")).to_contain_text("This form is of an earlier session")
    second.open("/plugins")
    expect(second.page.locator("#pauses")).not_to_contain_text("germany")
    first.problems[:] = [one for one in first.problems if "403" not in one]
