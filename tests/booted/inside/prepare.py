"""Makes the database a sandbox's: `prepare.py DATABASE_URL`. Runs inside the booted system."""

from __future__ import annotations

import sys

import trio

from vpnd.sandbox.world import prepare_database

if __name__ == "__main__":
    trio.run(prepare_database, sys.argv[1])
