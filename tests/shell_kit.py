"""Commands as a user runs them: a process of its own, with an environment and nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence

import trio
from attrs import frozen

TOKEN = "123456789:AAH-secret-of-a-bot-nobody-may-see1"

#: The same as `vpnd …`, but a refund's answer is waited for no longer than a moment.
_IMPATIENT = (
    "import sys; from vpnd.shell import refund; refund.PATIENCE = 0.3; from vpnd.cli import main;"
    " sys.exit(main(sys.argv[1:]))"
)

_SEVERAL = """
import io, json, sys
from contextlib import redirect_stderr, redirect_stdout
from vpnd.cli import main
said = []
for words in json.loads(sys.argv[1]):
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = main(words)
    said.append([code, out.getvalue(), err.getvalue()])
print(json.dumps(said))
"""


@frozen
class Said:
    """How a command ended and what it said."""

    code: int
    out: str
    err: str


def shop_environment(database_url: str) -> dict[str, str]:
    """What configures a command for a shop that nobody can be reached from."""
    return {
        "VPND_TELEGRAM__TOKEN": TOKEN,
        "VPND_TELEGRAM__API_BASE": "http://127.0.0.1:9",
        "VPND_DATABASE__URL": database_url,
    }


async def vpnd(environment: Mapping[str, str], *words: str, impatient: bool = False) -> Said:
    """Run one command to its end, as a user does."""
    program = ["-c", _IMPATIENT] if impatient else ["-m", "vpnd"]
    code, out, err = await _process(environment, [*program, *words])
    return _checked(Said(code, out, err))


async def several(environment: Mapping[str, str], *commands: Sequence[str]) -> list[Said]:
    """Run commands one after the other in one process: it is started once for all of them."""
    code, out, err = await _process(environment, ["-c", _SEVERAL, json.dumps(commands)])
    assert code == 0, err
    return [_checked(Said(*each)) for each in json.loads(out)]


async def _process(environment: Mapping[str, str], words: Sequence[str]) -> tuple[int, str, str]:
    clean = {
        name: value for name, value in os.environ.items() if not name.startswith(("VPND_", "CREDENTIALS_"))
    }
    with trio.fail_after(60):
        done = await trio.run_process(
            [sys.executable, *words], env={**clean, **environment}, capture_stdout=True, capture_stderr=True,
            check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def _checked(said: Said) -> Said:
    assert "Traceback" not in said.err, said.err
    assert TOKEN not in said.out + said.err
    return said
