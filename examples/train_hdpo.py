"""Train with HDPO: BucketSFT on human responses, then preferences and the distance from the humans of every bucket.

python examples/train_hdpo.py MODEL BUCKETED PAIRS REFERENCE OUTPUT

BUCKETED is a folder of `polyalign bucket --reference REFERENCE`, PAIRS one of `polyalign pairs`.
"""

import sys

import torch
from datasets import load_dataset

import polyalign as pa
from polyalign.critics import SupportCritic
from polyalign.trainers import HDPO, BucketSFT, BucketSFTConfig, HDPOConfig

model, bucketed, pairs, human, output = sys.argv[1:6]
common = {"num_train_epochs": 1, "bf16": torch.cuda.is_available(), "report_to": "none"}

# Human responses, every bucket with its say.
trainer = BucketSFT(
    model=model,
    args=BucketSFTConfig(f"{output}/sft", learning_rate=1e-5, **common),
    train_dataset=load_dataset(bucketed, split="train"),
)
print(trainer.bucket_weights)
trainer.train()
trainer.save_model()

# Human responses before the model's, and its own samples towards the humans of their bucket.
reference = pa.Reference.load(human)
trainer = HDPO(
    model=f"{output}/sft",
    args=HDPOConfig(f"{output}/hdpo", lambda_online=0.05, online_every=10, max_new_tokens=64, **common),
    train_dataset=load_dataset(pairs, split="train"),
    reference=reference,
    critic=SupportCritic(reference),
)
trainer.train()
trainer.save_model()
