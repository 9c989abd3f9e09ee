"""`python -m vpnd` is `vpnd`."""

import sys

from vpnd.cli import main

if __name__ == "__main__":
    sys.exit(main())
