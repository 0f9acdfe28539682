"""Progress bars with rate and time left, on a terminal only."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress_bar() -> Iterator[Callable[[int, int, int], None]]:
    """Show bytes read of bytes in all, and records seen; silent where standard error is no terminal."""
    from tqdm import tqdm

    # `disable=None`: tqdm itself looks whether it writes to a terminal.
    with tqdm(unit="B", unit_scale=True, unit_divisor=1000, dynamic_ncols=True, leave=False, disable=None) as bar:

        def update(bytes_read: int, bytes_total: int, rows: int) -> None:
            bar.total = bytes_total or None
            bar.set_postfix_str(f"{rows:,} rows", refresh=False)
            bar.update(bytes_read - bar.n)

        yield update


@contextmanager
def row_bar(total: int | None, shown: bool, what: str | None = None) -> Iterator[Callable[[int], object]]:
    """Show rows done of rows in all, if asked to, after what is done with them."""
    if not shown:
        yield lambda rows: None
        return
    from tqdm import tqdm

    with tqdm(
        total=total, desc=what, unit=" rows", unit_scale=True, dynamic_ncols=True, leave=False, disable=None
    ) as bar:
        yield bar.update
