//! Files of references that are almost right: refused in one line, or as good as built.

use polyalign::features::bins::Bins;
use polyalign::reference::{Builder, Query, Reference, Settings, Variant, features};

use crate::mutate::{Random, mutate};
use std::sync::atomic::AtomicBool;

/// Small files to start from.
pub fn files() -> Vec<Vec<u8>> {
    let mut random = Random::new(1);
    let cases = [(0, 4), (1, 0), (1, 2), (3, 2), (40, 3), (200, 0)];
    let variants = [Variant::Default, Variant::Paper];
    let file = |(variant, (rows, sample))| build(&mut random, variant, rows, sample);
    variants.into_iter().flat_map(|variant| cases.map(|case| (variant, case))).map(file).collect()
}

fn build(random: &mut Random, variant: Variant, rows: usize, sample_size: u32) -> Vec<u8> {
    let builder =
        Builder::new(Settings { variant, sample_size, ..Settings::default() }).expect("sound settings");
    builder.add_source("corpus");
    for _ in 0..rows {
        let parts =
            random.pick(&[["en", "single", "qa", "short"], ["zh", "multi", "a%7Cb", "xlong"]].each_ref());
        let bucket = builder.bucket(parts).expect("a bucket of the schema");
        let row: Vec<f64> = features(variant).iter().map(|feature| value(random, feature.bins)).collect();
        builder.add_rows(bucket, &[random.word()], &row).expect("values that can be counted");
    }
    builder.finish().and_then(|reference| reference.to_bytes()).expect("a reference")
}

fn value(random: &mut Random, bins: Bins) -> f64 {
    let whole = random.below(200) as f64;
    match random.below(5) {
        0 => f64::NAN,
        1 => whole * 1000.0,
        2 if matches!(bins, Bins::Signed { .. } | Bins::Exact) => -whole / 8.0,
        3 => whole / 200.0,
        _ => whole,
    }
}

/// A file with changed numbers, a changed header, or any changes.
pub fn generate(random: &mut Random, files: &[Vec<u8>]) -> Vec<u8> {
    let seeds: Vec<&[u8]> = files.iter().map(Vec::as_slice).collect();
    let file = random.pick(&seeds);
    let (header, data) = file.split_at(8 + header_length(file));
    match random.below(8) {
        0 => mutate(&seeds, DICTIONARY, random),
        // The length said is that of the changed header, so that what is in it is read.
        1..=3 => {
            let text = mutate(&[&header[8..]], DICTIONARY, random);
            [&(text.len() as u64).to_le_bytes(), text.as_slice(), data].concat()
        }
        _ => [header, &numbers(random, data.to_vec())].concat(),
    }
}

pub(crate) fn header_length(file: &[u8]) -> usize {
    file.first_chunk().map_or(0, |length| u64::from_le_bytes(*length) as usize)
}

/// A few numbers changed in place: by one, by a bit, to another of the file, to one that matters.
pub(crate) fn numbers(random: &mut Random, mut data: Vec<u8>) -> Vec<u8> {
    for _ in 0..=random.below(3) * random.below(3) {
        let size = if random.below(3) == 0 { 4 } else { 8 };
        let (at, other) = (random.below(data.len() / size), random.below(data.len() / size));
        let Some(range) = data.get(at * size..(at + 1) * size) else { break };
        let mut bytes = [0; 8];
        bytes[..size].copy_from_slice(range);
        let number = u64::from_le_bytes(bytes);
        let new = match random.below(6) {
            0 => number.wrapping_add(1),
            1 => number.wrapping_sub(1),
            2 => number ^ 1 << random.below(8 * size),
            3 => INTERESTING[random.below(INTERESTING.len())],
            4 => f64::from_bits(number).next_up().to_bits(),
            _ => {
                let other = data[other * size..(other + 1) * size].to_vec();
                data[at * size..(at + 1) * size].copy_from_slice(&other);
                continue;
            }
        };
        data[at * size..(at + 1) * size].copy_from_slice(&new.to_le_bytes()[..size]);
    }
    data
}

/// Panics if a file is refused in several lines, or taken but not sound. Says whether it was taken.
pub fn check(data: &[u8]) -> [bool; 1] {
    let reference = match Reference::from_bytes(data) {
        Ok(reference) => reference,
        Err(error) => {
            let error = error.to_string();
            assert!(error.starts_with("reference: ") && !error.contains(['\n', '\r']), "{error:?}");
            return [false];
        }
    };
    let bytes = reference.to_bytes().expect("what was read can be written");
    assert!(Reference::from_bytes(&bytes).expect("what was written can be read") == reference);
    let never = AtomicBool::new(false);
    let described = reference.describe(&never).expect("what loads can be described");
    for summary in described.iter().filter(|summary| summary.count > 0) {
        let ascending = [&[summary.min], &summary.quantiles[..], &[summary.max]].concat();
        assert!(ascending.is_sorted(), "{summary:?}");
        assert!(
            summary.min <= summary.mean && summary.mean <= summary.max && summary.std >= 0.0,
            "{summary:?}"
        );
    }
    // Sums may be too large to add, which is an error as any other.
    let ids: Vec<&str> = reference.buckets().iter().map(|bucket| bucket.id.as_str()).collect();
    let query = Query { min_count: 2, ..Query::default() };
    let _ = reference.calibrate(&ids, &query);
    let _ = reference.merge(&reference).map(|both| both.describe(&never));
    polyalign::reference::diff(&reference, &reference, &never).expect("no distance is refused");
    [true]
}

const INTERESTING: [u64; 14] = [
    0,
    1,
    2,
    20,
    1 << 20,
    1 << 51,
    1 << 62,
    1 << 63,
    u64::MAX,
    u64::MAX - 1,
    0x3ff0_0000_0000_0000,
    0xbff0_0000_0000_0000,
    0x7ff8_0000_0000_0000,
    0x7fc0_0000_7f80_0000,
];

/// Pieces of headers and metadata.
const DICTIONARY: &[&[u8]] = &[
    b"0",
    b"1",
    b"2",
    b"-1",
    b"[0,0]",
    b"[2,145]",
    b"[18446744073709551615]",
    b"[4294967296,4294967296,4294967296]",
    b"null",
    b"{}",
    b"[]",
    b",",
    b"\"",
    b"\\",
    b"\\\"",
    b"\\n",
    b"\n",
    b"\"U64\"",
    b"\"F64\"",
    b"\"BOOL\"",
    b"\"dtype\"",
    b"\"shape\"",
    b"\"data_offsets\"",
    b"\"__metadata__\"",
    b"\"polyalign\"",
    b"\\\"format_version\\\":1",
    b"\\\"format_version\\\":9",
    b"\\\"registry_version\\\":9",
    b"\\\"variant\\\":\\\"paper\\\"",
    b"\\\"sample_size\\\":0",
    b"\\\"sample_size\\\":4294967295",
    b"\\\"languages\\\":[\\\"en\\\"]",
    b"\\\"length_edges\\\":\\\"auto\\\"",
    b"\\\"axes\\\":[]",
    b"\\\"axes\\\":[\\\"language\\\"]",
    b"en|single|qa|short",
    b"en|single|qa|*",
    b"zh|multi|a%7Cb|xlong",
    b"%",
];
