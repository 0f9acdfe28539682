//! What a thread does with a block of records: they are parsed, assigned, counted, and encoded as Parquet.

use super::columns::{Columns, Layout};
use super::encode::{Encoded, Encoder, RowGroup};
use super::held_out::HeldOut;
use super::partition::Partitions;
use super::repeats;
use super::stats::{BucketStats, FileStats, Histogram, Stats};
use super::table::{is_output, with_plain_parts};
use crate::Result;
use crate::buckets::language::is_programming;
use crate::buckets::{self, Assignment, BucketTable, Bucketer, LengthHistograms, Unassigned};
use crate::jobs::output::shards::TRAIN;
use crate::records::record::{Record, Reject, RejectKind};
use crate::records::shape::FieldSpec;
use crate::records::turns::{Turns, replies};
use crate::records::unify::conform;
use crate::reference::Builder;
use crate::reference::counter::RecordCounter;
use crate::stream::block::{Bad, InputBlock, Item, Rows};
use crate::stream::input::Inputs;
use crate::stream::{self, Place, RecordReader, Records};
use arrow_array::{ArrayRef, UInt32Array};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// What a pass over the input is for.
pub enum Pass {
    /// Writing the output.
    Write(WrittenColumns),
    /// Counting buckets, with a few example rows.
    Look {
        /// How many rows to show of each block.
        examples: usize,
    },
    /// Finding the lengths of each language.
    Observe,
}

/// The columns of an output, and how they become files.
pub struct WrittenColumns {
    /// All of them.
    pub encoder: Arc<Encoder>,
    /// The input's own columns that are written, by index.
    pub own: Vec<usize>,
    /// Where rows go.
    pub partitions: Partitions,
}

/// What all workers of a pass share.
pub struct BucketPlan {
    /// The files.
    pub inputs: Arc<Inputs>,
    /// Assigns the records.
    pub bucketer: Bucketer,
    /// Reads the records.
    pub records: Records,
    /// What is read from them.
    pub fields: FieldSpec,
    /// Which replies become rows.
    pub turns: Turns,
    /// Fields of the input that are ours, and made anew.
    pub ours: HashSet<String>,
    /// Which rows are apart.
    pub held_out: HeldOut,
    /// Our columns.
    pub layout: Layout,
    /// What to do.
    pub pass: Pass,
    /// Counts for a reference, if one is made.
    pub reference: Option<Arc<Builder>>,
    /// Set to stop.
    pub cancel: Arc<AtomicBool>,
}

/// What became of a block.
#[derive(Default)]
pub struct BucketedBlock {
    /// Row groups, each with the start of its file's name.
    pub groups: Vec<(String, Encoded)>,
    /// Lines of the rejects file.
    pub rejects: Vec<u8>,
    /// Counts.
    pub stats: Stats,
    /// The rows that have a bucket.
    pub seen: Vec<repeats::Row>,
    /// Rows that the block takes, of those that there may be.
    pub rows: u64,
    /// Lengths, in a pass that observes them.
    pub lengths: LengthHistograms,
    /// Example rows.
    pub examples: Vec<Example>,
}

/// A row shown by a dry run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Example {
    /// The record's id.
    pub id: String,
    /// The file it is from.
    pub file: String,
    /// Its 0-based number there.
    pub row: u64,
    /// Its bucket's id.
    pub bucket: String,
    /// Length of its response in the schema's unit.
    pub length: u32,
    /// The prompt as `(role, content)`.
    pub prompt: Vec<(String, String)>,
    /// The response as `(role, content)`.
    pub completion: (String, String),
}

/// One thread's working memory.
pub struct BucketWorker {
    plan: Arc<BucketPlan>,
    reader: RecordReader,
    scratch: RowScratch,
}

/// What records are worked on with.
struct RowScratch {
    buckets: buckets::BucketerScratch,
    counter: Option<RecordCounter>,
}

impl BucketWorker {
    /// Fresh working memory.
    pub fn new(plan: &Arc<BucketPlan>) -> Self {
        Self {
            plan: Arc::clone(plan),
            reader: RecordReader::new(plan.records.clone(), Arc::clone(&plan.cancel)),
            scratch: RowScratch {
                buckets: plan.bucketer.scratch(),
                counter: plan.reference.clone().map(RecordCounter::new),
            },
        }
    }

