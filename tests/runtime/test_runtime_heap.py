"""The collector is kept from looking at what never becomes garbage."""

from __future__ import annotations

import ctypes
import gc
import linecache
import subprocess
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from attrs import field, frozen, validators

from vpnd.runtime.heap import forget_sources, settle_heap, trim_heap


@pytest.fixture
def thawed() -> Iterator[None]:
    """Give the collector everything back afterwards: other tests count on it."""
    thresholds = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*thresholds)


def test_what_exists_is_out_of_sight_and_garbage_is_not_kept(thawed: None) -> None:
    """Cycles that are garbage already are collected, not frozen; what lives is not looked at again."""
    cycle: list[object] = []
    cycle.append(cycle)
    kept = [cycle]
    del cycle, kept
    lives = [[]]
    settle_heap()
    assert gc.get_freeze_count() > 0
    assert not any(found is lives for found in gc.get_objects())
    assert gc.collect() < 100


def test_what_only_a_debugger_reads_is_dropped(thawed: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The text of methods that attrs wrote goes, files' lines stay, and an error in such a method is still told."""

    @frozen
    class Positive:
        value: int = field(validator=validators.gt(0))

    monkeypatch.setattr(linecache, "cache", dict(linecache.cache))
    linecache.getlines(__file__)
    assert any(name.startswith("<attrs generated ") for name in linecache.cache)
    settle_heap()

    assert not any(name.startswith("<attrs generated ") for name in linecache.cache)
    assert __file__ in linecache.cache
    with pytest.raises(ValueError, match="value") as told:
        Positive(0)
    assert "Positive" in "".join(traceback.format_exception(told.value))


def test_sources_of_tracebacks_do_not_add_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A few stay for the next traceback; when they have become many, all go, and their lines can be read again."""
    monkeypatch.setattr(linecache, "cache", {})
    small, large = tmp_path / "small.py", tmp_path / "large.py"
    small.write_text("a = 1\n" * 10)
    large.write_text("b = 2\n" * 100_000)

    linecache.getline(str(small), 3)
    forget_sources()
    assert str(small) in linecache.cache
    linecache.getline(str(large), 3)
    forget_sources()
    assert not linecache.cache
    assert linecache.getline(str(small), 3) == "a = 1\n"


#: A burst of large pieces, of which some stay; then how much of what was freed is still resident, in MB.
_BURST = """
import sys, psutil
from vpnd.runtime.heap import hoard_nothing
if sys.argv[1] == "told":
    hoard_nothing()
process = psutil.Process()
del (first := [bytearray(16 << 20)])[:]
before = process.memory_info().rss
pieces = [bytes(200_000).replace(b"\\0", b"x") for _ in range(300)]
kept = pieces[::10]
del pieces
print((process.memory_info().rss - before - sum(map(len, kept))) >> 20)
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="the C library cannot be told")
def test_large_pieces_are_not_kept() -> None:
    """Told so, the C library keeps nothing of a burst; left alone it keeps nearly all of it for the pieces between."""

    def left(how: str) -> int:
        command = [sys.executable, "-c", _BURST, how]
        return int(subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout)

    assert left("told") <= 4
    assert left("alone") > 20


def test_free_memory_goes_back() -> None:
    """What a burst has used and freed, in pieces between pieces in use, is resident no more; and asking twice does no harm."""
    megabyte = 1 << 20
    process = psutil.Process()
    pieces = [bytes(100_000) for _ in range(600)]
    kept = pieces[::6]
    del pieces
    full = process.memory_info().rss
    trim_heap()
    trim_heap()
    assert len(kept) == 100
    assert process.memory_info().rss <= full
    assert full - process.memory_info().rss > 10 * megabyte or not hasattr(ctypes.CDLL(None), "malloc_trim")
