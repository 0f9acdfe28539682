//! Opening files: raw, gzip or Zstandard, with the bytes read from disk counted.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Stdin};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// How a file's bytes are packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// As they are.
    None,
    /// gzip, of one member or several.
    Gzip,
    /// Zstandard, of one frame or several.
    Zstd,
}

impl Compression {
    /// By the magic number at the start of a file.
    pub fn of(head: &[u8]) -> Self {
        match head {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            // A skippable frame may come first.
            [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            _ => Self::None,
        }
    }
}

/// Bytes asked of a decoder at once. Always the same, so that what a broken stream yields before
/// its error does not depend on who reads it.
const DECODE_BYTES: usize = 256 << 10;

/// A file, standard input, or bytes already taken from it followed by the rest.
enum Raw {
    File(File),
    Stdin(io::Chain<io::Cursor<Vec<u8>>, Stdin>),
}

/// Counts what is read from disk.
struct Counted {
    raw: Raw,
    count: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = match &mut self.raw {
            Raw::File(file) => file.read(buf)?,
            Raw::Stdin(stdin) => stdin.read(buf)?,
        };
        self.count.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}

/// Reads a decoder in requests of one size; data that came before an error is handed out first.
struct FixedReads<R> {
    decoder: R,
    buf: Vec<u8>,
    start: usize,
    end: usize,
    error: Option<io::Error>,
}

impl<R: Read> FixedReads<R> {
    fn new(decoder: R) -> Self {
        Self { decoder, buf: vec![0; DECODE_BYTES], start: 0, end: 0, error: None }
    }

    fn fill(&mut self) {
        (self.start, self.end) = (0, 0);
        while self.end < self.buf.len() {
            match self.decoder.read(&mut self.buf[self.end..]) {
                Ok(0) => break,
                Ok(n) => self.end += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => {
                    self.error = Some(e);
                    break;
                }
            }
        }
    }
}

impl<R: Read> Read for FixedReads<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.start == self.end {
            if let Some(e) = self.error.take() {
                return Err(e);
            }
            self.fill();
            if self.end == 0 {
                return self.error.take().map_or(Ok(0), Err);
            }
        }
        let n = buf.len().min(self.end - self.start);
        buf[..n].copy_from_slice(&self.buf[self.start..self.start + n]);
        self.start += n;
        Ok(n)
    }
}

/// A stream of decompressed bytes.
pub struct Source {
    reader: Box<dyn Read + Send>,
}

impl Source {
    /// Opens a file at a decompressed offset; `count` is told of every byte read from disk.
    pub fn open(
        path: &Path,
        compression: Compression,
        offset: u64,
        count: &Arc<AtomicU64>,
    ) -> io::Result<Self> {
        let mut file = File::open(path)?;
        if compression == Compression::None && offset > 0 {
            file.seek(SeekFrom::Start(offset))?;
            count.fetch_add(offset, Ordering::Relaxed);
        }
        let raw = Counted { raw: Raw::File(file), count: Arc::clone(count) };
        let mut source = Self::decode(raw, compression)?;
        if compression != Compression::None && offset > 0 {
            source.skip(offset)?;
        }
        Ok(source)
    }

    /// Standard input, after the bytes of it that were looked at already.
    pub fn stdin(head: Vec<u8>, compression: Compression, count: &Arc<AtomicU64>) -> io::Result<Self> {
        let raw = Raw::Stdin(io::Cursor::new(head).chain(io::stdin()));
        Self::decode(Counted { raw, count: Arc::clone(count) }, compression)
    }

    fn decode(raw: Counted, compression: Compression) -> io::Result<Self> {
        let buffered = |raw| BufReader::with_capacity(DECODE_BYTES, raw);
        let reader: Box<dyn Read + Send> = match compression {
            Compression::None => Box::new(raw),
            Compression::Gzip => {
                Box::new(FixedReads::new(flate2::bufread::MultiGzDecoder::new(buffered(raw))))
            }
            Compression::Zstd => Box::new(FixedReads::new(zstd_decoder(buffered(raw))?)),
        };
        Ok(Self { reader })
    }

    fn skip(&mut self, bytes: u64) -> io::Result<()> {
        let skipped = io::copy(&mut (&mut self.reader).take(bytes), &mut io::sink())?;
        if skipped == bytes { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }
}

impl Read for Source {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.reader.read(buf) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }
}

/// The longest window that a frame may have, as `zstd --long=31` makes it: 2 GiB, of which memory is taken
/// as it fills.
const WINDOW_LOG: u32 = if cfg!(target_pointer_width = "64") { 31 } else { 30 };

/// A decoder of Zstandard frames, those of long windows too.
pub fn zstd_decoder<'d, R: BufRead>(reader: R) -> io::Result<zstd::stream::read::Decoder<'d, R>> {
    let mut decoder = zstd::stream::read::Decoder::with_buffer(reader)?;
    decoder.window_log_max(WINDOW_LOG)?;
    Ok(decoder)
}

/// Reads until `buf` is full or the stream ends.
pub fn read_full(reader: &mut impl Read, buf: &mut [u8]) -> io::Result<usize> {
    let mut n = 0;
    while n < buf.len() {
        match reader.read(&mut buf[n..]) {
            Ok(0) => break,
            Ok(k) => n += k,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(n)
}
