//! The bucketing job as its steps: open the inputs, find where to begin, decide what the records are, plan, pump every block
//! through the workers, report, publish.
//!
//! A run that writes, a dry run and the pass that finds the edges of `length_edges: auto` go one way: they differ in the
//! [`Pass`] of their plan, and in what takes the finished blocks.

use super::claims::Claims;
use super::columns::Layout;
use super::encode::Encoder;
use super::held_out::HeldOut;
use super::job::Job;
use super::journal::Header;
use super::manifest;
use super::output::Output;
use super::partition::Partitions;
use super::repeats::Repeats;
use super::report::Report;
use super::resume::{self, Left};
use super::stats::Stats;
use super::table::OwnColumns;
use super::worker::{self, BucketPlan, BucketWorker, BucketedBlock, Example, Pass, WrittenColumns};
use crate::buckets::{BucketSchema, BucketTable, Bucketer, LengthHistograms};
use crate::jobs::build::finish;
use crate::jobs::output::publish::Claim;
use crate::records::shape::{FieldSpec, Shape};
use crate::records::turns::Turns;
use crate::reference::Builder;
use crate::stream::block::Position;
use crate::stream::{self, Blocks, Progress, Records, Stream};
use crate::{Error, Result};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Rows a dry run shows.
const EXAMPLES: usize = 3;

/// Runs the job.
///
/// # Errors
/// Inputs that don't exist or don't go together, an output that exists or can't be written, an
/// interrupted run that belongs to another job, more than 10,000 buckets, and
/// [`Error::Interrupted`]. Records that can't be used are no error: they are counted in the [`Report`]
/// and listed in the rejects file.
pub fn run(job: &Job, bucketer: &Bucketer, progress: &Progress) -> Result<Report> {
    job.check()?;
    // Before any work, so that two jobs don't both do it.
    let claims = job.output.as_deref().map(|output| Claims::take(job, output)).transpose()?.map(Arc::new);
    let (job, bucketer, claimed) = (job.resolved(bucketer), bucketer.clone(), claims.clone());
    let result =
        stream::supervised(progress, move |progress| bucket(&job, &bucketer, claimed.as_deref(), progress));
    if let (Err(Error::Interrupted), Some(claims)) = (&result, claims) {
        // The job may still wait for input.
        claims.each().for_each(Claim::release_unused);
    }
    result
}

/// All steps, in order. Without claims it is a dry run.
fn bucket(job: &Job, bucketer: &Bucketer, claims: Option<&Claims>, progress: &Progress) -> Result<Report> {
    let stream = open(job, claims, progress)?;
    let mut start = Start::find(job, bucketer, &stream, claims)?;
    let mut blocks = start.blocks(&stream);
    let decided = decide(&stream, &start.fields, &mut blocks)?;
    let plan = plan(job, &stream, &start, &decided, claims.is_some())?;
    let mut destination = Destination::open(job, &plan, &mut start, &decided.fields, claims, progress)?;
    pump(&stream, blocks, &plan, |block, ends_chunk, end| destination.take(block, ends_chunk, end))?;
    destination.settle()?;
    let report = report(job, &plan, decided, &mut start, &destination);
    publish(job, &stream, plan, &start, destination, report, claims)
}

/// Finds the inputs, and reads the start of tables.
fn open<'a>(job: &Job, claims: Option<&Claims>, progress: &'a Progress) -> Result<Stream<'a>> {
    // What the job makes is never read.
    let own = claims.map_or(Vec::new(), Claims::places);
    Stream::open(&job.inputs, &own, job.limits(), job.threads, job.in_flight(), progress)
}

/// Where a job begins: with the first record, or where an interrupted run of it stopped.
struct Start {
    /// With the edges known.
    bucketer: Bucketer,
    /// What is read of records, as far as it is known.
    fields: FieldSpec,
    /// What the journal is to say of the job, if it writes.
    header: Option<Header>,
    /// What an interrupted run left.
    left: Option<Left>,
    /// Chunks that it had finished.
    chunks: u64,
    /// What became of it.
    warnings: Vec<String>,
}

