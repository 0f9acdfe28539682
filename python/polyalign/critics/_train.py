"""From a bucketed corpus and a model's samples to a critic."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from polyalign import _core
from polyalign._io import bucketed
from polyalign._io.progress import row_bar
from polyalign._text.words import counted, place
from polyalign.buckets import BucketSchema
from polyalign.buckets._schema import axis_names
from polyalign.critics._calibration import MIN_COUNT, Calibration
from polyalign.critics._discriminative import DiscriminativeCritic
from polyalign.critics._ensemble import EnsembleCritic
from polyalign.critics._support import SupportCritic
from polyalign.reference._lm import as_model, fitting

if TYPE_CHECKING:
    from polyalign.reference import Reference

Kind = Literal["support", "lexical", "discriminative", "embedding", "neural", "ensemble"]
KINDS: tuple[Kind, ...] = ("support", "lexical", "discriminative", "embedding", "neural", "ensemble")
_LEARNT_OF_SAMPLES, _OF_HUMANS = ("discriminative", "neural"), ("support", "lexical", "embedding")
#: Those that can ask a language model.
_WITH_LM = ("support", "discriminative", "ensemble")
#: Groups whose hash is below the first calibrate the ensemble; below the second the classifier learns by them, below
#: the third by their rows with samples in buckets where most rows have one; above it these are the lexical critic's.
_CALIBRATED, _LEARNT, _LEARNT_DENSE = 0.1, 0.2, 0.6
#: At most so many of them.
_WITHOUT, _HELD = 5_000, 20_000
_CHUNK = 10_000
#: Humans of a bucket that an encoder sees: those that stand for it, and those that calibrate.
_SAMPLED = 1024
_HUMAN = ("responses", "buckets", "prompts", "groups", "samples", "cut", "ids")
_COLUMNS = ("id", "bucket", "prompt", "completion", "group")


@dataclass
class Humans:
    """Human responses, with a model's to the same prompt where there is one."""

    responses: list[str] = field(default_factory=list)
    buckets: list[str] = field(default_factory=list)
    prompts: list[Any] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)
    samples: list[str | None] = field(default_factory=list)
    cut: list[bool] = field(default_factory=list)
    ids: list[str | None] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.responses)

    def add(self, row: dict[str, Any], sample: str | None, cut: bool = False) -> None:
        self.responses.append(row["response"])
        self.buckets.append(row["bucket"])
        self.prompts.append(row["prompt"])
        self.groups.append(row["group"])
        self.samples.append(sample)
        self.cut.append(cut)
        self.ids.append(row["id"])

    def taken(self, rows: Sequence[int]) -> Humans:
        """Return some of them, in this order."""
        return Humans(*([getattr(self, name)[at] for at in rows] for name in _HUMAN))

    def __add__(self, other: Humans) -> Humans:
        return Humans(*(getattr(self, name) + getattr(other, name) for name in _HUMAN))

    def lowest(self, count: int) -> Humans:
        """Return those whose group has the lowest hash, so many: the same in whatever order rows come."""
        order = sorted(range(len(self)), key=lambda at: (share_of(self.groups[at]), self.ids[at] or ""))[:count]
        return self.taken(order)


@dataclass
class Skipped:
    """What was not used, by its kind, and the first of each."""

    counts: dict[str, int] = field(default_factory=dict)
    first: dict[str, str] = field(default_factory=dict)

    def add(self, kind: str, what: str, count: int = 1) -> None:
        if count:
            self.counts[kind] = self.counts.get(kind, 0) + count
            self.first.setdefault(kind, what)

    def add_rejects(self, what: str, samples: bucketed.Samples) -> None:
        """Add what the reader could not use."""
        firsts = {first["kind"]: f"{place(first)}: {first['reason']}" for first in samples.first_rejects}
        for kind, count in samples.rejected_by_kind.items():
            self.add(f"{what} rejected ({kind})", firsts.get(kind, ""), count)

    def add_unmet(self, what: str, found: Mapping[str, str], met: set[str]) -> None:
        """Add those whose ids no record has."""
        unmet = [identity for identity in found if identity not in met]
        self.add(f"{what} with the id of no record", next(iter(unmet), ""), len(unmet))

    def lines(self) -> list[str]:
        return [f"{count:,} {kind}, the first: {self.first[kind]}" for kind, count in self.counts.items()]

    def __str__(self) -> str:
        return "".join(f"; {line}" for line in self.lines())


