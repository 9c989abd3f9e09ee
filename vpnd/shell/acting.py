"""What is done at the shell, done as an operator: asked for, once, and written in the audit log with the server's account."""

from __future__ import annotations

import getpass
import secrets
from collections.abc import Awaitable, Callable

from vpnd.database.scope import Transaction
from vpnd.shell.shop import OpenShop
from vpnd.shop.audit_log import Change, perform
from vpnd.shop.operators import Actor, Permission, shell_actor

__all__ = ["act", "new_key", "who"]


def who() -> Actor:
    """Whoever typed the command."""
    return shell_actor(getpass.getuser())


def new_key() -> str:
    """A key for one command: typed again, it is another one."""
    return f"shell:{secrets.token_hex(12)}"


async def act(
    shop: OpenShop,
    site: str,
    permission: Permission,
    deed: Callable[[Transaction], Awaitable[Change]],
    *,
    key: str | None = None,
    reason: str | None = None,
) -> Change:
    """Do something in one transaction, written in the audit log. Raises whatever the deed raises; then nothing is done."""
    request = new_key() if key is None else key

    async def body(tx: Transaction) -> Change:
        return await perform(tx, who(), permission, deed, request_key=request, reason=reason)

    return await shop.db.run(site, body)
