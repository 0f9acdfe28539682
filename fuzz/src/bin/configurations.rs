//! Drives [`polyalign_fuzz::configurations`].

use polyalign_fuzz::configurations::{LABELS, check, generate};
use polyalign_fuzz::drive;

fn main() {
    drive(LABELS, generate, check);
}
