//! Cuts Parquet and Arrow files into blocks of whole rows.

use super::block::{Bad, Block, Item, Limits, Position, Rows};
use super::input::{Format, Input, Inputs};
use crate::{Error, Result};
use arrow::array::{Array, RecordBatch, RecordBatchReader};
use arrow::datatypes::{Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::ipc::reader::{FileReader, StreamReader};
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use std::fs::File;
use std::io::BufReader;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Most rows read at once.
const MAX_ROWS: u64 = 8192;

/// Reads the tables of a job one after the other, as one stream of rows.
///
/// Bytes are those in memory: of a Parquet file the mean of its rows, of Arrow batches their own. So
/// where blocks end depends on the files alone, also when reading starts in the middle.
pub struct TableBlocks {
    inputs: Arc<Inputs>,
    schema: SchemaRef,
    limits: Limits,
    bytes_read: Arc<AtomicU64>,
    cancel: Arc<AtomicBool>,
    position: Position,
    open: Option<Pieces>,
    chunk_bytes: u64,
    rows_left: u64,
}

impl TableBlocks {
    /// Starts at a position that a block ended at, or at the default one. `schema` is that of
    /// [`table_schema`].
    pub fn new(
        inputs: Arc<Inputs>,
        schema: SchemaRef,
        limits: Limits,
        position: Position,
        bytes_read: Arc<AtomicU64>,
        cancel: Arc<AtomicBool>,
    ) -> Self {
        let passed: u64 = inputs.files[..position.file as usize].iter().map(|f| f.size).sum();
        bytes_read.fetch_add(passed, Ordering::Relaxed);
        let rows_left = limits.rows;
        Self { inputs, schema, limits, bytes_read, cancel, position, open: None, chunk_bytes: 0, rows_left }
    }

    /// The next block; `None` at the end.
    ///
    /// # Errors
    /// Only [`Error::Interrupted`]: what can't be read is part of the block.
    pub fn next_block(&mut self) -> Result<Option<Block>> {
        let target = self.limits.block_bytes.min(self.limits.chunk_bytes - self.chunk_bytes);
        let mut block = Block::default();
        while block.bytes < target && !self.is_finished() {
            if self.cancel.load(Ordering::Relaxed) {
                return Err(Error::Interrupted);
            }
            match self.next_piece() {
                Ok(Some((batch, bytes))) => self.push(&mut block, batch, bytes),
                Ok(None) => self.next_file(),
                Err(reason) => {
                    let reason = format!("the rest of the file can't be read: {reason}");
                    block.items.push(Item::Bad(Bad { at: self.position, kind: "file", reason }));
                    self.next_file();
                }
            }
        }
        self.chunk_bytes += block.bytes;
        block.ends_chunk = self.is_finished() || self.chunk_bytes >= self.limits.chunk_bytes;
        if block.ends_chunk {
            self.chunk_bytes = 0;
        }
        block.end = self.position;
        Ok(if block.is_empty() && self.is_finished() { None } else { Some(block) })
    }

    fn is_finished(&self) -> bool {
        self.rows_left == 0 || self.position.file as usize >= self.inputs.files.len()
    }

    fn next_piece(&mut self) -> Result<Option<(RecordBatch, u64)>, String> {
        let input = &self.inputs.files[self.position.file as usize];
        if input.size == 0 {
            return Ok(None);
        }
        if self.open.is_none() {
            self.open = Some(Pieces::open(input, &self.schema, self.position.row, self.limits.block_bytes)?);
        }
        self.open.as_mut().map_or(Ok(None), Pieces::next)
    }

    fn push(&mut self, block: &mut Block, batch: RecordBatch, bytes: u64) {
        let rows = self.rows_left.min(batch.num_rows() as u64);
        let batch = if rows < batch.num_rows() as u64 { batch.slice(0, rows as usize) } else { batch };
        let Position { file, row, .. } = self.position;
        block.items.push(Item::Table(Rows { file, row, batch }));
        block.add_bytes(file, bytes);
        self.position.row += rows;
        self.position.offset += rows;
        self.rows_left -= rows;
    }

    fn next_file(&mut self) {
        self.bytes_read.fetch_add(self.inputs.files[self.position.file as usize].size, Ordering::Relaxed);
        self.position = Position { file: self.position.file + 1, ..Position::default() };
        self.open = None;
    }
}

/// A table's batches, in pieces of about a block.
struct Pieces {
    reader: Reader,
    schema: SchemaRef,
    block_bytes: u64,
    /// Rows still to be passed over.
    skip: u64,
    /// The Arrow batch being cut, and from where on.
    batch: Option<(RecordBatch, usize)>,
}

enum Reader {
    Parquet(Groups),
    File(FileReader<BufReader<File>>),
    Stream(StreamReader<BufReader<File>>),
}

impl Pieces {
    fn open(input: &Input, schema: &SchemaRef, row: u64, block_bytes: u64) -> Result<Self, String> {
        let open = || -> Result<(Reader, u64), String> {
            match input.format {
                Format::Parquet => {
                    let (groups, skip) = Groups::open(input, row, block_bytes)?;
                    Ok((Reader::Parquet(groups), skip))
                }
                Format::ArrowFile => {
                    Ok((Reader::File(FileReader::try_new(buffered(input)?, None).map_err(text)?), row))
                }
                _ => Ok((Reader::Stream(StreamReader::try_new(buffered(input)?, None).map_err(text)?), row)),
            }
        };
        let (reader, skip) = guarded(open)?;
        Ok(Self { reader, schema: Arc::clone(schema), block_bytes, skip, batch: None })
    }

    /// The next rows and their bytes.
    fn next(&mut self) -> Result<Option<(RecordBatch, u64)>, String> {
        loop {
            if let Some((batch, start)) = self.batch.take() {
                return Ok(Some(self.cut(batch, start)));
            }
            let Some(batch) = guarded(|| self.read().transpose().map_err(text))? else {
                return Ok(None);
            };
            // Files may differ in what they say of nulls and in metadata.
            let batch =
                RecordBatch::try_new(Arc::clone(&self.schema), batch.columns().to_vec()).map_err(text)?;
            let rows = batch.num_rows() as u64;
            if rows == 0 {
                continue;
            }
            let skipped = self.skip.min(rows);
            self.skip -= skipped;
            if skipped == rows {
                continue;
            }
            if let Reader::Parquet(groups) = &self.reader {
                // Small enough already.
                let batch = batch.slice(skipped as usize, (rows - skipped) as usize);
                let bytes = (groups.row_bytes * batch.num_rows() as f64).ceil() as u64;
                return Ok(Some((batch, bytes)));
            }
            self.batch = Some((batch, skipped as usize));
        }
    }

    fn read(&mut self) -> Option<Result<RecordBatch, ArrowError>> {
        match &mut self.reader {
            Reader::Parquet(groups) => groups.next(),
            Reader::File(reader) => reader.next(),
            Reader::Stream(reader) => reader.next(),
        }
    }

    /// Cuts a piece off an Arrow batch; its size depends on the whole batch alone.
    fn cut(&mut self, batch: RecordBatch, start: usize) -> (RecordBatch, u64) {
        let rows = batch.num_rows();
        let bytes = batch_bytes(&batch).max(1);
        let piece =
            (rows as u128 * u128::from(self.block_bytes) / u128::from(bytes)).clamp(1, rows as u128) as usize;
        // Pieces begin at multiples of their size, also when reading starts in the middle.
        let len = (piece - start % piece).min(rows - start);
        let piece = batch.slice(start, len);
        if start + len < rows {
            self.batch = Some((batch, start + len));
        }
        (piece, (u128::from(bytes) * len as u128).div_ceil(rows as u128) as u64)
    }
}

/// A Parquet file's row groups, one after the other, so that batches begin at the same rows wherever
/// reading starts.
struct Groups {
    file: File,
    metadata: ArrowReaderMetadata,
    next: usize,
    reader: Option<ParquetRecordBatchReader>,
    batch_rows: usize,
    /// The mean bytes of a row.
    row_bytes: f64,
}

impl Groups {
    /// Opens the row group that holds `row`; the result's rows before it are to be passed over.
    fn open(input: &Input, row: u64, block_bytes: u64) -> Result<(Self, u64), String> {
        let file = File::open(&input.path).map_err(text)?;
        let metadata = ArrowReaderMetadata::load(&file, ArrowReaderOptions::default()).map_err(text)?;
        let groups = metadata.metadata().row_groups();
        let rows: i64 = groups.iter().map(|g| g.num_rows().max(0)).sum();
        let bytes: i64 = groups.iter().map(|g| g.total_byte_size().max(0)).sum();
        let row_bytes = (bytes as f64 / rows.max(1) as f64).max(1.0);
        let batch_rows = ((block_bytes as f64 / row_bytes) as u64).clamp(1, MAX_ROWS) as usize;
        let (mut next, mut skip) = (0, row);
        while next < groups.len() && skip >= groups[next].num_rows().max(0) as u64 {
            skip -= groups[next].num_rows().max(0) as u64;
            next += 1;
        }
        Ok((Self { file, metadata, next, reader: None, batch_rows, row_bytes }, skip))
    }

    fn next(&mut self) -> Option<Result<RecordBatch, ArrowError>> {
        loop {
            if let Some(reader) = &mut self.reader {
                match reader.next() {
                    Some(batch) => return Some(batch),
                    None => self.reader = None,
                }
            }
            if self.next == self.metadata.metadata().num_row_groups() {
                return None;
            }
            match self.open_group() {
                Ok(reader) => self.reader = Some(reader),
                Err(e) => return Some(Err(e)),
            }
        }
    }

    fn open_group(&mut self) -> Result<ParquetRecordBatchReader, ArrowError> {
        let builder =
            ParquetRecordBatchReaderBuilder::new_with_metadata(self.file.try_clone()?, self.metadata.clone());
        let reader = builder.with_row_groups(vec![self.next]).with_batch_size(self.batch_rows).build()?;
        self.next += 1;
        Ok(reader)
    }
}

fn buffered(input: &Input) -> Result<BufReader<File>, String> {
    Ok(BufReader::with_capacity(1 << 20, File::open(&input.path).map_err(text)?))
}

fn text(e: impl std::fmt::Display) -> String {
    e.to_string()
}

/// Runs a decoder of foreign bytes; one that panics on them has found them broken.
fn guarded<T>(decode: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(decode)).unwrap_or_else(|_| Err("the file is damaged".into()))
}

