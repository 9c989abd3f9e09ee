"""What the pages tell to type: commands that the program and the install script take, and files that are there."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from vpnd import cli

ROOT = Path(__file__).parent.parent
PAGES = {
    page.name: page.read_text("utf-8") for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
}

#: What is in a page's blocks of shell.
BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
#: A path of the repository, as text has it.
PLACE = re.compile(r"`((?:vpnd|tests|bench|docs|contrib)/[\w./-]+)`|\b(tests/[\w./-]+\.py)\b")


def commands(name: str) -> list[str]:
    """The lines of a page's blocks of shell, without comments; a here-document's content is none."""
    found = []
    for block in BLOCK.findall(PAGES[name]):
        text = re.sub(r"<<'END'\n.*?^END$", "", block, flags=re.MULTILINE | re.DOTALL)
        found += [
            line.strip()
            for line in re.sub(r"\s+#.*$", "", text, flags=re.MULTILINE).splitlines()
            if line.strip()
        ]
    return found


@pytest.mark.parametrize("name", [name for name in PAGES if "```sh" in PAGES[name]])
def test_blocks_of_shell_are_shell(name: str) -> None:
    """Each parses: no quote is left open, no word of another shell is in it."""
    for block in BLOCK.findall(PAGES[name]):
        done = subprocess.run(["sh", "-n"], input=block, text=True, capture_output=True, check=False)
        assert done.stderr == "", block


@pytest.mark.parametrize("name", ["install.md", "README.md", "contributing.md"])
def test_commands_of_vpnd_are_taken(name: str) -> None:
    """Every `vpnd …` that a newcomer types is one that the command line knows, with its options."""
    parser = cli._parser()
    seen = 0
    for line in commands(name):
        found = re.search(r"(?:^|\s)(?:\S*/)?vpnd ([a-z-]+.*)$", line)
        if found is None or "--version" in line or "pip " in line or "adduser" in line:
            continue
        words = shlex.split(found[1].partition("|")[0])
        if words[0] in ("run", "init", "migrate", "check-config", "doctor", "status", "node"):
            parser.parse_args(words)
            seen += 1
    assert seen or name != "install.md"


def test_options_of_the_install_script_are_its_own() -> None:
    """The page and the script's own text name no option that it does not take, and its text has all that it takes."""
    script = (ROOT / "contrib" / "install.sh").read_text("utf-8")
    taken = set(re.findall(r"^    (--[a-z-]+)\)", script, re.MULTILINE)) | {"--help"}
    usage = script.partition("set -eu")[0]
    assert taken - {"--help"} <= set(re.findall(r"--[a-z]+(?:-[a-z]+)*", usage))
    for line in commands("install.md"):
        if "install.sh" in line:
            assert set(re.findall(r"--[a-z-]+", line)) <= taken, line


def test_places_that_the_page_for_contributors_names_are_there() -> None:
    """Whoever looks where a new thing goes finds that place."""
    places = [one or other for one, other in PLACE.findall(PAGES["contributing.md"])]
    assert len(places) > 25
    assert [place for place in places if not (ROOT / place).exists()] == []
