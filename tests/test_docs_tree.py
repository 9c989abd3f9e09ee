"""The picture of the nursery tree is the one that the code's child specs make."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parent.parent / "docs" / "images" / "nursery_tree.py"


@pytest.fixture(scope="module")
def drawing() -> Any:
    """The script that draws it."""
    spec = importlib.util.spec_from_file_location("nursery_tree", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["nursery_tree"] = module  # its dataclasses look for it there
    spec.loader.exec_module(module)
    return module


def test_the_picture_is_up_to_date(drawing: Any) -> None:
    """Whoever changes the tree draws it anew: ./dev python docs/images/nursery_tree.py."""
    assert drawing.PICTURE.read_text("utf-8") == drawing.written()


def test_every_child_is_told_of_and_nobody_else(drawing: Any) -> None:
    """A child without its sentence, or a sentence of a child that is gone, is found."""
    specs, _ = drawing.children()

    assert {child.name for child in drawing.grouped(specs)} == set(drawing.SAYS)


def test_the_house_is_the_one_that_stands() -> None:
    """docs/architecture.md names each room of the program, and none that is not there."""
    root = SCRIPT.parents[2]
    page = (root / "docs" / "architecture.md").read_text("utf-8")
    house = page.partition("\n## The house\n")[2].partition("```\n")[2].partition("```")[0]
    named = {
        word for line in house.splitlines() for word in line.partition("   ")[0].split() if len(word) > 1
    }
    stand = {f"{path.parent.name}/" for path in (root / "vpnd").glob("*/__init__.py")}

    assert named == stand | {"cli.py"}
