//! What the examples share.

#[path = "../../polyalign/examples/common/mod.rs"]
#[allow(unused, reason = "the tests print nothing")]
mod common;

use common::is_read;
use std::io::{Error, ErrorKind, Write};

/// Takes lines until it has so many, then fails.
struct Reader(usize, ErrorKind);

impl Write for Reader {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.0 == 0 {
            return Err(Error::from(self.1));
        }
        self.0 -= 1;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_reader_who_has_seen_enough_is_no_error() {
    let mut head = Reader(2, ErrorKind::BrokenPipe);
    assert!(is_read(&mut head, format_args!("a line")).unwrap());
    assert!(!is_read(&mut head, format_args!("another")).unwrap());
    let mut full = Reader(0, ErrorKind::StorageFull);
    assert_eq!(is_read(&mut full, format_args!("a line")).unwrap_err().kind(), ErrorKind::StorageFull);
}
