"""What tests of several rooms need to open a database."""

from __future__ import annotations

from vpnd.config import DatabaseSettings, Secret


def database_settings(url: str, **changes: object) -> DatabaseSettings:
    """The settings a test opens a database with."""
    values: dict[str, object] = {"url": Secret(url), "pool_min": 0, "pool_max": 10, "acquire_timeout": 10.0}
    return DatabaseSettings(**(values | changes))  # type: ignore[arg-type]  # keywords by name, checked by attrs
