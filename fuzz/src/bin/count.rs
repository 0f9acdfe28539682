//! Drives [`polyalign_fuzz::count`].

use polyalign_fuzz::count::{Counters, check, files, generate};
use polyalign_fuzz::drive;
use std::cell::RefCell;

fn main() {
    let (counters, files) = (RefCell::new(Counters::default()), files());
    drive(
        ["tokenizer.json files", "loaded"],
        |random| generate(random, &counters.borrow(), &files),
        |case| check(case, &mut counters.borrow_mut()),
    );
}
