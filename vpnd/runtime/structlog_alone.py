"""structlog without rich, which it loads where it finds it, for tracebacks that nobody here is shown.

The commands that draw tables need rich, so it is installed; the daemon and its node do without 50 modules and 3 MB.
"""

from __future__ import annotations

import sys
from typing import Any

_modules: dict[str, Any] = (
    sys.modules
)  # None stands for a module that is not to be found (importlib's own convention)
_was_there = "rich" in _modules
if not _was_there:
    _modules["rich"] = None
try:
    import structlog
    from structlog.contextvars import bound_contextvars, get_contextvars
finally:
    if not _was_there:
        del _modules["rich"]

__all__ = ["bound_contextvars", "get_contextvars", "structlog"]
