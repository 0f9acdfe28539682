//! Cuts JSON files into blocks of whole records.

use super::block::{Bad, InputBlock, Item, Limits, Position, ROW_BYTES, Segment, Span, size_reason};
use super::input::{Format, Input, Inputs};
use super::open::Source;
use crate::records::record::RejectKind;
use crate::{Error, Result};
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Bytes read at once: scanned while they are still in the second-level cache.
const READ_BYTES: usize = 256 << 10;

/// Deeper nesting than this makes an array's rest unreadable (records over 128 are rejected anyway).
const MAX_DEPTH: usize = 1 << 16;

/// Reads the files of a job one after the other, as one stream of records.
///
/// A record is a line that is not blank, or an element of an array. Blocks and chunks end with the
/// first record end at or beyond their size, so they are a function of the stream alone.
pub struct TextBlocks {
    inputs: Arc<Inputs>,
    limits: Limits,
    bytes_read: Arc<AtomicU64>,
    cancel: Arc<AtomicBool>,
    /// Where to go on; `open` is the file there, if it was opened already.
    position: Position,
    open: Option<OpenFile>,
    /// Bytes read beyond the last block's end.
    carry: Vec<u8>,
    chunk_bytes: u64,
    rows_left: u64,
}

struct OpenFile {
    source: Source,
    scanner: Scanner,
    eof: bool,
    /// Whether the start may still be a byte order mark.
    at_start: bool,
}

impl TextBlocks {
    /// Starts at a position that a block ended at, or at the default one.
    pub fn new(
        inputs: Arc<Inputs>,
        limits: Limits,
        position: Position,
        bytes_read: Arc<AtomicU64>,
        cancel: Arc<AtomicBool>,
    ) -> Self {
        let passed: u64 = inputs.files[..position.file as usize].iter().map(Input::size).sum();
        bytes_read.fetch_add(passed, Ordering::Relaxed);
        let rows_left = limits.rows;
        Self {
            inputs,
            limits,
            bytes_read,
            cancel,
            position,
            open: None,
            carry: Vec::new(),
            chunk_bytes: 0,
            rows_left,
        }
    }

    /// The next block, in the given buffer; `None` at the end.
    ///
    /// # Errors
    /// [`Error::Interrupted`], and a file that was changed since it was found. What can't be read is part of the
    /// block.
    pub fn next_block(&mut self, data: Vec<u8>) -> Result<Option<InputBlock>> {
        let target = self.limits.block_bytes.min(self.limits.chunk_bytes - self.chunk_bytes);
        let mut fill = Fill::new(data, target, &self.limits, self.rows_left);
        let files = self.inputs.files.len();
        while !fill.is_full() && (self.position.file as usize) < files {
            self.fill_from_file(&mut fill)?;
        }
        fill.block.rows = self.rows_left - fill.rows_left;
        self.rows_left = fill.rows_left;
        if let Some(OpenFile { source, .. }) = &self.open {
            check(self.input(), source)?;
        }
        let finished = self.rows_left == 0 || self.position.file as usize >= files;
        let mut block = fill.block;
        self.chunk_bytes += block.bytes;
        block.ends_chunk = finished || self.chunk_bytes >= self.limits.chunk_bytes;
        if block.ends_chunk {
            self.chunk_bytes = 0;
        }
        block.end = self.position;
        Ok(if block.is_empty() && finished { None } else { Some(block) })
    }

