//! Drives [`polyalign_fuzz::lexical`].

use polyalign_fuzz::drive;
use polyalign_fuzz::lexical::{check, files, generate};

fn main() {
    let files = files();
    drive(["taken as lexical counts"], |random| generate(random, &files), check);
}
