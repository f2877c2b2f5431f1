"""``python -m pyconv``: the command line."""

import sys

from pyconv.cli import main

if __name__ == "__main__":
    sys.exit(main())
