"""The only way to PostgreSQL: transaction scopes, named reads, migrations, leases, inbox and outbox."""

from __future__ import annotations

from asyncpg import Record as Row

__all__ = ["Row"]
