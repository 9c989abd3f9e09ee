"""The booted soak: whole Debian 12 systems under systemd, in which script, units, daemon and documentation are put to work.

    ./dev soak booted [CHAPTER…] [--base FOLDER] [--keep]

Needs root, mmdebstrap and systemd-nspawn (Debian: apt install mmdebstrap systemd-container). Each system has a network of its own
without a way out, and this machine is left alone but for a folder under /var/tmp. `--base` names a Debian root to copy instead
of making one; packages come from there, Python's from wheels that are fetched beforehand by the lock.

The chapters, each in a fresh copy; without a name all are played:

    life      install, start, reload, kill -9, a hang, a node, an upgrade, one that does not start, removal
    upgrade   the version before the newest change of the schema, with customers, is brought up to date
    tour      every flow of customers and operators under the very unit; journal, catalog, secrets, reload, load, watchdog
    readme    the two commands of README.md, as a newcomer types them
    page      docs/install.md word for word, up to a shop that answers, a node, an upgrade and the removal

Exits 0 only if each step was seen.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "booted"))

from journal import Journal
from life import Life
from machine import (
    Boot,
    Chapter,
    booted,
    fetch_build,
    fetch_pipx,
    fetch_players,
    fetch_tools,
    fetch_wheels,
    make_base,
    make_root,
)
from page import Page
from readme import Readme
from tour import WholeTour
from troubles import Reload, Secrets, Watchdog
from upgrade import Upgrade, fetch_former

#: What is played one after the other in one system.
CHAPTERS: dict[str, tuple[type[Chapter], ...]] = {
    "life": (Life,),
    "upgrade": (Upgrade,),
    "tour": (WholeTour, Journal, Reload, Secrets, Watchdog),
    "readme": (Readme,),
    "page": (Page,),
}
#: What a chapter needs beside what an operator's server gets.
MORE = {
    "life": fetch_pipx,
    "upgrade": fetch_former,
    "tour": fetch_players,
    "readme": fetch_tools,
    "page": fetch_build,
}

say = partial(print, flush=True)


def main() -> int:
    """Play the chapters; 0 if every step was seen."""
    parser = argparse.ArgumentParser(prog="./dev soak booted", description=__doc__.splitlines()[0])
    parser.add_argument("chapters", nargs="*", metavar="CHAPTER", help=", ".join(CHAPTERS))
    parser.add_argument("--base", type=Path, help="a Debian root to copy")
    parser.add_argument("--keep", action="store_true", help="keep the folder")
    options = parser.parse_args()
    chosen = options.chapters or list(CHAPTERS)
    if unknown := set(chosen) - set(CHAPTERS):
        parser.error(f"no such chapter: {', '.join(sorted(unknown))}; there are {', '.join(CHAPTERS)}")
    if os.geteuid() != 0:
        parser.error("this needs root")
    for tool in ("systemd-nspawn", "nsenter", *(() if options.base else ("mmdebstrap",))):
        if shutil.which(tool) is None:
            parser.error(f"{tool} is missing: apt install mmdebstrap systemd-container")
    work = Path(tempfile.mkdtemp(prefix="vpnd-booted-", dir="/var/tmp"))
    faults = 0
    try:
        base, wheels = make_base(options.base, work), work / "wheels"
        fetch_wheels(wheels)
        for name in chosen:
            say(f"--- {name}")
            if name in MORE:
                MORE[name](wheels)
            root = make_root(base, wheels, work / name)
            with booted(root, work / f"{name}.console.log") as machine:
                for part in (Boot, *CHAPTERS[name]):
                    missed, go_on = part(machine).play(say)
                    faults += missed
                    if not go_on:
                        break
            if not options.keep:
                shutil.rmtree(root, ignore_errors=True)
    finally:
        if options.keep:
            say(f"kept: {work}")
        else:
            shutil.rmtree(work, ignore_errors=True)
    say("every step was seen" if not faults else f"{faults} steps were not seen")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