    /// Fills the block from the current file until the block is full or the file ends.
    fn fill_from_file(&mut self, fill: &mut Fill) -> Result<()> {
        let mut file = match self.open.take() {
            Some(file) => file,
            None => match self.open_file() {
                Ok(file) => file,
                Err(e) => {
                    fill.bad(self.position, RejectKind::File, format!("the file can't be opened: {e}"));
                    self.next_file();
                    return Ok(());
                }
            },
        };
        fill.begin(self.position, &std::mem::take(&mut self.carry));
        let end = loop {
            if self.cancel.load(Ordering::Relaxed) {
                return Err(Error::Interrupted);
            }
            match file.scanner.scan(fill) {
                Scan::More => {}
                Scan::Full => break FileEnd::Not,
                Scan::Broken(reason) => break FileEnd::Broken(reason),
            }
            if file.eof {
                break file.scanner.finish(fill);
            }
            file.scanner.drop_what_is_too_long(fill);
            if let Err(e) = fill.read(&mut file) {
                break FileEnd::Broken(read_reason(&e));
            }
        };
        fill.end_segment();
        if !matches!(end, FileEnd::Not) {
            check(self.input(), &file.source)?;
        }
        match end {
            FileEnd::Not => {
                self.carry = fill.block.data[fill.record..fill.filled].to_vec();
                self.position = fill.at;
                self.open = Some(file);
            }
            FileEnd::Clean => self.next_file(),
            FileEnd::Broken(reason) => {
                fill.bad(fill.at, RejectKind::File, reason);
                self.next_file();
            }
        }
        fill.filled = fill.record;
        Ok(())
    }

    fn open_file(&self) -> io::Result<OpenFile> {
        let input = self.input();
        let offset = self.position.offset;
        let source = input.open(offset, &self.bytes_read)?;
        let scanner = match input.format {
            Format::JsonArray => Scanner::Array(ArrayScanner::new(offset > 0)),
            _ => Scanner::Lines,
        };
        Ok(OpenFile { source, scanner, eof: false, at_start: offset == 0 })
    }

    fn input(&self) -> &Input {
        &self.inputs.files[self.position.file as usize]
    }

    fn next_file(&mut self) {
        self.position = Position { file: self.position.file + 1, ..Position::default() };
        self.open = None;
        self.carry.clear();
    }
}

/// Refuses a file that was changed since it was found.
fn check(input: &Input, source: &Source) -> Result<()> {
    source.file().map_or(Ok(()), |file| input.check(file))
}

/// What a reading error means for the file.
fn read_reason(e: &io::Error) -> String {
    let what = match e.kind() {
        io::ErrorKind::UnexpectedEof => "the compressed stream is cut off".to_owned(),
        _ => e.to_string(),
    };
    format!("the rest of the file can't be read: {what}")
}

enum FileEnd {
    /// The block is full first.
    Not,
    Clean,
    Broken(String),
}

enum Scan {
    /// More bytes are needed.
    More,
    /// The block, or the job's row limit, is reached.
    Full,
    /// The rest of the file makes no sense.
    Broken(String),
}

/// A block being filled.
struct Fill {
    block: InputBlock,
    /// The block is full when it stands for this many bytes,
    target: u64,
    /// when it holds so many rows,
    rows: u64,
    most_rows: u64,
    /// or when no more rows are wanted.
    rows_left: u64,
    max_record_bytes: u64,
    /// The open segment: where it begins in the file and in `data`, and its records.
    segment: Position,
    start: usize,
    records: Vec<Span>,
    /// The end of the last complete record, in the file and in `data`.
    at: Position,
    record: usize,
    /// Bytes that were dropped right after `record`, of a record too long to hold.
    dropped: u64,
    /// Next byte to look at.
    scanned: usize,
    /// End of what was read.
    filled: usize,
}

impl Fill {
    fn new(data: Vec<u8>, target: u64, limits: &Limits, rows_left: u64) -> Self {
        Self {
            block: InputBlock { data, ..InputBlock::default() },
            target,
            rows: 0,
            most_rows: (limits.block_bytes / ROW_BYTES).max(1),
            rows_left,
            max_record_bytes: limits.max_record_bytes,
            segment: Position::default(),
            start: 0,
            records: Vec::new(),
            at: Position::default(),
            record: 0,
            dropped: 0,
            scanned: 0,
            filled: 0,
        }
    }