class Sampled(dict[str, str]):
    """A model's responses by their ids."""

    def __init__(self) -> None:
        super().__init__()
        #: Those that a limit of tokens has cut.
        self.cut: set[str] = set()


def read_samples(source: Any, reading: bucketed.Reading, skipped: Skipped) -> Sampled:
    """Return a model's first response to each id, without reasoning."""
    samples = bucketed.open_samples(source, reading, None)
    skipped.add_rejects("samples", samples)
    for file in samples.unreadable:
        skipped.add("files of samples unreadable to their end", f"{file['file']}: {file['reason']}")
    found = Sampled()
    texts = _core.answers([text or "" for text in samples.responses.text.to_pylist()])
    for at, (identity, text) in enumerate(zip(samples.ids.to_pylist(), texts, strict=True)):
        if not text.strip():
            skipped.add("empty samples", place(samples.place(at)))
        elif identity in found:
            skipped.add("further samples of the same id", place(samples.place(at)))
        elif identity is not None:
            found[identity] = text
            if samples.cut[at]:
                found.cut.add(identity)
    return found


def read_humans(
    rows: bucketed.Rows,
    samples: Sampled,
    keep: Callable[[dict[str, Any], bool], Humans | None],
    skipped: Skipped,
    progress: bool = False,
) -> set[str]:
    """Hand each human response to the set that `keep` names; return the ids met that have a sample."""
    rows.require("records", "id", "bucket", "prompt", "completion", hint="; polyalign bucket makes them")
    met = set()
    with row_bar(rows.count, progress, "rows") as update:
        for name, first, batch in rows.batches(_COLUMNS):
            for at, row in enumerate(_rows(batch)):
                identity = row["id"]
                sample = samples.get(identity)
                if sample is not None:
                    met.add(identity)
                if not row["response"].strip() or not row["bucket"]:
                    skipped.add("records without a response or a bucket", f"{name}, row {first + at}")
                    continue
                into = keep(row, sample is not None)
                if into is not None:
                    into.add(row, sample, identity in samples.cut)
            update(len(batch))
    return met


def _rows(batch: Any) -> Iterator[dict[str, Any]]:
    responses = bucketed.texts("completion", batch["completion"]).text.to_pylist()
    texts = _core.answers([text or "" for text in responses])
    columns = {name: batch[name].to_pylist() for name in ("bucket", "prompt")}
    rows = zip(bucketed.ids("records", batch["id"]).to_pylist(), _groups(batch), texts, strict=True)
    for at, (identity, group, text) in enumerate(rows):
        yield {
            "id": identity,
            "bucket": columns["bucket"][at],
            "prompt": columns["prompt"][at],
            "response": text,
            "group": group,
        }


def _groups(batch: Any) -> list[str]:
    """Return the group of each row; a row without one is its own."""
    identities = bucketed.ids("records", batch["id"]).to_pylist()
    if "group" not in batch.schema.names:
        return [str(identity) for identity in identities]
    groups = batch["group"].to_pylist()
    return [str(own if group is None else group) for group, own in zip(groups, identities, strict=True)]


def share_of(group: str) -> float:
    """Return where a group falls between 0 and 1, the same for whoever asks."""
    return int.from_bytes(hashlib.blake2b(group.encode(), digest_size=8, person=b"parts").digest(), "big") / 2**64


