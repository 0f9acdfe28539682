//! Drives [`polyalign_fuzz::json`].

use polyalign_fuzz::drive;
use polyalign_fuzz::json::{DICTIONARY, Readers, SEEDS, check};
use polyalign_fuzz::mutate::mutate;

fn main() {
    let mut readers = Readers::default();
    drive(
        ["accepted as JSON", "read as records"],
        |random| mutate(SEEDS, DICTIONARY, random),
        |case| {
            let outcome = check(case, &mut readers);
            [outcome.json, outcome.read > 0]
        },
    );
}
