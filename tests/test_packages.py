"""What is released: a source distribution that is the whole checkout, and a wheel that is the whole program."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]

#: What work in a checkout leaves there.
LEFT_OUT = (".*_cache", "__pycache__", "*.egg-info", "*.py[cod]", ".DS_Store")
#: The folders and files that make a checkout.
PARTS = ("bench", "contrib", "docs", "tests", "vpnd", ".ci/run", "CHANGELOG.md", "LICENSE", "MANIFEST.in",
         "README.md", "dev", "pyproject.toml", "setup.cfg")  # fmt: skip


def checkout_of(parent: Path) -> Path:
    """A copy of this checkout, as a clone has it."""
    copy = parent / "checkout"
    for part in PARTS:
        source, target = ROOT / part, copy / part
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns(*LEFT_OUT))
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
    return copy


def build(kind: str, source: Path, folder: Path) -> Path:
    """Have the build backend make a package of `source`, as `pip` and `pipx` do."""
    folder.mkdir(exist_ok=True)
    script = f"import sys, setuptools.build_meta as backend; backend.build_{kind}(sys.argv[1])"
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script, folder], cwd=source, check=True, capture_output=True
    )
    return next(folder.iterdir())


def files_of(folder: Path) -> dict[str, bytes]:
    """The files below a folder, by their path in it."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def test_the_packages_are_whole(tmp_path: Path) -> None:
    """A source distribution has each file of the checkout, above all script, units and locks, and what must be executable is;
    a wheel that is built from it has each file of the program, and nothing else."""
    checkout = checkout_of(tmp_path)
    before = files_of(checkout)
    (tmp_path / "unpacked").mkdir()
    subprocess.run(
        ["tar", "-xzf", build("sdist", checkout, tmp_path / "sdist"), "-C", tmp_path / "unpacked"], check=True
    )
    (unpacked,) = (tmp_path / "unpacked").iterdir()
    there = files_of(unpacked)
    # setuptools writes what it was told on the command line into setup.cfg.
    missing = {name for name, data in before.items() if name != "setup.cfg" and there.get(name) != data}
    assert missing == set()
    for name in ("dev", "contrib/install.sh", ".ci/run"):
        assert (unpacked / name).stat().st_mode & 0o111, name

    with zipfile.ZipFile(build("wheel", unpacked, tmp_path / "wheel")) as wheel:
        packed = {name: wheel.read(name) for name in wheel.namelist() if ".dist-info/" not in name}
    program = {name: data for name, data in before.items() if name.startswith("vpnd/")}
    assert packed == program
