"""``python -m polyalign.demo``: ``polyalign demo``, with its options."""

import sys

from polyalign.cli import run

if __name__ == "__main__":
    sys.exit(run(["demo", *sys.argv[1:]]))