    fn is_full(&self) -> bool {
        self.rows_left == 0 || self.rows >= self.most_rows || self.block.bytes >= self.target
    }

    /// Goes on with a file at a position; `carry` are its next bytes, read already.
    fn begin(&mut self, at: Position, carry: &[u8]) {
        self.at = at;
        self.record = self.filled;
        self.scanned = self.filled;
        self.dropped = 0;
        self.reserve(carry.len());
        self.block.data[self.filled..self.filled + carry.len()].copy_from_slice(carry);
        self.filled += carry.len();
        self.begin_segment();
    }

    fn begin_segment(&mut self) {
        (self.segment, self.start) = (self.at, self.record);
    }

    fn end_segment(&mut self) {
        if !self.records.is_empty() {
            let Position { file, offset, row, .. } = self.segment;
            let records = std::mem::take(&mut self.records);
            self.block.items.push(Item::Json(Segment { file, start: self.start, offset, row, records }));
        }
    }

    fn bad(&mut self, at: Position, kind: RejectKind, reason: String) {
        self.block.items.push(Item::Bad(Bad { at, kind, reason }));
    }

    fn reserve(&mut self, bytes: usize) {
        let (needed, held) = (self.filled + bytes, self.block.data.len());
        if held < needed {
            // A first buffer holds a usual block; doubling keeps the copies of a long record linear.
            let usual = self.target.min(64 << 20) as usize + 2 * READ_BYTES;
            self.block.data.resize(needed.max(2 * held).max(usual), 0);
        }
    }

    /// Reads on; passes over a byte order mark at the start of a file.
    fn read(&mut self, file: &mut OpenFile) -> io::Result<()> {
        loop {
            self.reserve(READ_BYTES);
            let n = file.source.read(&mut self.block.data[self.filled..self.filled + READ_BYTES])?;
            self.filled += n;
            file.eof = n == 0;
            if !file.at_start {
                return Ok(());
            }
            if self.filled - self.record >= 3 || file.eof {
                file.at_start = false;
                if self.block.data[self.record..self.filled].starts_with(b"\xef\xbb\xbf") {
                    self.pass(self.record + 3);
                }
                return Ok(());
            }
        }
    }

    /// Passes over bytes up to `next` that are no record.
    fn pass(&mut self, next: usize) {
        let bytes = (next - self.record) as u64 + self.dropped;
        self.block.add_bytes(self.at.file, bytes);
        self.at.offset += bytes;
        self.dropped = 0;
        self.record = next;
        self.scanned = next;
    }

    /// Takes the record that ends at `to`. It began `lead` bytes after the end of the one before it,
    /// on `line`; the stream goes on at `next`.
    fn take(&mut self, lead: usize, to: usize, next: usize, line: u64) {
        let bytes = (to - self.record) as u64 + self.dropped - lead as u64;
        if bytes > self.max_record_bytes {
            self.end_segment();
            let at = Position { offset: self.at.offset + lead as u64, line, ..self.at };
            self.bad(at, RejectKind::Size, size_reason(bytes, self.max_record_bytes));
            self.pass(next);
            self.at.row += 1;
            self.begin_segment();
        } else {
            self.records.push(Span { range: self.record + lead..to, line });
            self.pass(next);
            self.at.row += 1;
        }
        self.rows_left -= 1;
        self.rows += 1;
    }

    /// Drops what was read of a record too long to hold, all but its last byte: that may belong to the
    /// line end.
    fn drop_record(&mut self) {
        self.block.data[self.record] = self.block.data[self.filled - 1];
        self.dropped += (self.filled - self.record) as u64 - 1;
        self.filled = self.record + 1;
        self.scanned = self.filled;
    }

    /// Drops what was read since the last complete record, which is no record.
    fn drop_space(&mut self) {
        let start = self.record;
        self.end_segment();
        self.pass(self.filled);
        (self.record, self.scanned, self.filled) = (start, start, start);
        self.begin_segment();
    }
}

