"""A whole node with the real Xray core, customers' apps made of the same core, and a daemon's client. All on loopback."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import textwrap
from functools import partial

import attrs
import psutil
import pytest
import trio
from agent_world import (
    EPOCH,
    NODE_IP,
    Download,
    agent_settings,
    node,
    node_client,
    person,
    turned_off,
    until,
    world,
)

from vpnd.agent import cutoff, main
from vpnd.agent.core import CoreState
from vpnd.agent.core_program import CoreMissing
from vpnd.agent.model import Push
from vpnd.agent.service import run_node
from vpnd.agent.xray_client import InboundUnknown, Operation, UserExists, UserUnknown
from vpnd.config import Secret
from vpnd.nodes.client import NodeEpochMismatch, NodeRefused, NodeUnavailable
from vpnd.nodes.model import digest
from vpnd.runtime.http import open_http_client
from vpnd.runtime.journal import capture
from vpnd.runtime.limits import Limits
from vpnd.runtime.sdnotify import service_manager
from vpnd.runtime.service import Service
from vpnd.sandbox.client_core import fetch_through
from vpnd.sandbox.targets import DECOY_PAGE, PAGE, open_targets

pytestmark = pytest.mark.core


@pytest.fixture
def _may_destroy():
    hindrance = cutoff.probe()
    if hindrance:
        pytest.skip(f"sockets cannot be destroyed here: {hindrance}")


@pytest.mark.parametrize("tag", ["reality", "tls"])
async def test_a_customer_gets_in_is_counted_and_is_turned_away(tmp_path, tag):
    """Refused before, in at once after the acknowledgement, counted to the byte, refused again after."""
    async with world(tmp_path) as running:
        customer = person("alice")
        await running.push(adopt=True)
        async with running.app(customer, "127.0.0.3", tag) as socks:
            before = await fetch_through(socks, running.targets.page_url)
            await running.push(customer)
            during = await fetch_through(socks, running.targets.page_url)
            # The core counts a piece before it hands it on, so the page that has arrived is counted.
            usage = await running.client.usage()
            await running.push(turned_off(customer))
            after = await fetch_through(socks, running.targets.page_url)

        assert (before, during, after) == (None, PAGE, None)
        assert len(PAGE) < usage.counters["alice"][1] < len(PAGE) + 1000
        assert usage.boot_id == running.core.current.boot_id


async def test_strangers_at_the_reality_door_see_the_decoy(tmp_path):
    """Somebody who knocks with plain TLS finds an ordinary site."""
    async with world(tmp_path) as running:
        port = running.core.doors.ports["reality"]
        stream = await trio.open_ssl_over_tcp_stream(NODE_IP, port, ssl_context=_no_questions())
        async with stream:
            await stream.send_all(b"GET / HTTP/1.1\r\nHost: www.example.com\r\n\r\n")
            seen = b""
            while DECOY_PAGE not in seen and (piece := await stream.receive_some()):
                seen += piece

        assert DECOY_PAGE in seen


def _no_questions():
    import ssl

    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["http/1.1"])
    return context


@pytest.mark.usefixtures("_may_destroy")
async def test_a_cut_ends_his_download_and_not_his_neighbours(tmp_path):
    """The open download over Vision and TLS 1.3 is dead when the node says so; another address goes on undisturbed."""
    async with world(tmp_path) as running:
        alice, bob = person("alice"), person("bob")
        await running.push(alice, bob, adopt=True)
        async with running.app(alice, "127.0.0.3") as hers, running.app(bob, "127.0.0.4") as his:
            async with trio.open_nursery() as nursery:
                her_download = Download(hers, running.targets.secure_drip_url)
                his_download = Download(his, running.targets.secure_drip_url)
                for download in (her_download, his_download):
                    nursery.start_soon(download.run)
                    await download.flowing.wait()
                result = await running.push(turned_off(alice))
                with trio.fail_after(2):
                    await her_download.ended.wait()
                his_goes_on = await his_download.goes_on()
                online = await running.core.current.client.online()
                nursery.cancel_scope.cancel()
            (removed,) = result.removed

            assert (removed.name, removed.how, removed.online_ips) == ("alice", "sockets", 1)
            assert removed.sockets >= 1
            assert his_goes_on
            assert set(online) == {"bob"}
            assert await fetch_through(hers, running.targets.page_url) is None
            assert running.core.restarts == 0


async def test_without_the_capability_the_core_restarts_and_the_rest_come_back(tmp_path, monkeypatch):
    """The download ends with the core; the neighbour's app connects again, the removed one's cannot."""
    monkeypatch.setattr(main.cutoff, "probe", lambda: "taken away for this test")
    monkeypatch.setattr("vpnd.agent.core.RESTART_GAP", 0.0)
    async with world(tmp_path) as running:
        alice, bob = person("alice"), person("bob")
        await running.push(alice, bob, adopt=True)
        async with running.app(alice, "127.0.0.3") as hers, running.app(bob, "127.0.0.4") as his:
            async with trio.open_nursery() as nursery:
                download = Download(hers, running.targets.secure_drip_url)
                nursery.start_soon(download.run)
                await download.flowing.wait()
                result = await running.push(turned_off(alice))
                with trio.fail_after(2):
                    await download.ended.wait()

            assert (await running.client.status()).cut == "restart"
            assert result.removed[0].how == "restart"
            assert running.core.restarts == 1
            assert await fetch_through(hers, running.targets.page_url) is None
            assert await fetch_through(his, running.targets.page_url) == PAGE


async def test_a_killed_core_comes_back_with_everybody(tmp_path):
    """No moment without users: the new core is born with the whole list, and its counters have a new name."""
    async with world(tmp_path) as running:
        customers = [person(f"s{n}") for n in range(50)]
        await running.push(*customers, adopt=True)
        first = running.core.current
        async with running.app(customers[7], "127.0.0.3") as socks:
            assert await fetch_through(socks, running.targets.page_url) == PAGE
            (core,) = (
                c for c in psutil.Process().children() if "core_wheel" in " ".join(c.cmdline()) and _serves(c)
            )
            os.kill(core.pid, signal.SIGKILL)
            with trio.fail_after(10):
                await first.lost.wait()
                second = await running.core.running()
            assert await fetch_through(socks, running.targets.page_url) == PAGE

        status = await running.client.status()
        assert await second.client.count("reality") == await second.client.count("tls") == 50
        assert (status.core.state, status.core.restarts) == ("running", 1)
        assert second.boot_id != first.boot_id


def _serves(process: psutil.Process) -> bool:
    return any(
        c.laddr and c.laddr.ip == NODE_IP and c.status == psutil.CONN_LISTEN
        for c in process.net_connections("inet")
    )


async def test_many_changes_at_once_leave_open_connections_alone(tmp_path):
    """Two thousand new customers in one push: a new list for each door, and the download doesn't notice."""
    async with world(tmp_path) as running:
        alice = person("alice")
        await running.push(alice, adopt=True)
        async with running.app(alice, "127.0.0.3") as socks, trio.open_nursery() as nursery:
            download = Download(socks, running.targets.secure_drip_url)
            nursery.start_soon(download.run)
            await download.flowing.wait()
            crowd = [person(f"s{n:04d}") for n in range(2000)]
            result = await running.push(*crowd)
            users = await running.core.current.client.users("reality")
            goes_on = await download.goes_on()
            page = await fetch_through(socks, running.targets.page_url)
            nursery.cancel_scope.cancel()

        assert result.applied == 2000
        assert users == {c.name: c.uuid for c in [alice, *crowd]}
        assert goes_on
        assert page == PAGE
        assert running.core.restarts == 0


