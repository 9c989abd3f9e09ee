"""Serves what is behind the VPN, and writes where: `targets.py FILE`. Runs inside the booted system."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import attrs
import trio

from vpnd.sandbox.targets import open_targets


async def main(place: Path) -> None:
    """Serve until killed."""
    with TemporaryDirectory() as folder:
        async with open_targets(Path(folder)) as targets:
            place.write_text(json.dumps({name: str(value) for name, value in attrs.asdict(targets).items()}))
            await trio.sleep_forever()


if __name__ == "__main__":
    trio.run(main, Path(sys.argv[1]))
