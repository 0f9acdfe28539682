//! Drives [`polyalign_fuzz::json`] for a number of cases, and says what they were.

use polyalign_fuzz::json::{DICTIONARY, Readers, SEEDS, check};
use polyalign_fuzz::mutate::{Random, mutate};
use std::panic::{AssertUnwindSafe, catch_unwind};

fn main() {
    let mut numbers = std::env::args().skip(1).map(|text| text.parse::<u64>().expect("a number"));
    let (cases, seed) = (numbers.next().unwrap_or(1_000_000), numbers.next().unwrap_or(0));
    let (mut random, mut readers) = (Random::new(seed), Readers::default());
    let (mut json, mut read) = (0u64, 0u64);
    for case in 0..cases {
        let input = mutate(SEEDS, DICTIONARY, &mut random);
        match catch_unwind(AssertUnwindSafe(|| check(&input, &mut readers))) {
            Ok(outcome) => {
                json += u64::from(outcome.json);
                read += u64::from(outcome.read > 0);
            }
            Err(_) => {
                println!("case {case} of seed {seed}: {:?}", String::from_utf8_lossy(&input));
                std::process::exit(1);
            }
        }
    }
    println!(
        "{cases} cases of seed {seed}: {json} accepted as JSON, {read} read as records, no disagreement"
    );
}