def train(
    kind: Kind,
    records: Any,
    *,
    samples: Any = None,
    reference: Reference | None = None,
    reading: bucketed.Reading | None = None,
    encoder: Any = None,
    lm: Any = None,
    train_encoder: bool | int = False,
    checkpoint: Any = None,
    max_humans: int = 20_000,
    seed: int = 0,
    threads: int | None = None,
    progress: bool = False,
) -> tuple[Any, dict[str, Any]]:
    """Train a critic on a bucketed corpus.

    Rows are parted by the hash of their group, so that nothing is calibrated on what it was trained on: a tenth
    calibrates the ensemble; the classifier learns by those with a sample, and by a tenth without; all the rest is the
    lexical critic's. Of a bucket where most rows have samples the classifier has half, and the lexical critic the rest,
    since one that knows nobody of a bucket can't judge there. A reference, where none is given, is of all but those
    that calibrate: it knows no row by itself.

    Parameters
    ----------
    kind : {"support", "lexical", "discriminative", "embedding", "neural", "ensemble"}
    records : str, PathLike or list of them, Arrow table, or data set
        Folders that ``polyalign bucket`` made; or rows with id, bucket, prompt and completion.
    samples : likewise, optional
        A model's responses with the ids of the records, as for :func:`polyalign.pairs.from_samples`.
    reference : Reference, optional
        Default: built of the rest.
    reading : Reading, optional
        How samples are read.
    encoder : optional
        A folder, a name on the hub, or a function of texts: needed by ``"embedding"`` and ``"neural"``; in
        ``"discriminative"`` and ``"ensemble"`` it has its say beside features and characters.
    lm : str, PathLike or polyalign.lm.LanguageModel, optional
        A causal language model. Of ``"support"`` its features count: those that the reference was built with, or that
        are measured of every row. In ``"discriminative"`` and ``"ensemble"`` the classifier has them beside the others,
        of its own rows alone.
    train_encoder, checkpoint : optional
        As of :meth:`NeuralCritic.train`.
    max_humans : int, default 20,000
        At most so many rows with a sample are for the classifier, and 5,000 others.
    seed : int, default 0
    threads : int, optional
    progress : bool, default False
        Show how far each step is, where standard error is a terminal.

    Returns
    -------
    (Critic, dict)
        The critic, and what it was made of: rows by their use, what was not used, and what to know of it.

    Raises
    ------
    ValueError
        Samples of other ids than the records'; fewer than 20 humans or samples; a reference of other buckets.
    """
    learns = train_encoder is not False or checkpoint is not None
    _check_asked(
        kind,
        has_samples=samples is not None,
        has_encoder=encoder is not None,
        has_lm=lm is not None,
        learns=learns,
    )
    rows = bucketed.open_rows("records", records)
    schema = rows.bucketed.schema if rows.bucketed else None
    if reference is not None and rows.bucketed is not None:
        rows.bucketed.check_fits(reference)
    notes: list[str] = []
    if samples is not None and kind in _OF_HUMANS:
        notes.append(f"the samples are not used: a {kind} critic is made of humans alone")
        samples = None
    if kind == "support":
        if reference is None and lm is not None:
            lm = as_model(lm)
            reference = _reference_with_lm(records, schema, lm, threads, progress)
        reference = reference or _reference(rows, schema, lambda group: True, threads, progress)
        return _support(reference, lm), {"rows": {"reference": reference.rows}, "skipped": [], "notes": notes}
    if kind == "embedding":
        made, told = _embedding(rows, schema, encoder, threads, progress)
        return made, {**told, "notes": notes}
    skipped, sampled = Skipped(), Sampled()
    if samples is not None:
        sampled = read_samples(samples, reading or bucketed.Reading(threads=threads), skipped)
    parts = _Parts(max_humans, whole=kind == "lexical", dense=_dense(rows, sampled))
    met = read_humans(rows, sampled, parts.keep, skipped, progress)
    if samples is not None:
        _check_met(sampled, met, skipped, notes)
    schema = schema or (reference.schema if reference is not None else BucketSchema())
    known = parts["samples"] + parts["without"]
    learnt: dict[str, Any] = {
        "prompts": known.prompts,
        "groups": known.groups,
        "cut": known.cut,
        "reference": reference,
        "schema": schema,
        "seed": seed,
        "progress": progress,
    }
    if kind == "neural":
        from polyalign.critics._neural import NeuralCritic

        learnt |= {"train_encoder": train_encoder, "checkpoint": checkpoint}
        neural = NeuralCritic.train(known.responses, known.buckets, known.samples, encoder, **learnt)
        used = {name: count for name, count in parts.told().items() if name != "calibration"}
        return neural, {"rows": used, "skipped": skipped.lines(), "notes": notes}
    lexical = _lexical(rows, schema, parts.is_rest, threads, progress)
    told = {"rows": parts.told_with(lexical.rows), "skipped": skipped.lines(), "notes": notes}
    if kind == "lexical":
        return lexical, told
    learnt["reference"] = reference or _reference(rows, schema, parts.is_not_held, threads, progress)
    counted = lm if learnt["reference"].lm is not None else None
    critics: dict[str, Any] = {"support": _support(learnt["reference"], counted), "lexical": lexical}
    held = parts["held"]
    if kind == "ensemble":
        _check_calibrated(critics, held, schema)
    if sampled:
        critics["discriminative"] = DiscriminativeCritic.train(
            known.responses,
            known.buckets,
            known.samples,
            lexical=lexical,
            encoder=encoder,
            likelihood=lm,
            threads=threads,
            **learnt,
        )
    if kind == "discriminative":
        return critics["discriminative"], told
    return EnsembleCritic(critics, schema=schema).calibrate(held.responses, held.buckets, prompts=held.prompts), told


