"""Statements that stand outside of any transaction and may take minutes: `_sql.py URL STATEMENT…`, one after another.

A program, because what the shop's database room allows is short and bounded, and trio-asyncio takes asyncio's place in ours.
Prints the first column of each statement's first row, as a list of JSON.
"""

import asyncio
import json
import sys

import asyncpg


async def main(url: str, *statements: str) -> None:
    """Run them all."""
    connection = await asyncpg.connect(url)
    found = [await connection.fetchval(statement) for statement in statements]
    await connection.close()
    print(json.dumps(found, default=str))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