@pytest.mark.usefixtures("_may_destroy")
async def test_many_removals_at_once_cut_those_who_are_connected(tmp_path):
    """In bulk, too, off means off."""
    async with world(tmp_path) as running:
        crowd = [person(f"s{n:04d}") for n in range(1500)]
        await running.push(*crowd, adopt=True)
        async with running.app(crowd[3], "127.0.0.3") as socks, trio.open_nursery() as nursery:
            download = Download(socks, running.targets.secure_drip_url)
            nursery.start_soon(download.run)
            await download.flowing.wait()
            result = await running.push(*(turned_off(c) for c in crowd))
            with trio.fail_after(2):
                await download.ended.wait()

        how = {removed.name: removed.how for removed in result.removed}
        assert len(how) == 1500
        assert how["s0003"] == "sockets"
        assert set(how.values()) == {"sockets", "none"}
        assert await running.core.current.client.count("tls") == 0


async def test_the_comparison_finds_what_somebody_did_to_the_core(tmp_path):
    """A user added behind the agent's back is cut off, one taken away comes back."""
    async with world(tmp_path) as running:
        alice = person("alice")
        await running.push(alice, adopt=True)
        client = running.core.current.client
        stranger = person("stranger")
        await client.add_user("tls", "stranger", stranger.uuid)
        await client.remove_user("reality", "alice")
        reconciler = running.standing.reconciler
        found = await reconciler.compare()

        assert found == {"alice", "stranger"}
        assert await client.users("reality") == await client.users("tls") == {"alice": alice.uuid}
        assert await reconciler.compare() == set()