def _check_asked(kind: str, *, has_samples: bool, has_encoder: bool, has_lm: bool, learns: bool) -> None:
    """Refuse what does not go together."""
    if kind not in KINDS:
        raise ValueError(f"kind is {kind!r}: it must be one of {', '.join(KINDS)}")
    if has_encoder and kind in ("support", "lexical"):
        raise ValueError(f"a critic of the kind {kind} has no encoder (--encoder): leave it out")
    if has_lm and kind not in _WITH_LM:
        raise ValueError(f"a critic of the kind {kind} asks no language model (--lm): leave it out")
    if has_lm and kind == "ensemble" and not has_samples:
        raise ValueError("of an ensemble the classifier asks the language model (--lm): give samples (--samples)")
    if learns and kind != "neural":
        raise ValueError(f"a critic of the kind {kind} has no encoder that learns (--train-encoder, --checkpoint)")
    if not has_samples and kind in _LEARNT_OF_SAMPLES:
        raise ValueError(f"a {kind} critic tells humans from a model: give samples of one (--samples)")
    if not has_encoder and kind in ("embedding", "neural"):
        raise ValueError(f"a critic of the kind {kind} needs an encoder (--encoder)")


def _check_calibrated(critics: Mapping[str, Any], held: Humans, schema: BucketSchema) -> None:
    """Refuse what gives no percentiles, before the classifier is trained: of a critic, of the ensemble."""
    for critic in critics.values():
        critic.percentile([], [])
    Calibration.fit([0.0] * len(held), held.buckets, axes=axis_names(schema))


def _check_met(sampled: Sampled, met: set[str], skipped: Skipped, notes: list[str]) -> None:
    """Refuse samples of other records; add what is to be said of these."""
    if len(met) < MIN_COUNT:
        raise ValueError(
            f"{counted(len(met), 'sample')} of {len(sampled):,} with the id of a record, {MIN_COUNT} at least are "
            f"needed: are they answers to these records?{skipped}"
        )
    skipped.add_unmet("samples", sampled, met)
    limited = len(met & sampled.cut)
    if limited:
        notes.append(
            f"{limited:,} of {counted(len(met), 'sample')} end at a limit of tokens (finish: length): learnt at the "
            "human's length alone, as their ends tell of the limit; polyalign generate --max-new-tokens raises it"
        )


def _dense(rows: bucketed.Rows, sampled: Sampled) -> set[str]:
    """Return the buckets where more than half of the rows have a sample."""
    every: Counter[str] = Counter()
    of_samples: Counter[str] = Counter()
    if sampled:
        for _, _, batch in rows.batches(("id", "bucket")):
            buckets = batch["bucket"].to_pylist()
            every.update(filter(None, buckets))
            identities = bucketed.ids("records", batch["id"]).to_pylist()
            of_samples.update(
                bucket for bucket, identity in zip(buckets, identities, strict=True) if bucket and identity in sampled
            )
    return {bucket for bucket, count in of_samples.items() if 2 * count > every[bucket]}


