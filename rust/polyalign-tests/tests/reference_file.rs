//! The file of a reference: the same bytes for the same content, and nothing believed that is read.

use crate::reference_common::{BUCKETS, Random, build, rows, settings};
use polyalign::reference::{Query, Reference, Settings, Variant};
use proptest::prelude::*;
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde_json::Value;
use std::collections::HashMap;
use std::sync::atomic::AtomicBool;

fn sample(variant: Variant) -> Reference {
    build(&rows(5, 60, 4, variant), settings(variant, 4))
}

fn error(bytes: &[u8]) -> String {
    let error = Reference::from_bytes(bytes).expect_err("damaged").to_string();
    assert!(!error.contains('\n') && error.starts_with("reference: "), "{error}");
    error
}

/// The file again with one change to its metadata or tensors.
struct Edit {
    metadata: Value,
    tensors: Vec<(String, Dtype, Vec<usize>, Vec<u8>)>,
}

impl Edit {
    fn of(reference: &Reference) -> Self {
        let bytes = reference.to_bytes().unwrap();
        let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
        let metadata = serde_json::from_str(&header.metadata().as_ref().unwrap()["polyalign"]).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let tensor = |name: &str| {
            let view = file.tensor(name).unwrap();
            (name.to_owned(), view.dtype(), view.shape().to_vec(), view.data().to_vec())
        };
        let mut tensors: Vec<_> = file.names().iter().map(|name| tensor(name)).collect();
        tensors.sort();
        Self { metadata, tensors }
    }

    fn tensor(&mut self, name: &str) -> &mut (String, Dtype, Vec<usize>, Vec<u8>) {
        self.tensors.iter_mut().find(|tensor| tensor.0 == name).unwrap()
    }

    /// Changes the tensor's numbers of 8 bytes.
    fn words(mut self, name: &str, change: impl Fn(&mut Vec<u64>)) -> String {
        let data = &mut self.tensor(name).3;
        let mut words: Vec<u64> = data.as_chunks().0.iter().map(|bytes| u64::from_le_bytes(*bytes)).collect();
        change(&mut words);
        *data = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        error(&self.bytes())
    }

    fn set(mut self, key: &str, value: impl Into<Value>) -> String {
        self.metadata[key] = value.into();
        error(&self.bytes())
    }

    fn bytes(&self) -> Vec<u8> {
        let mut views = Vec::new();
        for (name, dtype, shape, data) in &self.tensors {
            views.push((name, TensorView::new(*dtype, shape.clone(), data).unwrap()));
        }
        let metadata = HashMap::from([("polyalign".to_owned(), self.metadata.to_string())]);
        safetensors::serialize(views, Some(metadata)).unwrap()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn what_is_read_is_what_was_written(
        paper: bool, seed: u64, count in 0_usize..400, sample in prop_oneof![Just(0_u32), Just(5)],
    ) {
        let variant = if paper { Variant::Paper } else { Variant::Default };
        let reference = build(&rows(seed, count, BUCKETS.len(), variant), settings(variant, sample));
        let bytes = reference.to_bytes().unwrap();
        let read = Reference::from_bytes(&bytes).unwrap();
        prop_assert!(read == reference);
        prop_assert!(read.to_bytes().unwrap() == bytes);
    }

    /// Any change of bytes is refused in one line, or leaves a reference that can be used.
    #[test]
    fn damaged_files_do_no_harm(paper: bool, seed: u64) {
        let variant = if paper { Variant::Paper } else { Variant::Default };
        let mut bytes = sample(variant).to_bytes().unwrap();
        let mut random = Random(seed);
        for _ in 0..=random.below(3) {
            let at = random.below(bytes.len() as u64) as usize;
            match random.below(4) {
                0 => bytes.truncate(at.max(1)),
                1 => bytes[at] = random.word() as u8,
                2 => bytes[at] ^= 1 << random.below(8),
                _ => drop(bytes.splice(at..(at + 8).min(bytes.len()), random.word().to_le_bytes())),
            }
        }
        match Reference::from_bytes(&bytes) {
            Ok(read) => use_it(&read),
            Err(error) => prop_assert!(!error.to_string().contains('\n'), "{error}"),
        }
    }
}

fn use_it(reference: &Reference) {
    let ids: Vec<String> = reference.buckets().iter().map(|bucket| bucket.id.clone()).collect();
    let query = Query { min_count: 2, ..Query::default() };
    reference.bands(&ids, &query).unwrap();
    reference.calibrate(&ids, &query).unwrap();
    reference.describe(&AtomicBool::new(false)).unwrap();
    assert!(Reference::from_bytes(&reference.to_bytes().unwrap()).unwrap() == *reference);
}

#[test]
fn a_changed_byte_is_told() {
    for variant in [Variant::Default, Variant::Paper] {
        let bytes = sample(variant).to_bytes().unwrap();
        for at in (0..bytes.len()).step_by(bytes.len().div_ceil(500)).chain([bytes.len() - 1]) {
            let mut changed = bytes.clone();
            changed[at] ^= 0xFF;
            assert!(Reference::from_bytes(&changed).is_err(), "byte {at} of {}", bytes.len());
        }
    }
}

#[test]
fn saving_replaces_as_a_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("reference.safetensors");
    std::fs::write(&path, "something else").unwrap();
    let reference = sample(Variant::Default);
    reference.save(&path).unwrap();
    assert!(Reference::load(&path).unwrap() == reference);
    assert_eq!(std::fs::read(&path).unwrap(), reference.to_bytes().unwrap());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left");
    let nowhere = folder.path().join("no/where");
    assert!(reference.save(&nowhere).unwrap_err().to_string().starts_with(nowhere.to_str().unwrap()));
    std::fs::write(&path, "{}").unwrap();
    let error = Reference::load(&path).unwrap_err().to_string();
    assert!(error.contains("reference.safetensors: it is no safetensors file"), "{error}");
}

