//! The bucketing job: files in, buckets out; streaming, parallel, resumable, deterministic.

mod assign;
mod columns;
mod encode;
mod held_out;
mod journal;
mod manifest;
mod output;
mod partition;
mod reading;
mod reference;
mod repeats;
mod report;
mod resume;
mod seen;
mod stats;
mod table;
mod worker;

pub use crate::stream::input::Skipped;
pub use assign::assign_table;
pub use reference::ReferenceOutput;
pub use report::{
    BucketReport, Example, HeldOutRows, Met, Quantiles, Reading, Rejected, Repeat, Repeated, Report,
    Unreadable,
};

pub use crate::stream::Progress;

use crate::buckets::{BucketTable, Bucketer, LengthHistograms};
use crate::jobs::build::finish;
use crate::jobs::output::publish::{self, Claim, Kind};
use crate::records::shape::{FieldSpec, Shape};
use crate::records::turns::Turns;
use crate::reference::Builder;
use crate::stream::block::{Limits, Position};
use crate::stream::input::Format;
use crate::stream::{self, Blocks, Records, Stream};
use crate::{Error, Result};
use columns::Layout;
use encode::Encoder;
use held_out::HeldOut;
use journal::{Header, Journal};
use output::{Left, Output};
use partition::Partitions;
use repeats::Repeats;
use serde::{Deserialize, Serialize};
use stats::Stats;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use table::OwnColumns;
use worker::{Done, Pass, Plan, Worker};

/// What to bucket and where to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Job {
    /// Files, directories, globs, or `-` for standard input.
    pub inputs: Vec<String>,
    /// The directory to make; `None`: a dry run.
    pub output: Option<PathBuf>,
    /// Replace an existing output, and give up an interrupted run that does not fit this job.
    pub overwrite: bool,
    /// What to read from a record; `custom` and `keep_extra` follow from the schema and from
    /// `assignments_only`.
    pub fields: FieldSpec,
    /// Which replies of a conversation become rows.
    pub turns: Turns,
    /// Write no texts, only the assignment columns.
    pub assignments_only: bool,
    /// Hive-style folders by these axes.
    pub partition_by: Vec<String>,
    /// The share of groups, else of prompts, whose rows go to `test-*.parquet` files of their own.
    pub test_share: f64,
    /// Decompressed input bytes per shard.
    pub chunk_bytes: u64,
    /// Records above this are rejected without being held.
    pub max_record_bytes: u64,
    /// Worker threads; 0: all cores.
    pub threads: usize,
    /// Stop after this many input rows.
    pub limit: Option<u64>,
    /// A reference to make in the same pass.
    pub reference: Option<ReferenceOutput>,
}

impl Default for Job {
    fn default() -> Self {
        Self {
            inputs: Vec::new(),
            output: None,
            overwrite: false,
            fields: FieldSpec::default(),
            turns: Turns::Last,
            assignments_only: false,
            partition_by: Vec::new(),
            test_share: 0.0,
            chunk_bytes: 64 << 20,
            max_record_bytes: 256 << 20,
            threads: 0,
            limit: None,
            reference: None,
        }
    }
}

/// Bytes of a block whose texts are written, and of one whose texts are not: large enough for good row
/// groups, small enough to keep many threads within a gigabyte.
const TEXT_BLOCK: u64 = 8 << 20;
const BARE_BLOCK: u64 = 16 << 20;

/// Input bytes held at a time, at most.
const TEXT_IN_FLIGHT: u64 = 160 << 20;
const BARE_IN_FLIGHT: u64 = 320 << 20;

/// Runs the job.
///
/// # Errors
/// Inputs that don't exist or don't go together, an output that exists or can't be written, an
/// interrupted run that belongs to another job, more than 10,000 buckets, and
/// [`Error::Interrupted`]. Records that can't be used are no error: they are counted in the [`Report`]
/// and listed in the rejects file.
pub fn run(job: &Job, bucketer: &Bucketer, progress: &Progress) -> Result<Report> {
    check(job)?;
    // Before any work, so that two jobs don't both do it.
    let claims = job.output.as_deref().map(|output| Claims::take(job, output)).transpose()?.map(Arc::new);
    let (job, bucketer, claimed) = (job.clone(), bucketer.clone(), claims.clone());
    let result =
        stream::supervised(progress, move |progress| run_job(&job, &bucketer, claimed.as_deref(), progress));
    if let (Err(Error::Interrupted), Some(claims)) = (&result, claims) {
        // The job may still wait for input.
        claims.each().for_each(Claim::release_unused);
    }
    result
}

