"""structlog without rich, which it loads where it finds it, for tracebacks that nobody here is shown.

The commands that draw tables need rich, so it is installed; the daemon and its node do without 50 modules and 3 MB.
"""

from __future__ import annotations

from vpnd.runtime.absent import absent

with absent("rich"):
    import structlog
    from structlog.contextvars import bound_contextvars, get_contextvars

__all__ = ["bound_contextvars", "get_contextvars", "structlog"]
