"""Draws every screen of the bot, in every language, on the demo's chat page in headless Chromium: docs/screens.md.

    ./dev python tests/world/contact_sheet.py [--to DIRECTORY] [--only WORD] [--all] [--png DIRECTORY]

The screens are those of `tests/bot/screen_samples.py`, whose values try to break them, so a new sample is a new picture without a
change here. They go to the sandbox's Telegram as the bot sends them, the demo's chat page draws them, and its own elements, as
wide as on a phone, are laid out in sheets. Longest repetitions are shortened: a name of fifty letters is proven elsewhere. Of
screens that differ in a word only one is drawn (`ALIKE`), unless `--all` is said.

It says which labels a phone would cut, and exits 1 when there are any of our own.
"""

from __future__ import annotations

import argparse
import base64
import io
import json
import re
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests" / "bot"))

#: The bubble of a phone 390 points wide, in CSS pixels.
PHONE = 340
#: Screens of one sheet, and the scale at which it is kept.
A_SHEET, SCALE, QUALITY = 14, 0.64, 0.3
#: Screens of one chat: the sandbox keeps so many of its messages at least.
A_CHAT = 100
#: The first chat of a language, and of the next one.
FIRST_CHAT, NEXT_LANGUAGE = 2001, 1000

#: Samples that differ from a sibling in a word, a number or a name.
ALIKE = re.compile(
    r"connect (?!android_hiddify)\w+ (direct|without)|diagnosis \w+ plain|time zones [1-9].*|(reminder|trial)_\w+ (3d|1d)"
    r"|timeline \d+|ask reason [1-9]\d*|done (?!0|4|9|16)\d+|confirm (6|7|9|11|12|14)|broadcast not now (?!draft)\w+"
    r"|figures (methods |plans |referral )?(yesterday|month) \w+|figures (methods |plans |referral )?today few"
    r"|figures (methods |plans |referral )?week (many|none)|figures summary (today|yesterday|month) \w+|figures summary week few"
    r"|figures chart \w+ (today|yesterday|month)|export (subscriptions|ledger|audit|plans) (?!failed)[\w ]+|export \w+ manager"
    r"|export (?!customers)\w+ failed|export (customers|payments) secrets|export payments (?!failed)[\w ]+"
    r"|segment (write \w+ True|trial|bought|expired|came|brought)|status too long|pause w+_0"
    r"|card (manager|support|reader)|card of (owner|manager|support|reader)|broadcast (stopped|missed|compose [ab])"
    r"|broadcast (buttons|time) (?!form)\w+|broadcast running unlimited|operator (manager|support|reader)"
)

#: What is shortened; not the bar of a broadcast.
_REPEATED = re.compile(r"([^█░▓▒]{1,40}?)\1{4,}", re.DOTALL)
#: Words in a label that are the shop's own, or a name that somebody gave: how long they are is theirs to say. In the samples
#: they are titles with brackets, or one thing said again and again.
_THEIRS = re.compile(r"<friends>|<друзья>|<other>|<b>Sale|key:<|[\d ,.\u00a0]{18,}|(.{1,8}?)\1{5,}")
_SHEET_CSS = f"""
    html, body {{ overflow: visible; height: auto; background: #d6e4da; display: block; margin: 0; padding: 0; }}
    #sheet {{ width: {4 * PHONE + 110}px; padding: 16px; columns: 2; column-gap: 22px; background: #d6e4da; }}
    .pair {{ break-inside: avoid; margin: 0 0 18px; }}
    .pair h2 {{ font: 600 17px system-ui, sans-serif; margin: 0 0 6px; color: #24402f; }}
    .cards {{ display: flex; gap: 14px; align-items: flex-start; }}
    .cards > div {{ width: {PHONE}px; display: flex; flex-direction: column; }}
    .cards .message {{ max-width: {PHONE}px; width: {PHONE}px; }}
    .cards .keyboard button {{ white-space: nowrap; overflow: hidden; text-overflow: ellipsis; }}
    .cards .photo {{ max-height: 190px; }}
"""


# ------------------------------------------------------------------------------------------ the chat that shows them


def chosen(names: Any, only: str, *, alike: bool) -> list[str]:
    """Which samples are drawn."""
    return [name for name in names if only in name and (alike or not ALIKE.fullmatch(name))]