fn run_job(job: &Job, bucketer: &Bucketer, claims: Option<&Claims>, progress: &Progress) -> Result<Report> {
    let job = &Job { fields: resolved(&job.fields, bucketer, !job.assignments_only), ..job.clone() };
    let own = claims.map_or(Vec::new(), Claims::places);
    let (block_bytes, in_flight) = match job.assignments_only {
        true => (BARE_BLOCK, BARE_IN_FLIGHT),
        false => (TEXT_BLOCK, TEXT_IN_FLIGHT),
    };
    let limits = Limits {
        block_bytes,
        chunk_bytes: job.chunk_bytes,
        max_record_bytes: job.max_record_bytes,
        rows: job.limit.unwrap_or(u64::MAX),
    };
    let stream = Stream::open(&job.inputs, &own, limits, job.threads, in_flight, progress)?;
    let run = Run { job, stream };
    match claims {
        None => run.look(bucketer),
        Some(claims) => run.write(bucketer, claims),
    }
}

/// What a job may make.
struct Claims {
    reference: Option<Claim>,
    output: Claim,
}

impl Claims {
    fn take(job: &Job, output: &Path) -> Result<Self> {
        let output = Claim::take(output, Kind::Buckets, job.overwrite)?;
        let beside =
            |wanted: &ReferenceOutput| Claim::take_beside(&wanted.path, Kind::File, job.overwrite, &output);
        let reference = job.reference.as_ref().map(beside).transpose()?;
        Ok(Self { reference, output })
    }

    /// In the order in which they appear.
    fn each(&self) -> impl Iterator<Item = &Claim> {
        self.reference.iter().chain([&self.output])
    }

    /// Where the job writes.
    fn places(&self) -> Vec<PathBuf> {
        self.each().flat_map(|claim| [claim.out().to_path_buf(), claim.partial().to_path_buf()]).collect()
    }

    /// Makes all of it appear.
    fn publish(&self) -> Result<()> {
        publish::publish(&self.each().collect::<Vec<_>>())
    }
}

/// The fields with what follows from the other settings: the schema's own columns, and whether the rest
/// of a record is written.
fn resolved(fields: &FieldSpec, bucketer: &Bucketer, keep_extra: bool) -> FieldSpec {
    let custom = bucketer.schema().custom_axes().map(|axis| axis.column.clone()).collect();
    FieldSpec { custom, keep_extra, ..fields.clone() }
}

/// Settings that make no sense.
fn check(job: &Job) -> Result<()> {
    let range = |name: &str, value: u64, max: u64| {
        if (1..=max).contains(&value) {
            return Ok(());
        }
        Err(Error::Input(format!("{name} is {value}; it must be between 1 and {max}")))
    };
    range("chunk_bytes", job.chunk_bytes, 64 << 30)?;
    range("max_record_bytes", job.max_record_bytes, 1 << 30)?;
    if !(0.0..1.0).contains(&job.test_share) {
        return Err(Error::Input(format!(
            "test_share is {}; it must be at least 0 and below 1",
            job.test_share
        )));
    }
    range("limit", job.limit.unwrap_or(1), u64::MAX)
}

/// A job under way.
struct Run<'a> {
    job: &'a Job,
    stream: Stream<'a>,
}

