//! Records that name their bucket, into whatever counts them: of a bucketed corpus, of other files, or of a table in memory.

use super::tally::Tally;
use crate::buckets::{BucketSchema, BucketTable, normalise_part, split_id, unescape_part};
use crate::error::unless_stopped;
use crate::jobs::output::bucketed::Bucketed;
use crate::records::record::{Record, Reject, RejectKind};
use crate::records::shape::FieldSpec;
use crate::records::table::{TableRecords, pieces};
use crate::stream::block::{InputBlock, Limits};
use crate::stream::input::Inputs;
use crate::stream::{self, Place, Progress, RecordReader, Rejected, Stream};
use crate::{Error, Result};
use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use rayon::prelude::*;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// The column that holds bucket ids, unless another is named.
const BUCKET: &str = "bucket";

/// Input bytes of a block, and held at a time.
pub(crate) const BLOCK: u64 = 4 << 20;
pub(crate) const IN_FLIGHT: u64 = 128 << 20;

/// Counts records on one thread, into what threads share. Buckets are numbered by a table of the caller's.
pub(crate) trait Counter {
    /// Whether these parts make a bucket, and one more may be.
    fn check_bucket(&self, parts: &[String]) -> Result<()>;

    /// Counts a record of a bucket of the table: that of this row of its file or table.
    fn add(&mut self, record: &Record<'_>, row: u64, bucket: u32, table: &BucketTable, stop: &AtomicBool);

    /// Hands on what was counted; what failed since the last time is the error.
    fn flush(&mut self, table: &BucketTable) -> Result<()>;
}

/// What is read, and how.
pub(crate) struct Reading<'a> {
    /// Folders made by a bucketing job; or files whose records have a bucket. Folders, globs, or `-` for standard input.
    pub inputs: &'a [String],
    /// What to read from a record.
    pub fields: &'a FieldSpec,
    /// Where a record's bucket is; default `bucket`.
    pub bucket_field: Option<&'a str>,
    /// What makes the buckets, where no bucketed folder says it.
    pub schema: Option<&'a BucketSchema>,
    /// Records above this are rejected without being held.
    pub max_record_bytes: u64,
    /// Worker threads; 0: all cores.
    pub threads: usize,
    /// Stop after this many input rows.
    pub limit: Option<u64>,
}

/// How the records were bucketed.
pub(crate) struct Made {
    pub schema: BucketSchema,
    /// The SHA-256 of the tokenizer that lengths were counted with.
    pub tokenizer: Option<String>,
    /// Whether reasoning was counted as part of responses, or is to be.
    pub keep_thinking: bool,
}

/// Counts the records of files, read once, into what `make` makes; `counter` gives what a thread counts with. Of bucketed
/// folders what is held out is left out.
///
/// # Errors
/// Inputs that don't exist or don't go together, what `make` and the counters say, and [`Error::Interrupted`]. Records
/// that can't be used are no error: they are counted in the [`Tally`].
pub(crate) fn count_files<B, C>(
    reading: &Reading<'_>,
    progress: &Progress,
    make: impl FnOnce(Made) -> Result<B>,
    counter: fn(Arc<B>) -> C,
) -> Result<(B, Tally)>
where
    B: Send + Sync + 'static,
    C: Counter + 'static,
{
    let bucketed = Bucketed::find(reading.inputs, true)?;
    let keep_thinking = reading.fields.keep_thinking || bucketed.keep_thinking;
    let builder = Arc::new(make(Made {
        schema: bucketed.schema.or_else(|| reading.schema.cloned()).unwrap_or_default(),
        tokenizer: bucketed.tokenizer,
        keep_thinking,
    })?);
    let limits = Limits {
        block_bytes: BLOCK,
        chunk_bytes: u64::MAX,
        max_record_bytes: reading.max_record_bytes,
        rows: reading.limit.unwrap_or(u64::MAX),
    };
    let (held_out, held_out_rows) = bucketed.held_out;
    let stream = Stream::open(&bucketed.inputs, &held_out, limits, reading.threads, IN_FLIGHT, progress)?;
    let mut blocks = stream.all_blocks();
    let mut fields = fields(reading.fields, reading.bucket_field);
    fields.keep_thinking = keep_thinking;
    let fields = stream.with_shape(&fields, &mut blocks)?;
    let (records, _) = stream.records(&fields)?;
    let (inputs, cancel) = (Arc::clone(&stream.inputs), stream.cancel());
    let shared = Arc::clone(&builder);
    let worker = move || Worker {
        reader: RecordReader::new(records.clone(), Arc::clone(&cancel)),
        inputs: Arc::clone(&inputs),
        cancel: Arc::clone(&cancel),
        buckets: NamedBuckets::new(counter(Arc::clone(&shared))),
    };
    let response_field = fields.response.filter(|_| reading.fields.response.is_none());
    let mut tally = Tally { response_field, held_out: held_out_rows, ..Tally::default() };
    stream.pump(blocks, worker, |done, _, _| {
        tally.merge(done);
        Ok(())
    })?;
    Ok((only_holder(builder)?, tally))
}

/// What no thread counts into any more.
///
/// # Errors
/// One does.
pub(crate) fn only_holder<T>(shared: Arc<T>) -> Result<T> {
    Arc::into_inner(shared).ok_or_else(|| Error::Input("a thread is still counting".into()))
}

/// The fields with the bucket as the one custom column; prompts need not be there, and
/// responses may be empty.
pub(crate) fn fields(fields: &FieldSpec, bucket: Option<&str>) -> FieldSpec {
    let custom = vec![bucket.unwrap_or(BUCKET).to_owned()];
    FieldSpec { custom, keep_extra: false, lenient: true, ..fields.clone() }
}

