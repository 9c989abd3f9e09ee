"""What two configurations say differently, by the keys an operator knows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from vpnd.config.settings import Settings

__all__ = ["differences"]


def differences(one: Settings, other: Settings) -> list[str]:
    """Return the dotted path of every key that is not the same in both, in order; a list of tables counts as one key.

    Only names are returned: a value may be a secret.
    """
    return sorted(_differing("", one, other))


def _differing(path: str, one: Any, other: Any) -> Iterator[str]:
    if attrs.has(type(one)) and type(one) is type(other):
        for field in attrs.fields(type(one)):
            yield from _differing(
                _under(path, field.name), getattr(one, field.name), getattr(other, field.name)
            )
    elif isinstance(one, Mapping) and isinstance(other, Mapping):
        for name in {*one, *other}:
            yield from _differing(_under(path, name), one.get(name), other.get(name))
    elif one != other:
        yield path


def _under(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