async def test_the_cores_answers_have_names(tmp_path):
    """Its sentences become exceptions, and its empty answer for an unknown name becomes None."""
    async with world(tmp_path) as running:
        client = running.core.current.client
        one = person("alice")
        await client.add_user("tls", "alice", one.uuid)
        outcomes = await client.alter(
            [
                Operation("tls", "alice", one.uuid),
                Operation("tls", "nobody", None),
                Operation("nowhere", "x", one.uuid),
            ]
        )

        assert [type(outcome) for outcome in outcomes] == [UserExists, UserUnknown, InboundUnknown]
        assert await client.user("tls", "alice") == one.uuid
        assert await client.user("tls", "nobody") is None
        with pytest.raises(InboundUnknown):
            await client.replace_users("nowhere", [])
        with pytest.raises(UserUnknown):
            await client.remove_user("tls", "nobody")


async def test_a_whole_list_may_not_outgrow_a_message(tmp_path):
    """Four megabytes is what the core takes; a longer list is refused before anything is taken away."""
    async with world(tmp_path) as running:
        client = running.core.current.client
        pages = [[(f"s{n:060d}", person("x").uuid) for n in range(30_000)]]

        assert not await client.replace_users("tls", pages)
        assert await client.count("tls") == 0


async def test_buckets_of_both_sides_agree(tmp_path):
    """A node that holds what was pushed sums up to the same numbers, and a difference can be found by bucket."""
    async with world(tmp_path) as running:
        changes = [person(f"s{n}", active=n % 3 > 0) for n in range(200)]
        await running.push(*changes, adopt=True)
        told = await running.client.buckets()
        members = await running.client.members([changes[0].bucket, changes[1].bucket])

        assert told.buckets == digest(changes)
        assert (told.epoch, told.seq) == (EPOCH, 1)
        assert changes[0] in members
        assert {m.name for m in members} == {
            c.name for c in changes if c.bucket in (changes[0].bucket, changes[1].bucket)
        }


async def test_strangers_get_nothing_from_the_api(tmp_path):
    """A wrong token is refused, a wrong fingerprint means that nothing, least of all the token, is sent."""
    async with world(tmp_path) as running, open_http_client(Limits(5, 5)) as http:
        wrong_token = node_client(running.standing, http, token=Secret("another-token-entirely"))
        wrong_pin = node_client(running.standing, http, fingerprint="0" * 64)

        with pytest.raises(NodeRefused) as refused:
            await wrong_token.status()
        with pytest.raises(NodeUnavailable):
            await wrong_pin.status()
        with pytest.raises(NodeEpochMismatch) as other:
            await running.client.push(EPOCH, 1, [])

        assert refused.value.status == 401
        assert other.value.epoch is None


async def test_a_taken_port_is_named_and_waited_for(tmp_path):
    """The journal says which port; when it is free again the core comes up by itself."""
    async with open_targets(tmp_path) as targets:
        settings = agent_settings(tmp_path / "state", targets)
        port = settings.agent.inbounds[0].port
        with capture() as lines, socket.create_server((NODE_IP, port)) as taken:
            async with trio.open_nursery() as nursery:
                standing = await nursery.start(main.run_agent, settings)
                await until(lambda: any(line.event == "core.port_busy" for line in lines))
                down = standing.core.current
                taken.close()
                with trio.fail_after(20):
                    await standing.core.running()
                nursery.cancel_scope.cancel()
        told = next(line for line in lines if line.event == "core.port_busy")

        assert down is None
        assert str(port) in told.message


async def test_refused_settings_do_not_turn_customers_off(tmp_path):
    """A slip in the settings is shouted about, and the node goes on with the last doors that worked."""
    async with open_targets(tmp_path) as targets:
        settings = agent_settings(tmp_path / "state", targets)
        alice = person("alice")
        async with node(tmp_path / "state", targets, settings) as running:
            await running.push(alice, adopt=True)
            good = running.core.doors
        broken = attrs.evolve(settings.agent.inbounds[1], certificate=tmp_path / "nowhere.crt")
        slip = attrs.evolve(
            settings, agent=attrs.evolve(settings.agent, inbounds=(settings.agent.inbounds[0], broken))
        )
        with capture() as lines:
            async with (
                node(tmp_path / "state", targets, slip) as running,
                running.app(alice, "127.0.0.3", "tls") as socks,
            ):
                page = await fetch_through(socks, targets.page_url)
                doors = running.core.doors

        assert page == PAGE
        assert doors == good
        assert {"core.settings_refused", "core.last_good_used"} <= {line.event for line in lines}


