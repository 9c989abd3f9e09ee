"""PTB's own httpx transport, for places where the Bot API is only reached through a proxy.

It is slower by a factor of three than `vpnd.telegram.transport.DirectRequest`, and there is no reason to write proxy protocols
ourselves for that. The same guards stand around it.
"""

from __future__ import annotations

import logging
from time import perf_counter
from typing import Any, Final

import telegram.error as ptb
from telegram.request import BaseRequest, HTTPXRequest, RequestData

from vpnd.runtime.held import refuse_if_held
from vpnd.runtime.redact import redact, register_secret
from vpnd.telegram.errors import TransportFailure, TransportTimeout
from vpnd.telegram.transport import (
    CONNECT_TIMEOUT,
    CONNECTIONS,
    POOL_TIMEOUT,
    READ_TIMEOUT,
    WRITE_TIMEOUT,
    observe,
)

__all__ = ["ProxiedRequest"]

# What httpx says when the request cannot have left as a whole.
_NEVER_LEFT: Final = (
    "ConnectError",
    "ConnectTimeout",
    "PoolTimeout",
    "ProxyError",
    "WriteError",
    "WriteTimeout",
)


class ProxiedRequest(HTTPXRequest):
    """PTB's HTTPXRequest with our guards, metrics and errors.

    Args:
        proxy: `http://`, `https://` or `socks5://` URL, with user and password if need be.
        connections: most connections open at once.
    """

    __slots__ = ()

    def __init__(self, proxy: str, *, connections: int = CONNECTIONS) -> None:
        register_secret(proxy)
        # httpx logs every URL at INFO, the bot's token included.
        for name in ("httpx", "httpcore"):
            logging.getLogger(name).setLevel(logging.WARNING)
        super().__init__(
            connection_pool_size=connections,
            proxy=proxy,
            read_timeout=READ_TIMEOUT,
            write_timeout=WRITE_TIMEOUT,
            connect_timeout=CONNECT_TIMEOUT,
            pool_timeout=POOL_TIMEOUT,
            # The daemon's environment says nothing about the proxy; the configuration does.
            httpx_kwargs={"trust_env": False},
        )

    async def do_request(
        self,
        url: str,
        method: str,
        request_data: RequestData | None = None,
        read_timeout: Any = BaseRequest.DEFAULT_NONE,
        write_timeout: Any = BaseRequest.DEFAULT_NONE,
        connect_timeout: Any = BaseRequest.DEFAULT_NONE,
        pool_timeout: Any = BaseRequest.DEFAULT_NONE,
    ) -> tuple[int, bytes]:
        """Send one request and return status and body; see `DirectRequest.do_request`."""
        refuse_if_held("a call of the Bot API")
        operation = "getFile" if method == "GET" else url.rpartition("/")[2]
        began = perf_counter()
        outcome = "cancelled"
        try:
            status, body = await super().do_request(
                url, method, request_data, read_timeout, write_timeout, connect_timeout, pool_timeout
            )
            outcome = "ok" if status < 400 else "4xx" if status < 500 else "5xx"
        except ptb.NetworkError as error:
            late = isinstance(error, ptb.TimedOut)
            outcome = "timeout" if late else "unavailable"
            kind = TransportTimeout if late else TransportFailure
            cause = type(error.__cause__).__name__
            raise kind(f"through the proxy: {redact(cause)}", maybe_sent=cause not in _NEVER_LEFT) from None
        finally:
            observe(operation, outcome, perf_counter() - began)
        return status, body
