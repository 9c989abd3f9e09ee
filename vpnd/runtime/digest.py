"""How a set of credentials is summed up, so that a database and a node compare 256 numbers instead of everything.

A member falls into one of 256 buckets by the first byte of ``md5(name)``; its value is the first fifteen hexadecimal
digits of ``md5("name:uuid:version:active")``, with ``1`` or ``0`` for active. A bucket is known by how many members
it has and by the plain sum of their values. Sums, unlike a hash over a sorted list, can be kept up to date by adding
the new value and taking off the old one, and SQL computes the same number with ``md5``, ``substr`` and ``sum``.

md5 guards nothing here: it only spreads. Whoever could craft a collision already holds the node's token.
"""

import hashlib
from typing import Final

#: Number of buckets; the first byte of a digest chooses one.
BUCKETS: Final = 256


def bucket_of(name: str) -> int:
    """Return the bucket, 0 to 255, in which the credential `name` is counted."""
    return hashlib.md5(name.encode(), usedforsecurity=False).digest()[0]


def member_value(name: str, uuid: str, version: int, active: bool) -> int:
    """Return what a credential adds to its bucket's sum: below 2**60; `uuid` in its canonical lower case."""
    text = f"{name}:{uuid}:{version}:{'1' if active else '0'}"
    return int(hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()[:15], 16)
