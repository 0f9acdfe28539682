//! Arrow IPC files and streams, read so that no length they claim is believed beyond the bytes that are there.

use super::open::Handle;
use crate::error::one_line;
use arrow_array::{ArrayRef, RecordBatch};
use arrow_buffer::{Buffer, MutableBuffer};
use arrow_ipc::convert::fb_to_schema;
use arrow_ipc::reader::{read_dictionary, read_footer_length, read_record_batch};
use arrow_ipc::{self as ipc, Block, CompressionType, Message, root_as_footer, root_as_message};
use arrow_schema::{Schema, SchemaRef};
use std::collections::HashMap;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::sync::Arc;

/// What a message may unpack to whatever its size, and how many times its size beyond that.
const UNPACKED_BYTES: u64 = 1 << 30;
const UNPACKED_RATIO: u64 = 100;

/// Rows that a message may have whatever its size: columns of nulls take no bytes.
const FREE_ROWS: u64 = 1 << 20;

/// What a frame of LZ4 makes of a byte at most; of Zstandard, a block of 128 KiB takes 4 bytes.
const LZ4_RATIO: u64 = 255;
const ZSTD_RATIO: u64 = 1 << 15;

/// A reader's result; the error is one line without the file's name.
type Result<T, E = String> = std::result::Result<T, E>;

/// The batches of an IPC file or stream.
pub struct Ipc {
    file: BufReader<Handle>,
    /// Bytes of the file.
    size: u64,
    schema: SchemaRef,
    dictionaries: HashMap<i64, ArrayRef>,
    layout: Layout,
}

enum Layout {
    /// Where the messages are, those of dictionaries first; and how many were read.
    File(Vec<Block>, usize),
    /// Where the next message is.
    Stream(u64),
}

/// A message: its metadata, and the bytes they point into.
struct Framed {
    metadata: Vec<u8>,
    body: Buffer,
}

impl Ipc {
    /// Opens a file, which ends in a footer that says where its batches are.
    pub fn file(handle: Handle) -> Result<Self> {
        let mut reader = Self::new(handle)?;
        let tail = reader.size.checked_sub(10).ok_or("it is too short for an Arrow file")?;
        let end = reader.bytes_at(tail, 10)?;
        let length = read_footer_length(end.as_slice().try_into().map_err(text)?).map_err(text)?;
        let start =
            tail.checked_sub(length as u64).ok_or_else(|| reader.too_long("footer", length as u64))?;
        let footer = reader.bytes_at(start, length as u64)?;
        let footer = root_as_footer(&footer).map_err(|e| damaged("its footer", &e))?;
        reader.schema = schema(footer.schema().ok_or("its footer has no schema")?)?;
        let dictionaries = footer.dictionaries().into_iter().flatten();
        let blocks: Vec<Block> =
            dictionaries.chain(footer.recordBatches().into_iter().flatten()).copied().collect();
        reader.layout = Layout::File(blocks, 0);
        Ok(reader)
    }

    /// Opens a stream, whose messages follow one another.
    pub fn stream(handle: Handle) -> Result<Self> {
        let mut reader = Self::new(handle)?;
        let first = reader.next_message()?.ok_or("it is empty")?;
        let message = parse(&first.metadata)?;
        reader.schema = schema(message.header_as_schema().ok_or("it does not begin with a schema")?)?;
        Ok(reader)
    }

    fn new(handle: Handle) -> Result<Self> {
        let size = handle.size().map_err(text)?;
        let file = BufReader::with_capacity(1 << 20, handle);
        let (schema, layout) = (Arc::new(Schema::empty()), Layout::Stream(0));
        Ok(Self { file, size, schema, dictionaries: HashMap::new(), layout })
    }

