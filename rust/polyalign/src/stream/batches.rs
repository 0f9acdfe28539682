//! Cuts Parquet and Arrow files into blocks of whole rows.

use super::block::{Bad, InputBlock, Item, Limits, Position, ROW_BYTES, Rows};
use super::input::{Format, Input, Inputs};
use super::ipc::Ipc;
use super::open::Handle;
use super::zones;
use crate::error::one_line;
use crate::records::json_column::{is_json, marked};
use crate::records::partition::Key;
use crate::records::record::RejectKind;
use crate::records::unify::{conform, merged};
use crate::{Error, Result};
use arrow_array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, StringArray, new_null_array};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use parquet::basic::Type as PhysicalType;
use parquet::file::metadata::RowGroupMetaData;
use std::collections::{HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Most rows read at once.
const MAX_ROWS: u64 = 8192;

/// Bytes that rows read at once may come to where nothing says how long the values of a dictionary are.
const MOST_UNKNOWN: u64 = 128 << 20;

/// Reads the tables of a job one after the other, as one stream of rows.
///
/// Bytes are those in memory: of Parquet the mean of a row group's rows where its metadata tells how long they are once
/// decoded, else those of the rows read at once; of Arrow batches their own. So where blocks end depends on the files alone, also when reading starts in the middle.
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
        let passed: u64 = inputs.files[..position.file as usize].iter().map(Input::size).sum();
        bytes_read.fetch_add(passed, Ordering::Relaxed);
        let rows_left = limits.rows;
        Self { inputs, schema, limits, bytes_read, cancel, position, open: None, chunk_bytes: 0, rows_left }
    }

    /// The next block; `None` at the end.
    ///
    /// # Errors
    /// [`Error::Interrupted`], and a file that was changed since it was found. What can't be read is part of the
    /// block.
    pub fn next_block(&mut self) -> Result<Option<InputBlock>> {
        let target = self.limits.block_bytes.min(self.limits.chunk_bytes - self.chunk_bytes);
        let mut block = InputBlock::default();
        let mut rows_left = (self.limits.block_bytes / ROW_BYTES).max(1);
        while block.bytes < target && rows_left > 0 && !self.is_finished() {
            if self.cancel.load(Ordering::Relaxed) {
                return Err(Error::Interrupted);
            }
            let piece = self.next_piece();
            self.check_unchanged()?;
            match piece {
                Ok(Some((batch, bytes))) => {
                    rows_left = rows_left.saturating_sub(batch.num_rows() as u64);
                    self.push(&mut block, batch, bytes);
                }
                Ok(None) => self.next_file(),
                Err(reason) => {
                    let reason = format!("the rest of the file can't be read: {reason}");
                    block.items.push(Item::Bad(Bad { at: self.position, kind: RejectKind::File, reason }));
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
        if input.is_empty() {
            return Ok(None);
        }
        if self.open.is_none() {
            self.open = Some(Pieces::open(input, &self.schema, self.position.row, self.limits.block_bytes)?);
        }
        self.open.as_mut().map_or(Ok(None), Pieces::next)
    }

    fn push(&mut self, block: &mut InputBlock, batch: RecordBatch, bytes: u64) {
        let rows = self.rows_left.min(batch.num_rows() as u64);
        let batch = if rows < batch.num_rows() as u64 { batch.slice(0, rows as usize) } else { batch };
        let Position { file, row, .. } = self.position;
        block.items.push(Item::Table(Rows { file, row, batch }));
        block.add_bytes(file, bytes);
        self.position.row += rows;
        self.position.offset += rows;
        self.rows_left -= rows;
        block.rows += rows;
    }

    fn check_unchanged(&self) -> Result<()> {
        let input = &self.inputs.files[self.position.file as usize];
        self.open.as_ref().map_or(Ok(()), |pieces| input.check(&pieces.file))
    }

    fn next_file(&mut self) {
        self.bytes_read.fetch_add(self.inputs.files[self.position.file as usize].size(), Ordering::Relaxed);
        self.position = Position { file: self.position.file + 1, ..Position::default() };
        self.open = None;
    }
}

/// A table's batches, in pieces of about a block.
struct Pieces {
    file: Handle,
    reader: Reader,
    schema: SchemaRef,
    /// Where each column of the schema is from.
    columns: Vec<From>,
    block_bytes: u64,
    /// Rows still to be passed over.
    skip: u64,
    /// The Arrow batch being cut, and from where on.
    batch: Option<(RecordBatch, usize)>,
}

enum Reader {
    Parquet(Groups),
    Ipc(Box<Ipc>),
}

impl Reader {
    fn schema(&self) -> SchemaRef {
        match self {
            Self::Parquet(groups) => Arc::clone(groups.metadata.schema()),
            Self::Ipc(ipc) => ipc.schema(),
        }
    }
}

/// Where a column of the job is from in one of its files.
enum From {
    Column(usize),
    /// The name of a folder.
    Key(Option<String>),
    /// The file has no such column: null.
    Nowhere,
}

impl From {
    /// By name; of columns that have the same name, the first is the first.
    fn columns(schema: &Schema, own: &Schema, keys: &[Key]) -> Vec<Self> {
        let mut left: HashMap<&str, VecDeque<usize>> = HashMap::new();
        for (at, field) in own.fields().iter().enumerate() {
            left.entry(field.name()).or_default().push_back(at);
        }
        let mut find = |field: &Arc<Field>| {
            let column = left.get_mut(field.name().as_str()).and_then(VecDeque::pop_front).map(Self::Column);
            let key = keys.iter().find(|key| key.name == *field.name());
            column.or_else(|| key.map(|key| Self::Key(key.value.clone()))).unwrap_or(Self::Nowhere)
        };
        schema.fields().iter().map(&mut find).collect()
    }
}

impl Pieces {
    fn open(input: &Input, schema: &SchemaRef, row: u64, block_bytes: u64) -> Result<Self, String> {
        let file = input.open_file().map_err(text)?;
        let open = || -> Result<(Reader, u64), String> {
            Ok(match input.format {
                Format::Parquet => {
                    let (groups, skip) = Groups::open(file.clone(), row, block_bytes)?;
                    (Reader::Parquet(groups), skip)
                }
                Format::ArrowFile => (Reader::Ipc(Box::new(Ipc::file(file.clone())?)), row),
                _ => (Reader::Ipc(Box::new(Ipc::stream(file.clone())?)), row),
            })
        };
        let (reader, skip) = guarded(open)?;
        let columns = From::columns(schema, &reader.schema(), &input.keys);
        Ok(Self { file, reader, schema: Arc::clone(schema), columns, block_bytes, skip, batch: None })
    }

    /// The next rows and their bytes.
    fn next(&mut self) -> Result<Option<(RecordBatch, u64)>, String> {
        loop {
            if let Some((batch, start)) = self.batch.take() {
                return Ok(Some(self.cut(batch, start)));
            }
            let Some(batch) = guarded(|| self.read())? else {
                return Ok(None);
            };
            let batch = guarded(|| self.unified(&batch).map_err(text))?;
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
                let bytes = match groups.row_bytes {
                    Some(bytes) => (bytes * batch.num_rows() as f64).ceil() as u64,
                    None => batch_bytes(&batch).max(1),
                };
                return Ok(Some((batch, bytes)));
            }
            self.batch = Some((batch, skipped as usize));
        }
    }

    /// The rows with the columns that all files share.
    fn unified(&self, batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
        let rows = batch.num_rows();
        let fields = self.schema.fields().iter().zip(&self.columns);
        let columns = fields.map(|(field, from)| match from {
            From::Column(at) => conform(batch.column(*at), field.data_type()),
            From::Key(Some(value)) => {
                let values: ArrayRef = Arc::new(StringArray::from_iter_values((0..rows).map(|_| value)));
                conform(&values, field.data_type())
            }
            From::Key(None) | From::Nowhere => Ok(new_null_array(field.data_type(), rows)),
        });
        let columns = columns.collect::<Result<_, _>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)
    }

    fn read(&mut self) -> Result<Option<RecordBatch>, String> {
        match &mut self.reader {
            Reader::Parquet(groups) => groups.next().transpose().map_err(text),
            Reader::Ipc(ipc) => ipc.next_batch(),
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
    file: Handle,
    metadata: ArrowReaderMetadata,
    next: usize,
    reader: Option<ParquetRecordBatchReader>,
    block_bytes: u64,
    /// The mean bytes of a row of the row group, if its metadata tells.
    row_bytes: Option<f64>,
}

/// What a row group's metadata says of its values once decoded.
struct Decoded {
    /// Bytes of those that it says the bytes of.
    known: u64,
    /// The most bytes that a row may have of others: those of dictionaries, where only encoded bytes are told.
    longest: Option<u64>,
}

impl Decoded {
    fn of(group: &RowGroupMetaData) -> Self {
        let (mut known, mut longest) = (0, None);
        for column in group.columns() {
            let encoded = column.uncompressed_size().max(0) as u64;
            let of_bytes = column.column_type() == PhysicalType::BYTE_ARRAY;
            match column.unencoded_byte_array_data_bytes() {
                Some(bytes) if of_bytes => known += (bytes.max(0) + 4 * column.num_values().max(0)) as u64,
                None if of_bytes && column.dictionary_page_offset().is_some() => {
                    longest = Some(longest.unwrap_or(0) + encoded);
                }
                _ => known += encoded,
            }
        }
        Self { known, longest }
    }
}

impl Groups {
    /// Opens the row group that holds `row`; the result's rows before it are to be passed over.
    fn open(file: Handle, row: u64, block_bytes: u64) -> Result<(Self, u64), String> {
        let metadata = zones::metadata(&file).map_err(text)?;
        let groups = metadata.metadata().row_groups();
        let (mut next, mut skip) = (0, row);
        while next < groups.len() && skip >= groups[next].num_rows().max(0) as u64 {
            skip -= groups[next].num_rows().max(0) as u64;
            next += 1;
        }
        Ok((Self { file, metadata, next, reader: None, block_bytes, row_bytes: None }, skip))
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
            ParquetRecordBatchReaderBuilder::new_with_metadata(self.file.clone(), self.metadata.clone());
        let group = self.metadata.metadata().row_group(self.next);
        let Decoded { known, longest } = Decoded::of(group);
        let mean = (known as f64 / group.num_rows().max(1) as f64).max(1.0);
        self.row_bytes = longest.is_none().then_some(mean);
        let batch_rows = (self.block_bytes as f64 / mean) as u64;
        let batch_rows = longest.map_or(batch_rows, |longest| batch_rows.min(MOST_UNKNOWN / longest.max(1)));
        let batch_rows = batch_rows.clamp(1, MAX_ROWS) as usize;
        let reader = builder.with_row_groups(vec![self.next]).with_batch_size(batch_rows).build()?;
        self.next += 1;
        Ok(reader)
    }
}

fn text(e: impl std::fmt::Display) -> String {
    one_line(&e.to_string())
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

/// The columns of a job's tables.
#[derive(Clone, Debug)]
pub struct Tables {
    /// Of all of them.
    pub schema: SchemaRef,
    /// The different sets of columns that files have, each with the first file that has it.
    pub sets: Vec<(u32, Vec<String>)>,
}

/// The columns of all tables, by name: those of the first file, then what others have besides. A column that a
/// file lacks is null there; folders named `key=value` are columns of the files below them, unless these have
/// such a column. All may be null.
///
/// Files that can't be read don't count: they are reported when they are read.
///
/// # Errors
/// Columns of one name whose types have nothing in common, and no table that can be read.
pub fn table_schema(inputs: &Inputs) -> Result<Tables> {
    let mut union = Union::default();
    let mut problem = None;
    let mut sets: Vec<(u32, Vec<String>)> = Vec::new();
    for (number, input) in (0..).zip(&inputs.files).filter(|(_, input)| !input.is_empty()) {
        match guarded(|| file_fields(input)) {
            Err(reason) => problem = problem.or(Some(format!("{}: {reason}", input.name))),
            Ok(fields) => {
                let names: Vec<String> = fields.iter().map(|field| field.name().clone()).collect();
                if sets.iter().all(|(_, known)| *known != names) {
                    sets.push((number, names));
                }
                union.add(number, fields).map_err(|clash| clash.error(inputs))?;
            }
        }
    }
    match union.fields.is_empty() && sets.is_empty() {
        true => Err(Error::Input(problem.unwrap_or_else(|| "all input files are empty".into()))),
        false => Ok(Tables { schema: Arc::new(Schema::new(union.fields)), sets }),
    }
}

/// The columns of several files.
#[derive(Default)]
struct Union {
    fields: Vec<Field>,
    /// The file that each was first seen in.
    first: Vec<u32>,
    /// By name: where its columns are.
    places: HashMap<String, Vec<usize>>,
    /// The columns of the last file, of which many are alike.
    last: Vec<Field>,
}

/// A column that two files have with types that have nothing in common.
struct Clash {
    files: [u32; 2],
    fields: [Field; 2],
}

impl Union {
    fn add(&mut self, file: u32, fields: Vec<Field>) -> Result<(), Box<Clash>> {
        if fields == self.last {
            return Ok(());
        }
        let mut seen: HashMap<&str, usize> = HashMap::new();
        for field in &fields {
            let nth = seen.entry(field.name()).or_default();
            match self.places.get(field.name()).and_then(|places| places.get(*nth)) {
                Some(&at) => match merged(&self.fields[at], field) {
                    Some(common) => self.fields[at] = common,
                    None => {
                        let files = [self.first[at], file];
                        return Err(Box::new(Clash {
                            files,
                            fields: [self.fields[at].clone(), field.clone()],
                        }));
                    }
                },
                None => {
                    self.places.entry(field.name().clone()).or_default().push(self.fields.len());
                    self.fields.push(field.clone());
                    self.first.push(file);
                }
            }
            *nth += 1;
        }
        self.last = fields;
        Ok(())
    }
}

impl Clash {
    fn error(&self, inputs: &Inputs) -> Error {
        let [first, other] = self.files.map(|file| &inputs.files[file as usize].name);
        let [a, b] = self.fields.each_ref().map(|field| match is_json(field) {
            true => "JSON".to_owned(),
            false => field.data_type().to_string(),
        });
        let name = self.fields[0].name();
        Error::Input(format!(
            "{first} and {other} have different columns: `{name}` is {a} in one, {b} in the other; cast one, or bucket them in separate runs"
        ))
    }
}

/// A file's columns, then those of its folders' names, all of which may be null.
fn file_fields(input: &Input) -> Result<Vec<Field>, String> {
    let schema = file_schema(input)?;
    let mut fields: Vec<Field> =
        schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true)).collect();
    for key in &input.keys {
        if fields.iter().all(|field| *field.name() != key.name) {
            fields.push(Field::new(&key.name, DataType::Utf8, true));
        }
    }
    Ok(fields)
}

fn file_schema(input: &Input) -> Result<SchemaRef, String> {
    let file = input.open_file().map_err(text)?;
    match input.format {
        Format::Parquet => {
            let metadata = zones::metadata(&file).map_err(text)?;
            Ok(marked(metadata.schema(), metadata.parquet_schema()))
        }
        Format::ArrowFile => Ok(Ipc::file(file)?.schema()),
        _ => Ok(Ipc::stream(file)?.schema()),
    }
}