def chats_of(names: list[str], place: int) -> list[tuple[int, list[str]]]:
    """The chats of the language at `place`, each with the screens that it shows."""
    first = FIRST_CHAT + place * NEXT_LANGUAGE
    return [
        (first + number, names[start : start + A_CHAT])
        for number, start in enumerate(range(0, len(names), A_CHAT))
    ]


def serve(only: str, *, alike: bool) -> None:
    """Put every screen into chats of its language, serve the chat page, and say where it is and what is in it."""
    import httpx
    import trio
    from screen_samples import screens

    from vpnd.bot.speech import Speech
    from vpnd.bot.texts import Texts
    from vpnd.runtime.serve import serve_asgi
    from vpnd.sandbox.chat_page import ChatPage, Journal
    from vpnd.sandbox.servers import open_sandbox
    from vpnd.sandbox.world import BOT_TOKEN, Control, World

    async def main() -> None:
        texts = Texts.load()
        shown: list[str] = []
        async with (
            open_sandbox(bot_token=BOT_TOKEN) as sandbox,
            httpx.AsyncClient(timeout=60, trust_env=False) as client,
            trio.open_nursery() as nursery,
        ):
            telegram = Control(client, sandbox.telegram_url)
            await telegram.post("/sim/limits", lifted=True)
            for place, language in enumerate(texts.languages):
                found = screens(Speech(texts, language))
                shown = chosen(found, only, alike=alike)
                for chat, names in chats_of(shown, place):
                    await telegram.post("/sim/chats", ids=[chat])
                    for name in names:
                        await send(client, f"{telegram.base}/bot{BOT_TOKEN}", chat, name, found[name])
            world = World(**dict.fromkeys(_parts_of(World)) | {"telegram": telegram, "http": client})
            app = ChatPage(world, Journal()).app
            listen = partial(serve_asgi, app, ["127.0.0.1:0"], shutdown_trigger=trio.sleep_forever)
            [address] = await nursery.start(listen)
            print(
                json.dumps({"url": f"http://{address}", "names": shown, "languages": texts.languages}),
                flush=True,
            )
            await trio.to_thread.run_sync(sys.stdin.read, abandon_on_cancel=True)
            nursery.cancel_scope.cancel()

    trio.run(main)


def _parts_of(world: type) -> list[str]:
    import attrs

    return [part.name for part in attrs.fields(world) if part.name != "journal"]


def fields(chat: int, screen: Any) -> dict[str, str]:
    """What goes with a screen, be it a text or a picture."""
    keyboard = screen.keyboard()
    return {"chat_id": str(chat), "parse_mode": "HTML"} | (
        {"reply_markup": json.dumps(keyboard)} if keyboard else {}
    )


async def send(client: Any, base: str, chat: int, name: str, screen: Any) -> None:
    """Send one screen as the bot does: a text, or a QR code with a caption."""
    import segno

    text, common = _REPEATED.sub(r"\1…", screen.text), fields(chat, screen)
    if screen.qr is None:
        answer = await client.post(f"{base}/sendMessage", data={**common, "text": text})
    else:
        picture = io.BytesIO()
        segno.make(screen.qr, error="m").save(picture, kind="png", scale=4)
        answer = await client.post(
            f"{base}/sendPhoto",
            data={**common, "caption": text},
            files={"photo": ("link.png", picture.getvalue())},
        )
    assert answer.json()["ok"], (name, answer.text)


# ------------------------------------------------------------------------------------------ pictures of them


def draw(told: dict[str, Any], to: Path, whole: Path | None) -> list[str]:
    """Write the sheets, and uncompressed ones to `whole`; returns the labels that a phone would cut, each with its screen."""
    from playwright.sync_api import sync_playwright

    names, languages = told["names"], told["languages"]
    cut: list[str] = []
    with sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        context = browser.new_context(
            viewport={"width": 1480, "height": 1000}, device_scale_factor=SCALE, bypass_csp=True
        )
        drawn = [_messages(context, told["url"], place, names) for place in range(len(languages))]
        page = context.new_page()
        page.goto(told["url"])
        for number, first in enumerate(range(0, len(names), A_SHEET), 1):
            pairs = [
                [names[place], *(messages[place] for messages in drawn)]
                for place in range(first, min(first + A_SHEET, len(names)))
            ]
            page.evaluate(_LAY_OUT, [pairs, _SHEET_CSS])
            page.wait_for_function("[...document.images].every(image => image.complete)")
            cut += page.evaluate(_CUT)
            png = page.locator("#sheet").screenshot()
            if whole is not None:
                (whole / f"sheet-{number:02}.png").write_bytes(png)
            webp = page.evaluate(_AS_WEBP, [base64.b64encode(png).decode(), QUALITY])
            (to / f"sheet-{number:02}.webp").write_bytes(base64.b64decode(webp))
        browser.close()
    return cut


