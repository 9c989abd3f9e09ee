"""`vpnd migrate`: what an administrator reads when it goes well, and when it cannot."""

from __future__ import annotations

import pytest
from shell_kit import shop_environment, vpnd

from vpnd.database.database import Database

pytestmark = pytest.mark.postgres


async def test_an_empty_database_gets_the_schema(empty_database_url: str) -> None:
    """It is brought up to date, once."""
    shell = shop_environment(empty_database_url)
    first = await vpnd(shell, "migrate")
    again = await vpnd(shell, "migrate")
    assert (first.code, again.code) == (0, 0)
    assert "the schema is up to date" in first.out + first.err
    assert "0 migrations were applied" in again.out + again.err


async def test_a_schema_of_a_newer_release_is_one_line(database_url: str, db: Database) -> None:
    """The line says what helps, and no traceback hides it."""
    async with db.transaction("test") as tx:
        await tx.execute(
            "insert into schema_migrations (version, name, sha256) values (9999, 'of tomorrow', 'x')"
        )
    said = await vpnd(shop_environment(database_url), "migrate")
    words = said.out + said.err
    assert said.code == 1
    assert "9999 (of tomorrow)" in words
    assert "upgrade it" in words
    assert "Traceback" not in words