    /// The columns.
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// The next batch, validated; `None` at the end.
    pub fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        while let Some(Framed { metadata, body }) = self.next_message()? {
            let message = parse(&metadata)?;
            let version = message.version();
            if let Some(batch) = message.header_as_record_batch() {
                check_batch(&batch, &body)?;
                let schema = Arc::clone(&self.schema);
                let batch = read_record_batch(&body, batch, schema, &self.dictionaries, None, &version);
                return batch.map(Some).map_err(text);
            }
            let Some(dictionary) = message.header_as_dictionary_batch() else {
                return Err(format!(
                    "a message of the kind {:?} stands among its batches",
                    message.header_type()
                ));
            };
            check_batch(&dictionary.data().ok_or("a dictionary has no values")?, &body)?;
            read_dictionary(&body, dictionary, &self.schema, &mut self.dictionaries, &version)
                .map_err(text)?;
        }
        Ok(None)
    }

    fn next_message(&mut self) -> Result<Option<Framed>> {
        match &mut self.layout {
            Layout::File(blocks, next) => {
                let Some(block) = blocks.get(*next).copied() else { return Ok(None) };
                *next += 1;
                self.block(block).map(Some)
            }
            Layout::Stream(at) => {
                let at = *at;
                self.framed(at)
            }
        }
    }

    /// The message that a file's footer points to.
    fn block(&mut self, block: Block) -> Result<Framed> {
        let claim = |what: &str, bytes: i64| u64::try_from(bytes).map_err(|_| format!("a {what} is {bytes}"));
        let at = claim("block's offset", block.offset())?;
        let metadata_bytes = claim("block's length", block.metaDataLength().into())?;
        let body_bytes = claim("block's length", block.bodyLength())?;
        let metadata = self.bytes_at(at, metadata_bytes)?;
        let start = if metadata.starts_with(&CONTINUATION) { 8 } else { 4 };
        let metadata = metadata.get(start..).ok_or("a block is too short")?.to_vec();
        let body = self.body(at.saturating_add(metadata_bytes), body_bytes)?;
        Ok(Framed { metadata, body })
    }

    /// The message of a stream that begins here.
    fn framed(&mut self, at: u64) -> Result<Option<Framed>> {
        if at == self.size {
            return Ok(None);
        }
        let mut start = at + 4;
        let mut length = self.bytes_at(at, 4)?;
        if length == CONTINUATION {
            length = self.bytes_at(start, 4)?;
            start += 4;
        }
        let length = i32::from_le_bytes(length.as_slice().try_into().map_err(text)?);
        if length == 0 {
            self.layout = Layout::Stream(self.size);
            return Ok(None);
        }
        let length = u64::try_from(length).map_err(|_| format!("a message's length is {length}"))?;
        let metadata = self.bytes_at(start, length)?;
        let body_bytes = parse(&metadata)?.bodyLength();
        let body_bytes = u64::try_from(body_bytes).map_err(|_| format!("a body's length is {body_bytes}"))?;
        let body = self.body(start + length, body_bytes)?;
        self.layout = Layout::Stream(start + length + body_bytes);
        Ok(Some(Framed { metadata, body }))
    }

    fn bytes_at(&mut self, at: u64, length: u64) -> Result<Vec<u8>> {
        let mut bytes = vec![0; self.go_to(at, length)?];
        self.file.read_exact(&mut bytes).map_err(text)?;
        Ok(bytes)
    }

    fn body(&mut self, at: u64, length: u64) -> Result<Buffer> {
        let mut bytes = MutableBuffer::from_len_zeroed(self.go_to(at, length)?);
        self.file.read_exact(&mut bytes).map_err(text)?;
        Ok(bytes.into())
    }

    /// Goes to a place that so many bytes must follow.
    fn go_to(&mut self, at: u64, length: u64) -> Result<usize> {
        if at.checked_add(length).is_none_or(|end| end > self.size) {
            return Err(self.too_long(&format!("part at byte {at}"), length));
        }
        let here = self.file.stream_position().map_err(text)?;
        match i64::try_from(i128::from(at) - i128::from(here)) {
            // What was read ahead is kept.
            Ok(by) => self.file.seek_relative(by).map_err(text)?,
            Err(_) => drop(self.file.seek(SeekFrom::Start(at)).map_err(text)?),
        }
        usize::try_from(length).map_err(text)
    }

    fn too_long(&self, what: &str, claimed: u64) -> String {
        format!(
            "its {what} claims {claimed} bytes, but the file has {} bytes: it is damaged or cut off",
            self.size
        )
    }
}