#[test]
fn sources_are_kept_and_joined() {
    let of = |labels: &[&str]| {
        let builder = polyalign::reference::Builder::new(Settings::default()).unwrap();
        labels.iter().for_each(|label| builder.add_source(label));
        builder.finish().unwrap()
    };
    let both = of(&["b", "a"]).merge(&of(&["c", "a"])).unwrap();
    let read = Reference::from_bytes(&both.to_bytes().unwrap()).unwrap();
    assert!(read.sources().iter().eq(["a", "b", "c"]));
}

#[test]
fn other_files_and_versions_are_refused_by_name() {
    let edit = || Edit::of(&sample(Variant::Default));
    assert!(Reference::from_bytes(&edit().bytes()).is_ok());
    assert!(error(b"").contains("no safetensors file"));
    assert!(
        error(&safetensors::serialize(Vec::<(&str, TensorView<'_>)>::new(), None).unwrap())
            .contains("another kind")
    );
    assert!(edit().set("format", "x").contains("another kind of file"));
    assert!(edit().set("format_version", 2).contains("written by a newer polyalign, in format 2"));
    assert!(edit().set("format_version", "1").contains("no version"));
    assert!(edit().set("registry_version", 77).contains("registry version 77 ("));
    assert!(
        edit()
            .set("registry_sha256", "00")
            .contains("registry version 2 (00), this polyalign's of version 2")
    );
    assert!(edit().set("variant", "paper").contains("registry version"));
    assert!(edit().set("variant", "mine").contains("variant \"mine\" is not known"));
    assert!(edit().set("features", Value::Array(vec![])).contains("`features` are not those"));
    assert!(edit().set("sample_size", -1).contains("`sample_size`"));
    assert!(edit().set("sample_size", 1 << 20).contains("at most 65536"));
    assert!(edit().set("tokenizer_sha256", "xyz").contains("no SHA-256"));
    assert!(edit().set("schema", Value::Null).contains("schema: not a JSON object"));
    assert!(edit().set("sources", serde_json::json!(["b", "a"])).contains("`sources` are not sorted"));
    let mut ids = edit().metadata["buckets"].clone();
    ids[0] = "en|single|qa|tiny".into();
    assert!(edit().set("buckets", ids.clone()).contains("length bin \"tiny\" is none of"));
    ids[0] = "zh|single|qa|short".into();
    assert!(edit().set("buckets", ids).contains("do not ascend"));
}

#[test]
fn every_tensor_is_held_to_its_rules() {
    let edit = || Edit::of(&sample(Variant::Default));
    let all = |word: u64| move |words: &mut Vec<u64>| words.fill(word);
    let first = |word: u64| move |words: &mut Vec<u64>| words[0] = word;
    assert!(edit().words("rows", first(0)).contains("`rows`"));
    assert!(edit().words("rows", first(1)).contains("`count` is above `rows`"));
    assert!(edit().words("count", first(0)).contains("tensor `min` has a value where `count` is 0"));
    assert!(edit().words("sum", all(1 << 63)).contains("`count` or `sum` is not that of the bins"));
    assert!(edit().words("square_sum", all(0)).contains("`square_sum`"));
    assert!(edit().words("square_sum", all(u64::MAX >> 1)).contains("`square_sum`"));
    assert!(edit().words("min", all(f64::NAN.to_bits())).contains("tensor `min` has NaN"));
    assert!(edit().words("min", all((-1.0_f64).to_bits())).contains("`min` is below 0"));
    assert!(edit().words("min", all((-0.0_f64).to_bits())).contains("tensor `min` has -0"));
    assert!(edit().words("max", all(1e30_f64.to_bits())).contains("tensor `max`"));
    assert!(
        edit()
            .words("max", all(1e9_f64.to_bits()))
            .contains("`min` and `max` are not in the first and the last bin")
    );
    assert!(edit().words("bin_offset", |words| words.swap(1, 2)).contains("`bin_offset` does not rise"));
    assert!(edit().words("bin_offset", first(1)).contains("`bin_offset`"));
    assert!(edit().words("bin_offset", all(u64::MAX)).contains("`bin_offset`"));
    assert!(edit().words("bin_count", first(0)).contains("`bin_count` is 0"));
    assert!(edit().words("bin_count", all(u64::MAX)).contains("`bin_"));
    assert!(edit().words("bin_sum", first(u64::MAX)).contains("`bin_sum` has numbers below 0"));
    assert!(edit().words("bin_sum", first(1 << 40)).contains("`bin_sum`"));
    assert!(edit().words("sample_offset", all(0)).contains("`sample_offset`"));
    assert!(edit().words("sample_key", |words| words.reverse()).contains("`sample_key`"));
    let mut odd = edit();
    odd.tensor("sample_row").3[..4].copy_from_slice(&f32::INFINITY.to_le_bytes());
    assert!(error(&odd.bytes()).contains("`sample_row`"));
    let mut odd = edit();
    odd.tensor("bin_index").3[..4].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(error(&odd.bytes()).contains("`bin_index`"));
    let mut odd = edit();
    odd.tensor("count").1 = Dtype::I64;
    assert!(error(&odd.bytes()).contains("tensor `count` is I64 [4, 1"));
    let mut odd = edit();
    odd.tensor("rows").2 = vec![2, 2];
    assert!(error(&odd.bytes()).contains("tensor `rows` is U64 [2, 2], not U64 [4]"));
    let mut odd = edit();
    odd.tensor("rows").0 = "row".into();
    assert!(error(&odd.bytes()).contains("no tensor `rows`"));
    let mut more = edit();
    more.tensors.push(("x\ny".into(), Dtype::U8, vec![0], vec![]));
    assert!(error(&more.bytes()).contains(r#"a tensor "x\ny""#));
}

/// A header that promises more than there is.
#[test]
fn huge_shapes_take_no_memory() {
    let header = |shape: &str, end: &str| {
        let bytes = sample(Variant::Default).to_bytes().unwrap();
        let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        let mut json: Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
        json["bin_count"]["shape"] = serde_json::from_str(shape).unwrap();
        json["bin_count"]["data_offsets"][1] = serde_json::from_str(end).unwrap();
        let text = json.to_string();
        let mut file = (text.len() as u64).to_le_bytes().to_vec();
        file.extend(text.as_bytes());
        file.extend(&bytes[8 + length..]);
        error(&file)
    };
    assert!(header("[9223372036854775807]", "10").contains("no safetensors file"));
    assert!(header("[1152921504606846976]", "9223372036854775808").contains("no safetensors file"));
    assert!(header("[4294967296, 4294967296, 4294967296]", "0").contains("no safetensors file"));
    let mut length = u64::MAX.to_le_bytes().to_vec();
    length.extend([b' '; 100]);
    assert!(error(&length).contains("no safetensors file"));
}
