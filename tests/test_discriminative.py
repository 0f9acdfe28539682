"""The classifier: it tells humans from a model and from attacks, forgets length, and scores as it was trained."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pytest

import polyalign as pa
from polyalign import _core
from polyalign.critics import DiscriminativeCritic, EnsembleCritic, SupportCritic, _saved, attacks, compare, load
from polyalign.critics._auroc import auroc, combined
from polyalign.critics._likelihood import NAMES, Likelihood

pytest.importorskip("sklearn")

EN, ZH = "en|single|qa|short", "zh|single|qa|short"
_OPENINGS = ["Well,", "I think", "Honestly,", "No idea, but", "Yeah,", "My brother says", "As far as I know,"]
_SUBJECTS = ["the train", "that shop", "our dog", "the old bridge", "her answer", "the rain", "this road"]
_ENDS = [
    "is late again.",
    "closes at six.",
    "was fine by me!",
    "isn't there any more.",
    "never bothers me...",
    "is odd?",
]
_HAN = (
    ["我觉得", "大概", "说实话，", "好像", "听说"],
    ["火车", "那家店", "天气", "这条路"],
    ["又晚了。", "六点关门。", "还不错吧！", "没有了。"],
)


def human(rng: np.random.Generator, bucket: str) -> str:
    parts, glue = (_HAN, "") if bucket == ZH else ((_OPENINGS, _SUBJECTS, _ENDS), " ")
    return glue.join(part[rng.integers(len(part))] for part in parts)


def machine(rng: np.random.Generator, bucket: str) -> str:
    if bucket == ZH:
        return f"当然可以！关于{_HAN[1][rng.integers(4)]}的情况，以下是一些建议：首先，请保持耐心。"
    return (
        f"Certainly! Regarding {_SUBJECTS[rng.integers(7)]}, there are several factors to consider. I hope this helps!"
    )


def rows(count: int, seed: int) -> tuple[list[str], list[str], list[str]]:
    rng = np.random.default_rng(seed)
    buckets = [EN if at % 2 else ZH for at in range(count)]
    return [human(rng, of) for of in buckets], buckets, [machine(rng, of) for of in buckets]


@pytest.fixture(scope="module")
def critic() -> DiscriminativeCritic:
    humans, buckets, samples = rows(240, 0)
    return DiscriminativeCritic.train(humans, buckets, samples, seed=0, threads=1)


def test_it_tells_them_apart(critic: DiscriminativeCritic) -> None:
    humans, buckets, samples = rows(80, 1)
    own = critic.score(humans, buckets)
    assert own.dtype == np.float32 and (own >= 0).all()
    assert auroc(own, critic.score(samples, buckets)).value > 0.99
    cut, shorter = attacks.equal_length(humans, samples, buckets)
    assert auroc(critic.score(cut, buckets), critic.score(shorter, buckets)).value > 0.9
    for name, least in {"letters_at_random": 0.99, "words_shuffled": 0.9, "boilerplate": 0.95, "looping": 0.95}.items():
        made = attacks.battery(humans, buckets, attacks=[name], seed=5)[name]
        assert auroc(own, critic.score([text or "" for text in made], buckets)).value > least, name


def test_an_end_in_mid_sentence_is_no_sign_of_the_machine() -> None:
    """To equal length now a human's text is cut, now the model's: both are learnt."""

    def both(seed: int) -> tuple[list[str], list[str], list[str]]:
        humans, buckets, samples = rows(240, seed)
        for at in range(240):
            if at // 2 % 2:
                humans[at], samples[at] = humans[at] * 3, samples[at][: len(samples[at]) // 4].rstrip(" ,，") + "."
        return humans, buckets, samples

    critic = DiscriminativeCritic.train(*both(0), seed=0, threads=1)
    humans, buckets, samples = both(1)
    cut, _ = attacks.equal_length(humans, samples, buckets)
    at = [at for at, (whole, part) in enumerate(zip(humans, cut, strict=True)) if part != whole]
    assert len(at) > 80
    of = [buckets[row] for row in at]
    told = auroc(critic.score([humans[row] for row in at], of), critic.score([cut[row] for row in at], of))
    assert told.value < 0.8


def test_percentiles_are_of_humans_that_it_has_not_seen(critic: DiscriminativeCritic) -> None:
    humans, buckets, samples = rows(200, 2)
    shares = critic.percentile(humans, buckets)
    assert np.abs(np.sort(shares) - np.linspace(0, 1, 200)).max() < 0.3
    assert (critic.percentile(samples, buckets) > 0.95).mean() > 0.95
    known, known_buckets, _ = rows(240, 0)
    with pytest.raises(ValueError, match="are what the critic was trained on"):
        critic.calibrate(known, known_buckets)


def test_the_same_input_gives_the_same_bytes(critic: DiscriminativeCritic, tmp_path: Path) -> None:
    humans, buckets, samples = rows(240, 0)
    again = DiscriminativeCritic.train(humans, buckets, samples, seed=0, threads=2)
    for name, made in (("one", critic), ("two", again)):
        made.save(tmp_path / name)
    for file in ("manifest.json", "tensors.safetensors"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()
    loaded = load(tmp_path / "one")
    texts = [*humans[:20], *samples[:20], "", "!!!"]
    asked = [*buckets[:20], *buckets[:20], EN, EN]
    assert loaded.score(texts, asked).tobytes() == critic.score(texts, asked).tobytes()
    assert loaded.percentile(texts, asked).tobytes() == critic.percentile(texts, asked).tobytes()
    assert np.isnan(loaded.score(["So."], ["nonsense"]))[0]
    assert not np.isnan(loaded.score(["So."], ["xx|single|qa|short"]))[0]


def test_what_was_saved_and_damaged_is_refused(critic: DiscriminativeCritic, tmp_path: Path) -> None:
    from safetensors.numpy import load as read
    from safetensors.numpy import save

    folder = tmp_path / "critic"
    critic.save(folder)
    tensors = read((folder / "tensors.safetensors").read_bytes())

    def damaged(name: str, value: Any) -> None:
        (folder / "tensors.safetensors").write_bytes(save({**tensors, name: value}))
        manifest = json.loads((folder / "manifest.json").read_text())
        from polyalign._io import manifests

        listed = manifest["files"][0]
        listed["sha256"] = manifests.sha256(folder / "tensors.safetensors")
        listed["bytes"] = (folder / "tensors.safetensors").stat().st_size
        (folder / "manifest.json").write_text(json.dumps(manifest))

    for name, value in (
        ("trees/left", np.zeros_like(tensors["trees/left"])),
        ("trees/column", np.full_like(tensors["trees/column"], 10_000)),
        ("trees/threshold", np.full_like(tensors["trees/threshold"], np.nan)),
        ("trees/value", tensors["trees/value"][:-1].copy()),
        ("ngrams", tensors["ngrams"][:-1].copy()),
        ("ngrams", tensors["ngrams"].astype(np.float64)),
        (f"calibration/{EN}", np.array([2.0, 1.0])),
    ):
        damaged(name, value)
        with pytest.raises(ValueError, match=r"damaged|sorted scores") as error:
            load(folder)
        assert "\n" not in str(error.value), name


def test_prompts_are_read() -> None:
    rng = np.random.default_rng(3)
    prompts = [f"Tell me about {_SUBJECTS[rng.integers(7)]} and {at}." for at in range(240)]
    humans = [f"I like {prompt[14:-1]} a lot, {_ENDS[rng.integers(6)]}" for prompt in prompts]
    samples = [machine(rng, EN) for _ in prompts]
    made = DiscriminativeCritic.train(humans, [EN] * 240, samples, prompts=prompts, seed=0)
    assert made.uses_prompts
    new = humans[:100]
    right, wrong = (made.score(new, [EN] * 100, asked) for asked in (prompts[:100], prompts[1:101]))
    assert auroc(right, wrong).value > 0.8


def test_what_is_wrong_is_said() -> None:
    humans, buckets, samples = rows(60, 0)
    with pytest.raises(ValueError, match="lengths differ"):
        DiscriminativeCritic.train(humans, buckets[:-1], samples)
    with pytest.raises(ValueError, match="1 sample to train on: 20 at least"):
        DiscriminativeCritic.train(humans, buckets, [samples[0], *[None] * 59], held_out=0.01)
    with pytest.raises(ValueError, match="held_out is 1"):
        DiscriminativeCritic.train(humans, buckets, samples, held_out=1)
    with pytest.raises(ValueError, match="nobody to calibrate with"):
        DiscriminativeCritic.train(humans, buckets, samples, held_out=0.05)
    with pytest.raises(ValueError, match="has 1 part"):
        DiscriminativeCritic.train(humans, ["x", *buckets[1:]], samples)


def test_what_will_not_do_is_said_before_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    def work(*given: Any, **more: Any) -> Any:
        raise AssertionError("hours were spent")

    monkeypatch.setattr("polyalign.critics._discriminative._train", work)
    humans, buckets, samples = rows(60, 0)
    with pytest.raises(ValueError, match="nobody to calibrate with: "):
        DiscriminativeCritic.train(humans, buckets, samples)


def test_saying_nothing_is_the_furthest(critic: DiscriminativeCritic) -> None:
    found = critic.score(["", " \n", ""], [EN, ZH, "nonsense"])
    assert found.tolist() == pytest.approx([50, 50, np.nan], nan_ok=True)
    assert (critic.percentile(["", " "], [EN, ZH]) > 0.95).all()
    humans, of, samples = rows(80, 3)
    assert (critic.score([*humans, *samples], [*of, *of]) < 50).all()


def test_trees_and_ngrams_are_checked() -> None:
    with pytest.raises(ValueError, match="give 1 to 8"):
        _core.char_ngrams(["x"], 9, 10, None)
    with pytest.raises(ValueError, match="give 1 to 8"):
        _core.ngram_scores(["x"], 1, np.zeros(0, np.float32), None)
    indptr, indices, values = _core.char_ngrams(["ab", "", "你好"], 2, 12, 1)
    assert indptr.tolist()[:2] == [0, 6] and indptr[1] == indptr[2] and len(indices) == len(values) == indptr[-1]
    assert float((values[:6] ** 2).sum()) == pytest.approx(1)


def test_a_language_model_may_have_its_say(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("trl")
    import tiny

    model = tiny.model()
    for name in ("model", "other"):
        model.save_pretrained(tmp_path / name)
        with torch.no_grad():
            model.lm_head.weight *= 20
        tiny.tokenizer().save_pretrained(tmp_path / name)
    rng = np.random.default_rng(0)
    humans = [" ".join(rng.choice(tiny.WORDS, 6)) for _ in range(160)]
    samples = [" ".join(rng.choice(tiny.WORDS[:4], 6)) for _ in range(160)]
    prompts = [" ".join(rng.choice(tiny.WORDS, 3)) for _ in range(160)]
    asked = {"prompts": prompts, "likelihood": str(tmp_path / "model"), "held_out": 0.3}
    critic = DiscriminativeCritic.train(humans, [EN] * 160, samples, **asked)  # type: ignore[arg-type]
    scores = critic.score(humans[:20], [EN] * 20, prompts[:20])
    assert not np.isnan(scores).any()
    critic.save(tmp_path / "critic")
    again = load(tmp_path / "critic")
    assert again.score(humans[:20], [EN] * 20, prompts[:20]).tobytes() == scores.tobytes()  # type: ignore[call-arg]
    (tmp_path / "model").rename(tmp_path / "moved")
    (tmp_path / "other").rename(tmp_path / "model")
    with pytest.raises(ValueError, match="is another than the one"):
        load(tmp_path / "critic").score(humans[:2], [EN] * 2)
    manifest = json.loads((tmp_path / "critic" / "manifest.json").read_text())
    manifest["settings"]["likelihood"]["name"] = 3
    (tmp_path / "critic" / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match="a language model that can't be"):
        load(tmp_path / "critic")


class Knowing(Likelihood):
    """A language model that finds a response likelier after its prompt where it says the number of it."""

    def _measured(self, texts: Any, prompts: Any) -> Any:
        found = np.ones((len(texts), len(NAMES)))
        asked = [None] * len(texts) if prompts is None else prompts
        gains = [
            np.nan if of is None else 2.0 * (str(of).split()[-1] in text) for text, of in zip(texts, asked, strict=True)
        ]
        found[:, NAMES.index("gain_per_token")] = gains
        return found


def test_with_a_language_model_the_prompt_is_judged_by_itself(tmp_path: Path) -> None:
    """What people said to another prompt is told, however much like people's the text is, and the model still is."""
    rng = np.random.default_rng(0)
    prompts = [f"What about {at}" for at in range(1000, 1400)]
    humans = [f"{human(rng, EN)} {at}" for at in range(1000, 1400)]
    samples = [f"{machine(rng, EN)} {at}" for at in range(1000, 1400)]
    known, unseen = slice(0, 240), slice(240, 400)
    asked: dict[str, Any] = {"prompts": prompts[known], "threads": 1, "likelihood": Knowing("knowing")}
    critic = DiscriminativeCritic.train(humans[known], [EN] * 240, samples[known], **asked)
    own = critic.score(humans[unseen], [EN] * 160, prompts[unseen])
    others = critic.score(np.roll(humans[unseen], 1).tolist(), [EN] * 160, prompts[unseen])
    assert auroc(own, others).value > 0.98
    assert auroc(own, critic.score(samples[unseen], [EN] * 160, prompts[unseen])).value > 0.98
    assert others.min() > 1, "which is -ln of the probability of both, not of one of many attacks"
    critic.save(tmp_path / "critic")
    again = load(tmp_path / "critic")
    again.likelihood = Knowing("knowing")  # type: ignore[attr-defined]
    assert again.score(humans[unseen], [EN] * 160, prompts[unseen]).tobytes() == own.tobytes()  # type: ignore[call-arg]
    saved = _saved.read(tmp_path / "critic")
    assert saved.setting("fits", float) is not None and saved.tensors["prompt/roots"].size
    saved.tensors["prompt/column"][:] = 40
    with pytest.raises(ValueError, match="it is damaged: train anew"):
        DiscriminativeCritic.from_saved(saved)
    # Without prompts there is nothing that could be learnt of them.
    blind = DiscriminativeCritic.train(humans[known], [EN] * 240, samples[known], **{**asked, "prompts": None})
    assert blind._fits is None


