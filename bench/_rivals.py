"""Virtual environments with the rivals, kept between runs under `~/.cache/vpnd-bench/`."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

RIVALS = (
    "aiogram==3.31.0",
    "python-telegram-bot==22.8",
    "asyncpg==0.32.0",
    "uvloop==0.23.0",
)

#: The job queue of `outbox.py`, with psycopg's compiled half, its faster one.
QUEUE_RIVALS = ("procrastinate==3.10.0", "psycopg[binary,pool]>=3.2,<4", "asyncpg==0.32.0")


def rival_python(packages: tuple[str, ...] = RIVALS) -> Path:
    """Return the Python that has these packages; make its environment on first use (20 s, from the package index)."""
    mark = hashlib.sha256("\n".join((sys.version, *packages)).encode()).hexdigest()[:12]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vpnd-bench"
    home = cache / mark
    python = home / "bin" / "python"
    if (home / "complete").exists():
        return python
    print(f"making an environment for the rivals in {home}", file=sys.stderr)
    shutil.rmtree(home, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", str(home)], check=True, timeout=120)
    made = subprocess.run(
        [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    if made.returncode != 0:
        raise RuntimeError(f"pip could not install the rivals:\n{made.stderr}")
    (home / "complete").touch()
    return python
