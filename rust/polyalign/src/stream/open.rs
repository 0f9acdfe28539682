//! Opening files: raw, gzip or Zstandard, with the bytes read from disk counted.

use bytes::Bytes;
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::reader::{ChunkReader, Length};
use std::fs::{File, Metadata};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

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

/// What tells whether a file is still the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stamp {
    /// Bytes.
    pub size: u64,
    /// Time of last change, in nanoseconds since 1970.
    pub mtime: i128,
    /// Its device and number there, where the system has them.
    id: (u64, u64),
}

impl Stamp {
    /// Of a file with this metadata.
    pub fn of(meta: &Metadata) -> Self {
        #[cfg(unix)]
        let id = (std::os::unix::fs::MetadataExt::dev(meta), std::os::unix::fs::MetadataExt::ino(meta));
        #[cfg(not(unix))]
        let id = (0, 0);
        let mtime = meta.modified().ok().and_then(|t| t.duration_since(std::time::UNIX_EPOCH).ok());
        Self { size: meta.len(), mtime: mtime.map_or(0, |d| d.as_nanos() as i128), id }
    }
}

/// An open file with a place of its own in it, however many share the file.
#[derive(Clone, Debug)]
pub struct Handle {
    file: Arc<File>,
    at: u64,
}

impl Handle {
    /// Opens a file.
    ///
    /// # Errors
    /// That of the operating system.
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { file: Arc::new(File::open(path)?), at: 0 })
    }

    /// The bytes it has now.
    ///
    /// # Errors
    /// That of the operating system.
    pub fn size(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    /// What tells whether it is still the same.
    ///
    /// # Errors
    /// That of the operating system.
    pub fn stamp(&self) -> io::Result<Stamp> {
        Ok(Stamp::of(&self.file.metadata()?))
    }
}

impl Read for Handle {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        #[cfg(unix)]
        let n = std::os::unix::fs::FileExt::read_at(&*self.file, buf, self.at)?;
        #[cfg(windows)]
        let n = std::os::windows::fs::FileExt::seek_read(&*self.file, buf, self.at)?;
        self.at += n as u64;
        Ok(n)
    }
}

impl Seek for Handle {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
            SeekFrom::End(by) => self.size()?.checked_add_signed(by),
        };
        self.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

impl Length for Handle {
    fn len(&self) -> u64 {
        self.size().unwrap_or(0)
    }
}

impl ChunkReader for Handle {
    type T = BufReader<Self>;

    fn get_read(&self, start: u64) -> ParquetResult<Self::T> {
        Ok(BufReader::new(Self { file: Arc::clone(&self.file), at: start }))
    }

    fn get_bytes(&self, start: u64, length: usize) -> ParquetResult<Bytes> {
        let size = self.size()?;
        if start.checked_add(length as u64).is_none_or(|end| end > size) {
            return Err(ParquetError::EOF(format!(
                "it claims {length} bytes at byte {start}, but has {size} bytes"
            )));
        }
        let mut bytes = vec![0; length];
        Self { file: Arc::clone(&self.file), at: start }.read_exact(&mut bytes)?;
        Ok(bytes.into())
    }
}

/// Standard input, a pipe or a device: opened once, and read once unless it is [kept](Self::keep).
#[derive(Debug)]
pub struct Pipe(Mutex<Held>);

enum Held {
    /// What was looked at, and the rest.
    Unread(Vec<u8>, Box<dyn Read + Send>),
    /// All of it, in a file without a name.
    Kept(Handle),
    /// Somebody reads it, or has.
    Gone,
}

impl std::fmt::Debug for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Unread(..) => "Unread",
            Self::Kept(_) => "Kept",
            Self::Gone => "Gone",
        })
    }
}

impl Pipe {
    /// A stream after the bytes of it that were looked at already.
    pub fn new(head: Vec<u8>, rest: Box<dyn Read + Send>) -> Self {
        Self(Mutex::new(Held::Unread(head, rest)))
    }

