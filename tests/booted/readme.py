"""The chapter of README.md: the commands that it gives a newcomer, typed in a clean system.

Nothing is there but Debian's Python: no PostgreSQL (the system's is taken away), no network, no tool of ours. What is installed
comes from a folder of wheels.
"""

from __future__ import annotations

import re
import time

from machine import ROOT, Chapter, Fault

PAGE_OF_THE_DEMO = "http://127.0.0.1:8088"
HOME = "/root/vpnd"
#: What shells see of a program that was interrupted: by its own word, or by the signal.
ENDED_BY_CTRL_C = (0, 130, -2)
#: Seconds for the first use, which installs; and for the whole suite.
FIRST_USE = 900
SUITE = 3600


def commands() -> list[str]:
    """The commands of the README's section "Try it", in their order."""
    section = (ROOT / "README.md").read_text("utf-8").partition("\n## Try it\n")[2].partition("\n## ")[0]
    lines = [
        line.split("#")[0].strip()
        for block in re.findall(r"^```sh\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
        for line in block.splitlines()
    ]
    return [line for line in lines if line]


class Readme(Chapter):
    """A newcomer with a checkout."""

    needed = ("a clean system",)

    def step_a_clean_system(self) -> str:
        m = self.machine
        if commands() != ["./dev demo", "./dev test"]:
            raise Fault(f"README.md says otherwise by now: {commands()}")
        m.run(
            "systemctl disable --now postgresql; rm -rf /usr/lib/postgresql /var/lib/postgresql /etc/postgresql"
        )
        m.run(f"cp -a /usr/local/src/vpnd {HOME}")
        return m.out("python3 --version")

    def step_dev_demo(self) -> str:
        """The first use makes the virtual environment; then the shop's page is there, and Ctrl-C leaves nothing behind."""
        m = self.machine
        with m.at_terminal(f"cd {HOME} && exec {commands()[0]}") as terminal:
            terminal.until("The shop is open", FIRST_USE)
            page = m.out(f"curl -fsS {PAGE_OF_THE_DEMO}/")
            if "<html" not in page:
                raise Fault(page[:300])
            began = time.monotonic()
            terminal.press("\x03")
            code = terminal.end(30)
            took = time.monotonic() - began
        if code not in ENDED_BY_CTRL_C or "Traceback" in terminal.screen:
            raise Fault(f"exit code {code}: {terminal.screen[-1500:]}")
        # nsenter stands between, and the same key ends it at once; the demo takes a second to close its world.
        m.until("the end of all its processes", lambda: not self._of_the_demo(), 5)
        return (
            f"a page of {len(page):,} characters at {PAGE_OF_THE_DEMO}; Ctrl-C ends it within {took:.1f} s with exit code"
            f" {code}, no traceback, no process left"
        )

    def step_the_tour(self) -> str:
        """`./dev demo --tour`, which the README tells of."""
        return (
            self.machine.run(f"cd {HOME} && ./dev demo --tour", timeout=300).stdout.strip().splitlines()[-1]
        )

    def step_dev_test(self) -> str:
        """The whole suite."""
        self._begin("suite", commands()[1])
        began = time.monotonic()
        self.machine.until(
            "the end of the suite", lambda: self.machine.show("suite", "SubState") != "running", SUITE
        )
        said = self._said("suite").strip().splitlines()
        if self.machine.show("suite", "Result") != "success":
            raise Fault("\n".join(said[-40:]))
        return f"{said[-1].strip('= ')} ({time.monotonic() - began:.0f} s)"

    def _of_the_demo(self) -> str:
        """The names of whatever runs here and may be the demo's."""
        names = "cat /proc/[0-9]*/comm | grep -E 'vpnd|postgres|xray|python'"
        return self.machine.run(names, check=False).stdout

    def _begin(self, name: str, command: str) -> None:
        self.machine.run(
            f"systemd-run --quiet --unit={name} --remain-after-exit --property=WorkingDirectory={HOME}"
            f" --property=StandardOutput=file:/var/tmp/{name}.log --property=StandardError=inherit"
            f" --setenv=HOME=/root --setenv=LC_ALL=C.UTF-8 {HOME}/{command.removeprefix('./')}"
        )

    def _said(self, name: str) -> str:
        return (self.machine.root / "var" / "tmp" / f"{name}.log").read_text("utf-8", "replace")
