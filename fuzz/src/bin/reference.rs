//! Drives [`polyalign_fuzz::reference`].

use polyalign_fuzz::drive;
use polyalign_fuzz::reference::{check, files, generate};

fn main() {
    let files = files();
    drive(["taken as references"], |random| generate(random, &files), check);
}