def test_the_end_of_a_sample_that_a_limit_cut_is_not_learnt() -> None:
    from polyalign.critics._sides import Rows, examples_of

    humans, buckets, samples = rows(60, 0)
    humans = [f"Well, {text} So it goes, and so do we." if at % 2 else text for at, text in enumerate(humans)]
    limited = [at % 3 == 0 for at in range(60)]
    found = examples_of(Rows.of(humans, buckets, samples, cut=limited), seed=0)
    machine = {(row, text) for row, text, side in zip(found.rows, found.texts, found.machine, strict=True) if side}
    _, at_length = attacks.equal_length(humans, samples, buckets)
    for at, (sample, cut) in enumerate(zip(samples, at_length, strict=True)):
        assert (at, cut) in machine
        assert ((at, sample) in machine) == (not limited[at] or sample == cut)
    # Both sides of a bucket weigh the same, whether all are cut or none.
    for all_cut in (True, False):
        made = examples_of(Rows.of(humans, buckets, samples, cut=[all_cut] * 60), seed=0)
        weights, sides = made.balanced(buckets), np.array(made.machine)
        assert weights[sides].sum() == pytest.approx(weights[~sides].sum())


def test_an_encoder_may_have_its_say(tmp_path: Path) -> None:
    """It reads what nothing else does; it is known again, by its name or by what it gives."""

    class Codes:
        """An encoder that knows who has written a text; it counts what it was asked."""

        def __init__(self, shift: float = 0.0) -> None:
            self.shift, self.texts = shift, 0

        def __call__(self, texts: list[str]) -> np.ndarray:
            self.texts += len(texts)
            return np.array([[1, self.shift + 3.0 * (text in by_people)] for text in texts], dtype=np.float32)

    words = [f"{a} {b} {c}." for a in "It That This".split() for b in "is was".split() for c in _SUBJECTS * 4]
    humans = [f"{word} {at}" for at, word in enumerate(words)]
    samples = [f"{word} {at + 1000}" for at, word in enumerate(words)]
    by_people = {*humans, "It is a thing. 7."}
    buckets, asked = [EN] * len(humans), ["It is a thing. 7.", "It is a thing. 8."]
    given: dict[str, Any] = {"seed": 0, "threads": 1, "held_out": 0.3}
    blind = DiscriminativeCritic.train(humans, buckets, samples, **given).score(asked, [EN] * 2)
    first, again = Codes(), Codes()
    made = DiscriminativeCritic.train(humans, buckets, samples, encoder=first, cache=tmp_path / "cache", **given)
    scores = made.score(asked, [EN] * 2)
    assert scores[1] - scores[0] > 1 + blind[1] - blind[0]
    DiscriminativeCritic.train(humans, buckets, samples, encoder=again, cache=tmp_path / "cache", **given)
    assert again.texts < 5 < first.texts
    made.save(tmp_path / "critic")
    loaded = DiscriminativeCritic.load(tmp_path / "critic", encoder=Codes())
    assert loaded.score(asked, [EN] * 2).tobytes() == scores.tobytes()
    loaded.save(tmp_path / "copy")
    assert (tmp_path / "copy" / "manifest.json").read_bytes() == (tmp_path / "critic" / "manifest.json").read_bytes()
    with pytest.raises(ValueError, match="which is not saved"):
        load(tmp_path / "critic").score(asked, [EN] * 2)
    with pytest.raises(ValueError, match="is another than the one"):
        DiscriminativeCritic.load(tmp_path / "critic", encoder=Codes(5.0)).score(asked, [EN] * 2)
    manifest = json.loads((tmp_path / "copy" / "manifest.json").read_text())
    manifest["settings"]["encoder"]["bias"] = None
    (tmp_path / "copy" / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match="an encoder that can't be"):
        load(tmp_path / "copy")
    # With prompts, what a response has in common with its own.
    prompts = [f"What about {at}?" for at in range(len(humans))]
    knowing = DiscriminativeCritic.train(humans, buckets, samples, prompts=prompts, encoder=Codes(), **given)
    assert not np.isnan(knowing.score(asked, [EN] * 2)).any()
    assert not np.isnan(knowing.score(asked, [EN] * 2, ["Why?", None])).any()


