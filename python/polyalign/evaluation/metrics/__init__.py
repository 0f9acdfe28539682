"""The metrics: pure functions of texts, languages and feature matrices.

| function | of | what it says |
|---|---|---|
| `utility(predictions, references, languages)` | texts | exact match, F1, ROUGE-L of each answer |
| `distinct(texts, languages, n, at=)`, `self_bleu(texts, languages, n)` | texts | how much a set repeats itself |
| `self_bleu_of_each(texts, languages, n)` | texts | the same, text by text |
| `within_prompts(texts, prompts, languages, k=, embeddings=)` | texts | how varied the answers to one prompt are |
| `bng(model, human, scales=)` | features | W1 over σ, the mean over features |
| `hcr(model, human)`, `hcr_paper(model, low, high)` | features | how many answers lie where 90% of humans do |
| `length_gap(model, human)`, `tails(model, human, share)` | numbers | W1 of lengths; what lies beyond and below |
| `mmd(model, human, scales=)` | features, embeddings | squared MMD, its p-value, the humans' floor |
| `coverage(model, human, k=)` | features, embeddings | precision, recall, density, coverage, and the humans' |
| `mauve(model, human, seeds=)`, `match_lengths(model, human)` | embeddings | MAUVE over seeds, at equal lengths |
| `tdm(questions, model, human, buckets, languages)` | texts | turn dynamics, a bucket |
| `naturalness`, `nuf`, `aggregate`, `macro` | numbers | several in one |
| `overused(model, human, languages)` | texts | words and phrases that the model over-uses |
| `language_faults(texts, languages)` | texts | which answers are in another language, or in several |
| `faults(texts, languages, cut=)` | texts | which are empty, loop, are cut |
| `resampled_sums(values, groups, draws=, seed=)` | numbers | a bootstrap of whole groups |

What is measured of a bucket is given the rows of that bucket. ``variant="paper"`` is what the paper's code computes
(arXiv:2606.13227). Nothing depends on the order of rows; what is drawn is drawn by a seed. A number that can't be told
is NaN, with the ``reason`` beside it where there may be several. ``docs/metrics.md`` has formulas, ranges and what
humans get.

Examples
--------
>>> from polyalign.evaluation import metrics
>>> metrics.utility(["Paris."], ["It is Paris."], "en").f1.tolist()
[0.5]
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from polyalign._io.extras import handing_out

if TYPE_CHECKING:
    from polyalign.evaluation.metrics._coverage import Coverage as Coverage
    from polyalign.evaluation.metrics._coverage import Shares as Shares
    from polyalign.evaluation.metrics._coverage import Tails as Tails
    from polyalign.evaluation.metrics._coverage import coverage as coverage
    from polyalign.evaluation.metrics._coverage import tails as tails
    from polyalign.evaluation.metrics._diversity import WithinPrompts as WithinPrompts
    from polyalign.evaluation.metrics._diversity import distinct as distinct
    from polyalign.evaluation.metrics._diversity import self_bleu as self_bleu
    from polyalign.evaluation.metrics._diversity import self_bleu_of_each as self_bleu_of_each
    from polyalign.evaluation.metrics._diversity import within_prompts as within_prompts
    from polyalign.evaluation.metrics._faithfulness import BNG as BNG
    from polyalign.evaluation.metrics._faithfulness import HCR as HCR
    from polyalign.evaluation.metrics._faithfulness import LengthGap as LengthGap
    from polyalign.evaluation.metrics._faithfulness import bng as bng
    from polyalign.evaluation.metrics._faithfulness import hcr as hcr
    from polyalign.evaluation.metrics._faithfulness import hcr_paper as hcr_paper
    from polyalign.evaluation.metrics._faithfulness import length_gap as length_gap
    from polyalign.evaluation.metrics._faithfulness import macro as macro
    from polyalign.evaluation.metrics._frontier import aggregate as aggregate
    from polyalign.evaluation.metrics._frontier import naturalness as naturalness
    from polyalign.evaluation.metrics._frontier import nuf as nuf
    from polyalign.evaluation.metrics._kernels import MMD as MMD
    from polyalign.evaluation.metrics._kernels import mmd as mmd
    from polyalign.evaluation.metrics._languages import Faults as Faults
    from polyalign.evaluation.metrics._languages import LanguageFaults as LanguageFaults
    from polyalign.evaluation.metrics._languages import faults as faults
    from polyalign.evaluation.metrics._languages import language_faults as language_faults
    from polyalign.evaluation.metrics._mauve import Mauve as Mauve
    from polyalign.evaluation.metrics._mauve import match_lengths as match_lengths
    from polyalign.evaluation.metrics._mauve import mauve as mauve
    from polyalign.evaluation.metrics._phrases import Phrase as Phrase
    from polyalign.evaluation.metrics._phrases import overused as overused
    from polyalign.evaluation.metrics._resampling import resampled_sums as resampled_sums
    from polyalign.evaluation.metrics._turns import TDM as TDM
    from polyalign.evaluation.metrics._turns import tdm as tdm
    from polyalign.evaluation.metrics._utility import Utility as Utility
    from polyalign.evaluation.metrics._utility import utility as utility

_MODULE_OF = {
    "Coverage": "_coverage",
    "Shares": "_coverage",
    "Tails": "_coverage",
    "coverage": "_coverage",
    "tails": "_coverage",
    "WithinPrompts": "_diversity",
    "distinct": "_diversity",
    "self_bleu": "_diversity",
    "self_bleu_of_each": "_diversity",
    "within_prompts": "_diversity",
    "BNG": "_faithfulness",
    "HCR": "_faithfulness",
    "LengthGap": "_faithfulness",
    "bng": "_faithfulness",
    "hcr": "_faithfulness",
    "hcr_paper": "_faithfulness",
    "length_gap": "_faithfulness",
    "macro": "_faithfulness",
    "aggregate": "_frontier",
    "naturalness": "_frontier",
    "nuf": "_frontier",
    "MMD": "_kernels",
    "mmd": "_kernels",
    "Faults": "_languages",
    "LanguageFaults": "_languages",
    "faults": "_languages",
    "language_faults": "_languages",
    "Mauve": "_mauve",
    "match_lengths": "_mauve",
    "mauve": "_mauve",
    "Phrase": "_phrases",
    "overused": "_phrases",
    "resampled_sums": "_resampling",
    "TDM": "_turns",
    "tdm": "_turns",
    "Utility": "_utility",
    "utility": "_utility",
}

__all__ = [
    "BNG",
    "HCR",
    "MMD",
    "TDM",
    "Coverage",
    "Faults",
    "LanguageFaults",
    "LengthGap",
    "Mauve",
    "Phrase",
    "Shares",
    "Tails",
    "Utility",
    "WithinPrompts",
    "aggregate",
    "bng",
    "coverage",
    "distinct",
    "faults",
    "hcr",
    "hcr_paper",
    "language_faults",
    "length_gap",
    "macro",
    "match_lengths",
    "mauve",
    "mmd",
    "naturalness",
    "nuf",
    "overused",
    "resampled_sums",
    "self_bleu",
    "self_bleu_of_each",
    "tails",
    "tdm",
    "utility",
    "within_prompts",
]


__getattr__ = handing_out(__name__, _MODULE_OF)


def __dir__() -> list[str]:
    return __all__