/// Finds where records end.
enum Scanner {
    Lines,
    Array(ArrayScanner),
}

impl Scanner {
    fn scan(&mut self, fill: &mut Fill) -> Scan {
        match self {
            Self::Lines => scan_lines(fill),
            Self::Array(array) => array.scan(fill),
        }
    }

    /// What the end of the file means.
    fn finish(&mut self, fill: &mut Fill) -> FileEnd {
        match self {
            Self::Lines => {
                if fill.filled > fill.record || fill.dropped > 0 {
                    take_line(fill, fill.filled, fill.filled);
                }
                FileEnd::Clean
            }
            Self::Array(array) => array.finish(),
        }
    }

    /// Keeps a record above the limit, or endless space between records, from filling the memory.
    #[expect(
        clippy::collapsible_match,
        reason = "an element within the limit must not reach the arm for space"
    )]
    fn drop_what_is_too_long(&self, fill: &mut Fill) {
        let held = (fill.filled - fill.record) as u64 + fill.dropped;
        match self {
            // Two bytes more for a line end.
            Self::Lines if held > fill.max_record_bytes.saturating_add(2) => fill.drop_record(),
            Self::Array(array) if array.state == ArrayState::Element => {
                if held - array.lead as u64 > fill.max_record_bytes {
                    fill.drop_record();
                }
            }
            Self::Array(_) if held > READ_BYTES as u64 => fill.drop_space(),
            _ => {}
        }
    }
}

fn scan_lines(fill: &mut Fill) -> Scan {
    while !fill.is_full() {
        match memchr::memchr(b'\n', &fill.block.data[fill.scanned..fill.filled]) {
            Some(i) => take_line(fill, fill.scanned + i, fill.scanned + i + 1),
            None => {
                fill.scanned = fill.filled;
                return Scan::More;
            }
        }
    }
    Scan::Full
}