    fn table(&mut self, plan: &BucketPlan, rows: &Rows, sheet: &mut Sheet<'_>) -> Result<()> {
        sheet.columns.set_file(&plan.inputs.files[rows.file as usize].name);
        let mut kept = Vec::with_capacity(rows.batch.num_rows());
        let batch = with_plain_parts(&rows.batch, plan.bucketer.schema())?;
        self.reader.table(rows, &batch, &mut |record, place| {
            let times = sheet.record(record, place, &mut self.scratch);
            kept.extend(std::iter::repeat_n((place.row - rows.row) as u32, times));
        })?;
        sheet.end_batch(rows, kept)
    }
}

impl stream::BlockWorker for BucketWorker {
    type Done = BucketedBlock;

    fn work(&mut self, block: &InputBlock) -> Result<BucketedBlock> {
        let plan = Arc::clone(&self.plan);
        let mut sheet = Sheet::new(&plan)?;
        sheet.done.rows = block.rows;
        for &(file, bytes) in &block.file_bytes {
            sheet.done.stats.files.entry(file).or_default().bytes += bytes;
        }
        for item in &block.items {
            match item {
                Item::Json(segment) => {
                    sheet.columns.set_file(&plan.inputs.files[segment.file as usize].name);
                    self.reader.json(&block.data, segment, &plan.inputs, &mut |record, place| {
                        sheet.record(record, place, &mut self.scratch);
                    })?;
                }
                Item::Table(rows) => self.table(&plan, rows, &mut sheet)?,
                Item::Bad(bad) => sheet.unreadable(bad),
            }
        }
        if let Some(counter) = &mut self.scratch.counter {
            counter.flush(&sheet.table)?;
            counter.forget_buckets();
        }
        sheet.finish()
    }

    fn rows(done: &BucketedBlock) -> u64 {
        done.stats.records()
    }
}

/// A reason to reject a row, with which of its record's replies it is.
fn of_reply(reply: Option<u64>, reason: &str) -> Cow<'_, str> {
    reply.map_or(Cow::Borrowed(reason), |number| format!("reply {number}: {reason}").into())
}

/// The fields of a table that are ours, and made anew.
pub fn own_fields(
    schema: Option<&arrow_schema::SchemaRef>,
    buckets: &crate::buckets::BucketSchema,
) -> HashSet<String> {
    match schema {
        Some(schema) if is_output(schema) => Layout::names(buckets),
        _ => HashSet::new(),
    }
}

/// A block's output in the making.
struct Sheet<'p> {
    plan: &'p BucketPlan,
    columns: Columns<'p>,
    table: BucketTable,
    counts: Vec<BucketCounts>,
    file: Option<(u32, FileStats)>,
    /// Which rows of the columns are held out, if any may be.
    held_out: Vec<bool>,
    /// The language's label of the record before, which names no programming language: most records have the same.
    plain_label: String,
    /// The row group of an output that is not split.
    group: Option<RowGroup>,
    /// By file: the rows, to be encoded one file after the other, as an encoder is large.
    files: BTreeMap<String, Vec<Vec<ArrayRef>>>,
    done: BucketedBlock,
}

impl<'p> Sheet<'p> {
    fn new(plan: &'p BucketPlan) -> Result<Self> {
        Ok(Self {
            plan,
            columns: Columns::new(&plan.layout),
            table: BucketTable::default(),
            counts: Vec::new(),
            file: None,
            held_out: Vec::new(),
            plain_label: String::new(),
            group: None,
            files: BTreeMap::new(),
            done: BucketedBlock::default(),
        })
    }

    /// Takes a record, or rejects it; how many rows with a bucket it made.
    fn record(
        &mut self,
        record: Result<Record<'_>, Reject>,
        place: Place,
        scratch: &mut RowScratch,
    ) -> usize {
        let plan = self.plan;
        let record = match record {
            Ok(record) => record,
            Err(reject) => {
                self.reject(&place, reject.id.as_deref(), reject.kind, &reject.reason);
                return 0;
            }
        };
        self.done.stats.reading.add(&record, &place, &plan.ours, plan.turns == Turns::All);
        if let Some(label) = record.language.filter(|label| *label != self.plain_label) {
            self.look_at_label(label, &place);
        }
        match plan.turns {
            Turns::Last => usize::from(self.row(&record, &place, None, scratch)),
            Turns::All => self.replies(&record, &place, scratch),
        }
    }

    /// Notes a label of the language that names a programming language.
    fn look_at_label(&mut self, label: &str, place: &Place) {
        if !is_programming(label) {
            label.clone_into(&mut self.plain_label);
        } else if self.plan.bucketer.schema().uses_language() {
            self.done.stats.reading.programming(label, place);
        }
    }

