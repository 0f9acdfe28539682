"""Every public function that computes on several threads, each as one call."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import polyalign as pa
from humans import SCHEMA, records
from polyalign import distances, features
from polyalign.critics._discriminative import _NODE_TYPES
from polyalign.evaluation import metrics

TEXTS = ["We think that maybe it is so, however late.", "你今天过得怎么样？我们去公园散步吧。"] * 600


def calls(folder: Path, tokenizer: Path) -> dict[str, Callable[[], Any]]:
    """By name. `folder` is where their files go."""
    corpus = folder / "corpus.jsonl"
    corpus.write_text("".join(json.dumps(record) + "\n" for record in records()))
    table = _columns(records())
    counter, bucketer = pa.TokenCounter(tokenizer), pa.Bucketer(SCHEMA)
    assigned = bucketer.assign(table)
    reference = pa.Reference.from_arrow(assigned, schema=SCHEMA)
    reference.save(folder / "reference")
    samples = _columns(tuple({"id": row["id"], "response": "So it is, I think."} for row in records()))
    preference = {"bucket": "en|single|qa|short", "prompt": "Why?", "chosen": "So.", "rejected": "No."}
    preferences = _columns((preference,) * 300)
    bucketer.bucket_files(str(corpus), str(folder / "bucketed"))

    lexical = pa.critics.LexicalCritic.from_arrow(assigned, schema=SCHEMA)
    lexical_bytes = lexical.to_bytes()

    def lexical_again() -> pa.critics.LexicalCritic:
        """Counts that nothing was asked yet."""
        return pa.critics.LexicalCritic.from_bytes(lexical_bytes)

    def fresh() -> pa.Reference:
        """A reference that has worked nothing out yet."""
        return pa.Reference.load(folder / "reference")

    def classifier() -> pa.critics.DiscriminativeCritic:
        """One that was not trained: a leaf."""
        leaf = tuple(np.array([value], kind) for value, kind in zip((0, -1, 0, 0, 0, 0, 1), _NODE_TYPES, strict=True))
        critic = pa.critics.DiscriminativeCritic(
            schema=SCHEMA,
            weights=np.ones(1 << 18, np.float32),
            bias=0.0,
            nodes=leaf,
            base=0.0,
            trained=np.zeros(0, np.uint64),
            provenance={"humans": 0, "samples": 0},
            reference=fresh(),
        )
        return critic.calibrate(TEXTS, [bucket] * len(TEXTS))

    def distribution() -> pa.distribution.DistributionTerm:
        return pa.distribution.DistributionTerm(fresh())

    def letters() -> pa.critics.EmbeddingCritic:
        """One with an encoder that counts letters."""

        def encode(texts: list[str]) -> Any:
            return np.array([[1 + text.count(letter) for letter in "aeiou。，"] for text in texts], np.float32)

        humans = [f"{text} {'a' * at}" for at, text in enumerate(TEXTS[:100])]
        return pa.critics.EmbeddingCritic.train(humans, [bucket] * len(humans), encode)

    def ensemble() -> pa.critics.EnsembleCritic:
        return pa.critics.EnsembleCritic({"support": pa.critics.SupportCritic(fresh()), "classifier": classifier()})

    bucket = "en|single|qa|short"
    buckets = [bucket] * len(TEXTS)
    floats = np.random.default_rng(0).normal(size=(300, 16)).astype(np.float32)
    weights, low, cap = np.ones((4, 9)), np.zeros((1, 16)), np.ones(16)
    band = (np.zeros(300, int), low, low + 0.1, low + 1, cap)
    return {
        "count": lambda: counter.count(TEXTS),
        "assign": lambda: bucketer.assign(table),
        "bucket_files": lambda: bucketer.bucket_files(str(corpus), str(folder / "again"), overwrite=True),
        "bucket_files_reference": lambda: bucketer.bucket_files(
            str(corpus), str(folder / "counted"), overwrite=True, reference=folder / "counted.safetensors"
        ),
        "detect_languages": lambda: pa.buckets.detect_languages(TEXTS[:50]),
        "metrics.utility": lambda: metrics.utility(TEXTS[:90], TEXTS[1:91], "en"),
        "metrics.distinct": lambda: metrics.distinct(TEXTS[:90], "en"),
        "metrics.self_bleu": lambda: metrics.self_bleu(TEXTS[:90], "en"),
        "metrics.self_bleu_of_each": lambda: metrics.self_bleu_of_each(TEXTS[:90], "en"),
        "metrics.within_prompts": lambda: metrics.within_prompts(TEXTS[:90], [at // 3 for at in range(90)], "en"),
        "metrics.overused": lambda: metrics.overused(TEXTS[:90:2], TEXTS[1:91:2], "en"),
        "metrics.faults": lambda: metrics.faults(TEXTS[:90], "en"),
        "metrics.resampled_sums": lambda: metrics.resampled_sums(floats, draws=20),
        "metrics.mmd": lambda: metrics.mmd(floats[:100], floats[100:], permutations=9),
        "metrics.bng": lambda: metrics.bng(floats[:100], floats[100:]),
        "metrics.length_gap": lambda: metrics.length_gap(floats[0], floats[1]),
        "metrics.language_faults": lambda: metrics.language_faults(TEXTS[:50], "en"),
        "extract": lambda: features.extract(TEXTS, "en"),
        "extract_paper": lambda: features.extract(TEXTS[:50], "en", variant="paper"),
        "Reference.build": lambda: pa.Reference.build(folder / "bucketed"),
        "Reference.from_arrow": lambda: pa.Reference.from_arrow(assigned, schema=SCHEMA),
        "Reference.merge": lambda: fresh().merge(reference),
        "Reference.resolve": lambda: fresh().resolve("en|*|*|*"),
        "Reference.describe": lambda: fresh().describe(),
        "Reference.to_arrow": lambda: fresh().to_arrow(),
        "Reference.diff": lambda: fresh().diff(reference),
        "Reference.plot": lambda: fresh().plot(folder / "page.html"),
        "Reference.quantile": lambda: fresh().quantile("en|*|*|*", "word_count", [0.1, 0.5]),
        "Reference.cdf": lambda: fresh().cdf("en|*|*|*", "word_count", [3.0, 5.0]),
        "Reference.support": lambda: fresh().support("en|*|*|*", "word_count"),
        "Reference.support_distance": lambda: fresh().support_distance(TEXTS, buckets),
        "Reference.score": lambda: fresh().score(TEXTS, buckets),
        "Reference.explain": lambda: fresh().explain(TEXTS[0], bucket),
        "Reference.score_files": lambda: fresh().score_files(str(corpus)),
        "SupportCritic.score": lambda: pa.critics.SupportCritic(fresh()).score(TEXTS, buckets),
        "SupportCritic.percentile": lambda: pa.critics.SupportCritic(fresh()).percentile(TEXTS, buckets),
        "DiscriminativeCritic.score": lambda: classifier().score(TEXTS, buckets),
        "DiscriminativeCritic.percentile": lambda: classifier().percentile(TEXTS, buckets),
        "DiscriminativeCritic.evidence": lambda: classifier().evidence(TEXTS),
        "DiscriminativeCritic.calibrate": lambda: classifier().calibrate(TEXTS, buckets),
        "EmbeddingCritic.score": lambda: letters().score(TEXTS, buckets),
        "EmbeddingCritic.percentile": lambda: letters().percentile(TEXTS, buckets),
        "EnsembleCritic.score": lambda: ensemble().score(TEXTS, buckets),
        "EnsembleCritic.percentile": lambda: ensemble().percentile(TEXTS, buckets),
        "EnsembleCritic.percentiles": lambda: ensemble().percentiles(TEXTS, buckets),
        "EnsembleCritic.calibrate": lambda: ensemble().calibrate(TEXTS, buckets),
        "critics.compare": lambda: pa.critics.compare({"classifier": classifier()}, TEXTS[:40], buckets[:40]),
        "LexicalCritic.build": lambda: pa.critics.LexicalCritic.build(folder / "bucketed"),
        "LexicalCritic.from_arrow": lambda: pa.critics.LexicalCritic.from_arrow(assigned, schema=SCHEMA),
        "LexicalCritic.merge": lambda: lexical_again().merge(lexical),
        "LexicalCritic.score": lambda: lexical_again().score(TEXTS, buckets),
        "LexicalCritic.percentile": lambda: lexical_again().percentile(TEXTS, buckets),
        "LexicalCritic.features": lambda: lexical_again().features(TEXTS, buckets),
        "LexicalCritic.surprisal": lambda: lexical_again().surprisal(TEXTS[0], bucket),
        "from_samples": lambda: pa.pairs.from_samples(folder / "bucketed", samples, reference=fresh()),
        "from_preferences": lambda: pa.pairs.from_preferences(preferences, reference=fresh()),
        "pair_files": lambda: pa.pairs.pair_files(
            folder / "bucketed", folder / "pairs", samples=samples, reference=fresh(), overwrite=True
        ),
        "DistributionTerm.measure": lambda: distribution().measure(TEXTS, bucket).rows,
        "DistributionTerm.compare": lambda: distribution().compare(distribution().measure(TEXTS, bucket)).scores,
        "DistributionTerm.score": lambda: distribution().score(TEXTS, bucket),
        "DistributionTerm.energy": lambda: distribution().energy(TEXTS[:64], bucket)[bucket],
        "rewards.distribution": lambda: pa.rewards.distribution(fresh())(
            TEXTS[:64], prompts=list(map(str, range(64))), bucket=buckets[:64]
        ),
        "rewards.support": lambda: pa.rewards.support(fresh())(TEXTS[:64], bucket=buckets[:64]),
        "rewards.length": lambda: pa.rewards.length(fresh())(TEXTS[:64], bucket=buckets[:64]),
        "rewards.language": lambda: pa.rewards.language()(TEXTS[:64], prompts=TEXTS[:64]),
        "rewards.critic": lambda: pa.rewards.critic(ensemble())(TEXTS[:64], bucket=buckets[:64]),
        "histogram_distance": lambda: distances.histogram_distance(weights, weights[::-1], "energy"),
        "pairwise_histogram_distance": lambda: distances.pairwise_histogram_distance(weights, "energy"),
        "sample_distance": lambda: distances.sample_distance(floats, floats[::-1]),
        "pairwise_sample_distance": lambda: distances.pairwise_sample_distance([floats, floats + 1]),
        "support_distance": lambda: distances.support_distance(floats, *band),
        "support_contributions": lambda: distances.support_contributions(floats, *band),
        "nearest": lambda: distances.nearest(floats, floats, 3),
        "knn_distance": lambda: distances.knn_distance(floats, floats, 3),
        "mahalanobis": lambda: distances.mahalanobis(floats, floats),
        "mmd": lambda: distances.mmd(floats, floats + 1),
        "energy_distance": lambda: distances.energy_distance(floats, floats + 1),
        "sliced_wasserstein": lambda: distances.sliced_wasserstein(floats, floats + 1),
    }


def _columns(rows: tuple[dict[str, Any], ...]) -> Any:
    import pyarrow as pa_

    return pa_.Table.from_pylist(list(rows))
