"""A real Prometheus beside a whole world: it scrapes daemon and node, and every query of the dashboards brings data."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import trio
from promql_kit import PROMETHEUS
from world_kit import a_world, eventually

from vpnd.sandbox.ports import free_port
from vpnd.sandbox.tour import Tour, play
from vpnd.sandbox.world import World

sys.path.insert(0, str(Path(__file__).parents[1]))
from test_contrib_grafana import NAMES, queries

RULES = Path(__file__).parents[2] / "contrib" / "prometheus" / "vpnd.rules.yml"

pytestmark = [
    pytest.mark.world,
    pytest.mark.prometheus,
    pytest.mark.skipif(PROMETHEUS is None, reason="needs Debian's prometheus"),
]


def configuration(world: World) -> str:
    """What docs/operations.md has an operator write, for this world; JSON is YAML."""
    assert world.node is not None
    return json.dumps(
        {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(RULES)],
            "scrape_configs": [
                {
                    "job_name": "vpnd",
                    "static_configs": [{"targets": [urlsplit(world.metrics_url).netloc]}],
                },
                {
                    "job_name": "vpnd-node",
                    "scheme": "https",
                    "authorization": {"credentials": world.node.token.reveal()},
                    "tls_config": {"insecure_skip_verify": True},
                    "static_configs": [{"targets": [urlsplit(world.node.url).netloc]}],
                },
            ],
        }
    )


async def ask(client: httpx.AsyncClient, query: str) -> list[Any]:
    """Run one query now."""
    answer = (await client.get("/api/v1/query", params={"query": query})).json()
    assert answer["status"] == "success", (query, answer)
    found: list[Any] = answer["data"]["result"]
    return found


async def test_every_query_brings_data_after_a_tour(tmp_path: Path) -> None:
    """Both targets are up, the rules load without a fault, and no panel of a dashboard is empty."""
    async with a_world(mode="webhook") as (world, _), trio.open_nursery() as nursery:
        await world.start_daemon()
        port = free_port()
        (tmp_path / "prometheus.yml").write_text(configuration(world))
        program = [
            "prometheus",
            f"--config.file={tmp_path / 'prometheus.yml'}",
            f"--storage.tsdb.path={tmp_path / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
            "--log.level=error",
        ]
        # It gets its end from the nursery: SIGTERM to this one process.
        nursery.start_soon(partial(trio.run_process, program, check=False, stderr=subprocess.DEVNULL))
        with trio.fail_after(60):
            await play(world, Tour(write=lambda _line: None))
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:

            async def scraped() -> bool:
                seen = await ask(
                    client, "min(count_over_time(up[1m])) >= 5 and min(up) == 1 and count(up) == 2"
                )
                return bool(seen)

            await eventually("both targets were scraped five times", scraped)
            groups = (await client.get("/api/v1/rules")).json()["data"]["groups"]
            rules = [rule for group in groups for rule in group["rules"]]
            assert len(rules) > 40
            assert [rule["lastError"] for rule in rules if rule.get("lastError")] == []
            empty = [query for name in NAMES for query in queries(name) if not await ask(client, query)]
        nursery.cancel_scope.cancel()

    assert empty == []
