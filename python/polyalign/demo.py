"""The demo: a small bilingual corpus of human conversations, its buckets and its reference, and some answers' scores.

``python -m polyalign.demo`` needs no network: the corpus is that of the ``chatterbot-corpus`` package, and the
tokenizer is trained on it.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from polyalign.buckets import Bucketer, BucketSchema, BucketSummary, Report
from polyalign.reference import Reference

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

_MULTI = {
    "en": ("Good morning, how are you?", "I am doing well, and you?", "I am fine, thanks."),
    "zh": ("早上好,你还好吗", "我很好,你呢", "我也很好"),
}
# By bucket: the user's turns with the replies between them, an answer as people write it and one as assistants do.
_ANSWERS: dict[str, tuple[tuple[str, ...], str, str]] = {
    "en|single|qa|short": (
        ("Which planet is the largest?",),
        "It is Jupiter.",
        "Great question! The largest planet in our solar system is **Jupiter**. Would you like to know more about it?",
    ),
    "en|single|dialogue|medium": (
        ("Do you like rainy days?",),
        "I do, if I can stay in and read a book.",
        "As an AI language model, I don't have personal preferences. However, many people enjoy rainy days:\n\n"
        "- **Relaxation**: The sound of rain can be soothing.\n- **Reading**: It is a great time for a book.",
    ),
    "en|multi|dialogue|short": (
        _MULTI["en"],
        "That's good to hear.",
        "I'm glad to hear you're doing well! How can I assist you today? Please don't hesitate to let me know.",
    ),
    "zh|single|qa|short": (
        ("最大的行星是哪一颗？",),
        "是木星。",
        "这是一个很好的问题！太阳系中最大的行星是**木星**。如果您想了解更多信息，请随时告诉我！",
    ),
    "zh|single|dialogue|medium": (
        ("你喜欢下雨天吗",),
        "喜欢,可以在家里看书。",
        "作为一个人工智能语言模型，我没有个人喜好。不过，很多人喜欢下雨天，原因如下：\n\n"
        "- **放松**：雨声可以让人平静。\n- **阅读**：这是读书的好机会。",
    ),
    "zh|multi|dialogue|short": (
        _MULTI["zh"],
        "那就好",
        "很高兴听到您一切都好！请问今天有什么可以帮助您的吗？如果您有任何问题，请随时告诉我。",
    ),
}


def run_demo(output: str | Path = "demo") -> Report:
    """Build the corpus, train a tokenizer on it, bucket it, learn its reference, draw both, score some answers.

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
    made = {
        "corpus": "corpus.jsonl",
        "tokenizer": "tokenizer.json",
        "buckets": "bucketed",
        "figure": "lengths.png",
        "reference": "human.safetensors",
        "answers": "answers.jsonl",
        "page": "reference.html",
    }
    paths = {name: folder / file for name, file in made.items()}

    records = list(_distinct(_records()))
    _write_lines(paths["corpus"], records)
    _train_tokenizer(records).save(str(paths["tokenizer"]))
    schema = BucketSchema(length_edges=_EDGES, families=_FAMILIES)
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
    _write_lines(paths["answers"], _answers())

    print(report)
    print(
        f"\n{reference!r}\nAn answer as people write it and one as assistants do, against the humans of their bucket:"
    )
    _print_scores(reference)
    print("\n".join(f"{name:9}  {path}" for name, path in paths.items()))
    print(
        f"\nLook at rows:  polyalign show {paths['buckets']} --bucket '{report.buckets[0].bucket}' -n 3\n"
        f"Score answers: polyalign score {paths['answers']} --reference {paths['reference']}\n"
        f"Every bucket's human distributions, in a browser: {paths['page'].resolve().as_uri()}"
    )
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


def _write_lines(path: Path, records: Iterable[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records), "utf-8")


def _answers() -> Iterator[dict[str, Any]]:
    """Made-up answers with the bucket of the human answer that each stands in for."""
    for bucket, (turns, human, assistant) in _ANSWERS.items():
        prompt = [{"role": ("user", "assistant")[index % 2], "content": turn} for index, turn in enumerate(turns)]
        for writer, answer in (("human", human), ("assistant", assistant)):
            yield {"id": f"{bucket}/{writer}", "prompt": prompt, "completion": answer, "bucket": bucket}


def _print_scores(reference: Reference) -> None:
    """Print a line for each of the answers: how far it is from its bucket's humans, and what stands out most."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from polyalign import _tables

    table = Table(box=box.SIMPLE_HEAD, header_style="bold")
    table.add_column("bucket", overflow="fold")
    table.add_column("answer", overflow="ellipsis", no_wrap=True, max_width=40)
    for name in ("distance", "percentile"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("what stands out most", overflow="fold")
    for answer in _answers():
        found = reference.explain(answer["completion"], answer["bucket"], prompt=answer["prompt"], most=1)
        cells = [
            answer["bucket"] if answer["id"].endswith("/human") else "",
            " ".join(answer["completion"].split()),
            "–" if found.distance is None else f"{found.distance:.3f}",
            "–" if found.percentile is None else f"{found.percentile:.0%}",
            found.outside[0].words if found.outside else "",
        ]
        table.add_row(*map(Text, cells), end_section=answer["id"].endswith("/assistant"))
    _tables.console().print(table)


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
