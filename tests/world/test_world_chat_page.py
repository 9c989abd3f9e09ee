"""The chat page of the demo, in a real headless Chromium: a person buys with clicks alone."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.world,
    pytest.mark.browser,
    pytest.mark.skipif(shutil.which("chromium") is None, reason="Debian's chromium is not installed"),
    pytest.mark.skipif(find_spec("playwright") is None, reason="playwright is not installed"),
]

PLAYER = Path(__file__).with_name("chat_page_player.py")

#: `VPND_PICTURES=docs/images ./dev test tests/world/test_world_chat_page.py` renews the README's pictures.
PICTURES = os.environ.get("VPND_PICTURES")


@pytest.fixture(scope="module")
def demo_url() -> Iterator[str]:
    """The address of a running demo, ended as Ctrl-C ends it."""
    command = [sys.executable, "-m", "vpnd", "demo", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as demo:
        lines = []
        for line in demo.stdout:
            lines.append(line)
            if found := re.search(r"http://127\.0\.0\.1:\d+", line):
                break
        else:
            pytest.fail("the demo did not come up:\n" + "".join(lines))
        yield found[0]
        demo.send_signal(2)
        demo.communicate(timeout=30)
        assert demo.returncode == 0


def play(scenario: str, url: str) -> None:
    command = [sys.executable, str(PLAYER), scenario, url, *([PICTURES] if PICTURES else [])]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_person_buys_connects_and_is_cut_off(demo_url: str) -> None:
    """With clicks alone: start, plan, period, Crypto Pay, receipt with a picture, a page through the VPN, the end."""
    play("buy_connect_end", demo_url)


def test_stars_are_paid_on_a_sheet_in_russian(demo_url: str) -> None:
    """The page speaks to the bot in the customer's language, and a Stars invoice opens its own pay sheet."""
    play("stars_in_russian", demo_url)


def test_an_invoice_is_not_paid_by_closing_its_sheet(demo_url: str) -> None:
    """Cancel means cancel: nothing is paid, and the sheet opens again."""
    play("cancelled_sheet", demo_url)
