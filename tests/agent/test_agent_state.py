"""The durable copy: versions, epochs, sums, and what a kill leaves."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
from functools import partial
from pathlib import Path

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vpnd.agent.model import BadRequest, Credential, Push
from vpnd.agent.state import EpochMismatch, State, StateError, open_state
from vpnd.runtime.digest import BUCKETS, bucket_of, member_value


def uuid(number: int) -> str:
    return f"{number:08x}-0000-4000-8000-000000000000"


def credential(name: str, number: int = 1, version: int = 1, *, active: bool = True) -> Credential:
    return Credential(name, uuid(number), version, active)


def push(*changes: Credential, epoch: str = "e", seq: int = 1, adopt: bool = False) -> Push:
    return Push(epoch, seq, adopt, changes)


def sums(credentials) -> list[tuple[int, int]]:
    rows = [(0, 0)] * BUCKETS
    for c in credentials:
        count, total = rows[bucket_of(c.name)]
        rows[bucket_of(c.name)] = (count + 1, total + member_value(c.name, c.uuid, c.version, c.active))
    return rows


async def everything(state) -> dict[str, Credential]:
    return {c.name: c for c in await state.members(range(BUCKETS))}


async def test_only_a_newer_version_is_applied(tmp_path):
    """Order, repeats and gaps cannot hurt: the newest version wins, whatever arrives when."""
    async with open_state(tmp_path) as state:
        await state.apply(push(credential("a", version=5), adopt=True))
        late = await state.apply(
            push(credential("a", version=4, active=False), credential("a", version=5, active=False))
        )
        held = (await everything(state))["a"]
        newer = await state.apply(push(credential("a", version=9, active=False)))

        assert late.ignored == 2
        assert late.changed == ()
        assert held == credential("a", version=5)
        assert newer.changed == ("a",)
        assert newer.cut == {"a"}


async def test_a_tombstone_refuses_an_old_on(tmp_path):
    """A removed credential is kept with its version, or a late "on" would bring it back."""
    async with open_state(tmp_path) as state:
        await state.apply(push(credential("a", version=3, active=False), adopt=True))
        await state.apply(push(credential("a", version=2)))

        assert await state.active_page("") == []


async def test_of_one_push_the_newest_version_of_a_name_counts(tmp_path):
    """A name may stand in a push more than once; the rest is ignored."""
    async with open_state(tmp_path) as state:
        applied = await state.apply(
            push(credential("a", version=2), credential("a", version=3, active=False), adopt=True)
        )

        assert applied.ignored == 1
        assert (await everything(state))["a"].version == 3


async def test_another_epoch_is_refused_until_it_is_adopted(tmp_path):
    """A fresh copy follows nothing yet, so even the first epoch has to be adopted: a wiped node must be compared."""
    async with open_state(tmp_path) as state:
        with pytest.raises(EpochMismatch) as fresh:
            await state.apply(push(credential("a")))
        await state.apply(push(credential("a"), seq=7, adopt=True))
        with pytest.raises(EpochMismatch) as other:
            await state.apply(push(credential("a", version=2), epoch="f"))
        adopted = await state.apply(push(epoch="f", seq=2, adopt=True))

        assert fresh.value.epoch is None
        assert other.value.epoch == "e"
        assert (adopted.epoch, adopted.seq) == ("f", 2)


async def test_the_watermark_never_goes_back_within_an_epoch(tmp_path):
    """A repeated push with a lower number changes nothing."""
    async with open_state(tmp_path) as state:
        await state.apply(push(seq=9, adopt=True))
        applied = await state.apply(push(seq=4))

        assert applied.seq == 9


async def test_a_new_epoch_may_bring_lower_versions(tmp_path):
    """After a restore the database's versions went back; it still decides, and only once a row."""
    async with open_state(tmp_path) as state:
        await state.apply(push(credential("a", version=8), adopt=True))
        await state.apply(push(credential("a", version=6, active=False), epoch="f", adopt=True))
        lower = await everything(state)
        await state.apply(push(credential("a", version=5), epoch="f", adopt=True))

        assert lower["a"] == credential("a", version=6, active=False)
        assert await everything(state) == lower


async def test_one_uuid_is_one_active_credential(tmp_path):
    """The core would lock the first out; a uuid that differs only in bytes 6 and 7 is the same to it."""
    near = Credential("b", uuid(1).replace("-4000-", "-4abc-"), 1, active=True)
    async with open_state(tmp_path) as state:
        await state.apply(push(credential("a", 1), adopt=True))
        with pytest.raises(BadRequest):
            await state.apply(push(near))
        before = await everything(state)
        await state.apply(push(credential("a", 1, version=2, active=False), near))

        assert set(before) == {"a"}
        assert (await everything(state))["b"].active


async def test_a_new_uuid_cuts_the_old_one_off(tmp_path):
    """Whoever held the old uuid of a name must not stay connected with it."""
    async with open_state(tmp_path) as state:
        await state.apply(push(credential("a", 1), adopt=True))
        applied = await state.apply(push(credential("a", 2, version=2)))

        assert applied.changed == ("a",)
        assert applied.cut == {"a"}


CHANGES = st.builds(
    Credential,
    name=st.sampled_from(["a", "b", "c", "d"]),
    uuid=st.integers(1, 10**6).map(uuid),
    version=st.integers(1, 6),
    active=st.booleans(),
)
PUSHES = st.builds(
    Push,
    st.sampled_from(["e", "f"]),
    st.integers(0, 9),
    st.booleans(),
    st.lists(CHANGES, max_size=6).map(tuple),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(PUSHES, max_size=12))
