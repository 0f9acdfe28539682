//! The file of counts: one safetensors file, its bytes a function of its content; read without believing anything.

use super::sample::Samples;
use super::table::Entries;
use super::validate::{check, check_settings};
use super::{Bucket, Lexical, Settings};
use crate::buckets::{BucketSchema, SEPARATOR};
use crate::error::one_line;
use crate::hash::hex;
use crate::reference::tensors::{self, Tensor, Tensors, not_ours, tensor};
use crate::reference::validate::check_offsets;
use crate::{Error, Result};
use safetensors::{Dtype, SafeTensors};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::{BTreeSet, HashMap};
use std::fs::Permissions;
use std::io;
use std::path::Path;
use std::sync::OnceLock;

const KEY: &str = "polyalign";
const FORMAT: &str = "polyalign-lexical";
const FORMAT_VERSION: u64 = 1;
/// Longest label of a source.
const MAX_SOURCE: usize = 4096;
const OTHER: &str = "it is another kind of file: it has no lexical counts of polyalign in it";

const NAMES: [&str; 7] = ["count", "key", "rows", "sample_end", "sample_key", "sample_offset", "sample_text"];

/// The samples as tensors have them.
struct Flat {
    /// Where each bucket's rows begin, and where the last's end.
    offsets: Vec<u64>,
    keys: Vec<u64>,
    /// Where each text ends.
    ends: Vec<u64>,
    text: Vec<u8>,
}

impl Lexical {
    /// The file's bytes.
    ///
    /// # Errors
    /// More than a file holds.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let flat = self.flat();
        tensors::serialize(&self.tensors(&flat), self.metadata(&flat))
            .map_err(|e| Error::Output(format!("lexical counts: {e}")))
    }

    /// Writes the file, tensor by tensor, so that it is never in memory as a whole.
    pub(crate) fn write(&self, path: &Path, permissions: Permissions) -> io::Result<()> {
        let flat = self.flat();
        tensors::write(&self.tensors(&flat), self.metadata(&flat), path, permissions)
    }

    /// Reads a file that [`Self::save`] wrote.
    ///
    /// # Errors
    /// It is no such file, is damaged, or was written in a later format: the message names the file and what is wrong.
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let bytes = std::fs::read(path).map_err(|e| Error::io(path, e))?;
        parse(&bytes)
            .map_err(|what| Error::Input(format!("lexical counts {}: {}", path.display(), one_line(&what))))
    }

    /// Reads a file's bytes.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        parse(bytes).map_err(|what| Error::Input(format!("lexical counts: {}", one_line(&what))))
    }

    fn flat(&self) -> Flat {
        let mut flat = Flat { offsets: vec![0], keys: Vec::new(), ends: Vec::new(), text: Vec::new() };
        for rows in &self.samples {
            for (key, text) in rows {
                flat.keys.push(*key);
                flat.text.extend_from_slice(text.as_bytes());
                flat.ends.push(flat.text.len() as u64);
            }
            flat.offsets.push(flat.keys.len() as u64);
        }
        flat
    }

    fn tensors<'a>(&'a self, flat: &'a Flat) -> Vec<(&'static str, Tensor<'a>)> {
        let Entries { keys, counts, .. } = &self.entries;
        let whole = |values: &'a Vec<u64>| tensor(Dtype::U64, &[values.len()], values, |x| x.to_le_bytes());
        let rows =
            tensor(Dtype::U64, &[self.buckets.len()], &self.buckets, |bucket| bucket.rows.to_le_bytes());
        vec![
            ("rows", rows),
            ("key", whole(keys)),
            ("count", tensor(Dtype::U32, &[counts.len()], counts, |x| x.to_le_bytes())),
            ("sample_offset", whole(&flat.offsets)),
            ("sample_key", whole(&flat.keys)),
            ("sample_end", whole(&flat.ends)),
            ("sample_text", tensor(Dtype::U8, &[flat.text.len()], &flat.text, |x| [*x])),
        ]
    }

    fn metadata(&self, flat: &Flat) -> HashMap<String, String> {
        let mut json = self.content();
        json["content_sha256"] = self.content_sha256(flat).into();
        json.sort_all_objects();
        HashMap::from([(KEY.to_owned(), json.to_string())])
    }

    /// All that the metadata says, but for the hash of the content.
    fn content(&self) -> Value {
        let Settings { schema, tokenizer, keep_thinking, sample_size, bits } = &self.settings;
        let schema: Value = serde_json::from_str(&schema.to_json()).unwrap_or_default();
        let mut json = json!({
            "bits": bits,
            "bound": self.entries.bound,
            "buckets": self.buckets.iter().map(|bucket| bucket.id.as_str()).collect::<Vec<_>>(),
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "keep_thinking": keep_thinking,
            "sample_size": sample_size,
            "schema": schema,
            "sources": self.sources,
            "tokenizer_sha256": tokenizer,
        });
        json.sort_all_objects();
        json
    }

    /// SHA-256 of the metadata and of all tensors: by it a damaged file is told.
    fn content_sha256(&self, flat: &Flat) -> String {
        let mut hash = Sha256::new_with_prefix(self.content().to_string());
        for (name, tensor) in self.tensors(flat) {
            hash.update(name);
            hash.update((tensor.bytes)());
        }
        hex(&hash.finalize())
    }
}

