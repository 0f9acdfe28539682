//! The file of a reference: one safetensors file, its bytes a function of its content.
//!
//! Its metadata has one entry, the JSON of [`metadata`]; docs/reference.md says what each tensor holds. Totals are dense, a
//! number for each bucket and feature; bins are sparse rows, one after the other: those of bucket b and feature f are
//! `bin_index[bin_offset[i]..bin_offset[i + 1]]`, i = b × features + f, and so are their counts and sums. Samples likewise,
//! by bucket.

use super::cells::Indices;
use super::tensors::{self, Tensor, tensor};
use super::{Reference, Variant, fixed, metadata};
use crate::hash::hex;
use crate::{Error, Result};
use safetensors::tensor::Dtype;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::fs::Permissions;
use std::io;
use std::path::Path;

impl Reference {
    /// The file's bytes.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        tensors::serialize(&self.tensors(), self.metadata())
            .map_err(|e| Error::Output(format!("reference: {e}")))
    }

    /// Writes the file, tensor by tensor, so that it is never in memory as a whole.
    pub(crate) fn write(&self, path: &Path, permissions: Permissions) -> io::Result<()> {
        tensors::write(&self.tensors(), self.metadata(), path, permissions)
    }

    fn metadata(&self) -> HashMap<String, String> {
        HashMap::from([(metadata::KEY.to_owned(), metadata::write(self, &self.content_sha256()))])
    }

    /// SHA-256 of the metadata and of all tensors: by it a damaged file is told.
    pub(super) fn content_sha256(&self) -> String {
        let mut hash = Sha256::new_with_prefix(metadata::content(self).to_string());
        for (name, tensor) in self.tensors() {
            hash.update(name);
            hash.update((tensor.bytes)());
        }
        hex(&hash.finalize())
    }

    fn tensors(&self) -> Vec<(&'static str, Tensor<'_>)> {
        let (buckets, features) = (self.buckets.len(), self.features().len());
        let all = [buckets, features];
        let (cells, samples, variant) = (&self.cells, &self.samples, self.variant());
        let (n, k) = (cells.counts.len(), samples.keys.len());
        let index = match &cells.indices {
            Indices::Narrow(indices) => tensor(Dtype::U32, &[n], indices, |x| x.to_le_bytes()),
            Indices::Wide(indices) => tensor(Dtype::I64, &[n], indices, |x| x.to_le_bytes()),
        };
        let totals = &self.totals;
        let halves = [buckets, features, 2];
        vec![
            ("rows", tensor(Dtype::U64, &[buckets], &self.buckets, |bucket| bucket.rows.to_le_bytes())),
            ("count", tensor(Dtype::U64, &all, totals, |t| t.count.to_le_bytes())),
            ("sum", tensor(Dtype::U64, &halves, totals, |t| halves_of(t.sum))),
            ("square_sum", tensor(Dtype::U64, &halves, totals, |t| halves_of(t.squares))),
            ("min", tensor(Dtype::F64, &all, totals, move |t| extreme(t.count, t.min, variant))),
            ("max", tensor(Dtype::F64, &all, totals, move |t| extreme(t.count, t.max, variant))),
            ("bin_offset", tensor(Dtype::U64, &[cells.offsets.len()], &cells.offsets, |x| x.to_le_bytes())),
            ("bin_index", index),
            ("bin_count", tensor(Dtype::U64, &[n], &cells.counts, |x| x.to_le_bytes())),
            ("bin_sum", tensor(Dtype::I64, &[n], &cells.sums, |sum| (*sum as i64).to_le_bytes())),
            (
                "sample_offset",
                tensor(Dtype::U64, &[samples.offsets.len()], &samples.offsets, |x| x.to_le_bytes()),
            ),
            ("sample_key", tensor(Dtype::U64, &[k], &samples.keys, |x| x.to_le_bytes())),
            ("sample_row", tensor(Dtype::F32, &[k, features], &samples.rows, |x| x.to_le_bytes())),
        ]
    }
}

/// The high half, then the low one.
fn halves_of(sum: i128) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&((sum >> 64) as u64).to_le_bytes());
    bytes[8..].copy_from_slice(&(sum as u64).to_le_bytes());
    bytes
}

/// NaN where there is nothing.
fn extreme(count: u64, fixed: i64, variant: Variant) -> [u8; 8] {
    if count == 0 { f64::NAN } else { fixed::to_value(fixed, variant) }.to_le_bytes()
}
