"""How a new connection is made: what the server is told about us, and how values cross."""

from __future__ import annotations

import json
import re
from typing import Any, Final

import asyncpg

from vpnd.config import DatabaseSettings

__all__ = [
    "CONNECT_TIMEOUT",
    "IDLE_IN_TRANSACTION_MS",
    "LOCK_TIMEOUT_MS",
    "STATEMENT_TIMEOUT_MS",
    "encode_json",
    "open_connection",
]

#: Seconds for a new connection: TCP, TLS, authentication and the codecs.
CONNECT_TIMEOUT: Final = 5.0
#: What the server is told about us, in milliseconds. The server's timeouts are shorter than the client's
#: default deadline (5 s), so that normally the server gives up first and the connection comes back clean; the
#: client's deadline is for a server that does not answer at all. A scope with a longer deadline raises its
#: statement_timeout with SET LOCAL.
STATEMENT_TIMEOUT_MS: Final = 4500
LOCK_TIMEOUT_MS: Final = 2000
IDLE_IN_TRANSACTION_MS: Final = 10_000


# An escaped NUL, and not an escaped backslash before the letters u0000.
_NUL: Final = re.compile(r"(?<!\\)((?:\\\\)*)\\u0000")
_HALF_PAIR: Final = re.compile("[\ud800-\udfff]")


async def open_connection(settings: DatabaseSettings, application: str) -> Any:
    """Open a connection with our codecs and timeouts. Runs on the asyncio side.

    Raises whatever asyncpg and the network raise; `vpnd.database.errors.translate` knows them.
    """
    server_settings = {"application_name": application}
    options: dict[str, Any] = {}
    if settings.pgbouncer:
        # A pooler in transaction mode knows neither our prepared statements nor startup parameters; timeouts
        # are then set by ALTER ROLE … SET, or for one scope by SET LOCAL.
        options["statement_cache_size"] = 0
    else:
        server_settings |= {
            "statement_timeout": str(STATEMENT_TIMEOUT_MS),
            "lock_timeout": str(LOCK_TIMEOUT_MS),
            "idle_in_transaction_session_timeout": str(IDLE_IN_TRANSACTION_MS),
            # A statement of ours is short, or takes turns: it must not have both of a small server's processors.
            "max_parallel_workers_per_gather": "0",
            # Nor may it be compiled: where the planner fears many rows, that took 25 to 500 ms for a statement that stops after
            # a hundred of them, like a claim of a long outbox.
            "jit": "off",
            # UTC, so that an interval of days never meets a change of clocks on a server set to local time.
            "timezone": "UTC",
        }
    connection = await asyncpg.connect(
        settings.url.reveal(), timeout=CONNECT_TIMEOUT, server_settings=server_settings, **options
    )
    try:
        for name in ("json", "jsonb"):
            await connection.set_type_codec(
                name, schema="pg_catalog", encoder=encode_json, decoder=json.loads, format="text"
            )
    except BaseException:
        connection.terminate()  # not awaited: we may be on our way out of a cancellation
        raise
    return connection


def encode_json(value: object) -> str:
    """JSON as PostgreSQL takes it: short, UTF-8 as it is, and no NaN, which jsonb would refuse later.

    Two things that JSON can say and jsonb cannot hold, NUL and half a surrogate pair, become U+FFFD: a stranger's odd
    letter must not cost the update it came in.
    """
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    if "\\u0000" in text:
        text = _NUL.sub("\\1\ufffd", text)
    return _HALF_PAIR.sub("\ufffd", text)