    /// Takes every reply of a record as a row: `ID#1`, `ID#2`, … of one group.
    fn replies(&mut self, record: &Record<'_>, place: &Place, scratch: &mut RowScratch) -> usize {
        let plan = self.plan;
        let id = record.id.map_or_else(|| Cow::Owned(self.default_id(place)), Cow::Borrowed);
        let group = Some(record.group.unwrap_or(&id));
        let mut kept = 0;
        for (number, reply) in (1u64..).zip(replies(record, &plan.fields)) {
            if number > 1 {
                self.file_stats(place.file).further += 1;
            }
            let own = format!("{id}#{number}");
            match reply {
                Ok(reply) => {
                    let row = Record { id: Some(&own), group, ..reply };
                    kept += usize::from(self.row(&row, place, Some(number), scratch));
                }
                Err(reject) => {
                    self.reject(place, Some(&own), reject.kind, &of_reply(Some(number), &reject.reason));
                }
            }
        }
        kept
    }

    fn default_id(&self, place: &Place) -> String {
        format!("{}:{}", self.plan.inputs.files[place.file as usize].name, place.row)
    }

    /// Takes a row, or rejects it; whether it got a bucket. `reply`: its number, where every reply is a row.
    fn row(
        &mut self,
        record: &Record<'_>,
        place: &Place,
        reply: Option<u64>,
        scratch: &mut RowScratch,
    ) -> bool {
        if let Pass::Observe = self.plan.pass {
            // What is rejected here is rejected again, and told, when the output is written.
            return self.plan.bucketer.observe(record, &mut self.done.lengths, &mut scratch.buckets).is_ok();
        }
        match self.plan.bucketer.assign(record, &mut self.table, &mut scratch.buckets) {
            Ok(assignment) => {
                let held_out = self.plan.held_out.key(record);
                self.count(&assignment, place.file, held_out.is_some());
                self.done.seen.push(repeats::Row::of(record, place, held_out));
                // What is held out is to be told from what trains: humans of the one alone are referred to.
                if let (Some(counter), None) = (&mut scratch.counter, held_out) {
                    counter.add(record, assignment.bucket, &self.table, &self.plan.cancel);
                }
                self.keep(record, place, &assignment, held_out.is_some());
                true
            }
            Err(Unassigned { kind, reason }) => {
                self.reject(place, record.id, kind, &of_reply(reply, &reason));
                false
            }
        }
    }

    fn keep(&mut self, record: &Record<'_>, place: &Place, assignment: &Assignment, held_out: bool) {
        match self.plan.pass {
            Pass::Write(_) => {
                self.columns.push(record, place.row, assignment);
                if self.plan.held_out.any() {
                    self.held_out.push(held_out);
                }
            }
            Pass::Look { examples } if self.done.examples.len() < examples => {
                let file = &self.plan.inputs.files[place.file as usize].name;
                let message =
                    |m: &crate::records::record::Message<'_>| (m.role.to_owned(), m.content.to_owned());
                self.done.examples.push(Example {
                    id: record.id.map_or_else(|| self.default_id(place), str::to_owned),
                    file: file.clone(),
                    row: place.row,
                    bucket: self.table.id(assignment.bucket).to_owned(),
                    length: assignment.length,
                    prompt: record.prompt.iter().map(message).collect(),
                    completion: message(&record.response),
                });
            }
            _ => {}
        }
    }

    fn count(&mut self, assignment: &Assignment, file: u32, held_out: bool) {
        let bucket = assignment.bucket as usize;
        if bucket >= self.counts.len() {
            self.counts.resize_with(bucket + 1, BucketCounts::default);
        }
        self.counts[bucket].add(assignment, held_out);
        self.file_stats(file).bucketed += 1;
    }

    fn file_stats(&mut self, file: u32) -> &mut FileStats {
        if self.file.as_ref().is_none_or(|(last, _)| *last != file) {
            self.end_file();
        }
        &mut self.file.get_or_insert((file, FileStats::default())).1
    }

    fn end_file(&mut self) {
        if let Some((file, stats)) = self.file.take() {
            let own = self.done.stats.files.entry(file).or_default();
            own.bucketed += stats.bucketed;
            own.rejected += stats.rejected;
            own.further += stats.further;
        }
    }

    fn reject(&mut self, place: &Place, id: Option<&str>, kind: RejectKind, reason: &str) {
        let rejected = place.rejected(&self.plan.inputs, id, kind, reason);
        // Writing to memory, and of strings and numbers, can't fail.
        let _ = serde_json::to_writer(&mut self.done.rejects, &rejected);
        self.done.rejects.push(b'\n');
        self.done.stats.reject(place.file, rejected);
    }

