"""Kinds of values: what a settings key may hold, checked with a sentence that says what is allowed.

A kind gets a value as TOML gave it, or as text from the environment or a file, and returns what
the settings keep.
"""

import difflib
import hmac
import ipaddress
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

import attrs


class Secret:
    """A value that must not be seen: it shows itself only to `reveal`.

    ``str``, ``repr`` and formatting give a mask, comparison takes constant time, and an empty secret is
    false, which means "not set".
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the value itself, for the one place that sends or compares it."""
        return self._value

    def __repr__(self) -> str:
        return "Secret('***')" if self._value else "Secret('')"

    __str__ = __repr__

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._value.encode(), other._value.encode())

    def __hash__(self) -> int:
        return hash((Secret, self._value))


class RefusalError(ValueError):
    """A value is not what its key allows; the message completes the sentence "<key> ..."."""


@attrs.frozen
class Kind:
    """A kind of value: how it is called, how it is checked.

    `parse` gets the raw value and whether it is text by nature (from the environment or a file), returns the
    value to keep, and raises `RefusalError` with what is allowed.
    """

    name: str
    parse: Callable[[Any, bool], Any]


def text(name: str = "string", pattern: str = r"[^\x00]+", hint: str = "must be a non-empty string") -> Kind:
    """Return a kind for text that fully matches `pattern`."""
    compiled = re.compile(pattern)

    def parse(value: Any, _textual: bool) -> str:
        if not isinstance(value, str):
            raise RefusalError(f"must be a string, not {_type_name(value)}")
        if compiled.fullmatch(value) is None:
            raise RefusalError(hint)
        return value

    return Kind(name, parse)


def choice(*allowed: str) -> Kind:
    """Return a kind for one of a few words; a near miss is named."""

    def parse(value: Any, _textual: bool) -> str:
        if value in allowed:
            return str(value)
        words = ", ".join(f'"{word}"' for word in allowed)
        raise RefusalError(f"must be one of {words}{did_you_mean(str(value), allowed)}")

    return Kind(" or ".join(f'"{word}"' for word in allowed), parse)


def integer(low: int, high: int, name: str = "integer") -> Kind:
    """Return a kind for a whole number from `low` to `high`, both included."""

    def parse(value: Any, textual: bool) -> int:
        if textual and re.fullmatch(r"[+-]?\d+", str(value)):
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            raise RefusalError(f"must be a whole number, not {_type_name(value)}")
        if not low <= value <= high:
            raise RefusalError(f"must be from {low} to {high}")
        return value

    return Kind(name, parse)


def real(low: float, high: float, name: str = "number") -> Kind:
    """Return a kind for a number from `low` to `high`, both included; whole numbers are numbers too."""

    def parse(value: Any, textual: bool) -> float:
        if textual:
            try:
                value = float(value)
            except ValueError:
                raise RefusalError(f"must be a number from {low:g} to {high:g}") from None
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise RefusalError(f"must be a number, not {_type_name(value)}")
        if not low <= value <= high:  # NaN fails every comparison, so it ends here too
            raise RefusalError(f"must be from {low:g} to {high:g}")
        return float(value)

    return Kind(name, parse)


def seconds(low: float, high: float) -> Kind:
    """Return a kind for a length of time in seconds."""
    return real(low, high, "seconds")


_FLAGS: Final = {
    "true": True,
    "yes": True,
    "on": True,
    "1": True,
    "false": False,
    "no": False,
    "off": False,
    "0": False,
}


def flag() -> Kind:
    """Return a kind for true or false; in the environment yes/no, on/off and 1/0 mean the same."""

    def parse(value: Any, textual: bool) -> bool:
        if textual and str(value).lower() in _FLAGS:
            return _FLAGS[str(value).lower()]
        if not isinstance(value, bool):
            raise RefusalError("must be true or false")
        return value

    return Kind("true or false", parse)


def list_of(item: Kind, *, least: int = 0) -> Kind:
    """Return a kind for a list without repetitions; text is split at commas. The value is a tuple."""

    def parse(value: Any, textual: bool) -> tuple[Any, ...]:
        if textual:
            value = [part.strip() for part in str(value).split(",") if part.strip()]
        if not isinstance(value, list | tuple):
            raise RefusalError(f"must be a list, not {_type_name(value)}")
        if len(value) < least:
            raise RefusalError(f"must have at least {least} item{'' if least == 1 else 's'}")
        parsed = []
        for position, raw in enumerate(value, 1):
            try:
                parsed.append(item.parse(raw, textual))
            except RefusalError as error:
                raise RefusalError(f"item {position} {error}") from None
        if len(set(parsed)) != len(parsed):
            raise RefusalError("must not name anything twice")
        return tuple(parsed)

    return Kind(f"list of {item.name}", parse)


