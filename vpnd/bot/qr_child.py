"""Draws one QR code: the text on standard input, the PNG on standard output.

Run as `python -m vpnd.bot.qr_child`, never imported by the daemon: drawing costs tens of milliseconds of CPU, which is
a step no event loop should take.
"""

import io
import os
import resource
import sys

import segno

SCALE = 8  # pixels a module: readable from a screen at arm's length
CPU_SECONDS = 5
MEMORY = 512 << 20  # bytes of address space
NICENESS = 10  # a picture costs a tenth of a second of processor time, and whoever presses a button should not wait for it
MAX_TEXT = 2048  # bytes; a QR code cannot hold 3 kB, and our links are below 500 bytes


def draw(text: str) -> bytes:
    """The QR code of `text` as a PNG.

    Raises:
        ValueError: the text is empty or too long for a readable code.
    """
    if not text or len(text.encode()) > MAX_TEXT:
        raise ValueError("nothing to draw, or too much")
    png = io.BytesIO()
    # Level L where the text is long: fewer modules are read sooner by a phone than a denser code with more repair.
    segno.make(text, error="l", boost_error=True, micro=False).save(png, kind="png", scale=SCALE, border=4)
    return png.getvalue()


def main() -> int:
    """Read, draw, write; 0 when the picture was written, 2 when the text cannot be drawn."""
    os.nice(NICENESS)
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    text = sys.stdin.buffer.read(MAX_TEXT + 1).decode(errors="replace")
    try:
        png = draw(text)
    except ValueError:
        return 2
    sys.stdout.buffer.write(png)
    sys.stdout.buffer.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