impl Start {
    fn find(job: &Job, bucketer: &Bucketer, stream: &Stream<'_>, claims: Option<&Claims>) -> Result<Self> {
        let mut warnings = Vec::new();
        let (mut header, mut left) = (None, None);
        if let Some(claims) = claims {
            let settings = job.settings(bucketer)?;
            let own = Header::new(settings, &stream.inputs, bucketer.schema(), &job.fields)?;
            left = resume::interrupted(job, stream, &claims.output, &own, &mut warnings)?;
            header = Some(left.as_ref().map_or(own, |left| left.journal.header.clone()));
        }
        let (bucketer, fields) = match (&left, &header) {
            (Some(_), Some(Header { schema, fields, .. })) => {
                let counter = bucketer.counter().cloned();
                (Bucketer::new(schema.clone(), counter, bucketer.counts_prompts())?, fields.clone())
            }
            _ => with_edges(job, bucketer, stream)?,
        };
        let chunks = left.as_ref().map_or(0, |left| left.journal.entries.len() as u64);
        Ok(Self { bucketer, fields, header, left, chunks, warnings })
    }

    fn blocks(&self, stream: &Stream<'_>) -> Blocks {
        let (position, rows) = self.left.as_ref().map_or((Position::default(), 0), Left::position);
        stream.blocks(position, rows)
    }
}

/// With `length_edges: auto`, the bucketer with the edges found in a first pass, and what that decided of the fields.
fn with_edges(job: &Job, bucketer: &Bucketer, stream: &Stream<'_>) -> Result<(Bucketer, FieldSpec)> {
    if !bucketer.schema().needs_edges() {
        return Ok((bucketer.clone(), job.fields.clone()));
    }
    stream.inputs.keep_pipes(&stream.progress.cancel)?;
    let mut blocks = stream.all_blocks();
    let decided = decide(stream, &job.fields, &mut blocks)?;
    let layout = Layout::new(bucketer.schema(), false, false, false)?;
    let plan = new_plan(job, stream, bucketer, &decided, layout, Pass::Observe, None);
    let mut lengths = LengthHistograms::default();
    pump(stream, blocks, &plan, |block, _, _| {
        lengths.merge(&block.lengths);
        Ok(())
    })?;
    stream.rewind();
    Ok((bucketer.with_observed_edges(&lengths), decided.fields))
}

/// What the input's first records tell of all.
struct Decided {
    /// What is read of records, with their shape.
    fields: FieldSpec,
    /// Their shape.
    shape: Option<Shape>,
    /// How they are read.
    records: Records,
}

fn decide(stream: &Stream<'_>, fields: &FieldSpec, blocks: &mut Blocks) -> Result<Decided> {
    let fields = stream.with_shape(fields, blocks)?;
    let (records, shape) = stream.records(&fields)?;
    Ok(Decided { fields, shape, records })
}

/// What the workers do: write the output's columns, or look at what would be written.
fn plan(
    job: &Job,
    stream: &Stream<'_>,
    start: &Start,
    decided: &Decided,
    writes: bool,
) -> Result<Arc<BucketPlan>> {
    let bucketer = &start.bucketer;
    // Of a dry run too: what could not be written is not promised.
    let (layout, columns) = output_columns(job, stream, bucketer, decided.shape)?;
    if !writes {
        let layout = Layout::new(bucketer.schema(), false, false, false)?;
        let pass = Pass::Look { examples: EXAMPLES };
        return Ok(new_plan(job, stream, bucketer, decided, layout, pass, None));
    }
    // What an earlier run wrote is not counted here: then all is read again at the end.
    let wanted = job.reference.as_ref().filter(|_| start.chunks == 0);
    let builder = wanted.map(|wanted| wanted.builder(bucketer, job.fields.keep_thinking));
    let builder = builder.transpose()?.map(Arc::new);
    Ok(new_plan(job, stream, bucketer, decided, layout, Pass::Write(columns), builder))
}