/// Takes the line that ends at `to`, unless it is blank.
fn take_line(fill: &mut Fill, to: usize, next: usize) {
    let line = fill.at.line;
    let held = &fill.block.data[fill.record..to];
    let to = if held.last() == Some(&b'\r') { to - 1 } else { to };
    let blank = fill.dropped == 0
        && held.len() as u64 <= fill.max_record_bytes
        && held.iter().all(|b| matches!(b, b' ' | b'\t' | b'\r'));
    if blank {
        fill.pass(next);
    } else {
        fill.take(0, to, next, line);
    }
    fill.at.line = line + 1;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ArrayState {
    /// Nothing of the array was seen.
    Before,
    /// After `[`.
    First,
    /// After a comma.
    Next,
    /// Within an element.
    Element,
    /// After an element.
    After,
    /// After `]`.
    Done,
}

/// Finds the elements of a JSON array. It knows strings and brackets; whether an element is JSON is for
/// the parser to say.
struct ArrayScanner {
    state: ArrayState,
    /// Open brackets of the element.
    open: Vec<u8>,
    in_string: bool,
    escaped: bool,
    /// Bytes between the end of the element before and the start of this one.
    lead: usize,
    /// The line this element begins on.
    element_line: u64,
}

impl ArrayScanner {
    /// `within`: the stream goes on after an element.
    fn new(within: bool) -> Self {
        let state = if within { ArrayState::After } else { ArrayState::Before };
        Self { state, open: Vec::new(), in_string: false, escaped: false, lead: 0, element_line: 0 }
    }

    fn finish(&self) -> FileEnd {
        match self.state {
            ArrayState::Before | ArrayState::Done => FileEnd::Clean,
            _ => FileEnd::Broken("the JSON array is cut off: no closing ]".into()),
        }
    }

    fn scan(&mut self, fill: &mut Fill) -> Scan {
        loop {
            if fill.is_full() {
                return Scan::Full;
            }
            let result =
                if self.state == ArrayState::Element { self.element(fill) } else { self.between(fill) };
            match result {
                Ok(true) => {}
                Ok(false) => return Scan::More,
                Err(reason) => return Scan::Broken(reason),
            }
        }
    }

    /// Passes over what stands between elements; `false` if more bytes are needed.
    fn between(&mut self, fill: &mut Fill) -> Result<bool, String> {
        use ArrayState::{After, Before, Done, Element, First, Next};
        while fill.scanned < fill.filled {
            let byte = fill.block.data[fill.scanned];
            self.state = match (self.state, byte) {
                (state, b'\n') => {
                    fill.at.line += 1;
                    state
                }
                (state, b' ' | b'\t' | b'\r') => state,
                (Before, b'[') => First,
                (After, b',') => Next,
                (After | First, b']') => Done,
                (First | Next, b',' | b']') => return Err(broken("an element is missing", fill)),
                (First | Next, _) => {
                    self.lead = fill.scanned - fill.record;
                    self.element_line = fill.at.line;
                    self.open.clear();
                    (self.in_string, self.escaped) = (false, false);
                    self.state = Element;
                    return Ok(true);
                }
                (Before, _) => return Err(broken("no [ at its start", fill)),
                (After, _) => return Err(broken("no comma after an element", fill)),
                (Done, _) => return Err(broken("more after its closing ]", fill)),
                (Element, _) => Element,
            };
            fill.scanned += 1;
        }
        Ok(false)
    }

    /// Scans on in an element, up to its end; `false` if more bytes are needed.
    fn element(&mut self, fill: &mut Fill) -> Result<bool, String> {
        while fill.scanned < fill.filled {
            if self.in_string {
                self.string(fill);
                if !self.in_string && self.open.is_empty() {
                    self.end(fill, fill.scanned);
                    return Ok(true);
                }
                continue;
            }
            let byte = fill.block.data[fill.scanned];
            match byte {
                b'"' => self.in_string = true,
                b'{' | b'[' if self.open.len() == MAX_DEPTH => return Err(broken("nesting too deep", fill)),
                b'{' | b'[' => self.open.push(byte),
                b',' | b']' | b' ' | b'\t' | b'\r' | b'\n' if self.open.is_empty() => {
                    self.end(fill, fill.scanned);
                    return Ok(true);
                }
                b'}' | b']' => {
                    // `{` and `}`, `[` and `]` are two apart.
                    if self.open.pop() != Some(byte - 2) {
                        return Err(broken(&format!("a {} closes nothing", byte as char), fill));
                    }
                    if self.open.is_empty() {
                        fill.scanned += 1;
                        self.end(fill, fill.scanned);
                        return Ok(true);
                    }
                }
                b'\n' => fill.at.line += 1,
                _ => {}
            }
            fill.scanned += 1;
        }
        Ok(false)
    }

    /// Scans on in a string, up to and with its closing quote.
    fn string(&mut self, fill: &mut Fill) {
        if self.escaped {
            self.escaped = false;
            fill.scanned += 1;
            return;
        }
        match memchr::memchr3(b'"', b'\\', b'\n', &fill.block.data[fill.scanned..fill.filled]) {
            None => fill.scanned = fill.filled,
            Some(i) => {
                match fill.block.data[fill.scanned + i] {
                    b'"' => self.in_string = false,
                    b'\\' => self.escaped = true,
                    _ => fill.at.line += 1,
                }
                fill.scanned += i + 1;
            }
        }
    }

    fn end(&mut self, fill: &mut Fill, to: usize) {
        fill.take(self.lead, to, to, self.element_line);
        self.state = ArrayState::After;
    }
}

fn broken(what: &str, fill: &Fill) -> String {
    let offset = fill.at.offset + fill.dropped + (fill.scanned - fill.record) as u64;
    format!("the JSON array is broken at byte {offset}, line {}: {what}", fill.at.line + 1)
}
