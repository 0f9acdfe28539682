"""Which sample goes with which record, which pairs are left out and why, and their scores."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from polyalign import _core
from polyalign._io.bucketed import (
    Rows,
    Samples,
    Texts,
    arrow,
    as_messages,
    ids,
    is_empty_list,
    prompt_keys,
    prompts,
    text_key,
    texts,
)
from polyalign.pairs._select import Picked, Scored, Selection
from polyalign.pairs._select import Texts as Said
from polyalign.weights import pair_types

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from polyalign.critics import Critic

    _Mask = npt.NDArray[np.bool_]
    _Indices = npt.NDArray[np.int64]
    _Floats = npt.NDArray[np.float32]

# Kinds of skipped rows, in the order they are looked for: a row has the first that holds.
REASONS = {
    "unknown_id": "no record has the sample's id",
    "duplicate_id": "several records have this id, so whose a sample is can't be told",
    "no_sample": "no sample has the record's id",
    "no_bucket": "the record has no bucket",
    "no_prompt": "the record has no prompt",
    "several_messages": "a response is more than one message: polyalign bucket parts conversations",
    "empty_chosen": "the chosen response is empty",
    "empty_rejected": "the rejected response is empty",
    "prompt_mismatch": "the rejected response, or the sample, answers another prompt than the record's",
    "reference_mismatch": "the human response that the sample names is not the record's",
    "exact_match": "chosen and rejected are the same but for white space",
    "no_score": "the critic has no score for the bucket",
    "not_selected": "another sample of the record was selected",
    "none_bad": "no sample of the record is as far from humans as a rejected response must be",
    "chosen_sample": "the sample is the chosen response of its record's pair",
}
# What is no fault of the input: rows that were not sampled, samples that are as the human's, and what was not selected.
HARMLESS = ("no_sample", "exact_match", "not_selected", "none_bad", "chosen_sample")
# A column that goes along as it is, and more of preferences.
GROUP = "group"
CARRIED = (GROUP, "weight", "pair_type", "chosen_score", "rejected_score")
_SHOWN = 3

Place = Mapping[str, Any]


def normalise(text: str) -> str:
    """Return a text as the paper compares it: one kind of line end, of space and of blank line, none at the ends."""
    lines = [" ".join(line.split()) for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n")]
    kept = [line for at, line in enumerate(lines) if line or (at and lines[at - 1])]
    return "\n".join(kept).strip()


def is_same(chosen: str, rejected: str) -> bool:
    """Whether two texts are the same after :func:`normalise`."""
    if chosen == rejected:
        return True
    # Most texts differ in a word, which is told sooner.
    return chosen.split() == rejected.split() and normalise(chosen) == normalise(rejected)


@dataclass
class Tally:
    """What became of the rows."""

    rows: int = 0
    pairs: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    firsts: dict[str, list[Place]] = field(default_factory=dict)
    buckets: dict[str, dict[str, float]] = field(default_factory=dict)
    selected: Counter[str] = field(default_factory=Counter)

    def skip(
        self, kind: str, at: _Indices, place: Callable[[int], Place], reason: Callable[[int], str] | None = None
    ) -> None:
        """Count rows as skipped, and note the places of the first."""
        if len(at):
            self.skipped[kind] += len(at)
            firsts = self.firsts.setdefault(kind, [])
            for row in at[: _SHOWN - len(firsts)].tolist():
                firsts.append({"kind": kind, **place(row), "reason": reason(row) if reason else REASONS[kind]})

    def count(self, buckets: Any, scores: tuple[Any, Any] | None) -> None:
        """Count pairs, bucket by bucket, with the sums of their scores."""
        import numpy as np

        self.pairs += len(buckets)
        named = buckets.dictionary_encode()
        codes = named.indices.to_numpy(zero_copy_only=False)
        sums = {"pairs": np.bincount(codes)}
        if scores is not None:
            chosen, rejected = (score.astype(np.float64) for score in scores)
            sums |= {
                "chosen": np.bincount(codes, chosen),
                "rejected": np.bincount(codes, rejected),
                "further": np.bincount(codes, rejected > chosen),
            }
        for code, bucket in enumerate(named.dictionary.to_pylist()):
            known = self.buckets.setdefault(bucket, dict.fromkeys(sums, 0.0))
            for name, values in sums.items():
                known[name] += float(values[code])


@dataclass(frozen=True)
class Candidates:
    """A batch of what may become pairs: `n` records, and `m` rejected responses to them."""

    ids: Any
    buckets: Any
    prompts: Any
    chosen: Texts
    of: _Indices
    """Whose record each rejected response is, [m]."""
    rejected: Texts
    faults: Sequence[tuple[str, _Mask]]
    """What else is wrong with which candidates: kind, [m]."""
    place: Callable[[int], Place]
    """Where a candidate is."""
    carried: Mapping[str, Any]
    """More columns, of the records."""
    unlike: _Mask | None = None
    """Which rejected responses of preferences were left out, as they answer another prompt, [m]."""


@dataclass(frozen=True)
class _Scores:
    """What the critic says of candidates, [m] each."""

    chosen: _Floats
    """Of the human response."""
    rejected: _Floats
    percentile: _Floats | None
    """Of the rejected one, where it was asked for."""

    def taken(self, mask: _Mask) -> _Scores:
        return _Scores(
            self.chosen[mask], self.rejected[mask], None if self.percentile is None else self.percentile[mask]
        )


class Pairer:
    """Makes pairs of candidates, and remembers what became of them."""

    def __init__(self, critic: Critic | None, selection: Selection) -> None:
        self.critic, self.selection = critic, selection
        self.tally = Tally()

    def make(self, batch: Candidates) -> Any:
        """Return the pairs of a batch as a table; the rest is counted."""
        import numpy as np

        chosen, rejected = ([text or "" for text in of.text.to_pylist()] for of in (batch.chosen, batch.rejected))
        self.tally.rows += len(rejected)
        kinds = self._kinds(batch, _core.answers(chosen), _core.answers(rejected))
        for kind in REASONS:
            self.tally.skip(kind, np.flatnonzero(kinds == kind), batch.place)
        kept = np.flatnonzero(kinds == "")
        scores = None
        if self.critic is not None:
            scores = self._scores(batch, kept, chosen, rejected)
            known = ~np.isnan(scores.chosen) & ~np.isnan(scores.rejected)
            self._skip_unscored(batch, kept[~known])
            kept, scores = kept[known], scores.taken(known)
        picked = self._pick(batch, kept, scores, chosen, rejected)
        for kind, at in picked.left.items():
            self.tally.skip(kind, kept[at], batch.place)
        self.tally.selected += picked.tally
        return self._table(batch, kept, scores, picked)

    def _pick(
        self,
        batch: Candidates,
        kept: _Indices,
        scores: _Scores | None,
        chosen: Sequence[str],
        rejected: Sequence[str],
    ) -> Picked:
        """Choose among the samples of each record."""
        import numpy as np

        of = batch.of[kept]
        scored = Scored(
            of,
            np.zeros(len(of), dtype=np.float32) if scores is None else scores.rejected,
            None if scores is None else scores.percentile,
        )
        if self.selection.select != "divpo":
            return self.selection.pick(scored, None)
        from polyalign.critics.attacks import languages_of

        records, buckets = of.tolist(), batch.buckets.to_pylist()
        said = Said(
            _core.answers([rejected[at] for at in kept.tolist()]),
            _core.answers([chosen[at] for at in records]),
            languages_of([buckets[at] for at in records]),
        )
        return self.selection.pick(scored, said)

    @staticmethod
    def _kinds(batch: Candidates, chosen: Sequence[str], rejected: Sequence[str]) -> npt.NDArray[np.object_]:
        """Return why candidates with these answers make no pair; "" where they do."""
        import numpy as np

        kinds = np.full(len(rejected), "", dtype=object)
        for kind, mask in _faults(batch, chosen, rejected):
            kinds[mask & (kinds == "")] = kind
        of = batch.of.tolist()
        for at in np.flatnonzero(kinds == "").tolist():
            if is_same(chosen[of[at]], rejected[at]):
                kinds[at] = "exact_match"
        return kinds

    def _scores(self, batch: Candidates, kept: _Indices, chosen: Sequence[str], rejected: Sequence[str]) -> _Scores:
        """Ask the critic: once for a record's chosen response, whatever the number of its samples."""
        import numpy as np

        # Prompts are made objects of Python for a critic alone that looks at them.
        prompts = batch.prompts.to_pylist() if getattr(self.critic, "uses_prompts", False) else None
        buckets = batch.buckets.to_pylist()
        records, back = np.unique(batch.of[kept], return_inverse=True)
        of = [*records.tolist(), *batch.of[kept].tolist()]
        scores, percentiles = self._ask(
            [*(chosen[at] for at in records.tolist()), *(rejected[at] for at in kept.tolist())],
            [buckets[at] for at in of],
            None if prompts is None else [prompts[at] for at in of],
            len(records),
        )
        several = None if percentiles is None else percentiles[len(records) :]
        return _Scores(scores[: len(records)][back], scores[len(records) :], several)

    def _ask(
        self, responses: list[str], buckets: list[str], prompts: list[Any] | None, humans: int
    ) -> tuple[_Floats, _Floats | None]:
        """Ask about responses, so many of humans first; neither these scores nor the others may tell nothing."""
        import numpy as np

        from polyalign.critics import ask, check_scores
        from polyalign.critics._protocol import ask_both

        if self.critic is None or not responses:
            return np.zeros(0, dtype=np.float32), None
        if self.selection.select == "divpo":
            scores, percentiles = ask_both(self.critic, responses, buckets, prompts)
        else:
            scores, percentiles = ask(self.critic, responses, buckets, prompts), None
        for part in (range(humans), range(humans, len(responses))):
            known = [at for at in part if not np.isnan(scores[at])]
            check_scores(
                scores[known],
                [buckets[at] for at in known],
                responses=[responses[at] for at in known],
                name=type(self.critic).__name__,
            )
        return scores, percentiles

    def _skip_unscored(self, batch: Candidates, at: _Indices) -> None:
        def reason(row: int) -> str:
            return f"{REASONS['no_score']} {batch.buckets[int(batch.of[row])].as_py()!r}"

        self.tally.skip("no_score", at, batch.place, reason)

    def _table(self, batch: Candidates, kept: _Indices, scores: _Scores | None, picked: Picked) -> Any:
        import numpy as np

        pa = arrow()
        at, of = kept[picked.rejected], batch.of[kept[picked.rejected]]
        records, is_human = pa.array(of), picked.chosen < 0
        prompt, bucket = batch.prompts.take(records), batch.buckets.take(records)
        chosen = batch.chosen.text.take(records)
        rejected = batch.rejected.text.take(pa.array(at)).cast(pa.string())
        if not is_human.all():
            samples = batch.rejected.text.take(pa.array(kept[picked.chosen])).cast(pa.string())
            chosen = pa.compute.if_else(pa.array(is_human), chosen, samples)
        if not pa.types.is_string(prompt.type):
            chosen, rejected = as_messages(chosen), as_messages(rejected)
        columns = {
            "id": batch.ids.take(records),
            "bucket": bucket,
            "prompt": prompt,
            "chosen": chosen,
            "rejected": rejected,
            **{name: column.take(records) for name, column in batch.carried.items()},
        }
        if self.selection.pair_type is not None:
            columns["pair_type"] = pa.repeat(pa.scalar(self.selection.pair_type), len(at))
        both = None
        if scores is not None:
            preferred = np.where(is_human, scores.chosen[picked.rejected], scores.rejected[picked.chosen])
            both = preferred, scores.rejected[picked.rejected]
            columns |= {"chosen_score": pa.array(both[0]), "rejected_score": pa.array(both[1])}
        self.tally.count(bucket, both)
        return pa.table(columns)


