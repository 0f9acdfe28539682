"""Give a tokenizer.json without a vocabulary one: `train_vocabulary.py CONFIGURATION.json TEXTS.json SIZE OUT.json`."""

import json
import sys
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, pre_tokenizers, trainers

BYTES = [f"<0x{byte:02X}>" for byte in range(256)]


def trainer(model: dict[str, Any], size: int) -> trainers.Trainer:
    kind, show = model["type"], {"show_progress": False}
    if kind == "WordPiece":
        return trainers.WordPieceTrainer(vocab_size=size, special_tokens=[model["unk_token"]], **show)
    if kind == "Unigram":
        return trainers.UnigramTrainer(vocab_size=size, special_tokens=["<unk>"], unk_token="<unk>", **show)
    common = {"vocab_size": size, "min_frequency": 2, "max_token_length": 64, **show}
    if model.get("byte_fallback"):
        return trainers.BpeTrainer(special_tokens=["<unk>", *BYTES], **common)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    return trainers.BpeTrainer(initial_alphabet=alphabet, special_tokens=["<|endoftext|>"], **common)


def train(configuration: dict[str, Any], texts: list[str], size: int) -> dict[str, Any]:
    tokenizer = Tokenizer.from_str(json.dumps(configuration))
    if configuration["model"].get("byte_fallback"):
        # SentencePiece learns of words, whatever its tokenizer.json does not cut.
        tokenizer.normalizer = None
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always", split=True)
    tokenizer.train_from_iterator(texts, trainer(configuration["model"], size))
    trained = json.loads(tokenizer.to_str())
    added = [token for token in trained["added_tokens"] if token["content"] not in BYTES]
    flags = {name: value for name, value in configuration["model"].items() if name not in ("vocab", "merges", "unk_id")}
    return {**trained, **configuration, "added_tokens": added, "model": {**trained["model"], **flags}}


if __name__ == "__main__":
    config, source, size, out = sys.argv[1:]
    config, texts = (json.loads(Path(path).read_text(encoding="utf-8")) for path in (config, source))
    result = train(config, texts, int(size))
    Path(out).write_text(json.dumps(result, ensure_ascii=False), encoding="utf-8")