/// Bytes of a batch's values.
fn batch_bytes(batch: &RecordBatch) -> u64 {
    let bytes = |array: &dyn Array| array.to_data().get_slice_memory_size().unwrap_or(0) as u64;
    batch.columns().iter().map(|c| bytes(c)).sum()
}

/// The schema that all tables share; fields that may be null in one may be null.
///
/// Files that can't be read don't count: they are reported when they are read.
///
/// # Errors
/// Tables of different columns, and no table that can be read.
pub fn table_schema(inputs: &Inputs) -> Result<SchemaRef> {
    let mut first: Option<(&Input, Schema)> = None;
    let mut problem = None;
    for input in inputs.files.iter().filter(|f| f.size > 0) {
        match (guarded(|| file_schema(input)), &mut first) {
            (Err(reason), _) => problem = problem.or(Some(format!("{}: {reason}", input.name))),
            (Ok(schema), None) => first = Some((input, relaxed(&schema))),
            (Ok(schema), Some((other, common))) => {
                check_same(other, common, input, &relaxed(&schema))?;
            }
        }
    }
    match first {
        Some((_, schema)) => Ok(Arc::new(schema)),
        None => Err(Error::Input(problem.unwrap_or_else(|| "all input files are empty".into()))),
    }
}

fn file_schema(input: &Input) -> Result<SchemaRef, String> {
    match input.format {
        Format::Parquet => {
            let file = File::open(&input.path).map_err(text)?;
            Ok(ParquetRecordBatchReaderBuilder::try_new(file).map_err(text)?.schema().clone())
        }
        Format::ArrowFile => Ok(FileReader::try_new(buffered(input)?, None).map_err(text)?.schema()),
        _ => Ok(RecordBatchReader::schema(&StreamReader::try_new(buffered(input)?, None).map_err(text)?)),
    }
}

/// All fields nullable, no metadata of the whole.
fn relaxed(schema: &Schema) -> Schema {
    let fields: Vec<Field> = schema.fields().iter().map(|f| f.as_ref().clone().with_nullable(true)).collect();
    Schema::new(fields)
}

fn check_same(a: &Input, first: &Schema, b: &Input, second: &Schema) -> Result<()> {
    let describe = |schema: &Schema, i: usize| {
        schema.fields().get(i).map_or("no column".into(), |f| format!("{} ({})", f.name(), f.data_type()))
    };
    let fields = first.fields().len().max(second.fields().len());
    let differs = |i: &usize| match (first.fields().get(*i), second.fields().get(*i)) {
        (Some(x), Some(y)) => x.name() != y.name() || !x.data_type().equals_datatype(y.data_type()),
        _ => true,
    };
    match (0..fields).find(differs) {
        None => Ok(()),
        Some(i) => Err(Error::Input(format!(
            "{} and {} have different columns: column {} is {} in one, {} in the other; bucket them in separate runs",
            a.name,
            b.name,
            i + 1,
            describe(first, i),
            describe(second, i)
        ))),
    }
}