    fn unreadable(&mut self, bad: &Bad) {
        let place = Place::of(bad, &self.plan.inputs);
        self.reject(&place, None, bad.kind, &bad.reason);
    }

    /// Writes the rows of a table: ours, then its own columns. `kept`: the table's row that each is of.
    fn end_batch(&mut self, rows: &Rows, kept: Vec<u32>) -> Result<()> {
        let plan = self.plan;
        let Pass::Write(WrittenColumns { own, encoder, .. }) = &plan.pass else {
            return Ok(());
        };
        let columns = std::mem::replace(&mut self.columns, Columns::new(&plan.layout));
        let held_out = std::mem::take(&mut self.held_out);
        let mut columns = columns.finish(&self.table)?;
        let all = kept.iter().copied().eq(0..rows.batch.num_rows() as u32);
        let kept = UInt32Array::from(kept);
        for &i in own {
            let column = rows.batch.column(i);
            let column =
                if all { Arc::clone(column) } else { arrow_select::take::take(column, &kept, None)? };
            columns.push(conform(&column, encoder.schema.field(columns.len()).data_type())?);
        }
        self.write(columns, &held_out)
    }

    fn write(&mut self, columns: Vec<ArrayRef>, held_out: &[bool]) -> Result<()> {
        let Pass::Write(WrittenColumns { encoder, partitions, .. }) = &self.plan.pass else {
            return Ok(());
        };
        for (stem, columns) in partitions.split(columns, held_out)? {
            if stem != TRAIN {
                self.files.entry(stem).or_default().push(columns);
                continue;
            }
            let group = match &mut self.group {
                Some(group) => group,
                None => self.group.insert(encoder.row_group()?),
            };
            group.write(&columns)?;
        }
        Ok(())
    }

    /// Encodes the rows of all files.
    fn end_groups(&mut self) -> Result<()> {
        if let Some(group) = self.group.take() {
            self.done.groups.push((TRAIN.into(), group.finish()?));
        }
        let Pass::Write(WrittenColumns { encoder, .. }) = &self.plan.pass else {
            return Ok(());
        };
        for (stem, parts) in std::mem::take(&mut self.files) {
            let mut group = encoder.row_group()?;
            parts.iter().try_for_each(|columns| group.write(columns))?;
            self.done.groups.push((stem, group.finish()?));
        }
        Ok(())
    }

    fn finish(mut self) -> Result<BucketedBlock> {
        let plan = self.plan;
        if self.columns.len() > 0 {
            let columns = std::mem::replace(&mut self.columns, Columns::new(&plan.layout));
            let columns = columns.finish(&self.table)?;
            let held_out = std::mem::take(&mut self.held_out);
            self.write(columns, &held_out)?;
        }
        self.end_groups()?;
        self.end_file();
        for (bucket, counts) in self.counts.into_iter().enumerate().filter(|(_, counts)| counts.rows > 0) {
            let bucket = bucket as u32;
            let stats = counts.finish(self.table.parts(bucket));
            self.done.stats.buckets.insert(self.table.id(bucket).to_owned(), stats);
        }
        Ok(self.done)
    }
}

/// Lengths below this are counted in an array.
const DENSE: usize = 1024;

/// Counts of one bucket in one block.
#[derive(Default)]
struct BucketCounts {
    rows: u64,
    held_out: u64,
    prompt_tokens: u64,
    completion_tokens: u64,
    short: Vec<u32>,
    long: Histogram,
}

impl BucketCounts {
    fn add(&mut self, assignment: &Assignment, held_out: bool) {
        self.rows += 1;
        self.held_out += u64::from(held_out);
        self.prompt_tokens += u64::from(assignment.prompt_tokens.unwrap_or(0));
        self.completion_tokens += u64::from(assignment.completion_tokens.unwrap_or(0));
        let length = assignment.length as usize;
        if length >= DENSE {
            self.long.add(assignment.length);
            return;
        }
        if length >= self.short.len() {
            self.short.resize(length + 1, 0);
        }
        self.short[length] += 1;
    }

    fn finish(self, parts: &[String]) -> BucketStats {
        let mut lengths = self.long;
        for (length, &count) in self.short.iter().enumerate() {
            lengths.add_many(length as u32, u64::from(count));
        }
        BucketStats {
            parts: parts.to_vec(),
            rows: self.rows,
            held_out: self.held_out,
            prompt_tokens: self.prompt_tokens,
            completion_tokens: self.completion_tokens,
            lengths,
        }
    }
}
