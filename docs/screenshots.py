"""The pictures of the console in the documentation: ``make screenshots`` writes docs/console/*.webp anew.

They show the demo of the console, whose sample day is the same each time, up to the times.
"""

import asyncio
import base64
import random
import shutil
import sys
from pathlib import Path

from playwright.async_api import Page, async_playwright

from gatepost.demo.console_environment import run_console_environment
from gatepost.observe import logs

FOLDER = Path(__file__).with_name("console")
WIDTH, HEIGHT = 1180, 860
QUALITY = 82

# A name, a path, and the height of the picture.
PICTURES = (
    ("overview", "/", 1010),
    ("messages", "/messages?channel=sms&since=24h&state=rejected&state=held&state=failed", 1010),
    ("plugins", "/plugins", 1010),
    ("statistics", "/stats?period=24h&by=channel,plugin", 1010),
)


async def make_pictures(chromium: str) -> None:
    random.seed(1)
    FOLDER.mkdir(exist_ok=True)
    async with run_console_environment() as demo, async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = await browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        await page.goto(demo.url)
        await page.get_by_label("Name").fill("maria")
        await page.get_by_label("Password").fill(demo.password)
        await page.get_by_role("button", name="Sign in").click()
        # Until a message has met the plugin that fails.
        while not await page.get_by_text("misconfigured", exact=True).count():
            await asyncio.sleep(1.0)
            await page.goto(demo.url + "/plugins")
        for name, path, height in PICTURES:
            await page.goto(demo.url + path)
            await save(page, name, height)
        await page.emulate_media(color_scheme="dark")
        await page.goto(demo.url)
        await save(page, "overview-dark", PICTURES[0][2])
        await page.emulate_media(color_scheme="light")
        await page.goto(
            demo.url + "/messages?plugin=mail-backup&client=amazing&since=6h&until=265m&status=opened"
        )
        await page.locator("#results a").first.click()
        await page.get_by_role("heading", name="What happened").wait_for()
        await save(page, "message", 800)
        await browser.close()


async def save(page: Page, name: str, height: int) -> None:
    await page.wait_for_load_state("networkidle")
    await page.set_viewport_size({"width": WIDTH, "height": height})
    await page.wait_for_timeout(300)
    session = await page.context.new_cdp_session(page)
    picture = await session.send("Page.captureScreenshot", {"format": "webp", "quality": QUALITY})
    content = base64.b64decode(picture["data"])
    (FOLDER / f"{name}.webp").write_bytes(content)
    print(f"{name}: {len(content) / 1000:.0f} KB")  # noqa: T201


if __name__ == "__main__":
    found = shutil.which("chromium")
    if found is None:
        sys.exit("chromium is not installed: `make programs` installs it")
    logs.configure("critical", "console")
    asyncio.run(make_pictures(found))
