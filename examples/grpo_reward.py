"""Train with GRPO towards how humans answer.

python examples/grpo_reward.py MODEL HUMANS.parquet OUTPUT

HUMANS has the columns prompt and completion, both lists of messages: what people asked, and what people answered.
"""

import sys

import torch
from datasets import Dataset
from trl import GRPOConfig, GRPOTrainer

import polyalign as pa

model, humans, output = sys.argv[1:4]

# Every row's bucket: language, track, family and length of the human answer.
schema = pa.BucketSchema(length_unit="words")
table = pa.Bucketer(schema).assign(Dataset.from_parquet(humans))

# How humans answer in each bucket, and how far a completion is from them.
reference = pa.Reference.from_arrow(table, schema=schema)
reward = pa.rewards.support(reference)

# TRL hands the column `bucket` to the reward; a completion without a distance has no reward.
dataset = Dataset(table).select_columns(["prompt", "bucket"])
config = GRPOConfig(
    output,
    max_steps=3,
    per_device_train_batch_size=4,
    num_generations=4,
    max_completion_length=32,
    logging_steps=1,
    save_strategy="no",
    report_to="none",
    bf16=torch.cuda.is_available(),
)
trainer = GRPOTrainer(model, reward_funcs=reward, args=config, train_dataset=dataset)
trainer.train()
print(f"mean reward {trainer.state.log_history[0]['reward']:.3f} at first")