/// Counts records in the buckets that they name, on one thread.
struct NamedBuckets<C> {
    counter: C,
    table: BucketTable,
    /// The table's numbers, by bucket as records have it.
    numbers: HashMap<String, u32>,
}

impl<C: Counter> NamedBuckets<C> {
    fn new(counter: C) -> Self {
        Self { counter, table: BucketTable::default(), numbers: HashMap::new() }
    }

    /// Counts what was read of a row.
    fn take(
        &mut self,
        record: Result<Record<'_>, Reject>,
        row: u64,
        stop: &AtomicBool,
    ) -> Result<(), Reject> {
        let record = record?;
        let rejected = |(kind, reason)| Reject { kind, reason, offset: 0, id: record.id.map(Into::into) };
        self.count(&record, row, stop).map_err(rejected)
    }

    /// Counts a record; the error is the kind of reason to reject it, and the reason.
    fn count(
        &mut self,
        record: &Record<'_>,
        row: u64,
        stop: &AtomicBool,
    ) -> Result<(), (RejectKind, String)> {
        if record.answer().trim().is_empty() {
            return Err((RejectKind::NoResponse, "the response is empty".into()));
        }
        let Some(id) = record.custom.first().copied().flatten() else {
            return Err((
                RejectKind::Bucket,
                "the record has no bucket: bucket the corpus first (polyalign bucket)".into(),
            ));
        };
        let bucket = match self.numbers.get(id) {
            Some(bucket) => *bucket,
            None => self.add_bucket(id).map_err(|reason| (RejectKind::Bucket, reason))?,
        };
        self.counter.add(record, row, bucket, &self.table, stop);
        Ok(())
    }

    /// The number of a bucket that no record has named yet.
    fn add_bucket(&mut self, id: &str) -> Result<u32, String> {
        let parts = split_id(id).map_err(|error| error.to_string())?;
        let normal = |part: &&str| normalise_part(&unescape_part(part)).unwrap_or_default();
        let parts: Vec<String> = parts.iter().map(normal).collect();
        // What is none under the schema, or one too many, is told of this record.
        self.counter.check_bucket(&parts).map_err(|error| error.to_string())?;
        let number = self.table.insert(&parts);
        self.numbers.insert(id.to_owned(), number);
        Ok(number)
    }

    /// Hands what was counted on.
    fn flush(&mut self) -> Result<()> {
        self.counter.flush(&self.table)
    }
}

struct Worker<C> {
    reader: RecordReader,
    inputs: Arc<Inputs>,
    cancel: Arc<AtomicBool>,
    buckets: NamedBuckets<C>,
}

impl<C: Counter> stream::BlockWorker for Worker<C> {
    type Done = Tally;

    fn work(&mut self, block: &InputBlock) -> Result<Tally> {
        let mut tally = Tally { bytes: block.bytes, ..Tally::default() };
        let Self { reader, inputs, cancel, buckets } = self;
        let mut take = |record: Result<Record<'_>, Reject>, place: Place| match buckets
            .take(record, place.row, cancel)
        {
            Ok(()) => tally.used(),
            Err(Reject { id, kind, reason, .. }) => {
                tally.reject(place.rejected(inputs, id.as_deref(), kind, &reason));
            }
        };
        reader.block(block, inputs, &mut take)?;
        buckets.flush()?;
        Ok(tally)
    }

    fn rows(done: &Tally) -> u64 {
        done.rows
    }
}

/// Counts the rows of a table in memory: its columns hold records of one shape, and `bucket`. Without a prompt column
/// there is none. On rayon's current threads.
///
/// # Errors
/// Columns of no known shape, what the counters say, and [`Error::Interrupted`] soon after `stop` is set. Rows that can't be
/// used are no error: they are counted in the [`Tally`].
pub(crate) fn count_table<C: Counter>(
    counter: impl Fn() -> C + Sync,
    schema: &SchemaRef,
    batches: &[RecordBatch],
    spec: &FieldSpec,
    stop: &AtomicBool,
) -> Result<Tally> {
    if schema.index_of(BUCKET).is_err() {
        let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        return Err(Error::Input(format!(
            "the table has no column `{BUCKET}`, only {}: Bucketer.assign appends it",
            names.join(", ")
        )));
    }
    let records = TableRecords::new(schema, &fields(spec, None))?;
    let count = |buckets: &mut NamedBuckets<C>, piece: &(u64, RecordBatch)| {
        unless_stopped(stop)?;
        count_piece(&records, buckets, piece, stop)
    };
    let tallies: Vec<Tally> =
        pieces(batches).par_iter().map_init(|| NamedBuckets::new(counter()), count).collect::<Result<_>>()?;
    let mut tally = Tally::default();
    tallies.into_iter().for_each(|part| tally.merge(part));
    Ok(tally)
}

fn count_piece<C: Counter>(
    records: &TableRecords,
    buckets: &mut NamedBuckets<C>,
    (first, piece): &(u64, RecordBatch),
    stop: &AtomicBool,
) -> Result<Tally> {
    let mut tally = Tally::default();
    records.for_each(piece, &mut |row, record| match buckets.take(record, first + row as u64, stop) {
        Ok(()) => tally.used(),
        Err(Reject { id, kind, reason, .. }) => tally.reject(Rejected {
            file: "table".into(),
            line: None,
            row: first + row as u64,
            offset: None,
            id: id.map(String::from),
            kind,
            reason,
        }),
    })?;
    buckets.flush()?;
    Ok(tally)
}
