//! Reading a reference's file, which may hold anything.
//!
//! Nothing is believed: a file is a reference only if every rule of [`super::validate`] holds, so that whatever is
//! asked of a loaded reference is as safe as of a built one. An error names the tensor and the first rule it breaks.

use super::cells::{Cells, Indices};
use super::distribution::Totals;
use super::metadata::{self, Metadata};
use super::sample::Samples;
use super::tensors::{Tensors, not_ours};
use super::{Bucket, Reference, Variant, fixed, validate};
use crate::error::one_line;
use crate::{Error, Result};
use safetensors::{Dtype, SafeTensors};
use std::path::Path;

impl Reference {
    /// Reads a file that [`Self::save`] wrote.
    ///
    /// An error, which names the file and what is wrong, if it is no such file, is damaged, was written in a later
    /// format, or counts another registry's features.
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let bytes = std::fs::read(path).map_err(|e| Error::io(path, e))?;
        parse(&bytes)
            .map_err(|what| Error::Input(format!("reference {}: {}", path.display(), one_line(&what))))
    }

    /// Reads a file's bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        parse(bytes).map_err(|what| Error::Input(format!("reference: {}", one_line(&what))))
    }
}

fn parse(bytes: &[u8]) -> Result<Reference, String> {
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(not_ours)?;
    let text = header.metadata().as_ref().and_then(|entries| entries.get(metadata::KEY));
    let metadata =
        metadata::read(text.ok_or("it is another kind of file: it has no polyalign reference in it")?)?;
    let sha256 = metadata.content_sha256.clone();
    let reference = read(&Tensors::open(bytes, &NAMES, "reference")?, metadata)?;
    validate::check(&reference)?;
    match reference.content_sha256() == sha256 {
        true => Ok(reference),
        false => Err("it is damaged: its content is not that of its `content_sha256`".into()),
    }
}

const NAMES: [&str; 13] = [
    "bin_count",
    "bin_index",
    "bin_offset",
    "bin_sum",
    "count",
    "max",
    "min",
    "rows",
    "sample_key",
    "sample_offset",
    "sample_row",
    "square_sum",
    "sum",
];

fn read(tensors: &Tensors<'_>, metadata: Metadata) -> Result<Reference, String> {
    let Metadata { settings, sources, bucket_ids, .. } = metadata;
    let (buckets, width) = (bucket_ids.len(), settings.features().len());
    let rows = tensors.numbers("rows", Dtype::U64, &[buckets], u64::from_le_bytes)?;
    let [bins, sampled] = [tensors.len("bin_count")?, tensors.len("sample_key")?];
    let sums = tensors.numbers("bin_sum", Dtype::I64, &[bins], i64::from_le_bytes)?;
    let indices = match settings.variant {
        Variant::Default => {
            Indices::Narrow(tensors.numbers("bin_index", Dtype::U32, &[bins], u32::from_le_bytes)?)
        }
        Variant::Paper => {
            Indices::Wide(tensors.numbers("bin_index", Dtype::I64, &[bins], i64::from_le_bytes)?)
        }
    };
    let unsigned = |sum: i64| u64::try_from(sum).map_err(|_| "tensor `bin_sum` has numbers below 0");
    let cells = Cells {
        offsets: tensors.numbers("bin_offset", Dtype::U64, &[buckets * width + 1], u64::from_le_bytes)?,
        indices,
        counts: tensors.numbers("bin_count", Dtype::U64, &[bins], u64::from_le_bytes)?,
        sums: sums.into_iter().map(unsigned).collect::<Result<_, _>>()?,
    };
    let samples = Samples {
        offsets: tensors.numbers("sample_offset", Dtype::U64, &[buckets + 1], u64::from_le_bytes)?,
        keys: tensors.numbers("sample_key", Dtype::U64, &[sampled], u64::from_le_bytes)?,
        rows: tensors.numbers("sample_row", Dtype::F32, &[sampled, width], f32::from_le_bytes)?,
    };
    let bucket = |(id, rows): (String, u64)| Bucket {
        parts: id.split(crate::buckets::SEPARATOR).map(str::to_owned).collect(),
        id,
        rows,
    };
    Ok(Reference {
        sources,
        buckets: bucket_ids.into_iter().zip(rows).map(bucket).collect(),
        totals: read_totals(tensors, settings.variant, buckets, width)?,
        cells,
        samples,
        settings,
    })
}

fn read_totals(
    tensors: &Tensors<'_>,
    variant: Variant,
    buckets: usize,
    width: usize,
) -> Result<Vec<Totals>, String> {
    let (all, halves) = ([buckets, width], [buckets, width, 2]);
    let counts = tensors.numbers("count", Dtype::U64, &all, u64::from_le_bytes)?;
    let sums = tensors.numbers("sum", Dtype::U64, &halves, joined)?;
    let squares = tensors.numbers("square_sum", Dtype::U64, &halves, joined)?;
    let mins = tensors.numbers("min", Dtype::F64, &all, f64::from_le_bytes)?;
    let maxs = tensors.numbers("max", Dtype::F64, &all, f64::from_le_bytes)?;
    let total = |at: usize| {
        let count = counts[at];
        let min = extreme("min", mins[at], count, variant)?;
        let max = extreme("max", maxs[at], count, variant)?;
        Ok(Totals { count, sum: sums[at], squares: squares[at], min, max })
    };
    (0..counts.len()).map(total).collect()
}

/// A sum from its high and its low half.
fn joined(bytes: [u8; 16]) -> i128 {
    let (high, low) = bytes.split_at(8);
    let half = |bytes: &[u8]| bytes.iter().rev().fold(0_u64, |half, byte| half << 8 | u64::from(*byte));
    i128::from(half(high) as i64) << 64 | i128::from(half(low))
}

/// The least or greatest value in units: exactly what [`super::file`] writes, or an error.
fn extreme(name: &str, value: f64, count: u64, variant: Variant) -> Result<i64, String> {
    if count == 0 {
        return if value.is_nan() {
            Ok(0)
        } else {
            Err(format!("tensor `{name}` has a value where `count` is 0"))
        };
    }
    let fixed = fixed::to_fixed(value, variant).filter(|fixed| *fixed != fixed::ABSENT);
    let same = |fixed: &i64| fixed::to_value(*fixed, variant).to_bits() == value.to_bits();
    fixed
        .filter(same)
        .ok_or_else(|| format!("tensor `{name}` has {value}, which is no value that can be counted"))
}
