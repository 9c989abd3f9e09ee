"""A data directory kept for the next one: to unpack it takes a tenth of the time that initdb needs to make it.

Only servers whose data nobody will miss begin so. What is kept is one file, an archive of a cluster with nothing in it but an
empty database: whoever clears old files away takes all of it or nothing. It is made under another name and renamed, so any number
of processes may begin at once.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from pathlib import Path

import trio

from vpnd.runtime.process import User, run_child

__all__ = ["pack", "seed_of", "unpack"]


def seed_of(home: Path, binaries: Path, user: User | None) -> Path | None:
    """Return where the data of these binaries, under this uid, is kept in `home`; None where there is no tar to keep it by."""
    if shutil.which("tar", path=os.defpath) is None:
        return None
    program = (binaries / "postgres").resolve()
    uid = os.geteuid() if user is None else user.uid
    mark = hashlib.sha256(f"{program}:{program.stat().st_mtime_ns}:{uid}:1".encode()).hexdigest()[:12]
    return home / f"cluster-{mark}.tar"


async def unpack(seed: Path, data: Path) -> bool:
    """Fill an empty data directory with what is kept; False if nothing is, or it cannot be read: then the directory is empty."""
    if not await trio.Path(seed).is_file():
        return False
    if await _tar("-xpf", str(seed), "-C", str(data)):
        return True
    for place in [*await trio.Path(data).iterdir()]:
        if await place.is_dir():
            await trio.to_thread.run_sync(shutil.rmtree, place)
        else:
            await place.unlink()
    return False


async def pack(data: Path, seed: Path) -> None:
    """Keep a data directory that no server has been started on; if there is no room for it, the next one is made anew."""
    fresh = seed.with_name(f"{seed.name}.{os.getpid()}.{id(data)}")
    try:
        if await _tar("-cf", str(fresh), "-C", str(data), "."):
            await trio.Path(fresh).rename(seed)
    finally:
        with contextlib.suppress(FileNotFoundError):  # it has its name
            fresh.unlink()


async def _tar(*words: str) -> bool:
    return await run_child(["tar", *words], env={"PATH": os.defpath}, cwd=Path("/")) == 0
