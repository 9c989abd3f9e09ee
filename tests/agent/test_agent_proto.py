"""The generated messages and the reading of long answers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vpnd.agent import xray_api_pb2 as api
from vpnd.agent.xray_client import CoreRejected, submessages

ROOM = Path(__file__).parents[2] / "vpnd" / "agent"


def test_the_generated_module_is_that_of_the_proto_file(tmp_path):
    """Nobody edits generated code: generating it again gives the same file."""
    pytest.importorskip(
        "grpc_tools", reason="grpcio-tools is not installed, so the module cannot be generated here"
    )
    command = ["-m", "grpc_tools.protoc", "-I", ROOM, f"--python_out={tmp_path}", ROOM / "xray_api.proto"]
    subprocess.run([sys.executable, *command], check=True, timeout=60)

    assert _code(tmp_path / "xray_api_pb2.py") == _code(ROOM / "xray_api_pb2.py")


def _code(place: Path) -> list[str]:
    """Everything but the generator's version, which another grpcio-tools writes differently."""
    lines = place.read_text().splitlines()
    return [
        line
        for line in lines
        if not line.startswith("#")
        and "Protobuf Python Version" not in line
        and not line.strip().rstrip(",").isdecimal()
    ]


@given(st.lists(st.tuples(st.text(max_size=20), st.integers(0, 2**62))))
def test_a_list_is_read_piece_by_piece(stats):
    """The pieces of a long answer are what protobuf itself reads at once."""
    answer = api.QueryStatsResponse(stat=[api.Stat(name=name, value=value) for name, value in stats])
    pieces = [api.Stat.FromString(piece) for piece in submessages(answer.SerializeToString())]

    assert [(piece.name, piece.value) for piece in pieces] == stats


@given(st.binary(max_size=200))
def test_garbage_ends_in_an_error_or_in_pieces(data):
    """No answer, however broken, makes the reader fail in another way or run for ever."""
    try:
        list(submessages(data))
    except CoreRejected:
        pass
