"""``python -m polyalign.demo [FOLDER]``."""

import sys

from polyalign.demo import run_demo

if __name__ == "__main__":
    run_demo(*sys.argv[1:2])
