"""Our preference losses and the loss that TRL's own `DPOTrainer` computes: one value, one gradient."""

from __future__ import annotations

import ast
import itertools
from pathlib import Path
from typing import Any

import pytest

torch: Any = pytest.importorskip("torch", reason="torch is not installed: pip install 'polyalign[train]'")
pytest.importorskip("trl", reason="trl is not installed: pip install 'polyalign[train]'")

from polyalign.trainers import losses  # noqa: E402

WORDS = "how are you today fine thanks and it is a very good day so far what do we eat soup bread rice".split()
PAIRS = [
    ("how are you", "fine thanks", "it is a very good day so far"),
    ("what do we eat today", "soup and bread and rice", "rice"),
    ("is it good", "it is", "so so"),
    ("how far is it", "very far", "a day so far what a good day"),
    ("what is it", "a very very very good good good soup so good it is a day", "bread"),
]
BETA, SMOOTHING = 0.3, 0.1

pytestmark = pytest.mark.slow


class Pairs:
    """TRL's trainer on one batch of pairs, and the log-probabilities of its model for ours."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.trainer = trainer(folder, **options)
        rows = self.trainer.train_dataset
        self.inputs = self.trainer.data_collator([rows[place] for place in range(len(rows))])
        self.mask = self.inputs["completion_mask"][:, 1:]
        self.outputs = self._forward(self.trainer.model.train())
        with torch.no_grad():
            self.reference = self._forward(self.trainer.ref_model)
        self.weights = [weight for weight in self.trainer.model.parameters() if weight.requires_grad]

    def _forward(self, model: Any) -> Any:
        inputs = {name: self.inputs[name] for name in ("input_ids", "attention_mask")}
        labels = inputs["input_ids"].masked_fill(self.inputs["completion_mask"] == 0, -100)
        return model(**inputs, labels=labels, fused_lm_head=True)

    def theirs(self, loss_types: list[str], **attributes: Any) -> Any:
        attributes = {"loss_weights": [1.0] * len(loss_types)} | attributes
        for name, value in {"loss_types": loss_types, **attributes}.items():
            assert hasattr(self.trainer, name)
            setattr(self.trainer, name, value)
        return self.trainer._compute_loss(self.trainer.model, self.inputs, False)

    def logps(self, ld_alpha: float | None) -> losses.PairLogps:
        halves = [
            losses.response_logps(outputs.log_probs, self.mask, ld_alpha).chunk(2)
            for outputs in (self.outputs, self.reference)
        ]
        return losses.PairLogps(*halves[0], *halves[1], *self.mask.sum(dim=1).chunk(2))

    def wpo(self) -> Any:
        return losses.wpo_weights(self.outputs.log_probs, self.outputs.log_sum_sq_probs, self.mask)

    def sft(self) -> Any:
        chosen, mask = self.outputs.log_probs.chunk(2)[0], self.mask.chunk(2)[0]
        return losses.sft_loss(chosen, mask, torch.ones(len(mask)), weighted_tokens=mask.sum())

    def same(self, ours: Any, theirs: Any, *, gradients_too: bool = True) -> None:
        assert ours.dtype == theirs.dtype == torch.float32
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
        if not gradients_too:
            return
        gradients = [
            torch.cat([part.flatten() for part in torch.autograd.grad(loss, self.weights, retain_graph=True)])
            for loss in (ours, theirs)
        ]
        largest = gradients[1].abs().max()
        assert largest > 1e-4
        assert (gradients[0] - gradients[1]).abs().max() <= 1e-4 * largest


def trainer(folder: Path, **options: Any) -> Any:
    from datasets import Dataset
    from trl import DPOConfig, DPOTrainer

    import tiny

    tokenizer = tiny.tokenizer(list(dict.fromkeys(WORDS)))
    rows = [{"prompt": p, "chosen": f" {c} ", "rejected": f" {r} "} for p, c, r in PAIRS]
    config = DPOConfig(
        str(folder),
        **{"loss_type": ["sigmoid"], "label_smoothing": SMOOTHING, "use_weighting": True} | options,
        beta=BETA,
        discopop_tau=0.5,
        max_length=16,
        per_device_train_batch_size=len(rows),
        gradient_checkpointing=False,
        **tiny.QUIET,
    )
    return DPOTrainer(
        # Their weights are large enough for log-ratios of several nats, on both sides of 0.
        tiny.model(0, vocab_size=len(tokenizer)),
        tiny.model(1, vocab_size=len(tokenizer)),
        args=config,
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
    )


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Pairs:
    return Pairs(tmp_path_factory.mktemp("dpo"))


def test_the_batch_tells_formulas_apart(pairs: Pairs) -> None:
    logps = pairs.logps(None)
    chosen, rejected = logps.chosen_logratios, logps.rejected_logratios
    assert pairs.mask.shape[1] == 15  # the longest pair is cut
    assert (logps.chosen_lengths != logps.rejected_lengths).sum() >= 3
    for ratios in (chosen, rejected, chosen - rejected):
        assert ratios.min() < -1
        assert ratios.max() > 1
    assert not torch.allclose(pairs.logps(0.5).chosen, logps.chosen)
    assert (pairs.wpo().log().abs() > 0.1).all()


@pytest.mark.parametrize(
    ("loss_type", "divergence"),
    [
        *itertools.product(losses.DIVERGENCE_LOSS_TYPES, losses.DIVERGENCES),
        *(
            (loss_type, "reverse_kl")
            for loss_type in losses.LOSS_TYPES
            if loss_type not in losses.DIVERGENCE_LOSS_TYPES
        ),
    ],
)
def test_every_loss_is_trls(pairs: Pairs, loss_type: str, divergence: str) -> None:
    smoothings = [SMOOTHING] if loss_type == "exo_pair" else [0.0, SMOOTHING]
    weightings = [False] if loss_type.startswith("aot") else [False, True]
    coefficients = [0.5, 1.0, 1.2] if divergence == "alpha_divergence" else [0.5]
    for ld_alpha, smoothing, weighting, coefficient in itertools.product(
        [None, 0.5], smoothings, weightings, coefficients
    ):
        settings = {"label_smoothing": smoothing, "f_divergence_type": divergence}
        settings |= {"f_alpha_divergence_coef": coefficient}
        theirs = pairs.theirs([loss_type], ld_alpha=ld_alpha, use_weighting=weighting, **settings)
        ours = losses.preference_loss(pairs.logps(ld_alpha), loss_type, beta=BETA, discopop_tau=0.5, **settings)
        # TRL multiplies by WPO's weights in place, where autograd needs what relu returned: its hinge has no gradient.
        has_gradient = not (weighting and loss_type == "hinge")
        pairs.same((ours * pairs.wpo() if weighting else ours).mean(), theirs, gradients_too=has_gradient)


@pytest.mark.parametrize("weighting", [False, True])
def test_a_weighted_sum_of_losses_is_trls(pairs: Pairs, weighting: bool) -> None:
    types, weights = ["sigmoid", "bco_pair", "ipo"], [0.8, 0.2, 1.5]
    settings = {"label_smoothing": 0.0, "f_divergence_type": "reverse_kl"}
    theirs = pairs.theirs(types, loss_weights=weights, ld_alpha=None, use_weighting=weighting, **settings)
    logps = pairs.logps(None)
    ours = sum(
        weight * losses.preference_loss(logps, loss_type, beta=BETA)
        for loss_type, weight in zip(types, weights, strict=True)
    )
    pairs.same((ours * pairs.wpo() if weighting else ours).mean(), theirs)


def test_the_sft_loss_is_trls(pairs: Pairs) -> None:
    settings = {"ld_alpha": None, "label_smoothing": 0.0, "f_divergence_type": "reverse_kl", "use_weighting": False}
    pairs.same(pairs.sft(), pairs.theirs(["sft"], **settings))
    both = pairs.theirs(["sigmoid", "sft"], loss_weights=[1.0, 0.4], **settings)
    pairs.same(losses.preference_loss(pairs.logps(None), "sigmoid", beta=BETA).mean() + 0.4 * pairs.sft(), both)


def test_one_batch_by_hdpo_with_nothing_of_its_own_is_trls(pairs: Pairs) -> None:
    settings = {"ld_alpha": None, "label_smoothing": 0.0, "f_divergence_type": "reverse_kl", "use_weighting": False}
    dpo = losses.preference_loss(pairs.logps(None), "sigmoid", beta=BETA)
    terms = {"lambda_offline": 0.0, "gamma": 0.0, "mean_weight": 1.0, "num_pairs": len(PAIRS)}
    ours = losses.hdpo_loss(dpo, torch.ones(len(PAIRS)), None, None, **terms)
    pairs.same(ours, pairs.theirs(["sigmoid"], **settings))


def test_trl_has_no_loss_that_we_lack(pairs: Pairs, tmp_path: Path) -> None:
    settings = {"ld_alpha": None, "f_divergence_type": "reverse_kl", "use_weighting": False}
    with pytest.raises(ValueError, match="Unknown loss type") as unknown:
        pairs.theirs(["none"], **settings)
    assert set(listed(unknown)) == {*losses.LOSS_TYPES, "sft"}
    with pytest.raises(ValueError, match="is only supported") as unsupported:
        trainer(tmp_path, loss_type=["nca_pair"], f_divergence_type="forward_kl", use_weighting=False)
    assert set(listed(unsupported)) == {*losses.DIVERGENCE_LOSS_TYPES, "sft"}


def listed(error: pytest.ExceptionInfo[ValueError]) -> list[str]:
    """The first list in TRL's message."""
    message = str(error.value)
    names: list[str] = ast.literal_eval(message[message.index("[") : message.index("]") + 1])
    return names