async def test_no_core_is_a_state_not_an_end(tmp_path):
    """An agent whose core cannot run stays up, says so, and acknowledges nothing."""
    async with open_targets(tmp_path) as targets:
        settings = agent_settings(tmp_path / "state", targets)
        broken = attrs.evolve(settings.agent.inbounds[1], certificate=tmp_path / "nowhere.crt")
        settings = attrs.evolve(settings, agent=attrs.evolve(settings.agent, inbounds=(broken,)))
        async with trio.open_nursery() as nursery, open_http_client(Limits(5, 5)) as http:
            standing = await nursery.start(main.run_agent, settings)
            client = node_client(standing, http)
            with pytest.raises(NodeUnavailable):
                await client.push(EPOCH, 4, [person("alice")], adopt=True)
            status = await client.status()
            nursery.cancel_scope.cancel()

        assert (status.epoch, status.seq, status.users) == (None, 0, 1)
        assert standing.core.state is not CoreState.RUNNING


_AGENT = textwrap.dedent("""
    import sys, trio
    from pathlib import Path
    sys.path.insert(0, {tests!r})
    from agent_world import agent_settings
    from vpnd.agent.main import run_agent
    import pickle
    async def main():
        settings = pickle.loads(Path({settings!r}).read_bytes())
        async with trio.open_nursery() as nursery:
            standing = await nursery.start(run_agent, settings)
            life = await standing.core.running()
            print(standing.addresses[0], standing.fingerprint, flush=True)
    trio.run(main)
""")


async def test_a_killed_agent_loses_nothing_it_acknowledged(tmp_path):
    """SIGKILL to the agent: its core dies with it, and the next agent serves everybody without asking the daemon."""
    import pickle
    from pathlib import Path

    async with open_targets(tmp_path) as targets:
        settings = agent_settings(tmp_path / "state", targets)
        stored = tmp_path / "settings.pickle"
        stored.write_bytes(pickle.dumps(settings))
        program = _AGENT.format(tests=str(Path(__file__).parent), settings=str(stored))
        alice, bob = person("alice"), person("bob")
        process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
        with process:
            try:
                address, fingerprint = (await trio.to_thread.run_sync(process.stdout.readline)).split()
                async with open_http_client(Limits(5, 5)) as http:
                    there = main.AgentStanding((address,), fingerprint, None, None, None)
                    client = node_client(there, http)
                    await client.push(EPOCH, 1, [alice, bob], adopt=True)
                    await client.push(EPOCH, 2, [turned_off(bob)])
                cores = [c for c in psutil.Process(process.pid).children() if _serves(c)]
            finally:
                process.kill()
        gone = await trio.to_thread.run_sync(partial(psutil.wait_procs, cores, timeout=5))
        async with node(tmp_path / "state", targets, settings) as running:
            status = await running.client.status()
            async with running.app(alice, "127.0.0.3") as hers, running.app(bob, "127.0.0.4") as his:
                pages = (
                    await fetch_through(hers, targets.page_url),
                    await fetch_through(his, targets.page_url),
                )

        assert len(cores) == 1
        assert gone[1] == []
        assert (status.epoch, status.seq, status.users) == (EPOCH, 2, 1)
        assert pages == (PAGE, None)


async def test_a_push_that_was_cut_short_is_finished_by_the_next_life(tmp_path):
    """Committed but never acknowledged: the next agent's core is born with it, and the repeat is acknowledged."""
    async with open_targets(tmp_path) as targets:
        settings = agent_settings(tmp_path / "state", targets)
        alice = person("alice")
        async with node(tmp_path / "state", targets, settings) as running:
            await running.standing.state.apply(
                Push(EPOCH, 8, True, (alice,))
            )  # and the agent dies before the core hears
        async with node(tmp_path / "state", targets, settings) as running:
            users = await running.core.current.client.users("tls")
            again = await running.client.push(EPOCH, 8, [alice])

        assert users == {"alice": alice.uuid}
        assert (again.applied, again.ignored, again.seq) == (0, 1, 8)


