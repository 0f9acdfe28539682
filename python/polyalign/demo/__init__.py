"""The demo: a small bilingual corpus of human conversations, its buckets and reference, and a tiny model trained on it.

``python -m polyalign.demo`` needs no network: the corpus is that of the ``chatterbot-corpus`` package, and the
tokenizer and the model are trained on it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from polyalign.buckets import Bucketer, BucketSchema, Report
from polyalign.demo import _corpus
from polyalign.demo._answers import answers, print_scores
from polyalign.demo._figures import draw_distances, draw_lengths
from polyalign.reference import Reference

if TYPE_CHECKING:
    from polyalign.demo._training import Recipe

__all__ = ["run_demo"]


_FILES = {
    "corpus": "corpus.jsonl",
    "tokenizer": "tokenizer.json",
    "buckets": "bucketed",
    "figure": "lengths.png",
    "reference": "human.safetensors",
    "answers": "answers.jsonl",
    "page": "reference.html",
}
_TRAINING = ("torch", "transformers", "trl", "datasets", "accelerate")
_ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "false",  # else it warns where a data loader forks
    "OMP_WAIT_POLICY": "PASSIVE",  # threads that spin take the cores from others
}


def run_demo(output: str | Path = "demo", *, train: bool = True, recipe: Recipe | None = None) -> Report:
    """Bucket a small corpus, learn its reference, draw both, score some answers; then train a tiny model on it.

    Parameters
    ----------
    output : str or PathLike, default "demo"
        Folder to write to; what an earlier demo left there is replaced.
    train : bool, default True
        Whether to train: minutes, and packages of the extra ``train``; without them that is said and left out.
    recipe : Recipe, optional
        The sizes of the training.

    Returns
    -------
    Report
        What was bucketed.

    Raises
    ------
    ImportError
        A package that the rest needs is missing; the message says which.
    """
    started = time.perf_counter()
    for package in ("chatterbot_corpus", "tokenizers", "matplotlib"):
        _corpus.require(package)
    folder = Path(output)
    folder.mkdir(parents=True, exist_ok=True)
    paths = {name: folder / file for name, file in _FILES.items()}
    report = _bucket(paths)
    if train:
        _train(paths, folder / "training", recipe)
    print(f"Done in {time.perf_counter() - started:.1f} s.")
    return report


def _bucket(paths: dict[str, Path]) -> Report:
    """Bucket the corpus, learn its reference, draw both, score some answers."""
    records = _corpus.records()
    _corpus.write_lines(paths["corpus"], records)
    trains = [record for record in records if not _corpus.is_held_out(record["group"])]
    _corpus.train_tokenizer(trains).save(str(paths["tokenizer"]))
    schema = BucketSchema(length_edges=_corpus.EDGES, families=_corpus.FAMILIES)
    report = Bucketer(schema, paths["tokenizer"]).bucket_files(
        paths["corpus"],
        paths["buckets"],
        overwrite=True,
        reference=paths["reference"],
        sources=["chatterbot-corpus"],
    )
    reference = Reference.load(paths["reference"])
    reference.plot(paths["page"], title="How humans answer in the demo corpus")
    draw_lengths(report, paths["figure"])
    _corpus.write_lines(paths["answers"], answers())

    print(report)
    print(
        f"\n{reference!r}\nAn answer as people write it and one as assistants do, against the humans of their bucket:"
    )
    print_scores(reference)
    _print_paths(paths)
    print(
        f"\nLook at rows:  polyalign show {paths['buckets']} --bucket '{report.buckets[0].bucket}' -n 3\n"
        f"Score answers: polyalign score {paths['answers']} --reference {paths['reference']}\n"
        f"Every bucket's human distributions, in a browser: {paths['page'].resolve().as_uri()}"
    )
    return report


def _train(paths: dict[str, Path], folder: Path, recipe: Recipe | None) -> None:
    """Train a model, compare what each training changed, draw it."""
    from polyalign.demo._results import distances, print_results

    missing = [package for package in _TRAINING if find_spec(package) is None]
    if missing:
        print(f"\nThe rest of the demo trains, which needs {', '.join(missing)}: pip install 'polyalign[demo]'")
        return
    print("\nTraining: importing torch and TRL …", flush=True)
    with _environment():
        from polyalign.demo import _training

        trained = _training.train(paths["buckets"], paths["tokenizer"], folder, recipe or _training.Recipe())
    figure = folder / "distances.png"
    draw_distances(distances(trained), figure)
    print_results(trained)
    _print_paths({**trained.paths, "figure": figure})
    print(
        f"\nScore them:    polyalign score {trained.paths['answers']} --reference {trained.paths['reference']}\n"
        "Your own:      polyalign sft, pairs and hdpo --help"
    )


def _print_paths(paths: dict[str, Path]) -> None:
    print("\n".join(f"{name:9}  {path}" for name, path in paths.items()))


@contextmanager
def _environment() -> Iterator[None]:
    """Let nothing look for the Hugging Face hub, and threads wait without taking a core."""
    before = {name: os.environ.get(name) for name in _ENVIRONMENT}
    os.environ.update(_ENVIRONMENT)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