class _Parts:
    """Which row is for what, by the hash of its group; of each part no more than twice what is wanted is held."""

    def __init__(self, most: int, *, whole: bool, dense: Collection[str]) -> None:
        self.most = {"samples": most, "without": min(_WITHOUT, most), "held": _HELD}
        self.whole, self.dense = whole, dense
        self._parts = {name: Humans() for name in self.most}
        self._sampled: set[str] = set()
        self.seen = 0

    def keep(self, row: dict[str, Any], sampled: bool) -> Humans | None:
        self.seen += 1
        name = None if self.whole else self._part(row, sampled)
        if name is None:
            return None
        if len(self._parts[name]) == 2 * self.most[name]:
            self._parts[name] = self[name]
        return self._parts[name]

    def _part(self, row: dict[str, Any], sampled: bool) -> str | None:
        place = share_of(row["group"])
        if place < _CALIBRATED:
            return "held"
        if sampled and (row["bucket"] not in self.dense or place < _LEARNT_DENSE):
            self._sampled.add(row["group"])
            return "samples"
        return "without" if place < _LEARNT else None

    def __getitem__(self, name: str) -> Humans:
        return self._parts[name].lowest(self.most[name])

    def is_rest(self, group: str) -> bool:
        """Whether no row of a group is for the classifier or the calibration."""
        return self.whole or (share_of(group) >= _LEARNT and group not in self._sampled)

    @staticmethod
    def is_not_held(group: str) -> bool:
        """Whether no row of a group calibrates the ensemble."""
        return share_of(group) >= _CALIBRATED

    def told(self) -> dict[str, int]:
        """Return how many rows are for what, but for the rest."""
        return {
            "with samples": len(self["samples"]),
            "without": len(self["without"]),
            "calibration": len(self["held"]),
        }

    def told_with(self, lexical: int) -> dict[str, int]:
        """Return how many rows are for what, and how many for nothing: of a group with a sample, or above a limit."""
        found = {**({} if self.whole else self.told()), "lexical": lexical}
        unused = self.seen - sum(found.values())
        return {**found, "for nothing": unused} if unused else found


def _support(reference: Reference, lm: Any) -> SupportCritic:
    """Return the support distance; another language model than the reference's is refused here, before it is asked."""
    return SupportCritic(reference, lm=None if lm is None else fitting(lm, reference.lm))


def _reference_with_lm(
    records: Any, schema: BucketSchema | None, lm: Any, threads: int | None, progress: bool
) -> Reference:
    from polyalign.reference import Reference

    return Reference.build(records, schema=schema, lm=lm, threads=threads, progress=progress)


def _lexical(
    rows: bucketed.Rows, schema: BucketSchema, is_rest: Callable[[str], bool], threads: int | None, progress: bool
) -> Any:
    from polyalign.critics._lexical import LexicalCritic

    with row_bar(rows.count, progress, "lexical") as update:
        return LexicalCritic.build(_tables(rows, is_rest, update), schema=schema, threads=threads)


def _embedding(
    rows: bucketed.Rows, schema: BucketSchema | None, encoder: Any, threads: int | None, progress: bool
) -> tuple[Any, dict[str, Any]]:
    from polyalign.critics._embedding import EmbeddingCritic
    from polyalign.critics._sample import SupportSample

    sample, skipped, humans = SupportSample(_SAMPLED), Skipped(), Humans()

    def keep(row: dict[str, Any], sampled: bool) -> Humans:
        nonlocal humans
        if len(humans) == _CHUNK:
            sample.add(humans.responses, humans.buckets, humans.prompts)
            humans = Humans()
        return humans

    read_humans(rows, Sampled(), keep, skipped, progress)
    sample.add(humans.responses, humans.buckets, humans.prompts)
    made = EmbeddingCritic.of_sample(sample, encoder, schema=schema, threads=threads)
    return made, {"rows": {"humans": sum(sample.counts.values())}, "skipped": skipped.lines()}


def _reference(
    rows: bucketed.Rows,
    schema: BucketSchema | None,
    is_rest: Callable[[str], bool],
    threads: int | None,
    progress: bool,
) -> Reference:
    from polyalign.reference import Reference

    with row_bar(rows.count, progress, "reference") as update:
        return Reference.build(_tables(rows, is_rest, update), schema=schema, threads=threads)


def _tables(rows: bucketed.Rows, is_rest: Callable[[str], bool], update: Callable[[int], object]) -> Iterable[Any]:
    pa = bucketed.arrow()
    for _, _, batch in rows.batches(_COLUMNS):
        keep = pa.array(list(map(is_rest, _groups(batch))), pa.bool_())
        yield pa.Table.from_batches([batch]).filter(keep).select(["bucket", "prompt", "completion"])
        update(len(batch))