def _faults(batch: Candidates, chosen: Sequence[str], rejected: Sequence[str]) -> Iterator[tuple[str, _Mask]]:
    """Give what is wrong with which candidates, but for what takes longer to see."""
    import numpy as np

    pa = arrow()
    of = batch.of
    prompts = batch.prompts
    has_prompt = pa.compute.binary_length if pa.types.is_string(prompts.type) else pa.compute.list_value_length
    yield "no_bucket", _is_zero(pa.compute.binary_length(batch.buckets))[of]
    yield "no_prompt", _is_zero(has_prompt(prompts))[of]
    yield "several_messages", batch.chosen.several[of] | batch.rejected.several
    if batch.unlike is not None:
        yield "prompt_mismatch", batch.unlike
    yield "empty_chosen", np.array([not text.strip() for text in chosen], dtype=bool)[of]
    yield "empty_rejected", np.array([not text.strip() for text in rejected], dtype=bool)
    yield from batch.faults


def _is_zero(lengths: Any) -> _Mask:
    """Whether lengths are 0 or null."""
    return lengths.fill_null(0).to_numpy(zero_copy_only=False) == 0  # type: ignore[no-any-return]


# --------------------------------------------------------------------------------------------- preferences


def from_preferences(rows: Rows, pairer: Pairer, on_rows: Callable[[int], object]) -> Iterator[Any]:
    """Give the pairs of preference data, batch by batch."""
    import numpy as np

    hint = _core.in_words("; give --samples") if "completion" in rows.columns else ""
    rows.require("preferences", "prompt", "chosen", "rejected", hint=hint)
    rows.require("preferences", "bucket", hint="; polyalign bucket makes it")
    carried = [name for name in CARRIED if pairer.critic is None or not name.endswith("_score")]
    wanted = ["id", "file", "row", "bucket", "prompt", "chosen", "rejected", *carried]
    for name, row, batch in rows.batches(wanted):
        if "pair_type" in batch.schema.names:
            pair_types(batch["pair_type"].to_pylist())  # what HDPO could not take is refused here
        known = ids("preferences", batch["id"]) if "id" in batch.schema.names else _numbers(row, len(batch))
        yield pairer.make(
            Candidates(
                ids=known,
                buckets=texts("bucket", batch["bucket"]).text,
                prompts=prompts("prompt", batch["prompt"]),
                chosen=texts("chosen", batch["chosen"]),
                of=np.arange(len(batch)),
                rejected=texts("rejected", batch["rejected"]),
                faults=(),
                place=_place(name, row, batch, known),
                carried={name: batch[name] for name in carried if name in batch.schema.names},
                unlike=is_empty_list(batch["rejected"]),
            )
        )
        on_rows(len(batch))


