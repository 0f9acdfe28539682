"""The learned critic: both sides told apart, parts of buckets and prompts known, saved without its encoder."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import polyalign as pa
from polyalign.critics import HuggingFaceEncoder, NeuralCritic, load
from polyalign.critics._auroc import auroc
from test_discriminative import EN, ZH, human, machine, rows

torch = pytest.importorskip("torch")
pytest.importorskip("accelerate")


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


def test_both_sides_weigh_the_same_in_every_bucket() -> None:
    """An encoder that sees nothing leaves the balance of sides alone to be learnt: as likely the one as the other."""
    humans, buckets, samples = rows(240, 0)
    some = [
        text if bucket == EN or at % 20 == 0 else None
        for at, (bucket, text) in enumerate(zip(buckets, samples, strict=True))
    ]
    blind = NeuralCritic.train(humans, buckets, some, lambda texts: np.full((len(texts), 4), 0.5, np.float32), epochs=8)
    assert blind.score(["So.", "好。"], [EN, ZH]).tolist() == pytest.approx([np.log(2)] * 2, abs=0.05)


def test_saying_nothing_is_the_furthest(critic: NeuralCritic) -> None:
    assert critic.score(["", " \n", ""], [EN, EN, "nonsense"]).tolist() == pytest.approx([50, 50, np.nan], nan_ok=True)
    assert (critic.percentile(["", " \n"], [EN, EN]) > 0.95).all()


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
    assert critic.score(["", " \n"], [EN, EN]).tolist() == [5.0, 5.0]


class Failing:
    """An encoder that is never asked."""

    limit = None

    def __call__(self, texts: list[str]) -> np.ndarray:
        raise AssertionError("hours were spent")


def test_what_is_wrong_is_said() -> None:
    humans, buckets, samples = rows(240, 0)
    with pytest.raises(ValueError, match="objective is 'x'"):
        NeuralCritic.train(humans, buckets, samples, Letters(), objective="x")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="give a reference"):
        NeuralCritic.train(humans, buckets, samples, Letters(), objective="paper")
    with pytest.raises(ValueError, match="epochs is 0"):
        NeuralCritic.train(humans, buckets, samples, Letters(), epochs=0)
    with pytest.raises(ValueError, match="checkpoint_every is -1"):
        NeuralCritic.train(humans, buckets, samples, Letters(), checkpoint_every=-1)
    with pytest.raises(ValueError, match="mixed_precision is 'bf8'"):
        NeuralCritic.train(humans, buckets, samples, Letters(), mixed_precision="bf8")
    with pytest.raises(TypeError, match="train_encoder with a Letters"):
        NeuralCritic.train(humans, buckets, samples, Letters(), train_encoder=True)
    with pytest.raises(ValueError, match="has 1 part"):
        NeuralCritic.train(humans, ["x"] * 240, samples, Letters())
    with pytest.raises(ValueError, match="nobody to calibrate with: "):
        NeuralCritic.train(humans[:60], buckets[:60], samples[:60], Failing())


def test_an_encoder_without_room_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Narrow:
        """Cuts whatever it is given."""

        limit, told = 3, None

        def __call__(self, texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
            return Letters()(texts), np.ones(len(texts), dtype=bool)

    monkeypatch.setattr("polyalign.critics._neural.as_encoder", lambda given: given)
    monkeypatch.setattr("polyalign.critics._discriminative.as_encoder", lambda given: given)
    humans, buckets, samples = [f"Well, it is {at}." for at in range(120)], [EN] * 120, ["Certainly!"] * 120
    with pytest.raises(ValueError, match=r"reads 3 tokens, and all \d+ responses are longer"):
        NeuralCritic.train(humans, buckets, samples, Narrow())
    with pytest.raises(ValueError, match=r"reads 3 tokens, and all \d+ responses are longer"):
        pa.critics.DiscriminativeCritic.train(humans, buckets, samples, encoder=Narrow())


# ------------------------------------------------------------------------------------------ encoders that learn


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import encoders

    return encoders.bert(tmp_path_factory.mktemp("encoder") / "bert")


def tuned(encoder: Any, **settings: Any) -> NeuralCritic:
    """Train on few rows of English alone, which the encoder's alphabet spells."""
    humans = [f"Well, {human(np.random.default_rng(at), EN)}"[:28] for at in range(60)]
    samples = [machine(np.random.default_rng(at), EN)[:28] for at in range(60)]
    given = {"epochs": 1, "train_encoder": True, "encoder_learning_rate": 1e-3, "held_out": 0.5, **settings}
    prompts = [f"No {at}?" for at in range(60)]
    return NeuralCritic.train(humans, [EN] * 60, samples, encoder, prompts=prompts, **given)