async def test_an_operators_own_program_may_be_the_core(tmp_path):
    """Anything that calls itself Xray and reads its configuration from standard input."""
    program = tmp_path / "xray"
    program.write_text(
        "#!/bin/sh\n"
        'case "$*" in\n'
        '  version) echo "Xray 99.1.2 (Xray, Penetrates Everything.) Custom (go1.27 linux/amd64)";;\n'
        f'  "run -config stdin:") exec {sys.executable} -m vpnd.agent.core_wheel;;\n'
        "  *) exit 1;;\n"
        "esac\n"
    )
    program.chmod(0o700)
    async with world(tmp_path, core=str(program)) as running:
        await running.push(person("alice"), adopt=True)
        status = await running.client.status()

    assert (status.core.state, status.core.version) == ("running", "Xray 99.1.2")


@pytest.mark.parametrize("core", ["/nowhere/xray", "/bin/echo", "/bin/false"])
async def test_a_program_that_is_no_core_is_refused_at_once(tmp_path, core):
    """With the key that names it, before anything listens."""
    async with open_targets(tmp_path) as targets:
        settings = agent_settings(tmp_path / "state", targets, core=core)
        with pytest.raises(CoreMissing, match=r"agent\.core"):
            await main.run_agent(settings)


async def test_restarts_are_joined_and_spaced(tmp_path, monkeypatch):
    """Two wishes are one restart, and a life is left its time: a restart interrupts everybody."""
    monkeypatch.setattr("vpnd.agent.core.RESTART_GAP", 0.7)
    async with world(tmp_path) as running:
        first = running.core.current
        async with trio.open_nursery() as nursery:
            nursery.start_soon(running.core.restart, first, "one reason")
            nursery.start_soon(running.core.restart, first, "another reason")
        second = running.core.current
        late = await running.core.restart(first, "a wish about a life that is over")

    assert second.number == 2
    assert late is second
    assert second.since >= first.since + 0.7


async def test_a_token_is_not_sent_in_the_clear(tmp_path):
    """Without TLS the agent refuses to listen beyond the loopback address."""
    async with open_targets(tmp_path) as targets:
        settings = agent_settings(tmp_path / "state", targets, listen="0.0.0.0:0", tls=False)
        with pytest.raises(main.AgentUnsafe):
            await main.run_agent(settings)


async def test_the_core_sees_no_secret_of_ours(tmp_path, monkeypatch):
    """What only the agent needs is not in its child's environment."""
    monkeypatch.setenv("VPND_AGENT__TOKEN", "secret-in-the-environment")
    async with world(tmp_path):
        (core,) = (c for c in psutil.Process().children() if "core_wheel" in " ".join(c.cmdline()))
        environment = core.environ()

    assert environment["XRAY_BUF_SPLICE"] == "disable"
    assert "VPND_AGENT__TOKEN" not in environment


async def test_a_service_tells_systemd_and_stops_in_order(tmp_path):
    """READY when the API listens, a status line that is true, STOPPING, and no core left behind."""
    place = tmp_path / "notify"
    reload_now, reloads = trio.open_memory_channel(1)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(place))
        systemd.setblocking(False)
        told = []

        def has_told(word):
            try:
                while True:
                    told.append(systemd.recv(4096).decode())
            except BlockingIOError:
                return any(word in message for message in told)

        async with (
            open_targets(tmp_path) as targets,
            reload_now,
            service_manager({"NOTIFY_SOCKET": str(place)}) as manager,
        ):
            service = Service(manager, reloads)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(run_node, agent_settings(tmp_path / "state", targets), service)
                await until(lambda: has_told("serves 0 customers"))
                (core,) = (c for c in psutil.Process().children() if "core_wheel" in " ".join(c.cmdline()))
                service.stopping.set()
        assert has_told("STOPPING=1")

    assert told[0].startswith("READY=1")
    assert not core.is_running()


def test_the_probe_believes_the_kernel_and_not_the_user_id():
    """Root without CAP_NET_ADMIN is told so by its own failed attempt."""
    if os.geteuid():
        pytest.skip("only root can give up a capability and stay root")
    # 24 is PR_CAPBSET_DROP, 12 CAP_NET_ADMIN: what is out of the bounding set does not come back by exec.
    program = (
        "import ctypes, os, sys; ctypes.CDLL(None).prctl(24, 12, 0, 0, 0);"
        "os.execv(sys.executable, [sys.executable, '-c', 'from vpnd.agent import cutoff; print(cutoff.probe())'])"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30)

    assert answer.stdout.strip() == "CAP_NET_ADMIN is missing"
