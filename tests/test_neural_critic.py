"""The learned critic: both sides told apart, parts of buckets and prompts known, saved without its encoder."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

import polyalign as pa
from polyalign.critics import NeuralCritic, load
from polyalign.critics._auroc import auroc
from test_discriminative import EN, ZH, human, machine, rows

torch = pytest.importorskip("torch")


class Letters:
    """An encoder: which hashed pairs of letters a text has. It counts what it was asked."""

    def __init__(self, dimension: int = 96, shift: float = 0.0) -> None:
        self.dimension, self.shift, self.texts = dimension, shift, 0

    def __call__(self, texts: list[str]) -> np.ndarray:
        self.texts += len(texts)
        found = np.zeros((len(texts), self.dimension), np.float32)
        for row, text in enumerate(texts):
            for pair in pairwise(text):
                found[row, (ord(pair[0]) * 31 + ord(pair[1])) % self.dimension] += 1
            found[row, 0] += 1 + self.shift
        return found / np.linalg.norm(found, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def critic() -> NeuralCritic:
    humans, buckets, samples = rows(240, 0)
    return NeuralCritic.train(humans, buckets, samples, Letters(), epochs=8, seed=0)


def test_it_tells_them_apart(critic: NeuralCritic) -> None:
    humans, buckets, samples = rows(100, 1)
    own, other = critic.score(humans, buckets), critic.score(samples, buckets)
    assert own.dtype == np.float32 and (own >= 0).all()
    assert auroc(own, other).value > 0.97
    assert (critic.percentile(samples, buckets) > 0.9).mean() > 0.8
    assert 0.3 < critic.percentile(humans, buckets).mean() < 0.7
    assert critic.score(["", "!"], [EN, "nonsense"]).tolist()[1] != critic.score([""], [EN]).tolist()[0]
    assert np.isnan(critic.score(["So."], ["nonsense"]))[0]
    assert not critic.uses_prompts


def test_numpy_computes_what_torch_trained(critic: NeuralCritic) -> None:
    humans, buckets, _ = rows(20, 2)
    network = {name: torch.from_numpy(values) for name, values in critic._network.items()}
    vectors = torch.from_numpy(Letters()(humans))
    parts = sorted({f"{axis}|{part}" for bucket in (EN, ZH) for axis, part in enumerate(bucket.split("|"))})
    of = torch.tensor([[parts.index(f"{axis}|{part}") for axis, part in enumerate(b.split("|"))] for b in buckets])
    whole = torch.cat([vectors, network["parts"][of].mean(dim=1)], dim=1)
    hidden = torch.nn.functional.gelu(
        torch.nn.functional.linear(whole, network["hidden.weight"], network["hidden.bias"])
    )
    margins = torch.nn.functional.linear(hidden, network["out.weight"], network["out.bias"])[:, 0]
    wanted = torch.nn.functional.softplus(margins).numpy()
    assert critic.score(humans, buckets).tolist() == pytest.approx(wanted.tolist(), abs=1e-5)


def test_an_unseen_combination_of_parts_is_not_unknown(critic: NeuralCritic) -> None:
    humans, samples = [human(np.random.default_rng(at), EN) for at in range(60)], []
    samples = [machine(np.random.default_rng(at), EN) for at in range(60)]
    unseen = ["en|multi|qa|long"] * 60
    assert auroc(critic.score(humans, unseen), critic.score(samples, unseen)).value > 0.9


def test_what_is_saved_is_loaded_with_the_encoder(critic: NeuralCritic, tmp_path: Path) -> None:
    critic.save(tmp_path / "one")
    humans, buckets, samples = rows(240, 0)
    NeuralCritic.train(humans, buckets, samples, Letters(), epochs=8, seed=0).save(tmp_path / "two")
    assert (tmp_path / "one" / "tensors.safetensors").read_bytes() == (
        tmp_path / "two" / "tensors.safetensors"
    ).read_bytes()
    again = NeuralCritic.load(tmp_path / "one", encoder=Letters())
    assert again.percentile(humans, buckets).tobytes() == critic.percentile(humans, buckets).tobytes()
    with pytest.raises(ValueError, match="is a function, Letters, which is not saved"):
        load(tmp_path / "one").score(humans[:1], buckets[:1])
    with pytest.raises(ValueError, match="is another than the one"):
        NeuralCritic.load(tmp_path / "one", encoder=Letters(shift=50.0)).score(humans[:1], buckets[:1])
    manifest = json.loads((tmp_path / "one" / "manifest.json").read_text())
    manifest["settings"]["parts"] = manifest["settings"]["parts"][1:]
    (tmp_path / "one" / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match=r"network/parts.*damaged"):
        load(tmp_path / "one")


def test_vectors_are_kept(tmp_path: Path) -> None:
    humans, buckets, samples = rows(240, 0)
    first, second = Letters(), Letters()
    one = NeuralCritic.train(humans, buckets, samples, first, epochs=1, cache=tmp_path / "cache")
    for path in (tmp_path / "cache").iterdir():  # of an interrupted write
        path.with_suffix(".partial").write_bytes(b"torn")
    two = NeuralCritic.train(humans, buckets, samples, second, epochs=1, cache=tmp_path / "cache")
    assert second.texts < 5 < first.texts
    assert one.score(humans, buckets).tobytes() == two.score(humans, buckets).tobytes()
    for path in (tmp_path / "cache").glob("*.npy"):
        path.write_bytes(path.read_bytes()[:50])
    third = NeuralCritic.train(humans, buckets, samples, Letters(), epochs=1, cache=tmp_path / "cache")
    assert third.score(humans, buckets).tobytes() == one.score(humans, buckets).tobytes()


def test_prompts_are_a_second_segment() -> None:
    humans, buckets, samples = rows(240, 0)
    prompts = [f"Number {at}?" for at in range(240)]
    critic = NeuralCritic.train(humans, buckets, samples, Letters(), prompts=prompts, epochs=2)
    assert critic.uses_prompts
    one, two = (critic.score(humans[:20], buckets[:20], asked) for asked in (prompts[:20], ["Why not?"] * 20))
    assert not np.allclose(one, two)
    with pytest.raises(ValueError, match="trained with prompts"):
        critic.score(humans, buckets)


def test_the_papers_objective_learns_distances() -> None:
    reference = pa.Reference.from_arrow(pa.reference.example_table())
    humans = [human(np.random.default_rng(at), EN) for at in range(200)]
    samples = [machine(np.random.default_rng(at), EN) for at in range(200)]
    critic = NeuralCritic.train(
        humans, [EN] * 200, samples, Letters(), objective="paper", reference=reference, epochs=20, held_out=0.3
    )
    distances = [reference.support_distance(side, [EN] * 200, warn=False).mean() for side in (humans, samples)]
    scores = [critic.score(side, [EN] * 200).mean() for side in (humans, samples)]
    assert scores[0] < scores[1]
    assert scores[0] == pytest.approx(distances[0], abs=0.15)


def test_what_is_wrong_is_said() -> None:
    humans, buckets, samples = rows(60, 0)
    with pytest.raises(ValueError, match="objective is 'x'"):
        NeuralCritic.train(humans, buckets, samples, Letters(), objective="x")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="give a reference"):
        NeuralCritic.train(humans, buckets, samples, Letters(), objective="paper")
    with pytest.raises(ValueError, match="epochs is 0"):
        NeuralCritic.train(humans, buckets, samples, Letters(), epochs=0)
    with pytest.raises(ValueError, match="has 1 part"):
        NeuralCritic.train(humans, ["x"] * 60, samples, Letters())


def test_an_encoder_without_room_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Narrow:
        """Cuts whatever it is given."""

        limit, told = 3, None

        def __call__(self, texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
            return Letters()(texts), np.ones(len(texts), dtype=bool)

    monkeypatch.setattr("polyalign.critics._neural.as_encoder", lambda given: given)
    humans = [f"Well, it is {at}." for at in range(60)]
    with pytest.raises(ValueError, match=r"reads 3 tokens, and all \d+ responses are longer"):
        NeuralCritic.train(humans, ["en|single|qa|short"] * 60, ["Certainly!"] * 60, Narrow())