# ------------------------------------------------------------------------------------------------- ensembles


class Constant:
    """A critic that thinks the same of everything."""

    def score(self, responses: Any, buckets: Any) -> Any:
        return np.full(len(responses), 0.3, np.float32)

    def percentile(self, responses: Any, buckets: Any) -> Any:
        return self.score(responses, buckets)


def test_an_ensemble_is_as_far_out_as_the_furthest(critic: DiscriminativeCritic, tmp_path: Path) -> None:
    reference = pa.Reference.from_arrow(pa.reference.example_table())
    ensemble = EnsembleCritic({"support": SupportCritic(reference), "classifier": critic})
    humans, buckets, samples = rows(100, 4)
    texts = [*humans[:50], *samples[:50], ""]
    asked = [*buckets[:50], *buckets[:50], EN]
    each = ensemble.percentiles(texts, asked)
    assert ensemble.score(texts, asked).tolist() == np.fmax(each["support"], each["classifier"]).tolist()
    assert ensemble.uses_prompts
    known = ensemble.calibrate(humans, buckets)
    known.save(tmp_path / "critic")
    again = load(tmp_path / "critic")
    assert again.percentile(texts, asked).tobytes() == known.percentile(texts, asked).tobytes()
    assert again.score(texts, asked).tobytes() == ensemble.score(texts, asked).tobytes()
    assert ensemble.score([], []).shape == (0,)
    assert np.isnan(again.score(["Oui."], ["nonsense"]))[0]
    with pytest.raises(ValueError, match="an ensemble of 1"):
        EnsembleCritic({"support": SupportCritic(reference)})
    with pytest.raises(ValueError, match="critic 'a/b'"):
        EnsembleCritic({"a/b": critic, "c": critic})
    with pytest.raises(TypeError, match="is not calibrated"):
        EnsembleCritic({"one": object(), "two": critic})
    with pytest.raises(TypeError, match="can't be saved"):
        EnsembleCritic({"one": Constant(), "two": critic}).save(tmp_path / "other")


