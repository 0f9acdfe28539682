//! SHA-256 of what is written and read, in hexadecimal.

use sha2::{Digest, Sha256};
use std::io::{self, Write};

/// Counts and hashes what is written.
pub(crate) struct Hashed<W> {
    pub sink: W,
    pub sha256: Sha256,
    pub bytes: u64,
}

impl<W> Hashed<W> {
    pub fn new(sink: W) -> Self {
        Self { sink, sha256: Sha256::new(), bytes: 0 }
    }
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let n = self.sink.write(buf)?;
        self.sha256.update(&buf[..n]);
        self.bytes += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sink.flush()
    }
}

/// Bytes in hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}
