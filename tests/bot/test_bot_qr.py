"""QR codes: drawn by a real child process, bounded, remembered, and never a reason to fail."""

from __future__ import annotations

import sys

import pytest
import trio

from vpnd.bot import qr_child
from vpnd.bot.qr import CACHED, QrDrawer
from vpnd.runtime.held import HeldConnectionError, open_mark

LINK = "vless://00000000-0000-4000-8000-000000000000@de.example.org:443?security=reality#de"
ECHO = "import sys; sys.stdout.buffer.write(b'\\x89PNG\\r\\n\\x1a\\n' + sys.stdin.buffer.read())"


async def test_a_picture_is_drawn() -> None:
    """The child returns a PNG."""
    png = await QrDrawer().draw(LINK)

    assert png is not None
    assert png.startswith(b"\x89PNG")


@pytest.mark.parametrize("text", ["", "x" * 3000])
def test_what_is_no_link_is_not_drawn(text: str) -> None:
    """Nothing, or more than a readable code holds, is refused."""
    with pytest.raises(ValueError, match="nothing to draw"):
        qr_child.draw(text)


@pytest.mark.parametrize(
    "command",
    [
        (sys.executable, "-c", "import time; time.sleep(60)"),
        (sys.executable, "-c", "raise SystemExit(3)"),
        (sys.executable, "-c", "print('no picture')"),
        ("/nonexistent/program",),
    ],
    ids=["hangs", "fails", "garbage", "missing"],
)
async def test_a_child_that_fails_costs_only_the_picture(command: tuple[str, ...]) -> None:
    """Late, broken or missing: the answer is None, in time."""
    with trio.fail_after(10):
        assert await QrDrawer(command, deadline=0.5).draw(LINK) is None


async def test_pictures_are_remembered_by_digest() -> None:
    """The same link is drawn once, the memory is bounded, and it holds no link."""
    drawer = QrDrawer((sys.executable, "-c", ECHO))
    first = await drawer.draw(LINK)
    drawer._command = ("/nonexistent/program",)

    assert await drawer.draw(LINK) == first
    assert await drawer.draw("other") is None
    assert LINK.encode() not in b"".join(drawer._cache)
    for number in range(2 * CACHED):
        drawer._cache[number.to_bytes(2, "big")] = b""
    drawer._command = (sys.executable, "-c", ECHO)
    await drawer.draw("one more")
    assert len(drawer._cache) == CACHED


async def test_at_most_two_are_drawn_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A third drawing waits for its place."""
    running, most = 0, 0
    release = trio.Event()
    drawer = QrDrawer()

    async def in_child(text: str) -> bytes | None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await release.wait()
        running -= 1
        return text.encode()

    monkeypatch.setattr(drawer, "_in_child", in_child)
    async with trio.open_nursery() as nursery:
        for number in range(5):
            nursery.start_soon(drawer.draw, str(number))
        await trio.testing.wait_all_tasks_blocked()
        release.set()

    assert most == 2


async def test_nothing_is_drawn_while_a_connection_is_held() -> None:
    """Drawing inside a transaction scope is refused."""
    with open_mark("somewhere"), pytest.raises(HeldConnectionError):
        await QrDrawer().draw(LINK)


async def test_the_child_sees_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """Our environment's secrets are not handed to the child."""
    monkeypatch.setenv("VPND_TELEGRAM__TOKEN", "123:secret")
    code = (
        "import os, sys; sys.stdout.buffer.write(b'\\x89PNG\\r\\n\\x1a\\n' + repr(dict(os.environ)).encode())"
    )

    png = await QrDrawer((sys.executable, "-c", code)).draw(LINK)

    assert png is not None
    assert b"secret" not in png
