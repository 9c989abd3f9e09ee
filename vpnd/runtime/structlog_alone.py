"""structlog without what it loads where it finds it: rich, for tracebacks that nobody here is shown, and greenlet.

The commands that draw tables need rich, so it is installed; the daemon and its node do without 50 modules and 3 MB.
"""

from __future__ import annotations

from vpnd.runtime.absent import absent

with absent("rich"), absent("greenlet"):
    import structlog
    from structlog.contextvars import bound_contextvars, get_contextvars

__all__ = ["bound_contextvars", "get_contextvars", "structlog"]