def weights(folder: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return dict(load_file(folder / "model.safetensors"))


def told(folder: Path) -> dict[str, str]:
    """Return a hash of every file of a critic but what says which encoder it began with."""
    files = json.loads((folder / "manifest.json").read_text())["files"]
    return {file["file"]: file["sha256"] for file in files}


def test_the_encoder_learns_and_is_saved(encoder: Path, tmp_path: Path) -> None:
    """What is saved is opened without what it began with; the same rows give the same bytes."""
    base = tmp_path / "base"
    base.symlink_to(encoder, target_is_directory=True)
    given = HuggingFaceEncoder(str(base))
    before = given(["So."])[0]
    made = tuned(given)
    assert given(["So."])[0].tobytes() == before.tobytes()  # a copy learns
    made.save(tmp_path / "critic")
    tuned(HuggingFaceEncoder(str(base))).save(tmp_path / "again")
    assert told(tmp_path / "critic") == told(tmp_path / "again")
    base.unlink()
    loaded: Any = load(tmp_path / "critic")
    asked = (["Well, no.", "", "Certainly! I hope"], [EN] * 3, ["So?", "Why?", ""])
    assert loaded.score(*asked).tobytes() == made.score(*asked).tobytes()
    loaded.save(tmp_path / "copy")
    assert told(tmp_path / "copy") == told(tmp_path / "critic")
    changed = weights(tmp_path / "critic" / "encoder")
    same = {name for name, values in weights(encoder).items() if torch.equal(values, changed[name])}
    # What the mean over the tokens does not need.
    assert same == {"pooler.dense.weight", "pooler.dense.bias"}
    (tmp_path / "copy" / "encoder" / "config.json").write_text("{}")
    with pytest.raises(ValueError, match="is damaged"):
        load(tmp_path / "copy")


def test_the_last_layers_may_learn_alone(encoder: Path, tmp_path: Path) -> None:
    tuned(str(encoder), train_encoder=1).save(tmp_path / "critic")
    changed = weights(tmp_path / "critic" / "encoder")
    others = {name for name, values in weights(encoder).items() if not torch.equal(values, changed[name])}
    assert others and all(name.startswith("encoder.layer.1.") for name in others)
    with pytest.raises(ValueError, match="has 2 layers that can be told"):
        tuned(str(encoder), train_encoder=3)


@pytest.mark.parametrize("learns", [False, 1])
def test_an_interrupted_training_goes_on(learns: Any, encoder: Path, tmp_path: Path, monkeypatch: Any) -> None:
    from polyalign.critics import _learning

    given = {"train_encoder": learns, "epochs": 2}
    tuned(str(encoder), **given).save(tmp_path / "whole")
    save, count = _learning._Checkpoint.save, 0

    def broken(self: Any, *arguments: Any) -> None:
        nonlocal count
        count += 1
        if count == 4:
            raise KeyboardInterrupt
        save(self, *arguments)

    kept = {**given, "checkpoint": tmp_path / "kept", "checkpoint_every": 2}
    with monkeypatch.context() as patch:
        patch.setattr(_learning._Checkpoint, "save", broken)
        with pytest.raises(KeyboardInterrupt):
            tuned(str(encoder), **kept)
    steps: list[Any] = []
    step = _learning.Learner._step
    with monkeypatch.context() as patch:
        patch.setattr(_learning.Learner, "_step", lambda self, *args: (steps.append(1), step(self, *args)))
        tuned(str(encoder), **kept).save(tmp_path / "resumed")
        done = len(steps)
        tuned(str(encoder), **kept).save(tmp_path / "done")
    assert told(tmp_path / "resumed") == told(tmp_path / "whole") == told(tmp_path / "done")
    assert 0 < done == len(steps)  # none is done after the end
    others = {"settings": {"learning_rate": 0.1}, "data": {"held_out": 0.4}, "encoder": {"encoder": Letters()}}
    if learns:
        others["encoder"] = {"encoder": HuggingFaceEncoder(str(encoder), max_length=31)}
    others["schema"] = {"schema": pa.BucketSchema(length_edges=[5, 9])}
    for what, other in others.items():
        with pytest.raises(ValueError, match=f"a training with another {what}: go on with the same"):
            tuned(**{"encoder": str(encoder), **kept, **other})
    path = tmp_path / "kept" / "training.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match="damaged"):
        tuned(str(encoder), **kept)


def test_mixed_precision(encoder: Path) -> None:
    from accelerate import Accelerator

    before = Accelerator(mixed_precision="no", gradient_accumulation_steps=3)
    scores = [tuned(str(encoder), mixed_precision=name).score(["Well, no."], [EN], [""])[0] for name in ("no", "bf16")]
    assert scores[0] != scores[1]
    assert scores[0] == pytest.approx(scores[1], abs=0.05)
    # What others train with is as it was.
    assert before.mixed_precision == "no" and before.gradient_accumulation_steps == 3