/// The mark before a message's length.
const CONTINUATION: [u8; 4] = [0xff; 4];

fn parse(metadata: &[u8]) -> Result<Message<'_>> {
    root_as_message(metadata).map_err(|e| damaged("a message", &e))
}

/// What is wrong with a table of flatbuffers; the lines after the first say where in it.
fn damaged(what: &str, error: &dyn std::fmt::Display) -> String {
    format!("{what} is damaged: {}", error.to_string().lines().next().unwrap_or_default())
}

fn schema(schema: ipc::Schema<'_>) -> Result<SchemaRef> {
    match schema.endianness().equals_to_target_endianness() {
        true => Ok(Arc::new(fb_to_schema(schema))),
        false => Err("its numbers are stored in another byte order".into()),
    }
}

/// Refuses a batch whose lengths its body can't hold, before anything of that length is made.
fn check_batch(batch: &ipc::RecordBatch<'_>, body: &Buffer) -> Result<()> {
    let limit = UNPACKED_BYTES.max(UNPACKED_RATIO.saturating_mul(body.len() as u64));
    let codec = batch.compression().map(|compression| compression.codec());
    let mut unpacked = 0u64;
    for buffer in batch.buffers().into_iter().flatten() {
        let slice = usize::try_from(buffer.offset()).ok().zip(usize::try_from(buffer.length()).ok());
        let slice = slice.and_then(|(at, length)| body.get(at..at.checked_add(length)?));
        let Some(slice) = slice else {
            let (at, length) = (buffer.offset(), buffer.length());
            return Err(format!(
                "a buffer of {length} bytes at byte {at} is not within its body of {} bytes",
                body.len()
            ));
        };
        unpacked = unpacked.saturating_add(match codec {
            Some(codec) => unpacked_bytes(slice, codec)?,
            None => slice.len() as u64,
        });
        if unpacked > limit {
            return Err(format!(
                "a batch of {} bytes unpacks to more than {limit}: it is damaged, or has to be written in smaller batches",
                body.len()
            ));
        }
    }
    let most = FREE_ROWS.saturating_add(unpacked.saturating_mul(8));
    let lengths = batch.nodes().into_iter().flatten().map(|node| node.length());
    match lengths
        .chain([batch.length()])
        .find(|&rows| u64::try_from(rows).is_ok_and(|rows| rows > most) || rows < 0)
    {
        None => Ok(()),
        Some(rows) => {
            Err(format!("a batch claims {rows} rows, which its body of {} bytes can't hold", body.len()))
        }
    }
}

/// The bytes that a packed buffer says it has, if it can.
fn unpacked_bytes(buffer: &[u8], codec: CompressionType) -> Result<u64> {
    let Some((claimed, packed)) = buffer.split_first_chunk::<8>() else {
        return if buffer.is_empty() { Ok(0) } else { Err("a packed buffer is cut off".into()) };
    };
    let claimed = i64::from_le_bytes(*claimed);
    if claimed == -1 {
        return Ok(packed.len() as u64);
    }
    let ratio = if codec == CompressionType::LZ4_FRAME { LZ4_RATIO } else { ZSTD_RATIO };
    match u64::try_from(claimed) {
        Ok(bytes) if bytes <= ratio.saturating_mul(packed.len() as u64) => Ok(bytes),
        _ => Err(format!("a packed buffer of {} bytes claims to hold {claimed}", packed.len())),
    }
}

fn text(e: impl std::fmt::Display) -> String {
    one_line(&e.to_string())
}
