"""The Xray core out of the `xray-core` wheel, as a program: ``python -m vpnd.agent.core_wheel < config.json``.

The wheel's one function blocks, takes over SIGINT and SIGTERM and ends the whole process when it fails (23 for a
configuration it cannot use, 255 for a port that is taken), so it gets a process of its own. This module imports
nothing of ours: it runs in the child only.
"""

import sys


def main() -> None:
    """Read a configuration from standard input and serve until SIGTERM."""
    config = sys.stdin.read()
    import xray

    xray.startFromJSON(config)


if __name__ == "__main__":
    main()