# ------------------------------------------------------------------------------------------------ comparisons


def test_auroc_is_the_share_of_pairs() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 6, 40).astype(float), rng.integers(2, 9, 30).astype(float)
    pairs = [(x < y) + (x == y) / 2 for x in a for y in b]
    found = auroc([*a, np.nan], b)
    assert found.value == pytest.approx(np.mean(pairs))
    assert found.counts == (40, 30)
    assert found.low < found.value < found.high
    both = combined([found, auroc([1.0], [0.0]), auroc([], [1.0])])
    assert both.value == pytest.approx((30 * found.value + 0) / 31)


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    rng = np.random.default_rng(1)
    inside = 0
    for _ in range(400):
        found = auroc(rng.normal(0, 1, 40), rng.normal(1, 1, 40))
        inside += found.low <= 0.7602 <= found.high  # Φ(1/√2)
    assert 0.92 <= inside / 400 <= 0.98


def test_humans_that_a_critic_takes_for_others_are_told() -> None:
    """Calibrated with people of one language, whose scores are others than those of the next."""

    class Lengths:
        uses_prompts = False

        def score(self, responses: list[str], buckets: list[str], prompts: Any = None) -> np.ndarray:
            return np.array([len(text) for text in responses], np.float32)

        def percentile(self, responses: list[str], buckets: list[str], prompts: Any = None) -> np.ndarray:
            return np.array([len(text) / 101 for text in responses], np.float32)

    texts = ["a" * (1 + at) for at in range(100)] + ["好" * (1 + at // 4) for at in range(100)]
    found = compare({"lengths": Lengths()}, texts, [EN] * 100 + [ZH] * 100)
    assert found.to_dict()["critics"]["lengths"]["strangers"] == [ZH]
    assert any(f"takes humans for others than they are in 1 bucket: in {ZH}" in line for line in found.faults())


def test_critics_are_compared(critic: DiscriminativeCritic, tmp_path: Path) -> None:
    humans, buckets, samples = rows(100, 6)
    found = compare({"classifier": critic, "constant": Constant()}, humans, buckets, samples, steps=20)
    told = found.to_dict()
    classifier, constant = (told["critics"][name] for name in ("classifier", "constant"))
    assert told["rows"] == told["samples"] == 100
    assert set(attacks.ATTACKS) < set(classifier["tests"])
    assert {"samples", "samples_equal_length", "boilerplate_human_length"} < set(classifier["tests"])
    assert set(classifier["tests"]["samples"]) == {"all", EN, ZH}
    assert classifier["tests"]["samples"]["all"]["value"] > 0.99
    assert constant["tests"]["samples"]["all"]["value"] == 0.5
    assert classifier["kolmogorov_smirnov"]["all"] < 0.3 and classifier["strangers"] == []
    assert "collapsed" in constant["collapsed"] and classifier["collapsed"] is None
    assert set(classifier["climbed_past_humans"]) == {"all", EN, ZH}
    assert any("constant has collapsed" in line for line in found.faults())
    assert "AUROC" in str(found) and "words_shuffled" in str(found)
    found.to_html(tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert "constant has collapsed" in page and "http" not in page
    with pytest.raises(FileExistsError):
        found.to_html(tmp_path / "page.html")


class Backwards(Constant):
    """A critic that likes what people do not say."""

    def score(self, responses: Any, buckets: Any) -> Any:
        return np.array([5.0 if "Certainly" not in text else 1.0 for text in responses], np.float32)


def test_a_critic_worse_than_chance_is_named() -> None:
    humans, buckets, samples = rows(100, 6)
    found = compare({"backwards": Backwards()}, humans, buckets, samples)
    lines = [line for line in found.faults() if "worse than chance" in line]
    assert any(f"in {EN}: samples is closer" in line for line in lines), lines
    assert len(lines) == len({line.split(": ")[1].split()[0] for line in lines})
    with pytest.raises(ValueError, match="no critic to compare"):
        compare({}, humans, buckets)
    with pytest.raises(ValueError, match="100 responses and 99 samples"):
        compare({"backwards": Backwards()}, humans, buckets, samples[1:])


def test_an_ensemble_measures_a_response_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What its critics ask of one reference and of the same counts is the same to the bit, of one call, and gone."""
    from polyalign.critics import LexicalCritic, _ensemble, _once

    reference = pa.Reference.from_arrow(pa.reference.example_table())
    humans, buckets, samples = rows(240, 0)
    counted = rows(200, 9)[:2]
    lexical = LexicalCritic.from_arrow(
        pyarrow.table({"bucket": counted[1], "completion": [[{"role": "assistant", "content": x}] for x in counted[0]]})
    )
    prompts = [f"What about {at}?" for at in range(240)]
    made = DiscriminativeCritic.train(
        humans, buckets, samples, prompts=prompts, reference=reference, lexical=lexical, threads=1
    )
    critics = {"support": SupportCritic(reference), "lexical": lexical, "classifier": made}
    EnsembleCritic(critics).save(tmp_path / "critic")
    ensemble: Any = load(tmp_path / "critic")
    support, words, classifier = ensemble.critics.values()
    assert support.reference is classifier.reference and words is classifier.lexical
    texts, asked = [*humans[:60], *samples[:60], "", " "], [*buckets[:60], *buckets[:60], EN, "nonsense"]
    given = [*prompts[:60], *prompts[:60], None, None]
    calls: dict[str, list[int]] = {"reference": [], "counts": []}
    measure, count = pa.Reference._score_and_measure, _once.OnceCounted.measure

    def measured(self: Any, texts: Any, *args: Any, **more: Any) -> Any:
        calls["reference"].append(len(texts))
        return measure(self, texts, *args, **more)

    class Counts:
        def __init__(self, core: Any) -> None:
            self.core = core

        def measure(self, texts: Any, *args: Any) -> Any:
            calls["counts"].append(len(texts))
            return self.core.measure(texts, *args)

    def counted_once(self: Any, *args: Any) -> Any:
        if not isinstance(self._core, Counts):
            self._core = Counts(self._core)
        return count(self, *args)

    for chunk in (_once.CHUNK, 50):
        monkeypatch.setattr(_ensemble, "CHUNK", chunk)
        monkeypatch.setattr("polyalign.critics._discriminative.CHUNK", chunk)
        with monkeypatch.context() as patch:
            for name in ("score", "support_distance"):
                patch.setattr(pa.Reference, name, None)
            patch.setattr(pa.features, "extract", None)
            patch.setattr(LexicalCritic, "calibration", words.calibration)
            patch.setattr(pa.Reference, "_score_and_measure", measured)
            patch.setattr(_once.OnceCounted, "measure", counted_once)
            calls["reference"].clear()
            calls["counts"].clear()
            found = ensemble.percentiles(texts, asked, given)
        assert {name: sum(counts) for name, counts in calls.items()} == dict.fromkeys(calls, len(texts))
        assert len(calls["counts"]) == -(-len(texts) // chunk)
        for name, critic in ensemble.critics.items():
            assert found[name].tobytes() == pa.critics.ask_percentiles(critic, texts, asked, given).tobytes(), name
    # Others than the last are measured anew.
    once = _once.Once(reference)
    one, two = (once.support_distance([text], [EN]) for text in ("Yes.", "As an AI language model, no!!!"))
    assert one != two and once.support_distance(["Yes."], [EN], support=(0.4, 0.6)) != one
    assert once.schema == reference.schema


@pytest.mark.parametrize("variant", ["default", "paper"])
@pytest.mark.parametrize("keep_thinking", [False, True])
def test_what_is_measured_in_one_pass_is_what_two_measure(variant: Any, keep_thinking: bool) -> None:
    """Where a score is of another text, another language or nothing, features are still those of the text as it is."""
    reference = pa.Reference.from_arrow(pa.reference.example_table(), variant=variant, keep_thinking=keep_thinking)
    texts = ["Yes, it is.", "<think>Is it?</think>Yes!", "<think>", "", " ", "你好，世界。", "Yes, it is.", "Oui."] * 9
    buckets = [EN, EN, EN, EN, "nonsense", ZH, ZH, "fr|single|qa|short"] * 9
    languages = ["en", "en", "en", "en", "und", "zh", "en", "fr"] * 9
    prompts: list[Any] = [
        None,
        "Is it?",
        [{"role": "user", "content": "Is it?"}],
        "",
        "What?",
        "你好？",
        None,
        "Non?",
    ] * 9
    for asked in (None, prompts):
        scored, found = reference._score_and_measure(texts, buckets, languages, prompts=asked, threads=2)
        expected = reference.score(texts, buckets, prompts=asked)
        assert repr(pyarrow.table(scored).to_pylist()) == repr(pyarrow.table(expected).to_pylist())
        table = pa.features.extract(texts, languages, asked, keep_thinking=True)
        columns = np.column_stack([np.asarray(table[name]) for name in table.column_names])
        assert found.dtype == np.float32 and found.tobytes() == np.ascontiguousarray(columns).tobytes()
    with pytest.raises(ValueError, match="72 texts and 71 languages"):
        reference._score_and_measure(texts, buckets, languages[1:])
