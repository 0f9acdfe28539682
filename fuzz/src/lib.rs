//! Fuzz bodies: ordinary functions that panic when something is wrong with what they are given, so
//! that any fuzzer can drive them. The binaries [`drive`] them with [`mutate`] on a stable compiler:
//!
//! ```text
//! cargo run --release --manifest-path fuzz/Cargo.toml --bin json -- 1000000 [SEED]
//! ```

pub mod configurations;
pub mod count;
pub mod json;
pub mod lexical;
pub mod mutate;
pub mod reference;

#[path = "../../rust/polyalign-tests/tests/tokens_common/mod.rs"]
mod tokens_common;

use mutate::Random;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;

/// Makes and checks as many cases as the command line says, from the seed it says, and prints how many of them
/// were what `labels` name. A panic ends the run with the case that made it.
pub fn drive<const N: usize>(
    labels: [&str; N],
    mut generate: impl FnMut(&mut Random) -> Vec<u8>,
    mut check: impl FnMut(&[u8]) -> [bool; N],
) {
    let mut numbers = std::env::args().skip(1).map(|text| text.parse::<u64>().expect("a number"));
    let (cases, seed) = (numbers.next().unwrap_or(1_000_000), numbers.next().unwrap_or(0));
    // Panics caught on purpose, inside `tokenizers`, are not to be printed.
    static LAST: Mutex<String> = Mutex::new(String::new());
    std::panic::set_hook(Box::new(|panic| *LAST.lock().unwrap() = panic.to_string()));
    let (mut random, mut totals) = (Random::new(seed), [0u64; N]);
    for number in 0..cases {
        let case = generate(&mut random);
        let Ok(found) = catch_unwind(AssertUnwindSafe(|| check(&case))) else {
            println!("case {number} of seed {seed}: {:?}", String::from_utf8_lossy(&case));
            println!("{}", LAST.lock().unwrap());
            std::process::exit(1);
        };
        totals.iter_mut().zip(found).for_each(|(total, is)| *total += u64::from(is));
    }
    let totals: Vec<String> = totals.iter().zip(labels).map(|(n, label)| format!("{n} {label}")).collect();
    println!("{cases} cases of seed {seed}: {}, no disagreement", totals.join(", "));
}
