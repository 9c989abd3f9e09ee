"""Somebody else's site with TLS 1.3, at port 443 of every address: `site.py NAME CERTIFICATE`. Runs inside the booted system.

Its certificate is written where it is said, for whoever is to trust it.
"""

from __future__ import annotations

import ssl
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import trio

from vpnd.sandbox.targets import make_certificate

PAGE = b"An ordinary site.\n"
ANSWER = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(PAGE), PAGE)


async def main(name: str, place: Path) -> None:
    """Serve until killed."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.set_alpn_protocols(["h2", "http/1.1"])
    with TemporaryDirectory() as folder:
        certificate, key = make_certificate(name, Path(folder))
        context.load_cert_chain(certificate, key)
        place.write_bytes(certificate.read_bytes())

        async def serve(stream: trio.SocketStream) -> None:
            secured = trio.SSLStream(stream, context, server_side=True, https_compatible=True)
            try:
                if await secured.receive_some(4096):
                    await secured.send_all(ANSWER)
                    await secured.aclose()
            except (trio.BrokenResourceError, ssl.SSLError):
                pass  # who only looks at the certificate hangs up

        await trio.serve_tcp(serve, 443)


if __name__ == "__main__":
    trio.run(main, sys.argv[1], Path(sys.argv[2]))