def _numbers(first: int, count: int) -> Any:
    """Return numbers of rows as ids, where there are none."""
    return arrow().array(map(str, range(first, first + count)), arrow().string())


def _place(name: str, first: int, batch: Any, known: Any) -> Callable[[int], Place]:
    """Return what says where a row is: in the file it was bucketed from, where that is known."""
    is_bucketed = {"file", "row"} <= set(batch.schema.names)

    def place(at: int) -> Place:
        where = (batch["file"][at].as_py(), batch["row"][at].as_py()) if is_bucketed else (name, first + at)
        return {"file": where[0], "row": where[1], "id": known[at].as_py()}

    return place


# ------------------------------------------------------------------------------------------------- samples


@dataclass(frozen=True)
class Match:
    """Which samples have which record's id."""

    records: _Indices
    """Each record's id as a number."""
    record_count: _Indices
    """How many records have an id."""
    sample_count: _Indices
    """How many samples have it."""
    order: _Indices
    """The samples by id, in their own order where it is the same."""
    starts: _Indices
    """Where an id's samples begin in `order`."""
    samples: _Indices
    """Each sample's id as a number."""

    @classmethod
    def of(cls, record_ids: Any, sample_ids: Any) -> Match:
        """Match ids; one that is null is like no other."""
        import numpy as np

        pa = arrow()
        both = pa.concat_arrays([record_ids, sample_ids]).dictionary_encode()
        codes = both.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
        unnamed = codes < 0
        codes[unnamed] = len(both.dictionary) + np.arange(unnamed.sum())
        records, samples = codes[: len(record_ids)], codes[len(record_ids) :]
        ids = int(codes.max()) + 1 if len(codes) else 0
        sample_count = np.bincount(samples, minlength=ids)
        return cls(
            records=records,
            record_count=np.bincount(records, minlength=ids),
            sample_count=sample_count,
            order=np.argsort(samples, kind="stable"),
            starts=np.cumsum(sample_count) - sample_count,
            samples=samples,
        )

    @property
    def most(self) -> int:
        """How many samples a record has at the most."""
        return int((self.sample_count * (self.record_count == 1)).max(initial=0))

    def of_records(self, first: int, count: int) -> tuple[_Indices, _Indices]:
        """Return, for the samples of some records: which of these records, and which sample, in the records' order."""
        import numpy as np

        codes = self.records[first : first + count]
        times = np.where(self.record_count[codes] == 1, self.sample_count[codes], 0)
        of = np.repeat(np.arange(count), times)
        within = np.arange(len(of)) - np.repeat(np.cumsum(times) - times, times)
        return of, self.order[self.starts[codes][of] + within]