def path() -> Kind:
    """Return a kind for a file path; a relative one starts at the configuration file's folder."""

    def parse(value: Any, _textual: bool) -> Path:
        if not isinstance(value, str | Path) or not str(value) or "\0" in str(value):
            raise RefusalError("must be a path")
        return Path(value)

    return Kind("path", parse)


def is_loopback(host: str) -> bool:
    """Return whether `host` can only be reached from this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def url(*schemes: str, plain_on_loopback: bool = True, secret_user: bool = False) -> Kind:
    """Return a kind for a URL with one of `schemes`; ``http`` is taken too, but only on loopback.

    A trailing slash is dropped. User and password are refused unless `secret_user` is set.
    """
    listed = ", ".join(f"{scheme}://" for scheme in schemes)

    def parse(value: Any, _textual: bool) -> str:
        if not isinstance(value, str):
            raise RefusalError(f"must be a URL, not {_type_name(value)}")
        try:
            parts = urlsplit(value)
            host, _port = parts.hostname, parts.port
        except ValueError as error:
            raise RefusalError(f"is not a URL: {error}") from None
        if parts.scheme not in schemes:
            if parts.scheme != "http" or not plain_on_loopback:
                raise RefusalError(f"must begin with {listed}")
            if not is_loopback(host or ""):
                raise RefusalError(f"must begin with {listed}; plain http:// is accepted on loopback only")
        if not host:
            raise RefusalError("must name a host")
        if re.search(r"\s", value):
            raise RefusalError("must not contain spaces")
        if parts.query or parts.fragment:
            raise RefusalError("must end with its path: no ? and no #")
        if not secret_user and (parts.username is not None or parts.password is not None):
            raise RefusalError("must not contain a user or a password")
        return value.rstrip("/")

    return Kind(f"URL ({', '.join(schemes)})", parse)


def split_host_port(value: str) -> tuple[str, int]:
    """Split ``host:port`` or ``[v6]:port``; port 0 means any. Raises `RefusalError` for others."""
    match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\s:/\[\]]+)):(\d{1,5})", value)
    if match is None or int(match[3]) > 65535:
        raise RefusalError('must look like "host:port" or "[ipv6]:port"')
    return match[1] or match[2], int(match[3])


def bind(*, empty: bool = False) -> Kind:
    """A kind for a place to listen: ``host:port``, ``unix:/path``, ``fd://N``, or ``""`` if `empty`."""

    def parse(value: Any, _textual: bool) -> str:
        if not isinstance(value, str):
            raise RefusalError(f'must look like "host:port", not {_type_name(value)}')
        if (empty and not value) or re.fullmatch(r"unix:/[^\0]+|fd://\d{1,4}", value):
            return value
        try:
            split_host_port(value)
        except ValueError:
            raise RefusalError('must look like "host:port", "unix:/path" or "fd://N"') from None
        return value

    return Kind("host:port", parse)


def is_public_bind(value: str) -> bool:
    """Return whether other machines could reach this bind; who made an ``fd://`` has judged it."""
    if value.startswith(("unix:", "fd://")) or not value:
        return False
    return not is_loopback(split_host_port(value)[0])


def masked_url(value: str | None) -> str:
    """Return `value` for a ``repr``, without its user and password."""
    if value is None:
        return "None"
    parts = urlsplit(value)
    if parts.username is None and parts.password is None:
        return repr(value)
    return repr(urlunsplit(parts._replace(netloc=f"***@{parts.netloc.rpartition('@')[2]}")))


def did_you_mean(name: str, allowed: Sequence[str]) -> str:
    """Return the end of a sentence that names the nearest allowed word, or nothing."""
    near = difflib.get_close_matches(name, allowed, n=1, cutoff=0.6)
    return f', did you mean "{near[0]}"?' if near else ""


def _type_name(value: Any) -> str:
    names = {
        bool: "true or false",
        int: "a whole number",
        float: "a number",
        str: "a string",
        list: "a list",
        dict: "a table",
    }
    return names.get(type(value), f"a {type(value).__name__}")
