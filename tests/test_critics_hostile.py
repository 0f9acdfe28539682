"""Critics' folders as an enemy or a bad disk makes them: refused in one line, or still a critic; never a crash."""

from __future__ import annotations

import contextlib
import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import polyalign as pa
from polyalign._io import manifests
from polyalign.critics import EmbeddingCritic, load
from test_discriminative import human, machine
from test_neural_critic import Letters

pytest.importorskip("sklearn")
safetensors = pytest.importorskip("safetensors.numpy")

BUCKET = "en|single|qa|short"
TEXTS = ["Well, the train is late again.", "", "Certainly! " * 40]
BUCKETS = [BUCKET, "en|multi|dialogue|short", "fr|single|qa|medium"]
KINDS = ("support", "lexical", "discriminative", "ensemble", "embedding")
_SETTINGS = [None, -1, 1e300, "x", [], {}, True, [1, 2, 3], 10**30, 0]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a critic of each kind."""
    folder, rng = tmp_path_factory.mktemp("saved"), np.random.default_rng(0)
    humans, samples = ([make(rng, BUCKET) for _ in range(240)] for make in (human, machine))
    buckets, prompts = [BUCKET] * 240, [None] * 240
    table = {"bucket": buckets, "completion": humans, "prompt": [f"What about {at}?" for at in range(240)]}
    pyarrow = pytest.importorskip("pyarrow")
    reference = pa.Reference.from_arrow(pyarrow.table(table))
    lexical = pa.critics.LexicalCritic.build(pyarrow.table(table))
    judge = pa.critics.DiscriminativeCritic.train(
        humans, buckets, samples, prompts=prompts, reference=reference, lexical=lexical
    )
    support = pa.critics.SupportCritic(reference)
    made: dict[str, Any] = {
        "support": support,
        "lexical": lexical,
        "discriminative": judge,
        "ensemble": pa.critics.EnsembleCritic({"support": support, "lexical": lexical, "judge": judge}),
        "embedding": EmbeddingCritic.train(humans, buckets, Letters()),
    }
    for kind in KINDS:
        made[kind].save(folder / kind)
    return folder


def opened(folder: Path, kind: str) -> Any:
    return EmbeddingCritic.load(folder, encoder=Letters()) if kind == "embedding" else load(folder)


def relist(folder: Path) -> None:
    """Make the manifests list what is there now: of an enemy, checksums are right."""
    for path in sorted(folder.rglob("manifest.json"), key=lambda path: -len(path.parts)):
        told = json.loads(path.read_text())
        for listed in told["files"]:
            file = path.parent / listed["file"]
            listed.update(bytes=file.stat().st_size, sha256=manifests.sha256(file))
        path.write_text(json.dumps(told))


def flipped(path: Path, draw: random.Random) -> None:
    content = bytearray(path.read_bytes())
    # Half of them where the header is.
    content[draw.randrange(min(len(content), draw.choice([2000, len(content)])))] ^= 1 << draw.randrange(8)
    path.write_bytes(content)


def cut(path: Path, draw: random.Random) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: draw.randrange(len(content))])


def other_tensors(path: Path, draw: random.Random) -> None:
    if path.suffix != ".safetensors":
        return flipped(path, draw)
    try:
        tensors = safetensors.load(path.read_bytes())
    except Exception:  # counts of its own layout
        return flipped(path, draw)
    if not tensors:
        return flipped(path, draw)
    name, other = draw.choice(sorted(tensors)), draw.choice(sorted(tensors))
    array, rng = tensors[name], np.random.default_rng(draw.randrange(2**32))
    largest = np.iinfo(array.dtype).max if array.dtype.kind in "iu" else np.nan
    changed: list[Callable[[], Any]] = [
        lambda: tensors.pop(name),
        lambda: tensors.update({name: array[: len(array) // 2].copy()}),
        lambda: tensors.update({name: rng.permutation(array.reshape(-1)).reshape(array.shape)}),
        lambda: tensors.update({name: array.astype(np.float32)}),
        lambda: tensors.update({name: np.full_like(array, largest)}),
        lambda: tensors.update({name: tensors[other].copy(), other: array.copy()}),
    ]
    draw.choice(changed)()
    path.write_bytes(safetensors.save(tensors))
    return None


def other_settings(path: Path, draw: random.Random) -> None:
    path = path.parent / "manifest.json"
    told = json.loads(path.read_text())
    at = told["settings"] if told["settings"] else told
    at[draw.choice(sorted(at))] = draw.choice(_SETTINGS)
    path.write_text(json.dumps(told))


def outcome(folder: Path, kind: str) -> str:
    """Open and ask a critic; return what came of it."""
    try:
        critic = opened(folder, kind)
        found = pa.critics.ask(critic, TEXTS, BUCKETS, [None] * 3)
        pa.critics.ask_percentiles(critic, TEXTS, BUCKETS, [None] * 3)
    except (ValueError, FileNotFoundError) as error:
        assert "\n" not in str(error) and str(error)
        return "refused"
    assert found.dtype == np.float32 and found.shape == (3,)
    return "scored"


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_flipped_or_cut_is_refused(kind: str, saved: Path, tmp_path: Path) -> None:
    """By the checksums: not one comes through, but of the manifest's own words that say nothing of the critic."""
    assert outcome(saved / kind, kind) == "scored"
    draw = random.Random(1)
    for at in range(12):
        folder = shutil.copytree(saved / kind, tmp_path / str(at))
        files = sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / "manifest.json")
        draw.choice([flipped, cut])(draw.choice(files), draw)
        assert outcome(folder, kind) == "refused"
        shutil.rmtree(folder)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_what_an_enemy_writes_is_refused_or_scores(kind: str, saved: Path, tmp_path: Path) -> None:
    """With checksums that are right."""
    draw, seen = random.Random(2), []
    for at in range(40):
        folder = shutil.copytree(saved / kind, tmp_path / str(at))
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        path = draw.choice(files)
        draw.choice([flipped, cut, other_tensors, other_tensors, other_settings])(path, draw)
        # What a manifest has become can't always be listed: it stays as it is.
        with contextlib.suppress(ValueError, TypeError, KeyError, AttributeError, OSError):
            relist(folder)
        seen.append(outcome(folder, kind))
        shutil.rmtree(folder)
    assert seen.count("refused") > 10
