"""Judges from outside: client libraries that others wrote, each in an environment of its own, must find the sandbox real.

Their environments are made once by pip, under `$XDG_CACHE_HOME/vpnd-judges` (or `~/.cache/vpnd-judges`), keyed by what they hold.
Where pip cannot reach an index the judges are skipped, and say so.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from vpnd.sandbox.servers import open_sandbox
from vpnd.sandbox.telegram_server import PROPER_NAMES

JUDGES = Path(__file__).with_name("judges")


def judge_python(*requirements: str) -> Path:
    """The interpreter of an environment with these packages; skips the test when it cannot be made."""
    key = hashlib.sha256(" ".join([sys.version, *requirements]).encode()).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vpnd-judges"
    cache.mkdir(parents=True, exist_ok=True)
    place = cache / key
    with (cache / f"{key}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (place / "ready").exists():
            shutil.rmtree(place, ignore_errors=True)
            for command in (
                [sys.executable, "-m", "venv", str(place)],
                [
                    str(place / "bin/python"),
                    "-m",
                    "pip",
                    "install",
                    "-q",
                    "--disable-pip-version-check",
                    *requirements,
                ],
            ):
                done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
                if done.returncode:
                    last = (done.stderr.strip().splitlines() or ["no message"])[-1]
                    pytest.skip(f"no environment with {' '.join(requirements)}: {last}")
            (place / "ready").touch()
    return place / "bin/python"


async def judge(script: str, python: Path, *arguments: str) -> list[str]:
    """Run a judge and return what it says; its last words are the failure."""
    command = [str(python), "-W", "error::ResourceWarning", str(JUDGES / script), *arguments]
    with trio.fail_after(60):
        done = await trio.run_process(command, capture_stdout=True, capture_stderr=True, check=False)
    assert done.returncode == 0, done.stderr.decode()[-4000:]
    said = done.stdout.decode().splitlines()
    assert said[-1] == "judged"
    return said


@pytest.fixture(scope="module")
def aiogram() -> Path:
    return judge_python("aiogram==3.31.0")


@pytest.fixture(scope="module")
def aiocryptopay() -> Path:
    return judge_python("aiocryptopay==0.4.8")


@pytest.fixture(scope="module")
def aiosend() -> Path:
    return judge_python("aiosend==3.0.8.post1")


@pytest.fixture(scope="module")
def yookassa() -> Path:
    return judge_python("yookassa==3.13.0")


async def test_aiogram_finds_telegram_real(aiogram: Path) -> None:
    """A second client library, with models of its own, reads the result of every method, every error and every kind of update."""
    async with open_sandbox() as sandbox:
        said = await judge("judge_aiogram.py", aiogram, sandbox.telegram_url, sandbox.telegram.token)
    assert set(PROPER_NAMES.values()) - set(said[-2].split()) == set()


async def test_aiocryptopay_finds_crypto_pay_real(aiocryptopay: Path) -> None:
    """A client that uses GET and query strings accepts invoices, errors and signatures."""
    async with open_sandbox() as sandbox:
        await judge("judge_aiocryptopay.py", aiocryptopay, sandbox.cryptopay_url, sandbox.cryptopay.token)


async def test_aiosend_finds_crypto_pay_real(aiosend: Path) -> None:
    """A client that uses POST and JSON, of the newest API version, does too."""
    async with open_sandbox() as sandbox:
        await judge("judge_aiosend.py", aiosend, sandbox.cryptopay_url, sandbox.cryptopay.token)


async def test_yookassa_finds_yookassa_real(yookassa: Path) -> None:
    """YooKassa's own SDK reads every payment, refund, list, error and notification."""
    async with open_sandbox() as sandbox:
        server = sandbox.yookassa
        await judge("judge_yookassa.py", yookassa, sandbox.yookassa_url, server.shop_id, server.secret)
