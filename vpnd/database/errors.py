"""What can go wrong at the database, in our own words, and the one place where the driver's words are
translated.

A caller decides by type: is the server out of reach (wait, and cost no attempt), was it too slow, did the
data refuse the statement, or is the outcome of a commit unknown? Nobody above this room imports asyncpg.

Messages never carry SQL arguments or connection strings. The server's own text is only passed on where it
speaks about the statement (class 42: an unknown column) and not about the values in it.
"""

from __future__ import annotations

import re
from typing import Final

import asyncpg

__all__ = [
    "CommitUnknown",
    "DatabaseError",
    "DatabaseTimeout",
    "DatabaseUnavailable",
    "IntegrityError",
    "PoolTimeout",
    "QueryError",
    "SerializationFailure",
    "UniqueViolation",
    "is_connection_lost",
    "translate",
]


class DatabaseError(Exception):
    """Anything that went wrong at the database.

    Attributes:
        site: the transaction site or query name it happened at.
        sqlstate: the server's five-letter code, or None when the server said nothing.
        boundary_down: the database as a whole cannot be used now. Whoever works through a queue pauses on it
            and charges no attempt to the item in hand.
    """

    boundary_down: bool = False

    def __init__(self, message: str, *, site: str = "", sqlstate: str | None = None) -> None:
        self.message = message
        self.site = site
        self.sqlstate = sqlstate
        super().__init__(message)

    def __str__(self) -> str:
        where = f" (at {self.site})" if self.site else ""
        code = f" [{self.sqlstate}]" if self.sqlstate else ""
        return f"{self.message}{code}{where}"


class DatabaseUnavailable(DatabaseError):
    """The server is down, refuses us, went away, or cannot take writes; nothing was committed."""

    boundary_down = True


class PoolTimeout(DatabaseUnavailable):
    """No connection came free within the acquire timeout; nothing was sent."""


class DatabaseTimeout(DatabaseError):
    """The deadline, a statement timeout or a lock timeout passed; nothing was committed.

    Attributes:
        no_answer: it may be one slow statement or a server that stands still: the next attempt shows which.
    """

    no_answer = True


class CommitUnknown(DatabaseError):
    """COMMIT was sent and its answer never came, and the server could not be asked in time.

    The caller must find out by the key of what it wrote, and may repeat only what is idempotent.
    """

    boundary_down = True


class IntegrityError(DatabaseError):
    """A constraint refused the data.

    Attributes:
        constraint: the constraint's name, or None when the server gave none (NOT NULL).
    """

    def __init__(
        self, message: str, *, site: str = "", sqlstate: str | None = None, constraint: str | None = None
    ) -> None:
        super().__init__(message, site=site, sqlstate=sqlstate)
        self.constraint = constraint


class UniqueViolation(IntegrityError):
    """A row with that key exists already; `constraint` names which key."""


class SerializationFailure(DatabaseError):
    """The server chose this transaction as the one to be repeated (40001, 40P01)."""


class QueryError(DatabaseError):
    """The statement is wrong, or its arguments are: a fault of ours that no repetition mends."""


_LOST: Final = (
    asyncpg.PostgresConnectionError,  # class 08, ConnectionDoesNotExistError among them
    asyncpg.InternalClientError,  # "cannot switch to state": the protocol was cut while it spoke
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.DatabaseDroppedError,
    asyncpg.CannotConnectNowError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    ConnectionError,
    OSError,
    EOFError,
)

# SQLSTATEs (or, with two letters, whole classes) that say: not this statement, the server as a whole.
_UNAVAILABLE: Final = frozenset(
    {"08", "53", "57P01", "57P02", "57P03", "57P04", "57P05", "58", "28", "3D000"}
)
_TIMEOUTS: Final = {
    "57014": "the statement was cancelled by a timeout",
    "55P03": "a lock was not granted in time",
}
_SERIALIZATION: Final = frozenset({"40001", "40P01"})
_ARGUMENT: Final = re.compile(r"query argument \$(\d+)")


def is_connection_lost(error: BaseException) -> bool:
    """Whether the error says that this connection is gone, and nothing about the statement."""
    if isinstance(error, asyncpg.InterfaceError):
        return _is_lost_interface(error)
    return isinstance(error, _LOST)


def translate(error: BaseException, site: str, *, read_only: bool = False) -> DatabaseError:
    """Turn any error of the driver, the network or the server into one of ours.

    Args:
        error: what was raised below us.
        site: the transaction site or query name, for the message.
        read_only: the scope was opened read-only, so that a refused write is its own fault and does not mean
            that we talk to a standby.
    """
    if isinstance(error, DatabaseError):
        return error
    found = (
        _ARGUMENT.search(str(error))
        if isinstance(error, (asyncpg.DataError, asyncpg.InterfaceError))
        else None
    )
    if found:  # the driver's own check before anything was sent; it borrows a server's class for it
        return QueryError(f"argument ${found[1]} does not fit its type", site=site)
    if isinstance(error, asyncpg.PostgresError):
        return _translate_server_error(error, site, read_only=read_only)
    if isinstance(error, TimeoutError):
        return DatabaseUnavailable("the server did not answer in time", site=site)
    if isinstance(error, asyncpg.InterfaceError) and not _is_lost_interface(error):
        return QueryError("the driver refused the statement", site=site)
    if isinstance(error, (*_LOST, asyncpg.InterfaceError)):
        return DatabaseUnavailable(f"the connection was lost ({type(error).__name__})", site=site)
    return QueryError(f"the driver failed ({type(error).__name__})", site=site)


def _is_lost_interface(error: asyncpg.InterfaceError) -> bool:
    """asyncpg raises one type for "you used me wrongly" and for "my connection is gone"."""
    text = str(error)
    return "closed" in text or "released" in text or "in progress" in text or "cancelling" in text


def _translate_server_error(error: asyncpg.PostgresError, site: str, *, read_only: bool) -> DatabaseError:
    state: str | None = getattr(error, "sqlstate", None)
    if state is None:
        return DatabaseUnavailable(f"the connection was lost ({type(error).__name__})", site=site)
    kind = type(error).__name__
    if state in _SERIALIZATION:
        return SerializationFailure("the transaction must be repeated", site=site, sqlstate=state)
    if state in _TIMEOUTS:
        return DatabaseTimeout(_TIMEOUTS[state], site=site, sqlstate=state)
    if state in _UNAVAILABLE or state[:2] in _UNAVAILABLE:
        return DatabaseUnavailable(f"the server refuses to serve ({kind})", site=site, sqlstate=state)
    if state in {"25006", "25P03"} and not read_only:
        # After a failover the old address may lead to a standby, which takes no writes; 25P03: the server
        # ended a session that kept its transaction idle for too long.
        return DatabaseUnavailable(f"the server takes no writes from us ({kind})", site=site, sqlstate=state)
    if state[:2] == "23":
        constraint: str | None = getattr(error, "constraint_name", None)
        column = getattr(error, "column_name", None)
        named = f"constraint {constraint}" if constraint else f"column {column}" if column else "a constraint"
        wrong = UniqueViolation if state == "23505" else IntegrityError
        return wrong(f"{named} refused the row", site=site, sqlstate=state, constraint=constraint)
    text = f": {error.args[0]}" if state[:2] == "42" and error.args else ""
    return QueryError(f"the server refused the statement ({kind}){text}", site=site, sqlstate=state)
