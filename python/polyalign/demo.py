"""The demo: a small bilingual corpus of human conversations, bucketed and drawn.

``python -m polyalign.demo`` needs no network: the corpus is that of the ``chatterbot-corpus`` package, and the
tokenizer is trained on it.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from polyalign.buckets import Bucketer, BucketSchema, BucketSummary, Report

__all__ = ["run_demo"]

_FOLDERS = {"english": "en", "chinese": "zh"}
_DIALOGUES = {"conversations", "sports"}
_FAMILIES = {
    source: family
    for family, sources in {
        "assistant": ["tech support"],
        "code": ["coding"],
        "dialogue": ["conversations", "emotion", "gossip", "greetings", "humor", "profile", "psychology", "sports"],
        "qa": "ai computers food health history literature money movies politics science trivia".split(),
    }.items()
    for source in sources
}
_EDGES = (8, 16, 32)
_COLOURS = {"en": "#2a6fbb", "zh": "#c8452f"}
_BARS = 24


def run_demo(output: str | Path = "demo") -> Report:
    """Build the corpus, train a tokenizer on it, bucket it, draw it.

    Parameters
    ----------
    output : str or PathLike, default "demo"
        Folder to write to; what an earlier demo left there is replaced.

    Returns
    -------
    Report
        What was bucketed.

    Raises
    ------
    ImportError
        A package of the extra ``demo`` is missing; the message says which.
    """
    started = time.perf_counter()
    for package in ("chatterbot_corpus", "tokenizers", "matplotlib"):
        _require(package)
    folder = Path(output)
    folder.mkdir(parents=True, exist_ok=True)
    corpus, tokenizer, figure = folder / "corpus.jsonl", folder / "tokenizer.json", folder / "lengths.png"

    records = list(_distinct(_records()))
    corpus.write_text("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records), "utf-8")
    _train_tokenizer(records).save(str(tokenizer))
    schema = BucketSchema(length_edges=_EDGES, families=_FAMILIES)
    report = Bucketer(schema, tokenizer).bucket_files(corpus, folder / "bucketed", overwrite=True)
    draw_lengths(report, figure)

    print(report)
    print(f"\ncorpus     {corpus}\ntokenizer  {tokenizer}\nbuckets    {folder / 'bucketed'}\nfigure     {figure}")
    print(f"\nLook at rows:  polyalign show {folder / 'bucketed'} --bucket '{report.buckets[0].bucket}' -n 3")
    print(f"Done in {time.perf_counter() - started:.1f} s.")
    return report


def _require(package: str) -> Any:
    try:
        return importlib.import_module(package)
    except ImportError:
        name = package.replace("_", "-")
        raise ImportError(f"the demo needs {name}: pip install 'polyalign[demo]'") from None


def _records() -> Iterator[dict[str, Any]]:
    """Interactions of the corpus as TRL messages, with language and source."""
    import yaml

    data = Path(_require("chatterbot_corpus").__file__).parent / "data"
    for folder, language in _FOLDERS.items():
        for path in sorted((data / folder).glob("*.yml")):
            content = yaml.safe_load(path.read_text(encoding="utf-8"))
            source = str(content["categories"][0]).lower()
            for number, conversation in enumerate(content["conversations"]):
                if not isinstance(conversation, list):  # the corpus has a stray string or two
                    continue
                turns = [str(turn).strip() for turn in conversation]
                for messages in _interactions(turns, is_dialogue=source in _DIALOGUES):
                    yield {
                        "messages": messages,
                        "language": language,
                        "source": source,
                        "group": f"{folder}/{path.stem}/{number}",
                    }


def _interactions(turns: list[str], *, is_dialogue: bool) -> Iterator[list[dict[str, str]]]:
    """Every reply of a dialogue with what precedes it; of other lists, a question with each of its answers."""
    if not all(turns) or len(turns) < 2:
        return
    if is_dialogue:
        messages = [{"role": ("user", "assistant")[index % 2], "content": turn} for index, turn in enumerate(turns)]
        for end in range(2, len(messages) + 1, 2):
            yield messages[:end]
        return
    question, *answers = turns
    for answer in answers:
        if answer != question:
            yield [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]


def _distinct(records: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    seen = set()
    for record in records:
        key = json.dumps(record["messages"])
        if key not in seen:
            seen.add(key)
            yield record


def _train_tokenizer(records: list[dict[str, Any]]) -> Any:
    """Train a byte-level BPE in the manner of GPT-2."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=4000,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=["<|endoftext|>"],
        show_progress=False,
    )
    texts = (message["content"] for record in records for message in record["messages"])
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def draw_lengths(report: Report, path: str | Path) -> None:
    """Draw the length distribution of the largest buckets.

    Parameters
    ----------
    report : Report
        Of a bucketing run.
    path : str or PathLike
        The image to write; its suffix is the format.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    from polyalign._tables import length_unit

    buckets = sorted(report.buckets[:_BARS], key=_by_parts_then_length, reverse=True)
    figure = Figure(figsize=(9, 1.6 + 0.3 * len(buckets)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for place, bucket in enumerate(buckets):
        _draw_bucket(axes, place, bucket)
    axes.set_yticks(range(len(buckets)), [bucket.bucket for bucket in buckets], family="monospace", fontsize=9)
    axes.set_xscale("log")
    axes.set_xlim(left=0.8)
    axes.set_xlabel(f"length of the response ({length_unit(report)}, log scale)")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_title(f"How long human answers are, bucket by bucket ({report.bucketed:,} rows)", loc="left", fontsize=11)
    axes.grid(axis="x", which="major", color="#dddddd", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    languages = sorted({bucket.parts[0] for bucket in buckets})
    handles: list[Any] = [Patch(color=_COLOURS.get(language, "#666666"), label=language) for language in languages]
    handles += [
        Patch(color="#666666", alpha=0.35, label="10–90%"),
        Patch(color="#666666", label="25–75%, median in white"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False, fontsize=9)
    figure.savefig(Path(path), dpi=150)


def _by_parts_then_length(bucket: BucketSummary) -> tuple[tuple[str, ...], int]:
    return bucket.parts[:-1], bucket.length["q50"]


def _draw_bucket(axes: Any, place: int, bucket: BucketSummary) -> None:
    """Draw one bar: from the 10% to the 90% quantile, the middle half darker, the median in white."""
    colour = _COLOURS.get(bucket.parts[0], "#666666")
    at = {name: max(value, 0.5) for name, value in bucket.length.items()}
    axes.barh(
        place,
        at["q90"] * 1.04 - at["q10"] / 1.04,
        left=at["q10"] / 1.04,
        height=0.55,
        color=colour,
        alpha=0.35,
    )
    axes.barh(place, at["q75"] * 1.04 - at["q25"] / 1.04, left=at["q25"] / 1.04, height=0.55, color=colour)
    axes.plot([at["q50"]] * 2, [place - 0.275, place + 0.275], color="white", linewidth=2)
    axes.annotate(
        f"n={bucket.rows:,}",
        (at["q90"] * 1.08, place),
        va="center",
        fontsize=8,
        color="#555555",
        annotation_clip=False,
    )


if __name__ == "__main__":
    run_demo(*sys.argv[1:2])