fn new_plan(
    job: &Job,
    stream: &Stream<'_>,
    bucketer: &Bucketer,
    decided: &Decided,
    layout: Layout,
    pass: Pass,
    reference: Option<Arc<Builder>>,
) -> Arc<BucketPlan> {
    Arc::new(BucketPlan {
        inputs: Arc::clone(&stream.inputs),
        bucketer: bucketer.clone(),
        records: decided.records.clone(),
        fields: job.fields.clone(),
        turns: job.turns,
        ours: worker::own_fields(stream.table.as_ref(), bucketer.schema()),
        held_out: HeldOut::new(job.test_share),
        layout,
        pass,
        reference,
        cancel: stream.cancel(),
    })
}

/// The output's columns and how they are written.
fn output_columns(
    job: &Job,
    stream: &Stream<'_>,
    bucketer: &Bucketer,
    shape: Option<Shape>,
) -> Result<(Layout, WrittenColumns)> {
    let texts = !job.assignments_only;
    let preference = shape == Some(Shape::Preference);
    if preference && job.turns == Turns::All {
        return Err(Error::Input(
            "turns `all` parts conversations, but these records are preferences, of one reply each: leave it out"
                .into(),
        ));
    }
    let extra = stream.table.is_none() && job.fields.keep_extra;
    let layout = Layout::new(bucketer.schema(), texts, preference, extra)?;
    let mut fields = layout.fields();
    let names: Vec<String> = fields.iter().map(|(field, _)| field.name().clone()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let partitions = Partitions::new(&job.partition_by, &layout.axes, &names)?;
    let own = match &stream.table {
        Some(schema) if texts => OwnColumns::new(schema, &layout)?,
        _ => OwnColumns::default(),
    };
    fields.extend(own.fields);
    let encoder = Arc::new(Encoder::new(&fields, bucketer.schema(), !own.columns.is_empty())?);
    Ok((layout, WrittenColumns { encoder, own: own.columns, partitions }))
}

/// Runs all blocks through the workers of a plan; `each` takes what became of them, in input order.
fn pump(
    stream: &Stream<'_>,
    blocks: Blocks,
    plan: &Arc<BucketPlan>,
    each: impl FnMut(BucketedBlock, bool, Position) -> Result<()>,
) -> Result<()> {
    let plan = Arc::clone(plan);
    stream.pump(blocks, move || BucketWorker::new(&plan), each)
}

/// Where finished blocks go.
struct Destination<'c> {
    schema: BucketSchema,
    /// All buckets there are.
    buckets: BucketTable,
    to: To<'c>,
}

enum To<'c> {
    /// A dry run's: counts, and a few rows to look at.
    Preview { totals: Box<Stats>, repeats: Box<Repeats>, examples: Vec<Example> },
    /// The output's folder.
    Folder(Box<Output<'c>>),
}

impl<'c> Destination<'c> {
    /// Of a plan that writes, the folder as it is begun or gone on with.
    fn open(
        job: &Job,
        plan: &BucketPlan,
        start: &mut Start,
        fields: &FieldSpec,
        claims: Option<&'c Claims>,
        progress: &Progress,
    ) -> Result<Self> {
        let schema = plan.bucketer.schema().clone();
        let to = match (claims, &mut start.header, &plan.pass) {
            (Some(claims), Some(header), Pass::Write(columns)) => {
                (header.schema, header.fields) = (schema.clone(), fields.clone());
                let (left, encoder) = (start.left.take(), Arc::clone(&columns.encoder));
                let split = !job.partition_by.is_empty();
                To::Folder(Box::new(Output::open(&claims.output, header, left, encoder, split)?))
            }
            _ => To::Preview { totals: Box::default(), repeats: Box::default(), examples: Vec::new() },
        };
        let mut buckets = BucketTable::default();
        add_buckets(&mut buckets, to.seen().0, &schema)?;
        progress.rows.fetch_add(to.seen().0.records(), Ordering::Relaxed);
        Ok(Self { schema, buckets, to })
    }