def from_samples(rows: Rows, samples: Samples, pairer: Pairer, on_rows: Callable[[int], object]) -> Iterator[Any]:
    """Give the pairs of records and samples, batch by batch in the order of the records."""
    if "chosen" in rows.columns and "completion" not in rows.columns:
        raise ValueError("the records are preferences (chosen, rejected): give them without samples")
    rows.require("records", "id", "prompt", "completion")
    rows.require("records", "bucket", hint="; polyalign bucket makes it")
    known = [ids("records", batch["id"]) for _, _, batch in rows.batches(["id"])]
    held = [column.cast(arrow().large_string()) for column in known] or [arrow().array([], arrow().large_string())]
    match = Match.of(arrow().concat_arrays(held), samples.ids)
    pairer.selection.check(pairer.critic, match.most)
    _tally_samples(match, samples, pairer.tally)
    first = 0
    for name, row, batch in rows.batches(["id", "file", "row", "bucket", "prompt", "completion", GROUP]):
        place = _place(name, row, batch, ids("records", batch["id"]))
        _tally_unsampled(match.records[first : first + len(batch)], match, place, pairer.tally)
        yield pairer.make(_candidates(match, samples, first, batch))
        first += len(batch)
        on_rows(len(batch))


def _tally_samples(match: Match, samples: Samples, tally: Tally) -> None:
    """Count the samples that can't be had, or that no record, or more than one, can be of."""
    import numpy as np

    tally.rows += sum(samples.rejected_by_kind.values())
    tally.skipped.update(samples.rejected_by_kind)
    for reject in samples.first_rejects:
        tally.firsts.setdefault(reject["kind"], []).append(reject)
    records = match.record_count[match.samples]
    for kind, mask in (("unknown_id", records == 0), ("duplicate_id", records > 1)):
        at = np.flatnonzero(mask)
        tally.rows += len(at)
        tally.skip(kind, at, samples.place)


