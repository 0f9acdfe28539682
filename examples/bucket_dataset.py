"""Add a bucket to every row of a `datasets` data set, in place of a map function.

python examples/bucket_dataset.py FOLDER_OR_NAME OUTPUT
"""

import sys

from datasets import Dataset, load_dataset

import polyalign as pa


def main(name: str, output: str) -> None:
    """Bucket the training split by language and length in words, and save it."""
    bucketer = pa.Bucketer(pa.BucketSchema(axes=["language", "length"], length_edges=(10, 50, 200)))
    bucketed = Dataset(bucketer.assign(load_dataset(name, split="train")))
    bucketed.save_to_disk(output)
    print(bucketed.to_pandas()["bucket"].value_counts())


if __name__ == "__main__":
    main(*sys.argv[1:])
