"""What comes back from an outgoing request: an answer, or an error that says how much is known."""

from __future__ import annotations

import json as json_module
from collections.abc import Mapping
from typing import Any, ClassVar

from attrs import field, frozen

from vpnd.runtime.redact import redact

__all__ = [
    "FingerprintMismatch",
    "HttpBadBody",
    "HttpBusy",
    "HttpError",
    "HttpResponse",
    "HttpTimeout",
    "HttpUnavailable",
]


class HttpError(Exception):
    """A request that brought no usable answer. A status code is an answer: 404 and 500 do not raise.

    Attributes:
        boundary: who was called.
        operation: what for.
        outcome: the metric label this error is counted under.
    """

    outcome: ClassVar[str] = "error"

    def __init__(self, boundary: str, operation: str, reason: str) -> None:
        super().__init__(f"{boundary} {operation}: {redact(reason)}")
        self.boundary = boundary
        self.operation = operation
        self.reason = redact(reason)


class HttpTimeout(HttpError):
    """The deadline passed. Whether the other side did what was asked is unknown."""

    outcome = "timeout"


class HttpUnavailable(HttpError):
    """The other side could not be reached, or broke the connection or the protocol. A request may have arrived."""

    outcome = "unavailable"


class FingerprintMismatch(HttpUnavailable):
    """The peer's certificate is not the pinned one. Nothing of a request was sent."""


class HttpBusy(HttpError):
    """No place under the limiter in time. Nothing was sent."""

    outcome = "busy"


class HttpBadBody(HttpError):
    """The body is larger than allowed, cannot be decompressed, or is not the JSON it should be."""


@frozen
class HttpResponse:
    """An answer: ``status``, ``headers`` (names in lower case; the last of repeated ones) and the whole ``body``."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    boundary: str = ""
    operation: str = ""

    @property
    def ok(self) -> bool:
        """Whether the status is 2xx."""
        return 200 <= self.status < 300

    def json(self) -> Any:
        """Return the body parsed as JSON. Costs about 10 ms a megabyte on the loop: ask for pages.

        Raises:
            HttpBadBody: it is not JSON.
        """
        try:
            return json_module.loads(self.body)
        except (ValueError, RecursionError) as error:
            # The parser's own message quotes nothing of the body but a position.
            raise HttpBadBody(
                self.boundary, self.operation, f"status {self.status} with a body that is not JSON ({error})"
            ) from None