def _messages(context: Any, url: str, place: int, names: list[str]) -> list[str]:
    """The HTML of each message in one language, as the chat page draws it."""
    found: list[str] = []
    for chat, shown in chats_of(names, place):
        page = context.new_page()
        page.goto(f"{url}/?customer={chat}&name=Alex&language=en")
        page.wait_for_function(f"document.querySelectorAll('#messages .message').length >= {len(shown)}")
        found += page.evaluate(
            "[...document.querySelectorAll('#messages .message')].map(one => one.outerHTML)"
        )
        page.close()
    assert len(found) == len(names)
    return found


_LAY_OUT = """([pairs, css]) => {
    const sheet = document.createElement('div');
    sheet.id = 'sheet';
    for (const [name, ...cards] of pairs) {
        const pair = document.createElement('div');
        pair.className = 'pair';
        const head = document.createElement('h2');
        head.textContent = name;
        const row = document.createElement('div');
        row.className = 'cards';
        for (const html of cards) {
            const card = document.createElement('div');
            card.innerHTML = html;
            row.append(card);
        }
        pair.append(head, row);
        sheet.append(pair);
    }
    const style = document.createElement('style');
    style.textContent = css;
    document.body.replaceChildren(style, sheet);
}"""
_CUT = """() => [...document.querySelectorAll('.cards button')]
    .filter(button => button.scrollWidth > button.clientWidth)
    .map(button => button.closest('.pair').querySelector('h2').textContent + ': ' + button.textContent)"""
_AS_WEBP = """async ([png, quality]) => {
    const image = new Image();
    image.src = 'data:image/png;base64,' + png;
    await image.decode();
    const canvas = document.createElement('canvas');
    [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
    canvas.getContext('2d').drawImage(image, 0, 0);
    return canvas.toDataURL('image/webp', quality).split(',')[1];
}"""


def page_of(names: list[str]) -> str:
    """The text of docs/screens.md."""
    lines = [
        "# Screens",
        "",
        "Every screen of the bot in English and in Russian, drawn by the demo's chat page, as wide as on a phone. The values are",
        "those of `tests/bot/screen_samples.py`, which try to break them: the longest names, the largest sums, every way that a",
        "payment can stand. What operators see (desk, customers, catalogue, broadcasts, figures, exports, alerts) stands behind",
        "what customers see. Of screens that differ in a word only one is shown.",
        "",
        "Made by `./dev python tests/world/contact_sheet.py`, which also says which labels a phone would cut.",
    ]
    for number, first in enumerate(range(0, len(names), A_SHEET), 1):
        captions = " · ".join(names[first : first + A_SHEET])
        lines += ["", captions, "", f"![{captions}](images/screens/sheet-{number:02}.webp)"]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Run it from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--to", type=Path, default=ROOT / "docs", help="where screens.md and images/screens go"
    )
    parser.add_argument("--only", default="", metavar="WORD", help="only screens whose name contains it")
    parser.add_argument("--all", action="store_true", help="also screens that differ in a word only")
    parser.add_argument(
        "--png", type=Path, metavar="DIRECTORY", help="keep the sheets there as well, uncompressed"
    )
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve(arguments.only, alike=arguments.all)
        return 0
    images = arguments.to / "images" / "screens"
    images.mkdir(parents=True, exist_ok=True)
    for old in images.glob("sheet-*.webp"):
        old.unlink()
    command = [sys.executable, __file__, "--serve", "--only", arguments.only]
    command += ["--all"] if arguments.all else []
    # A process of its own: the browser's driver needs an asyncio loop, and the chat page lives on trio.
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        told = json.loads(server.stdout.readline())
        cut = [label for label in draw(told, images, arguments.png) if not _THEIRS.search(label)]
        server.stdin.close()
    (arguments.to / "screens.md").write_text(page_of(told["names"]))
    total = sum(sheet.stat().st_size for sheet in images.glob("sheet-*.webp"))
    for label in cut:
        print(f"cut: {label}")
    print(
        f"{len(told['names'])} screens, {len(list(images.glob('sheet-*')))} sheets, {total / 1e6:.1f} MB, {len(cut)} labels cut"
    )
    return 1 if cut else 0


if __name__ == "__main__":
    sys.exit(main())
