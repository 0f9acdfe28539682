"""The demo's corpus: conversations of the package ``chatterbot-corpus``, and a tokenizer trained on them."""

from __future__ import annotations

import hashlib
import importlib
import json
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from polyalign._io import json_text

__all__ = [
    "EDGES",
    "FAMILIES",
    "SPECIAL_TOKENS",
    "interactions",
    "is_held_out",
    "records",
    "require",
    "train_tokenizer",
    "write_lines",
]

_FOLDERS = {"english": "en", "chinese": "zh"}
_DIALOGUES = {"conversations", "sports"}
FAMILIES = {
    source: family
    for family, sources in {
        "assistant": ["tech support"],
        "code": ["coding"],
        "dialogue": ["conversations", "emotion", "gossip", "greetings", "humor", "profile", "psychology", "sports"],
        "qa": "ai computers food health history literature money movies politics science trivia".split(),
    }.items()
    for source in sources
}
EDGES = (8, 16, 32)
#: Of the tokenizer, for chat templates; the first ends a text.
SPECIAL_TOKENS = ("<|endoftext|>", "<|system|>", "<|user|>", "<|assistant|>")
_VOCABULARY = 2000
_HELD_OUT = 0.2


def require(package: str) -> Any:
    """Import a package that the demo needs, or say how to install it."""
    try:
        return importlib.import_module(package)
    except ImportError:
        name = package.replace("_", "-")
        raise ImportError(f"the demo needs {name}: pip install 'polyalign[demo]'") from None


def records() -> list[dict[str, Any]]:
    """Return the interactions, each once, as TRL messages with language, source and group."""
    return _grouped(list(_distinct(_interactions_of_corpus())))


def is_held_out(group: str) -> bool:
    """Whether a group is kept from training: a fifth of them is, told by a hash."""
    return hashlib.sha256(group.encode()).digest()[0] < 256 * _HELD_OUT


def _interactions_of_corpus() -> Iterator[dict[str, Any]]:
    import yaml

    data = Path(require("chatterbot_corpus").__file__).parent / "data"
    for folder, language in _FOLDERS.items():
        for path in sorted((data / folder).glob("*.yml")):
            content = yaml.safe_load(path.read_text(encoding="utf-8"))
            source = str(content["categories"][0]).lower()
            for number, conversation in enumerate(content["conversations"]):
                if not isinstance(conversation, list):  # the corpus has a stray string or two
                    continue
                turns = [str(turn).strip() for turn in conversation]
                for messages in interactions(turns, is_dialogue=source in _DIALOGUES):
                    yield {
                        "messages": messages,
                        "language": language,
                        "source": source,
                        "group": f"{folder}/{path.stem}/{number}",
                    }


def interactions(turns: list[str], *, is_dialogue: bool) -> Iterator[list[dict[str, str]]]:
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


def _grouped(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Put conversations that share a text, a question or an answer, into one group: what is held out is then new."""
    parents: dict[str, str] = {}

    def root(key: str) -> str:
        while (parent := parents.setdefault(key, key)) != key:
            parents[key] = key = parents[parent]
        return key

    for record in records:
        for message in record["messages"]:
            first, second = sorted((root(record["group"]), root(_letters(message["content"]))))
            parents[second] = first
    return [{**record, "group": root(record["group"])} for record in records]


def _letters(text: str) -> str:
    """Return what two spellings of one text share; a name that comes after those of groups."""
    letters = (letter for letter in text.casefold() if unicodedata.category(letter)[0] in "LN")
    return f"text/{''.join(letters)}"


def write_lines(path: Path, records: Iterable[dict[str, Any]]) -> None:
    """Write records as JSONL."""
    path.write_text("".join(json_text.one_line(record) + "\n" for record in records), "utf-8")


def train_tokenizer(records: Iterable[dict[str, Any]]) -> Any:
    """Train a byte-level BPE in the manner of GPT-2."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=_VOCABULARY,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=list(SPECIAL_TOKENS),
        show_progress=False,
    )
    texts = (message["content"] for record in records for message in record["messages"])
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer
