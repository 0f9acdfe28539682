"""``python -m polyalign``."""

from polyalign.cli import main

if __name__ == "__main__":
    main()
