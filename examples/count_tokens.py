"""Count the tokens of a column of a Parquet file, without loading the file.

python examples/count_tokens.py FILE.parquet COLUMN TOKENIZER
"""

import sys

import pyarrow.compute as pc
import pyarrow.parquet as pq

import polyalign as pa


def main(file: str, column: str, tokenizer: str) -> None:
    """Print how many texts and tokens the column holds."""
    counter = pa.TokenCounter(tokenizer)
    texts = tokens = 0
    for batch in pq.ParquetFile(file).iter_batches(columns=[column]):
        counts = counter.count(batch[column])
        texts += len(counts) - counts.null_count
        tokens += pc.sum(counts).as_py() or 0
    print(f"{texts:,} texts, {tokens:,} tokens by {counter.engine}")


if __name__ == "__main__":
    main(*sys.argv[1:])
