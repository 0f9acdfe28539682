//! Files of lexical counts that are almost right: refused in one line, or as good as built.

use crate::mutate::{Random, mutate};
use crate::reference::{header_length, numbers};
use polyalign::buckets::BucketTable;
use polyalign::lexical::{Builder, Counter, Lexical, Scratch, Settings};
use polyalign::records::record::{Message, Record};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

const BUCKETS: [[&str; 4]; 3] =
    [["en", "single", "qa", "short"], ["zh", "multi", "a%7Cb", "xlong"], ["ja", "single", "qa", "long"]];
const PIECES: [&str; 8] = ["It is", " so", ". ", "我们", "都爱", "é", "don't ", "!"];

/// Small files to start from.
pub fn files() -> Vec<Vec<u8>> {
    let mut random = Random::new(1);
    [(0, 22, 4), (1, 22, 0), (3, 22, 2), (12, 22, 3), (40, 10, 2), (40, 28, 256)]
        .map(|(rows, bits, sample)| build(&mut random, rows, bits, sample))
        .into()
}

fn build(random: &mut Random, rows: usize, bits: u32, sample_size: u32) -> Vec<u8> {
    let settings = Settings { bits, sample_size, ..Settings::default() };
    let builder = Arc::new(Builder::new(settings).expect("sound settings"));
    builder.add_source("corpus");
    let (mut counter, mut table) = (Counter::new(Arc::clone(&builder)), BucketTable::default());
    for _ in 0..rows {
        let text: String = (0..=random.below(9)).map(|_| PIECES[random.below(PIECES.len())]).collect();
        let record = Record {
            response: Message { role: "assistant", content: &text },
            ..Record::default()
        };
        let bucket = table.insert(&BUCKETS[random.below(BUCKETS.len())]);
        counter.add(&record, bucket, &table, &AtomicBool::new(false));
    }
    counter.flush(&table).expect("nothing stops it");
    drop(counter);
    let builder = Arc::into_inner(builder).expect("nobody else counts");
    builder.finish().and_then(|lexical| lexical.to_bytes()).expect("counts")
}

/// A file with changed numbers, a changed header, or any changes.
pub fn generate(random: &mut Random, files: &[Vec<u8>]) -> Vec<u8> {
    let seeds: Vec<&[u8]> = files.iter().map(Vec::as_slice).collect();
    let file = random.pick(&seeds);
    let (header, data) = file.split_at(8 + header_length(file));
    match random.below(8) {
        0 => mutate(&seeds, DICTIONARY, random),
        1..=3 => {
            let text = mutate(&[&header[8..]], DICTIONARY, random);
            [&(text.len() as u64).to_le_bytes(), text.as_slice(), data].concat()
        }
        _ => [header, &numbers(random, data.to_vec())].concat(),
    }
}

/// Panics if a file is refused in several lines, or taken but not sound. Says whether it was taken.
pub fn check(data: &[u8]) -> [bool; 1] {
    let lexical = match Lexical::from_bytes(data) {
        Ok(lexical) => lexical,
        Err(error) => {
            let error = error.to_string();
            assert!(error.starts_with("lexical counts: ") && !error.contains(['\n', '\r']), "{error:?}");
            return [false];
        }
    };
    let bytes = lexical.to_bytes().expect("what was read can be written");
    let again = Lexical::from_bytes(&bytes).expect("what was written can be read");
    assert!(again.to_bytes().expect("again") == bytes);
    let _ = lexical.merge(&again).map(|both| both.to_bytes());
    let (never, mut scratch) = (AtomicBool::new(false), Scratch::default());
    for bucket in lexical.buckets() {
        let target = lexical.target(&bucket.id).expect("a bucket of the schema");
        for text in ["It is so.", "我们都爱", ""] {
            for leave_one_out in [false, true] {
                let score = lexical.score(&target, text, leave_one_out, &mut scratch, &never);
                let score = score.expect("nothing stops it");
                assert!(score.is_nan() || score >= 0.0 && score.is_finite(), "{score}");
            }
        }
    }
    [true]
}

/// Pieces of headers and metadata.
const DICTIONARY: &[&[u8]] = &[
    b"0",
    b"1",
    b"-1",
    b"[0]",
    b"[18446744073709551615]",
    b"null",
    b"{}",
    b"[]",
    b",",
    b"\"",
    b"\\\"",
    b"\\n",
    b"\"U64\"",
    b"\"U32\"",
    b"\"U8\"",
    b"\"F32\"",
    b"\"dtype\"",
    b"\"shape\"",
    b"\"data_offsets\"",
    b"\"__metadata__\"",
    b"\\\"format_version\\\":9",
    b"\\\"bits\\\":8",
    b"\\\"bits\\\":28",
    b"\\\"bound\\\":2305843009213693952",
    b"\\\"sample_size\\\":0",
    b"\\\"length_edges\\\":\\\"auto\\\"",
    b"\\\"axes\\\":[\\\"language\\\"]",
    b"en|single|qa|short",
    b"en|single|qa|*",
    b"%",
];
