"""Plays one scenario on the demo's chat page in headless Chromium: SCENARIO URL [PICTURES].

A process of its own, because the browser's driver needs an asyncio loop of its own, which trio-asyncio rules out beside it.
"""

from __future__ import annotations

import shutil
import sys

from playwright.sync_api import Page, sync_playwright

PICTURES = sys.argv[3] if len(sys.argv) > 3 else None


def press(page: Page, text: str) -> None:
    """Press the newest button that contains `text`."""
    page.locator(".keyboard button", has_text=text).last.click()


def picture(page: Page, name: str) -> None:
    """Keep a picture of the page, if somebody wants pictures."""
    if PICTURES:
        page.screenshot(path=f"{PICTURES}/{name}.png")


def buy_connect_end(page: Page, url: str) -> None:
    """Start, plan, period, Crypto Pay, receipt with a picture, a page through the VPN, the end."""
    page.goto(f"{url}/?customer=2001&name=Alex&language=en")
    page.click("#start-button")
    for text in ("Get VPN", "Basic", "1 month", "Crypto", "Pay 199"):
        press(page, text)
    page.wait_for_selector("#sheet[open]")
    picture(page, "pay-sheet")
    page.click("#sheet-pay")
    page.wait_for_selector("img.photo")
    assert (
        page.locator("img.photo").last.evaluate("image => image.decode().then(() => image.naturalWidth)")
        > 100
    )
    page.click("#connect")
    page.wait_for_selector("#connection.ok")
    picture(page, "chat")
    page.click("[data-advance='2592000']")
    page.wait_for_selector("text=has ended")
    page.click("#connect")
    page.wait_for_selector("#connection.bad")
    picture(page, "ended")


def stars_in_russian(page: Page, url: str) -> None:
    """The bot speaks Russian, and a Stars invoice opens its own pay sheet."""
    page.goto(f"{url}/?customer=2002&name=Аня&language=ru")
    page.click("#start-button")
    page.wait_for_selector("text=Аня")
    for text in ("VPN", "Плюс", "1 месяц", "Telegram Stars", "Pay"):
        press(page, text)
    page.wait_for_selector("#sheet[open]")
    page.click("#sheet-pay")
    page.wait_for_selector("img.photo")
    page.wait_for_selector(".service")
    picture(page, "receipt-ru")


def cancelled_sheet(page: Page, url: str) -> None:
    """Cancel means cancel: nothing is paid, and the sheet opens again."""
    page.goto(f"{url}/?customer=2003&name=Sam&language=en")
    page.click("#start-button")
    for text in ("Get VPN", "Plus", "1 month", "Crypto", "Pay 349"):
        press(page, text)
    page.wait_for_selector("#sheet[open]")
    page.click("#sheet-cancel")
    page.wait_for_selector("#sheet:not([open])", state="attached")
    press(page, "Pay 349")
    page.wait_for_selector("#sheet[open]")
    assert page.locator("img.photo").count() == 0


SCENARIOS = {play.__name__: play for play in (buy_connect_end, stars_in_russian, cancelled_sheet)}


def main() -> int:
    """Play; return 0 if all held and the page complained of nothing."""
    complaints: list[str] = []
    with sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=shutil.which("chromium"),
            args=[
                "--no-sandbox",
                "--disable-gpu",
                "--disable-background-networking",
                "--disable-component-update",
            ],
        )
        page = browser.new_page(viewport={"width": 1180, "height": 1010})
        page.set_default_timeout(20_000)
        page.on(
            "console", lambda message: complaints.append(message.text) if message.type == "error" else None
        )
        page.on("pageerror", lambda error: complaints.append(str(error)))
        SCENARIOS[sys.argv[1]](page, sys.argv[2])
        browser.close()
    for complaint in complaints:
        print("the page complains:", complaint)
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