fn parse(bytes: &[u8]) -> Result<Lexical, String> {
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(not_ours)?;
    let text = header.metadata().as_ref().and_then(|entries| entries.get(KEY)).ok_or(OTHER)?;
    let json: Value = serde_json::from_str(text).map_err(|e| format!("its metadata is no JSON: {e}"))?;
    if json["format"] != FORMAT {
        return Err(OTHER.into());
    }
    match json["format_version"].as_u64() {
        Some(FORMAT_VERSION) => {}
        Some(version) if version > FORMAT_VERSION => {
            return Err(format!(
                "written by a newer polyalign, in format {version}; this one reads {FORMAT_VERSION}: update polyalign"
            ));
        }
        _ => return Err("its `format_version` is no version".into()),
    }
    let lexical = read(&json, &Tensors::open(bytes, &NAMES, "lexical counts")?)?;
    check(&lexical)?;
    match json["content_sha256"] == lexical.content_sha256(&lexical.flat()) {
        true => Ok(lexical),
        false => Err("it is damaged: its content is not that of its `content_sha256`".into()),
    }
}

fn read(json: &Value, tensors: &Tensors<'_>) -> Result<Lexical, String> {
    let settings = settings(json)?;
    let ids = texts(&json["buckets"], "buckets")?;
    let sources = texts(&json["sources"], "sources")?;
    if !sources.is_sorted_by(|a, b| a < b) || sources.iter().any(|source| source.len() > MAX_SOURCE) {
        return Err("its `sources` are not sorted, or too long".into());
    }
    let whole = |name: &str, shape: &[usize]| tensors.numbers(name, Dtype::U64, shape, u64::from_le_bytes);
    let grams = tensors.len("key")?;
    let entries = Entries {
        keys: whole("key", &[grams])?,
        counts: tensors.numbers("count", Dtype::U32, &[grams], u32::from_le_bytes)?,
        bound: json["bound"].as_u64().ok_or("its `bound` is no number")?,
    };
    let rows = whole("rows", &[ids.len()])?;
    let sampled = tensors.len("sample_key")?;
    let flat = Flat {
        offsets: whole("sample_offset", &[ids.len() + 1])?,
        keys: whole("sample_key", &[sampled])?,
        ends: whole("sample_end", &[sampled])?,
        text: tensors.numbers("sample_text", Dtype::U8, &[tensors.len("sample_text")?], |[byte]| byte)?,
    };
    let bucket = |(id, rows): (String, u64)| Bucket {
        parts: id.split(SEPARATOR).map(str::to_owned).collect(),
        id,
        rows,
    };
    Ok(Lexical {
        settings,
        sources: sources.into_iter().collect::<BTreeSet<_>>(),
        buckets: ids.into_iter().zip(rows).map(bucket).collect(),
        entries,
        samples: flat.rows()?,
        index: OnceLock::new(),
    })
}

impl Flat {
    fn rows(&self) -> Result<Samples, String> {
        check_offsets("sample_offset", &self.offsets, self.keys.len())?;
        let starts: Vec<u64> = std::iter::once(0).chain(self.ends.iter().copied()).collect();
        check_offsets("sample_end", &starts, self.text.len())?;
        let text = |at: usize| {
            let bytes = &self.text[starts[at] as usize..starts[at + 1] as usize];
            std::str::from_utf8(bytes).map_err(|_| "tensor `sample_text` is no text".to_owned())
        };
        let row = |at: usize| Ok((self.keys[at], text(at)?.into()));
        self.offsets.windows(2).map(|of| (of[0] as usize..of[1] as usize).map(row).collect()).collect()
    }
}

fn settings(json: &Value) -> Result<Settings, String> {
    let number = |name: &str| {
        let number = json[name].as_u64().and_then(|number| u32::try_from(number).ok());
        number.ok_or_else(|| format!("its `{name}` is no number"))
    };
    let tokenizer = match &json["tokenizer_sha256"] {
        Value::Null => None,
        Value::String(sha256) => Some(sha256.clone()),
        _ => return Err("its `tokenizer_sha256` is neither null nor text".into()),
    };
    check_settings(Settings {
        // Written out, as `schema` may hold anything.
        schema: BucketSchema::from_json(&json["schema"].to_string()).map_err(|e| one_line(&e.to_string()))?,
        tokenizer,
        keep_thinking: json["keep_thinking"]
            .as_bool()
            .ok_or("its `keep_thinking` is neither true nor false")?,
        sample_size: number("sample_size")?,
        bits: number("bits")?,
    })
    .map_err(|e| e.to_string())
}

fn texts(json: &Value, what: &str) -> Result<Vec<String>, String> {
    let text = |item: &Value| item.as_str().map(str::to_owned);
    let texts = json.as_array().and_then(|items| items.iter().map(text).collect());
    texts.ok_or_else(|| format!("its `{what}` are no list of texts"))
}