    /// Reads all of it into a temporary file that has no name, so that it can be read again and from any place.
    ///
    /// # Errors
    /// That of the operating system, and [`io::ErrorKind::Interrupted`] soon after `cancel` is set.
    pub fn keep(&self, cancel: &AtomicBool) -> io::Result<()> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (head, mut rest) = match std::mem::replace(&mut *held, Held::Gone) {
            Held::Unread(head, rest) => (head, rest),
            Held::Kept(handle) => {
                *held = Held::Kept(handle);
                return Ok(());
            }
            Held::Gone => return Err(read_already()),
        };
        let mut file = tempfile::tempfile()?;
        io::Write::write_all(&mut file, &head)?;
        while io::copy(&mut (&mut rest).take(DECODE_BYTES as u64), &mut file)? > 0 {
            if cancel.load(Ordering::Relaxed) {
                return Err(io::ErrorKind::Interrupted.into());
            }
        }
        *held = Held::Kept(Handle { file: Arc::new(file), at: 0 });
        Ok(())
    }

    /// It from its start.
    fn reader(&self) -> io::Result<Raw> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match std::mem::replace(&mut *held, Held::Gone) {
            Held::Unread(head, rest) => Ok(Raw::Once(io::Cursor::new(head).chain(rest))),
            Held::Kept(handle) => {
                *held = Held::Kept(handle.clone());
                Ok(Raw::File(handle))
            }
            Held::Gone => Err(read_already()),
        }
    }

    /// It as a file, if it was kept.
    pub(super) fn handle(&self) -> io::Result<Handle> {
        match &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Held::Kept(handle) => Ok(handle.clone()),
            _ => Err(read_already()),
        }
    }
}

fn read_already() -> io::Error {
    io::Error::other("a pipe can be read once")
}

/// A file, or bytes already taken from a stream followed by the rest.
enum Raw {
    File(Handle),
    Once(io::Chain<io::Cursor<Vec<u8>>, Box<dyn Read + Send>>),
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
            Raw::Once(stream) => stream.read(buf)?,
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
    /// The file, to see whether it changed meanwhile.
    file: Option<Handle>,
}

impl Source {
    /// Opens a file at a decompressed offset; `count` is told of every byte read from disk.
    ///
    /// # Errors
    /// That of the operating system.
    pub fn open(
        path: &Path,
        compression: Compression,
        offset: u64,
        count: &Arc<AtomicU64>,
    ) -> io::Result<Self> {
        let file = Handle::open(path)?;
        Self::new(Raw::File(file.clone()), Some(file), compression, offset, count)
    }

    /// The same of a pipe.
    ///
    /// # Errors
    /// That of the operating system, and a pipe that was read already.
    pub fn of_pipe(
        pipe: &Pipe,
        compression: Compression,
        offset: u64,
        count: &Arc<AtomicU64>,
    ) -> io::Result<Self> {
        Self::new(pipe.reader()?, None, compression, offset, count)
    }

    /// What the start of a stream unpacks to: of `head`, then of `rest`.
    ///
    /// # Errors
    /// That of the decoder.
    pub fn peek(head: Vec<u8>, rest: Option<Handle>, compression: Compression) -> io::Result<Self> {
        let raw = match rest {
            Some(file) => Raw::File(Handle { at: 0, ..file }),
            None => Raw::Once(io::Cursor::new(head).chain(Box::new(io::empty()))),
        };
        Self::new(raw, None, compression, 0, &Arc::new(AtomicU64::new(0)))
    }

    fn new(
        mut raw: Raw,
        file: Option<Handle>,
        compression: Compression,
        offset: u64,
        count: &Arc<AtomicU64>,
    ) -> io::Result<Self> {
        let mut skip = offset;
        if let (Raw::File(file), Compression::None) = (&mut raw, compression) {
            file.seek(SeekFrom::Start(offset))?;
            count.fetch_add(offset, Ordering::Relaxed);
            skip = 0;
        }
        let raw = Counted { raw, count: Arc::clone(count) };
        let mut source = Self { reader: Self::decode(raw, compression)?, file };
        if skip > 0 {
            source.skip(skip)?;
        }
        Ok(source)
    }

    fn decode(raw: Counted, compression: Compression) -> io::Result<Box<dyn Read + Send>> {
        let buffered = |raw| BufReader::with_capacity(DECODE_BYTES, raw);
        Ok(match compression {
            Compression::None => Box::new(raw),
            Compression::Gzip => {
                Box::new(FixedReads::new(flate2::bufread::MultiGzDecoder::new(buffered(raw))))
            }
            Compression::Zstd => Box::new(FixedReads::new(zstd_decoder(buffered(raw))?)),
        })
    }

    /// The file that it reads; `None` of a pipe.
    pub fn file(&self) -> Option<&Handle> {
        self.file.as_ref()
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