def test_any_pushes_leave_what_the_rules_say(tmp_path_factory, pushes):
    """Against a plain model: rows, sums and watermark agree after every push, and again after reopening."""
    folder = tmp_path_factory.mktemp("state")
    rows: dict[str, tuple[Credential, int]] = {}
    epoch, seq, era = None, 0, 0

    async def play() -> None:
        nonlocal epoch, seq, era
        async with open_state(folder) as state:
            for one in pushes:
                if epoch != one.epoch and not one.adopt:
                    with pytest.raises(EpochMismatch):
                        await state.apply(one)
                    continue
                try:
                    applied = await state.apply(one)
                except BadRequest:
                    continue  # two names drew one uuid
                seq, era = (max(seq, one.seq), era) if epoch == one.epoch else (one.seq, era + 1)
                epoch = one.epoch
                newest: dict[str, Credential] = {}
                for c in one.changes:
                    if c.name not in newest or c.version > newest[c.name].version:
                        newest[c.name] = c
                for c in newest.values():
                    held = rows.get(c.name)
                    if held is None or c.version > held[0].version or (held[1] != era and held[0] != c):
                        rows[c.name] = (c, era)
                assert (applied.epoch, applied.seq) == (epoch, seq)
                assert await state.buckets() == sums(c for c, _ in rows.values())
        async with open_state(folder) as state:
            watermark = await state.watermark()
            assert (watermark.epoch, watermark.seq) == (epoch, seq)
            assert await everything(state) == {name: c for name, (c, _) in rows.items()}
            assert await state.buckets() == sums(c for c, _ in rows.values())

    trio.run(play)


async def test_long_lists_come_in_pages(tmp_path):
    """No page is longer than its bound, and the pages together are everything."""
    many = tuple(credential(f"s{n:05d}", n + 1) for n in range(4500))
    async with open_state(tmp_path) as state:
        await state.apply(push(*many, adopt=True))
        revision, pages = await state.active_snapshot()

        assert revision == 1
        assert [len(page) for page in pages] == [2000, 2000, 500]
        assert [c for page in pages for c in page] == list(many)
        assert len(await state.read([c.name for c in many])) == 4500


async def test_two_agents_cannot_share_a_copy(tmp_path):
    """The second one is refused before it reads anything."""
    async with open_state(tmp_path):
        with pytest.raises(StateError, match="another agent"):
            async with open_state(tmp_path):
                pass


async def test_a_newer_format_is_not_touched(tmp_path):
    """A copy written by a newer program is left as it is."""
    async with open_state(tmp_path):
        pass
    connection = sqlite3.connect(tmp_path / "credentials.sqlite")
    connection.execute("pragma user_version = 99")
    connection.close()

    with pytest.raises(StateError, match="newer"):
        async with open_state(tmp_path):
            pass


async def test_the_copy_is_private(tmp_path):
    """Credentials are for the agent's eyes only."""
    folder = tmp_path / "state"
    async with open_state(folder):
        assert folder.stat().st_mode & 0o777 == 0o700
        assert (folder / "credentials.sqlite").stat().st_mode & 0o777 == 0o600


async def test_a_kill_loses_nothing_that_was_applied(tmp_path):
    """A process killed with SIGKILL right after `apply` returned has its push on the disk."""
    program = textwrap.dedent(f"""
        import os, signal, trio
        from pathlib import Path
        from vpnd.agent.model import Credential, Push
        from vpnd.agent.state import open_state
        async def main():
            async with open_state(Path({str(tmp_path)!r})) as state:
                change = Credential("a", {uuid(1)!r}, 3, True)
                await state.apply(Push("e", 12, True, (change,)))
                os.kill(os.getpid(), signal.SIGKILL)
        trio.run(main)
    """)
    ended = await trio.to_thread.run_sync(
        partial(subprocess.run, [sys.executable, "-c", program], env=dict(os.environ), timeout=30)
    )
    async with open_state(tmp_path) as state:
        watermark = await state.watermark()

        assert ended.returncode == -signal.SIGKILL
        assert (watermark.epoch, watermark.seq, watermark.active) == ("e", 12, 1)


async def test_the_number_of_those_who_are_on_is_kept(tmp_path: Path) -> None:
    """Counted once and then kept up to date: over pushes, refused ones, a restart, and changes behind our back."""
    first, second = (
        "00000000-0000-4000-8000-000000000001",
        "00000000-0000-4000-8000-000000000002",
    )

    async def on(state: State) -> int:
        counted = state._connection.execute("select count(*) from credentials where active").fetchone()[0]
        assert (await state.watermark()).active == counted
        return int(counted)

    async with open_state(tmp_path) as state:
        assert await on(state) == 0
        await state.apply(Push("e", 1, adopt=True, changes=(Credential("a", first, 1, active=True),)))
        assert await on(state) == 1
        with pytest.raises(BadRequest):
            await state.apply(Push("e", 2, adopt=False, changes=(Credential("b", first, 1, active=True),)))
        assert await on(state) == 1
        both = (Credential("a", first, 2, active=False), Credential("b", second, 1, active=True))
        await state.apply(Push("e", 3, adopt=False, changes=both))
        await state.apply(Push("e", 3, adopt=False, changes=both))
        assert await on(state) == 1
    async with open_state(tmp_path) as state:
        assert await on(state) == 1
        state._connection.execute("delete from credentials")
        assert await on(state) == 0
