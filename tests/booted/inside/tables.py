"""Prints whole tables as JSON lines: `tables.py DATABASE_URL TABLE…`. Runs inside the booted system."""

from __future__ import annotations

import sys

import trio

from vpnd.config import DatabaseSettings, Secret
from vpnd.database.database import open_database
from vpnd.runtime.limits import Limits


async def main(url: str, tables: list[str]) -> None:
    """Print them."""
    async with open_database(
        DatabaseSettings(url=Secret(url), pool_min=0), Limits(2, 2), instance_name="x"
    ) as db:
        for table in tables:
            sql = f"select row_to_json(t)::text as row from {table} t limit 100000"  # noqa: S608  our own tables
            for row in await db.fetch("test", sql, deadline=30.0):
                print(row["row"])


if __name__ == "__main__":
    trio.run(main, sys.argv[1], sys.argv[2:])
