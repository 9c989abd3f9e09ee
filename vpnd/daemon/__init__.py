"""The composition root: builds the parts and lays out the nursery tree. Read it first.

`run` makes a service of it, `Daemon` holds the parts, `children` is the tree. A part is opened by an `async with` if others
need it, and runs as a supervised child. Starting order is the list's, stopping order the opposite: what brings work in stops
first, what finishes it later.

A database that is away at the start is waited for by the child `schema`; whoever needs tables waits for `Daemon.schema.ready`.
Meanwhile the bot says that it is being repaired, webhooks are put off, and `/readyz` tells why.
"""

from vpnd.daemon.tree import Daemon, open_daemon, run

__all__ = ["Daemon", "open_daemon", "run"]
