"""Measures references on one core: driven by `harness.Worker` through pipes, by the processor's clock."""

from __future__ import annotations

import gc
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import worker


class State(worker.State):
    """References by name, and responses to score."""

    def open(self, **paths: str) -> dict[str, Any]:
        """Load references by name; what the one called `whole` is."""
        from polyalign import Reference

        self.paths = {name: Path(path) for name, path in paths.items()}
        self.references = {name: Reference.load(path) for name, path in paths.items()}
        whole = self.references["whole"]
        return {
            "rows": whole.rows,
            "buckets": len(whole),
            "features": len(whole.features),
            "bytes": self.paths["whole"].stat().st_size,
        }

    def halves_make_the_whole(self) -> bool:
        merged = self.references["first"].merge(self.references["second"])
        return merged.to_bytes() == self.paths["whole"].read_bytes()

    def load(self) -> float:
        from polyalign import Reference

        return seconds_of(lambda: Reference.load(self.paths["whole"]))

    def save(self) -> float:
        path = self.paths["whole"].with_name("saved.safetensors")
        return seconds_of(lambda: self.references["whole"].save(path))

    def merge(self) -> float:
        return seconds_of(lambda: self.references["first"].merge(self.references["second"]))

    def responses(self, path: str) -> int:
        self.rows = json.loads(Path(path).read_text(encoding="utf-8"))
        return len(self.rows)

    def distances(self, batch: int, calls: int, start: int) -> float:
        """Seconds a response takes in batches of a size: so many calls, on texts from `start` on, each once."""
        rows = [self.rows[(start + i) % len(self.rows)] for i in range(batch * calls)]
        texts, buckets = [text for text, _ in rows], [bucket for _, bucket in rows]
        reference = self.references["whole"]

        def score() -> None:
            for i in range(0, len(texts), batch):
                reference.support_distance(texts[i : i + batch], buckets[i : i + batch], threads=1, warn=False)

        return seconds_of(score) / len(texts)


def seconds_of(function: Callable[[], Any]) -> float:
    gc.collect()
    start = time.process_time()
    function()
    return time.process_time() - start


if __name__ == "__main__":
    worker.main(State)