    /// Takes what became of a block, after which the stream goes on at `end`.
    fn take(&mut self, block: BucketedBlock, ends_chunk: bool, end: Position) -> Result<()> {
        add_buckets(&mut self.buckets, &block.stats, &self.schema)?;
        match &mut self.to {
            To::Folder(output) => output.append(block, ends_chunk, end),
            To::Preview { totals, repeats, examples } => {
                block.seen.iter().for_each(|row| repeats.add(row));
                totals.merge(block.stats);
                examples.extend(block.examples.into_iter().take(EXAMPLES - examples.len()));
                Ok(())
            }
        }
    }

    /// Waits until all that was taken is on disk.
    fn settle(&mut self) -> Result<()> {
        match &mut self.to {
            To::Folder(output) => output.settle(),
            To::Preview { .. } => Ok(()),
        }
    }
}

impl To<'_> {
    /// The counts of all that was taken, and what was seen of rows.
    fn seen(&self) -> (&Stats, &Repeats) {
        match self {
            Self::Preview { totals, repeats, .. } => (totals.as_ref(), repeats.as_ref()),
            Self::Folder(output) => (output.totals(), output.repeats()),
        }
    }
}

/// Adds buckets to those known, as long as there are not too many.
fn add_buckets(table: &mut BucketTable, stats: &Stats, schema: &BucketSchema) -> Result<()> {
    for bucket in stats.buckets.values() {
        table.insert(&bucket.parts);
    }
    table.check(schema)
}

/// What is known once all is settled, before anything appears.
fn report(
    job: &Job,
    plan: &BucketPlan,
    decided: Decided,
    start: &mut Start,
    destination: &Destination<'_>,
) -> Report {
    let (totals, repeats) = destination.to.seen();
    let mut report = Report::new(job, plan, decided.fields, decided.shape, totals, repeats);
    report.warnings.splice(0..0, std::mem::take(&mut start.warnings));
    match &destination.to {
        To::Preview { examples, .. } => report.examples.clone_from(examples),
        To::Folder(output) => {
            report.output.clone_from(&job.output);
            report.shards = output.shards().len() as u64;
            report.resumed_from = (start.chunks > 0).then_some(start.chunks);
        }
    }
    report
}

/// Makes the output appear, with its manifest and the reference. Of a dry run there is nothing.
fn publish(
    job: &Job,
    stream: &Stream<'_>,
    plan: Arc<BucketPlan>,
    start: &Start,
    destination: Destination<'_>,
    mut report: Report,
    claims: Option<&Claims>,
) -> Result<Report> {
    let (Some(claims), Some(header), To::Folder(output)) = (claims, &start.header, destination.to) else {
        return Ok(report);
    };
    let (totals, shards, rejects) = (output.totals(), output.shards(), output.rejects());
    let manifest =
        manifest::write(&header.settings, &plan.bucketer, &report, &plan.inputs, totals, shards, rejects)?;
    output.write_manifest(&manifest)?;
    let builder = plan.reference.clone();
    // It has the builder too, which is finished once nobody else may count into it.
    drop(plan);
    if let (Some(wanted), Some(claim)) = (&job.reference, &claims.reference) {
        let reference = match builder {
            Some(builder) => finish(builder)?,
            // An earlier run had a part in the output.
            None => wanted.rebuild(&claims.output.work(), job.threads, stream.progress)?,
        };
        reference.write_to(claim)?;
        report.reference = Some(wanted.path.clone());
    }
    claims.publish()?;
    Ok(report)
}