impl Run<'_> {
    /// A dry run.
    fn look(&self, bucketer: &Bucketer) -> Result<Report> {
        let bucketer = self.with_edges(bucketer, &mut self.job.fields.clone())?;
        let mut blocks = self.stream.all_blocks();
        let fields = self.stream.with_shape(&self.job.fields, &mut blocks)?;
        let (records, shape) = self.stream.records(&fields)?;
        // What could not be written is not promised.
        self.output_columns(&bucketer, shape)?;
        let layout = Layout::new(bucketer.schema(), false, false, false)?;
        let plan = self.plan(&bucketer, records, layout, Pass::Look { examples: EXAMPLES }, None);
        let (mut totals, mut repeats) = (Stats::default(), Repeats::default());
        let mut examples = Vec::new();
        let mut buckets = BucketTable::default();
        self.pump(blocks, &plan, |done, _, _| {
            check_buckets(&mut buckets, &done.stats, &bucketer)?;
            done.seen.iter().for_each(|row| repeats.add(row));
            totals.merge(done.stats);
            let room = EXAMPLES - examples.len();
            examples.extend(done.examples.into_iter().take(room));
            Ok(())
        })?;
        let mut report = self.report(&bucketer, fields, shape, &totals, &repeats);
        report.examples = examples;
        Ok(report)
    }

    /// A run that writes.
    fn write(&self, bucketer: &Bucketer, claims: &Claims) -> Result<Report> {
        let job = self.job;
        let settings = manifest::settings(job, bucketer)?;
        let mut header = Header::new(settings.clone(), &self.stream.inputs, bucketer.schema(), &job.fields)?;
        let mut warnings = Vec::new();
        let left = self.interrupted(&claims.output, &header, &mut warnings)?;
        let bucketer = match &left {
            Some(left) => {
                header = left.journal.header.clone();
                Bucketer::new(header.schema.clone(), bucketer.counter().cloned(), bucketer.counts_prompts())?
            }
            None => self.with_edges(bucketer, &mut header.fields)?,
        };
        header.schema = bucketer.schema().clone();
        let (position, rows) = left.as_ref().map_or((Position::default(), 0), Left::position);
        let mut blocks = self.stream.blocks(position, rows);
        header.fields = self.stream.with_shape(&header.fields, &mut blocks)?;
        let (records, shape) = self.stream.records(&header.fields)?;
        let (layout, pass) = self.output_columns(&bucketer, shape)?;
        let resumed_from = left.as_ref().map_or(0, |left| left.journal.entries.len() as u64);
        // What an earlier run wrote is not counted here: then all is read again at the end.
        let wanted = job.reference.as_ref().filter(|_| resumed_from == 0);
        let builder = wanted.map(|wanted| wanted.builder(&bucketer, job.fields.keep_thinking));
        let builder = builder.transpose()?.map(Arc::new);
        let plan = self.plan(&bucketer, records, layout, pass, builder.clone());
        let Pass::Write { encoder, .. } = &plan.pass else {
            return Err(Error::Output("nothing to write".into()));
        };
        let mut output = Output::open(&claims.output, &header, left, !job.partition_by.is_empty())?;
        let mut buckets = BucketTable::default();
        check_buckets(&mut buckets, output.totals(), &bucketer)?;
        let done_rows = output.totals().records();
        self.stream.progress.rows.fetch_add(done_rows, Ordering::Relaxed);
        // The last block need not know that it is the last: it may be full where the input ends.
        let mut under_way = None;
        self.pump(blocks, &plan, |done: Done, ends_chunk, end| {
            check_buckets(&mut buckets, &done.stats, &bucketer)?;
            output.append(encoder, done)?;
            under_way = (!ends_chunk).then_some(end);
            if ends_chunk { output.end_chunk(end) } else { Ok(()) }
        })?;
        if let Some(end) = under_way {
            output.end_chunk(end)?;
        }
        output.settle(encoder)?;
        let mut report = self.report(&bucketer, header.fields, shape, output.totals(), output.repeats());
        report.output.clone_from(&job.output);
        report.shards = output.shards().len() as u64;
        report.resumed_from = (resumed_from > 0).then_some(resumed_from);
        report.warnings.splice(0..0, warnings);
        let (totals, shards, rejects) = (output.totals(), output.shards(), output.rejects());
        let inputs = &self.stream.inputs;
        let manifest = manifest::write(&settings, &bucketer, &report, inputs, totals, shards, rejects)?;
        output.write_manifest(&manifest)?;
        drop(plan);
        if let (Some(wanted), Some(claim)) = (&job.reference, &claims.reference) {
            self.write_reference(wanted, claim, builder, &claims.output.work())?;
            report.reference = Some(wanted.path.clone());
        }
        claims.publish()?;
        Ok(report)
    }

    /// Writes what was counted; reads the output again where an earlier run had a part in it.
    fn write_reference(
        &self,
        wanted: &ReferenceOutput,
        claim: &Claim,
        builder: Option<Arc<Builder>>,
        written: &Path,
    ) -> Result<()> {
        let reference = match builder {
            Some(builder) => finish(builder)?,
            None => wanted.rebuild(written, self.job.threads, self.stream.progress)?,
        };
        reference.write_to(claim)
    }

    /// What is left of an interrupted run of this job.
    fn interrupted(
        &self,
        claim: &Claim,
        header: &Header,
        warnings: &mut Vec<String>,
    ) -> Result<Option<Left>> {
        let (journal, damage) = Journal::read(&claim.journal())?;
        let Some(mut journal) = journal else {
            warnings.extend(damage.map(|what| format!("an interrupted run was given up: {what}")));
            return Ok(None);
        };
        if self.stream.inputs.has_pipe() {
            warnings.push("an interrupted run can't go on from a pipe: it was started anew".into());
            return Ok(None);
        }
        if self.job.reference.is_some() && self.job.assignments_only {
            warnings.push(
                "a reference of an output without texts needs one whole run: it was started anew".into(),
            );
            return Ok(None);
        }
        match header.differs(&journal.header) {
            None => {}
            Some(why) if self.job.overwrite => {
                warnings.push(format!("an interrupted run was given up: {why}"));
                return Ok(None);
            }
            Some(why) => {
                return Err(Error::Output(format!(
                    "{} holds an interrupted run, but {why}: put that back to go on, or start anew with --overwrite",
                    claim.partial().display()
                )));
            }
        }
        let (work, threads, cancel) = (claim.work(), self.stream.threads(), &self.stream.progress.cancel);
        let lost = resume::check(&work, &claim.rows(), &mut journal, threads, cancel)?;
        // What came first, as all after it is done again.
        warnings.extend(lost.or(damage).map(|what| {
            let kept = match journal.entries.len() {
                0 => "all was made anew".to_owned(),
                chunks => format!("made anew from chunk {} on", chunks + 1),
            };
            format!("an interrupted run is not as it was left: {what}; {kept}")
        }));
        let totals = resume::totals(&work, &journal.entries, threads, cancel)?;
        let repeats = seen::again(&claim.rows(), &journal.entries, cancel)?;
        Ok(Some(Left { journal, totals, repeats }))
    }

    /// With `length_edges: auto`, the bucketer with the edges found in a first pass.
    fn with_edges(&self, bucketer: &Bucketer, fields: &mut FieldSpec) -> Result<Bucketer> {
        if !bucketer.schema().needs_edges() {
            return Ok(bucketer.clone());
        }
        self.stream.inputs.keep_pipes(&self.stream.progress.cancel)?;
        let mut blocks = self.stream.all_blocks();
        *fields = self.stream.with_shape(fields, &mut blocks)?;
        let (records, _) = self.stream.records(fields)?;
        let layout = Layout::new(bucketer.schema(), false, false, false)?;
        let plan = self.plan(bucketer, records, layout, Pass::Observe, None);
        let mut lengths = LengthHistograms::default();
        self.pump(blocks, &plan, |done, _, _| {
            lengths.merge(&done.lengths);
            Ok(())
        })?;
        self.stream.rewind();
        Ok(bucketer.with_observed_edges(&lengths))
    }

    /// The output's columns and how they are written.
    fn output_columns(&self, bucketer: &Bucketer, shape: Option<Shape>) -> Result<(Layout, Pass)> {
        let texts = !self.job.assignments_only;
        let preference = shape == Some(Shape::Preference);
        if preference && self.job.turns == Turns::All {
            return Err(Error::Input(
                "turns `all` parts conversations, but these records are preferences, of one reply each: leave it out"
                    .into(),
            ));
        }
        let extra = self.stream.table.is_none() && self.job.fields.keep_extra;
        let layout = Layout::new(bucketer.schema(), texts, preference, extra)?;
        let mut fields = layout.fields();
        let names: Vec<String> = fields.iter().map(|(field, _)| field.name().clone()).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let partitions = Partitions::new(&self.job.partition_by, &layout.axes, &names)?;
        let own = match &self.stream.table {
            Some(schema) if texts => OwnColumns::new(schema, &layout)?,
            _ => OwnColumns::default(),
        };
        fields.extend(own.fields);
        let encoder = Encoder::new(&fields, bucketer.schema(), !own.columns.is_empty())?;
        Ok((layout, Pass::Write { encoder, own: own.columns, partitions }))
    }

    fn plan(
        &self,
        bucketer: &Bucketer,
        records: Records,
        layout: Layout,
        pass: Pass,
        reference: Option<Arc<Builder>>,
    ) -> Arc<Plan> {
        Arc::new(Plan {
            inputs: Arc::clone(&self.stream.inputs),
            bucketer: bucketer.clone(),
            records,
            fields: self.job.fields.clone(),
            turns: self.job.turns,
            ours: worker::own_fields(self.stream.table.as_ref(), bucketer.schema()),
            held_out: HeldOut::new(self.job.test_share),
            layout,
            pass,
            reference,
            cancel: self.stream.cancel(),
        })
    }

    fn pump(
        &self,
        blocks: Blocks,
        plan: &Arc<Plan>,
        each: impl FnMut(Done, bool, Position) -> Result<()>,
    ) -> Result<()> {
        let plan = Arc::clone(plan);
        self.stream.pump(blocks, move || Worker::new(&plan), each)
    }

    fn report(
        &self,
        bucketer: &Bucketer,
        fields: FieldSpec,
        shape: Option<Shape>,
        stats: &Stats,
        repeats: &Repeats,
    ) -> Report {
        let formats: BTreeSet<Format> = self.stream.inputs.files.iter().map(|f| f.format).collect();
        let (prompt_tokens, completion_tokens) = manifest::token_sums(stats, bucketer);
        let name = |file: u32| self.stream.inputs.files[file as usize].name.clone();
        let unreadable = stats.unreadable.iter();
        let buckets = manifest::bucket_reports(stats, bucketer);
        let reading = stats.reading.report(name);
        let repeated = repeats.report(name);
        let warnings = report::warnings(&buckets, bucketer.schema(), stats);
        let warnings =
            warnings.into_iter().chain(repeated.warning(stats.bucketed())).chain(reading.warnings());
        Report {
            output: None,
            format: formats.into_iter().map(Format::name).collect::<Vec<_>>().join(", "),
            shape,
            fields,
            schema: bucketer.schema().clone(),
            files: self.stream.inputs.files.len() as u64,
            skipped: self.stream.inputs.skipped.clone(),
            bytes_on_disk: self.stream.inputs.size(),
            bytes: stats.bytes(),
            records: stats.records(),
            rows: stats.bucketed() + stats.rejects(),
            bucketed: stats.bucketed(),
            rejected: stats.rejects(),
            warnings: warnings.collect(),
            reading,
            repeated,
            held_out: repeats.held_out(HeldOut::new(self.job.test_share)),
            rejected_by_kind: stats.rejected.clone(),
            first_rejects: stats.first_rejects.values().cloned().collect(),
            prompt_tokens,
            completion_tokens,
            buckets,
            shards: 0,
            unreadable: unreadable
                .map(|rest| Unreadable {
                    file: name(rest.file),
                    offset: rest.offset,
                    reason: rest.reason.clone(),
                })
                .collect(),
            resumed_from: None,
            reference: None,
            examples: Vec::new(),
        }
    }
}

/// Rows a dry run shows.
const EXAMPLES: usize = 3;

/// Adds buckets to those known, as long as there are not too many.
fn check_buckets(table: &mut BucketTable, stats: &Stats, bucketer: &Bucketer) -> Result<()> {
    for bucket in stats.buckets.values() {
        table.insert(&bucket.parts);
    }
    table.check(bucketer.schema())
}
