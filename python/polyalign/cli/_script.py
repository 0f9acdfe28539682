"""What ``polyalign sft`` and ``polyalign hdpo`` take beside the settings of the trainer and of the model.

Apart from what runs them, which imports torch and TRL: ``--help`` shows them in no time.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class SFTOptions:
    """Of both commands."""

    bucket_counts: str | None = field(
        default=None,
        metadata={
            "help": "Rows by bucket of the corpus, for data that stream: a manifest.json, its folder, or a JSON object "
            "of counts. Default: the manifest of a folder that streams."
        },
    )
    test_share: float = field(
        default=0.0,
        metadata={
            "help": "Hold out this share of the groups (of the prompts, where rows have no group), for evaluation: the "
            "rows that polyalign bucket --test-share holds out."
        },
    )
    eval_humans_every: int = field(
        default=0,
        metadata={
            "help": "Answer held-out prompts before the first step, every so many steps and after the last, and log "
            "how human the answers are (eval_humans/…); 0: never."
        },
    )
    eval_humans: str | None = field(
        default=None,
        metadata={
            "help": "A bucketed folder, whose split test they are of, or a file. hdpo needs it; of sft the default is "
            "what --test_share holds out, else --dataset_name."
        },
    )
    eval_humans_prompts: int = field(default=20, metadata={"help": "So many prompts of each bucket, 5 or more."})
    eval_humans_max_new_tokens: int = field(default=256, metadata={"help": "The longest of these answers, in tokens."})
    overwrite: bool = field(
        default=False,
        metadata={"help": "Replace the model that an earlier run left in --output_dir."},
    )


@dataclass
class HDPOOptions(SFTOptions):
    """Of ``polyalign hdpo``."""

    reference: str | None = field(
        default=None,
        metadata={"help": "The human reference: a file, a folder with one, or a data set on the hub."},
    )
    critic: str | None = field(
        default=None,
        metadata={
            "help": "What scores responses, in the place of the reference: the folder of a saved critic, or another "
            "reference. Default: the support distance from --reference."
        },
    )
    held_out_critic: str | None = field(
        default=None,
        metadata={
            "help": "The folder of a critic that nothing trains against, of another kind: it scores the samples too, "
            "for the logs (online_held_out_score)."
        },
    )
    ref_model: str | None = field(
        default=None,
        metadata={"help": "The model that DPO stays close to. Default: the one that is trained, as it was."},
    )
    support: str = field(
        default="0.1,0.9",
        metadata={"help": "The quantiles between which humans are inside, as polyalign pairs had them."},
    )
    min_count: int = field(
        default=20,
        metadata={"help": "A bucket with fewer humans is served by a larger group, when responses are scored."},
    )
