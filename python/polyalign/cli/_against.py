"""``polyalign count --bench --validate``: polyalign's counting beside that of the installed library."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import click

from polyalign import _core
from polyalign._io.tokenizer_config import without_setting

if TYPE_CHECKING:
    from polyalign.tokens import TokenCounter

# Of the texts that are timed: the library makes a few megabytes a second.
_MOST_TIMED = 16_000_000
_MEGABYTE = 1_000_000


@dataclass
class Comparison:
    """The two on the same texts."""

    engine: str
    library: str
    texts: int = 0
    compared: int = 0
    wrong: int = 0
    first_wrong: str | None = None
    timed_bytes: int = 0
    seconds: list[float] = field(default_factory=lambda: [0.0, 0.0])

    def speeds(self) -> tuple[float, float] | None:
        """Return the megabytes of a second of both, ours first; None if nothing was timed."""
        if not self.timed_bytes:
            return None
        ours, theirs = (self.timed_bytes / _MEGABYTE / max(seconds, 1e-9) for seconds in self.seconds)
        return ours, theirs

    def as_json(self) -> dict[str, Any]:
        """Return what ``--json`` prints."""
        found = asdict(self)
        found.pop("seconds")
        speeds = self.speeds()
        found["polyalign_mb_s"], found["tokenizers_mb_s"] = speeds or (None, None)
        return found

    def say(self) -> str:
        """Return it in words, a line each."""
        lines = [f"counted by {self.engine}"]
        if speeds := self.speeds():
            size = self.timed_bytes / _MEGABYTE
            lines.append(
                f"polyalign {speeds[0]:.3g} MB/s, {self.library} {speeds[1]:.3g} MB/s: {speeds[0] / speeds[1]:.3g} "
                f"times as fast (CPU time of one thread, {size:.3g} MB of texts, each counted once)"
            )
        if self.compared:
            lines.append(f"{self.compared:,} of {self.compared:,} texts have the same count")
        return "\n".join(lines)


def compare(counter: TokenCounter, batches: Iterable[list[str]], *, bench: bool, validate: bool) -> Comparison:
    """Count texts by both; a text on which they differ is an error, of the first."""
    count, library = _library(counter)
    found = Comparison(counter.engine, library)
    for batch in batches:
        if not found.texts:  # what is made at a first call is not the texts'
            counter.count(batch[:1] * 2, threads=1)
            count(batch[:1])
        size = sum(len(text.encode("utf-8")) for text in batch)
        timed = bench and found.timed_bytes < _MOST_TIMED
        found.texts += len(batch)
        if not timed and not validate:
            continue
        start = time.process_time()
        ours = counter.count(batch, threads=1 if timed else None).tolist()
        between = time.process_time()
        theirs = count(batch)
        end = time.process_time()
        if timed:
            found.timed_bytes += size
            found.seconds[0] += between - start
            found.seconds[1] += end - between
        if validate:
            _check(found, batch, ours, theirs)
    return found


def _check(found: Comparison, batch: list[str], ours: list[int], theirs: list[int]) -> None:
    for text, mine, other in zip(batch, ours, theirs, strict=True):
        found.compared += 1
        if mine != other:
            found.wrong += 1
            what = f"{text[:80]!r}{'…' if len(text) > 80 else ''}: {mine:,} tokens, by {found.library} {other:,}"
            found.first_wrong = found.first_wrong or what


def _library(counter: TokenCounter) -> tuple[Any, str]:
    """Return how the installed library counts a list of texts on one thread, and its name."""
    return _of_model_file(counter) if _core.is_model_file(counter._json) else _of_json(counter)


def _of_model_file(counter: TokenCounter) -> tuple[Any, str]:
    try:
        import sentencepiece
    except ImportError:
        raise click.UsageError(
            "--bench and --validate of a tokenizer.model need the sentencepiece library: pip install sentencepiece"
        ) from None
    processor = sentencepiece.SentencePieceProcessor(model_proto=counter._json)

    def count(texts: list[str]) -> list[int]:
        return [len(ids) for ids in processor.encode(texts, num_threads=1)]

    return count, f"sentencepiece {sentencepiece.__version__}"


def _of_json(counter: TokenCounter) -> tuple[Any, str]:
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        import tokenizers
    except ImportError:
        raise click.UsageError("--bench and --validate need the tokenizers library: pip install tokenizers") from None
    content, encodes_special_tokens = without_setting(counter._json)
    tokenizer = tokenizers.Tokenizer.from_str(content.decode("utf-8"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.encode_special_tokens = encodes_special_tokens
    encode = getattr(tokenizer, "encode_batch_fast", tokenizer.encode_batch)

    def count(texts: list[str]) -> list[int]:
        return [len(encoding) for encoding in encode(texts, add_special_tokens=False)]

    return count, f"tokenizers {tokenizers.__version__}"
