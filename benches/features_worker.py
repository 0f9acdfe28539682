"""Measures features with one library on one core: driven by `harness.Worker` through pipes.

A task measures texts that its process has not held before, by the processor's clock: one thread's work takes as long on
a busy machine. Peers work a text at a time, as they do; a budget ends a task that would take long.
"""

from __future__ import annotations

import gc
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import worker

# Texts between two looks at the clock.
STEP = 25


class Task(NamedTuple):
    """How a library does a job: with many texts and their prompts at once, or text by text."""

    run: Callable[[list[str], list[str]], Any]
    step: int | None = None


Tasks = dict[str, Task]


def each(function: Callable[[str], Any]) -> Task:
    return Task(lambda texts, _: [function(text) for text in texts], STEP)


def textstat() -> Tasks:
    import textstat as library

    names = "flesch_reading_ease flesch_kincaid_grade gunning_fog smog_index coleman_liau_index"
    names += " automated_readability_index lix rix"
    functions = [getattr(library, name) for name in names.split()]
    return {"readability": each(lambda text: [function(text) for function in functions])}


def vader() -> Tasks:
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

    analyzer = SentimentIntensityAnalyzer()
    return {"sentiment": each(lambda text: analyzer.polarity_scores(text)["compound"])}


def lexicalrichness() -> Tasks:
    from lexicalrichness import LexicalRichness

    def richness(text: str) -> list[float]:
        lex = LexicalRichness(text)
        if lex.words < 2:  # not defined
            return []
        window = [lex.mattr(window_size=50)] if lex.words >= 50 else []
        return [lex.ttr, lex.rttr, lex.Herdan, lex.yulek, *window]

    return {"lexical": each(richness)}


def jieba() -> Tasks:
    import jieba as library

    library.initialize()
    return {"words": each(library.lcut)}


def polyalign() -> Tasks:
    from polyalign import features

    def extract(language: str, prompted: bool = False, **options: Any) -> Task:
        def run(texts: list[str], prompts: list[str]) -> Any:
            return features.extract(texts, language, prompts if prompted else None, threads=1, **options)

        return Task(run)

    tasks: Tasks = {}
    for language in ("en", "zh"):
        tasks[f"{language} all"] = extract(language)
        tasks[f"{language} all, with prompts"] = extract(language, prompted=True)
        tasks[f"{language} paper"] = extract(language, variant="paper")
        for group in features.GROUPS:
            tasks[f"{language} {group}"] = extract(language, prompted=group == "interaction", groups=[group])
    return tasks


ADAPTERS = {f.__name__: f for f in (textstat, vader, lexicalrichness, jieba, polyalign)}


class State(worker.State):
    """The tasks of one library."""

    def load(self) -> list[str]:
        self.tasks = ADAPTERS[self.adapter]()
        return list(self.tasks)

    def counts(self) -> dict[str, int]:
        """How many features polyalign has of each group, and in the paper's variant."""
        from polyalign import features

        names = [feature.group for feature in features.registry()]
        return {
            **{group: names.count(group) for group in features.GROUPS},
            "paper": len(features.registry("paper")),
        }

    def time(self, task: str, path: str, budget: float) -> tuple[int, int, float]:
        """Texts and bytes measured, and the seconds of processor time that took."""
        texts, prompts = read(path)
        run, step = self.tasks[task]
        gc.collect()
        done, start = 0, time.process_time()
        while done < len(texts) and (done == 0 or time.process_time() - start < budget):
            end = len(texts) if step is None else done + step
            run(texts[done:end], prompts[done:end])
            done = min(end, len(texts))
        seconds = time.process_time() - start
        return done, sum(len(text.encode()) for text in texts[:done]), seconds

    def result(self, task: str, path: str, most: int, column: str | None = None) -> list[float]:
        """The values of the first texts."""
        texts, prompts = (values[:most] for values in read(path))
        values = self.tasks[task].run(texts, prompts)
        return [value.as_py() for value in values[column]] if column else values


def read(path: str) -> tuple[Sequence[str], Sequence[str]]:
    """The texts of a part and their prompts, new in memory: nothing has read them before."""
    rows = json.loads(Path(path).read_text(encoding="utf-8"))
    return [text for text, _ in rows], [prompt for _, prompt in rows]


if __name__ == "__main__":
    worker.main(State)
