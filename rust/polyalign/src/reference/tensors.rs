//! Tensors as safetensors files have them: written from memory that is there, and read without believing anything.

use crate::error::{one_line, quoted};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, SafeTensorError, View};
use std::borrow::Cow;
use std::collections::HashMap;
use std::fs::{File, Permissions};
use std::io;
use std::path::Path;

/// A tensor that is turned into bytes when it is written.
pub(crate) struct Tensor<'a> {
    dtype: Dtype,
    shape: Vec<usize>,
    pub bytes: Box<dyn Fn() -> Vec<u8> + 'a>,
}

impl View for &Tensor<'_> {
    fn dtype(&self) -> Dtype {
        self.dtype
    }
    fn shape(&self) -> &[usize] {
        &self.shape
    }
    fn data(&self) -> Cow<'_, [u8]> {
        (self.bytes)().into()
    }
    fn data_len(&self) -> usize {
        self.shape.iter().product::<usize>() * self.dtype.bitsize() / 8
    }
}

/// Numbers as the file has them.
fn bytes<T, const N: usize>(values: &[T], to: impl Fn(&T) -> [u8; N]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(values.len() * N);
    values.iter().for_each(|value| bytes.extend_from_slice(&to(value)));
    bytes
}

/// A tensor of these numbers.
pub(crate) fn tensor<'a, T, const N: usize>(
    dtype: Dtype,
    shape: &[usize],
    values: &'a [T],
    to: impl Fn(&T) -> [u8; N] + Copy + 'a,
) -> Tensor<'a> {
    Tensor { dtype, shape: shape.to_vec(), bytes: Box::new(move || bytes(values, to)) }
}

/// A file's bytes.
pub(crate) fn serialize(
    tensors: &[(&'static str, Tensor<'_>)],
    metadata: HashMap<String, String>,
) -> Result<Vec<u8>, SafeTensorError> {
    safetensors::serialize(tensors.iter().map(|(name, tensor)| (*name, tensor)), Some(metadata))
}

/// Writes a file, tensor by tensor, so that it is never in memory as a whole.
pub(crate) fn write(
    tensors: &[(&'static str, Tensor<'_>)],
    metadata: HashMap<String, String>,
    path: &Path,
    permissions: Permissions,
) -> io::Result<()> {
    let named = tensors.iter().map(|(name, tensor)| (*name, tensor));
    safetensors::serialize_to_file(named, Some(metadata), path).map_err(|e| match e {
        SafeTensorError::IoError(e) => e,
        other => io::Error::other(other.to_string()),
    })?;
    let file = File::options().write(true).open(path)?;
    file.set_permissions(permissions)?;
    file.sync_all()
}

/// What is said of a file that is none.
pub(crate) fn not_ours(error: SafeTensorError) -> String {
    format!("it is no safetensors file, or a damaged one: {}", one_line(&error.to_string()))
}

/// The tensors of a file, which may hold anything.
pub(crate) struct Tensors<'a>(SafeTensors<'a>);

impl<'a> Tensors<'a> {
    /// Those of a file's bytes: of these names (sorted), and no other.
    pub fn open(bytes: &'a [u8], known: &[&str], what: &str) -> Result<Self, String> {
        let file = SafeTensors::deserialize(bytes).map_err(not_ours)?;
        let mut names = file.names();
        names.sort_unstable();
        if let Some(name) = known.iter().find(|name| !names.contains(name)) {
            return Err(format!("it has no tensor `{name}`"));
        }
        match names.iter().find(|name| !known.contains(name)) {
            Some(name) => Err(format!("it has a tensor {}, which no {what} has", quoted(name))),
            None => Ok(Self(file)),
        }
    }

    /// A tensor's numbers, of `N` bytes each.
    pub fn numbers<T, const N: usize>(
        &self,
        name: &str,
        dtype: Dtype,
        shape: &[usize],
        from: impl Fn([u8; N]) -> T,
    ) -> Result<Vec<T>, String> {
        let tensor = self.0.tensor(name).map_err(not_ours)?;
        if tensor.dtype() != dtype || tensor.shape() != shape {
            return Err(format!(
                "tensor `{name}` is {:?} {:?}, not {dtype:?} {shape:?}",
                tensor.dtype(),
                tensor.shape()
            ));
        }
        let (numbers, rest) = tensor.data().as_chunks::<N>();
        if !rest.is_empty() {
            return Err(format!("tensor `{name}` ends within a number"));
        }
        Ok(numbers.iter().map(|bytes| from(*bytes)).collect())
    }

    /// The length of a tensor of one axis.
    pub fn len(&self, name: &str) -> Result<usize, String> {
        let tensor = self.0.tensor(name).map_err(not_ours)?;
        match tensor.shape() {
            [length] => Ok(*length),
            shape => Err(format!("tensor `{name}` has the shape {shape:?}, not one axis")),
        }
    }
}