def _tally_unsampled(codes: _Indices, match: Match, place: Callable[[int], Place], tally: Tally) -> None:
    """Count the records that have no sample, or an id that is not theirs alone."""
    import numpy as np

    several = match.record_count[codes] > 1
    for kind, mask in (("duplicate_id", several), ("no_sample", ~several & (match.sample_count[codes] == 0))):
        at = np.flatnonzero(mask)
        tally.rows += len(at)
        tally.skip(kind, at, place)


def _candidates(match: Match, samples: Samples, first: int, batch: Any) -> Candidates:
    """Put records beside their samples."""
    of, which = match.of_records(first, len(batch))
    taken = arrow().array(which)
    chosen, asked = texts("completion", batch["completion"]), prompts("prompt", batch["prompt"])
    return Candidates(
        ids=ids("records", batch["id"]),
        buckets=texts("bucket", batch["bucket"]).text,
        prompts=asked,
        chosen=chosen,
        of=of,
        rejected=Texts(samples.responses.text.take(taken), samples.responses.several[which]),
        faults=[
            ("prompt_mismatch", _differ(samples.prompts.take(taken), of, lambda: prompt_keys(asked))),
            (
                "reference_mismatch",
                _differ(samples.references.take(taken), of, lambda: list(map(text_key, chosen.text.to_pylist()))),
            ),
        ],
        place=lambda at: samples.place(int(which[at])),
        carried={GROUP: batch[GROUP]} if GROUP in batch.schema.names else {},
    )


def _differ(given: Any, of: _Indices, keys: Callable[[], list[bytes | None]]) -> _Mask:
    """Whether the key that a sample has is another than its record's; not where it has none."""
    import numpy as np

    if given.null_count == len(given):
        return np.zeros(len(given), dtype=bool)
    wanted = keys()
    pairs = zip(given.to_pylist(), of.tolist(), strict=True)
    return np.array([key is not None and key != wanted[at] for key, at in pairs], dtype=bool)
