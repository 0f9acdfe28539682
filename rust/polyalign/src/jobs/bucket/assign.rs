//! Buckets for a table in memory.

use super::columns::axis_columns;
use super::job::resolved_fields;
use super::reading::{self, Reading};
use super::table::{OwnColumns, with_plain_parts};
use crate::buckets::{Assignment, BucketTable, Bucketer};
use crate::records::shape::FieldSpec;
use crate::records::table::{TableRecords, pieces};
use crate::stream::Place;
use crate::{Error, Result};
use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions, StringArray, UInt32Array};
use arrow_cast::cast;
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// Appends the assignment columns to a table, without copying its own columns.
///
/// The table keeps its columns (one that is named as one of ours becomes `source_<name>`) and its
/// rows and their order, and gains `bucket`, the bucket's parts, `length`, `prompt_tokens` and
/// `completion_tokens`. A row that can't be used has nulls there; if there is any such row, a last
/// column `bucket_error` holds the reasons. A table that carries our columns from before has them
/// replaced. `threads` 0: all cores.
///
/// Returns the new schema (the same for every batch), one batch for each given, and how the rows were read.
///
/// # Errors
/// Columns that hold no known record shape, and more than 10,000 buckets.
pub fn assign_table(
    schema: &SchemaRef,
    batches: &[RecordBatch],
    bucketer: &Bucketer,
    fields: &FieldSpec,
    threads: usize,
) -> Result<(SchemaRef, Vec<RecordBatch>, Reading)> {
    if bucketer.schema().needs_edges() {
        return Err(Error::Schema(
            "length_edges `auto` need a pass over a corpus: bucket files, or give edges".into(),
        ));
    }
    let records = TableRecords::new(schema, &resolved_fields(fields, bucketer, false))?;
    let labels = batches.iter().map(|batch| with_plain_parts(batch, bucketer.schema()));
    let pieces = pieces(&labels.collect::<Result<Vec<_>>>()?);
    let work = Work { records: &records, bucketer, ours: &made_anew(schema, bucketer) };
    let mut results = assign_all(&pieces, &work, worker_count(threads, pieces.len()))?;
    let mut reading = reading::Counts::default();
    results.iter_mut().for_each(|result| reading.merge(std::mem::take(&mut result.reading)));
    let table = merge(&results, bucketer)?;
    let with_errors = results.iter().flat_map(|r| &r.rows).any(Result::is_err);
    let (schema, own) = output_schema(schema, bucketer, with_errors);
    let mut rows = results.iter().flat_map(|result| {
        let known: Vec<u32> = result.table.ids().iter().map(|id| table.number(id)).collect();
        result.rows.iter().map(move |row| match row {
            Ok(a) => Ok(Assignment { bucket: known[a.bucket as usize], ..*a }),
            Err(reason) => Err(reason.as_str()),
        })
    });
    let mut out = Vec::with_capacity(batches.len());
    for batch in batches {
        let rows: Vec<_> = rows.by_ref().take(batch.num_rows()).collect();
        let mut columns: Vec<ArrayRef> = own.iter().map(|&i| Arc::clone(batch.column(i))).collect();
        columns.extend(assignment_columns(&rows, &table.buckets, bucketer, with_errors)?);
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        out.push(RecordBatch::try_new_with_options(Arc::clone(&schema), columns, &options)?);
    }
    Ok((schema, out, reading.report(|_| TABLE.to_owned())))
}

/// What a reading's places are in.
const TABLE: &str = "table";

/// The names of the columns that are ours, where a table carries them from before.
fn made_anew(schema: &Schema, bucketer: &Bucketer) -> HashSet<String> {
    let (_, own) = output_schema(schema, bucketer, true);
    let kept: HashSet<usize> = own.into_iter().collect();
    let names = schema.fields().iter().enumerate().filter(|(index, _)| !kept.contains(index));
    names.map(|(_, field)| field.name().clone()).collect()
}

fn worker_count(threads: usize, pieces: usize) -> usize {
    crate::stream::thread_count(threads).clamp(1, pieces.max(1))
}

/// A slice's assignments; buckets are numbered by its own table.
#[derive(Default)]
struct Assigned {
    table: BucketTable,
    rows: Vec<Result<Assignment, String>>,
    reading: reading::Counts,
}

/// What rows are assigned with.
struct Work<'a> {
    records: &'a TableRecords,
    bucketer: &'a Bucketer,
    /// Columns that nobody misses.
    ours: &'a HashSet<String>,
}

/// Assigns all slices, several at a time.
fn assign_all(
    pieces: &[(u64, RecordBatch)],
    &Work { records, bucketer, ours }: &Work<'_>,
    threads: usize,
) -> Result<Vec<Assigned>> {
    let next = AtomicUsize::new(0);
    let results: Vec<Mutex<Result<Assigned>>> =
        pieces.iter().map(|_| Mutex::new(Ok(Assigned::default()))).collect();
    let work = || {
        let mut scratch = bucketer.scratch();
        while let Some(((first, piece), result)) = {
            let i = next.fetch_add(1, Ordering::Relaxed);
            pieces.get(i).zip(results.get(i))
        } {
            let mut assigned = Assigned::default();
            let read = records.for_each(piece, &mut |row, record| {
                let Assigned { table, rows, reading } = &mut assigned;
                rows.push(record.map_err(|reject| reject.reason).and_then(|record| {
                    let place = Place { file: 0, row: first + row as u64, line: None, offset: None };
                    reading.add(&record, &place, ours, false);
                    bucketer.assign(&record, table, &mut scratch).map_err(|unassigned| unassigned.reason)
                }));
            });
            *result.lock().unwrap_or_else(PoisonError::into_inner) = read.map(|()| assigned);
        }
    };
    if threads == 1 {
        work();
    } else {
        thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
    }
    results.into_iter().map(|r| r.into_inner().unwrap_or_else(PoisonError::into_inner)).collect()
}

/// The buckets of all slices.
struct Merged {
    buckets: BucketTable,
    numbers: std::collections::HashMap<String, u32>,
}

impl Merged {
    fn number(&self, id: &str) -> u32 {
        self.numbers[id]
    }
}

fn merge(results: &[Assigned], bucketer: &Bucketer) -> Result<Merged> {
    let mut buckets = BucketTable::default();
    for result in results {
        buckets.merge(&result.table);
        buckets.check(bucketer.schema())?;
    }
    let numbers = buckets.ids().iter().cloned().zip(0..).collect();
    Ok(Merged { buckets, numbers })
}

/// The schema with our columns, and the input's columns that stay.
fn output_schema(schema: &Schema, bucketer: &Bucketer, with_errors: bool) -> (SchemaRef, Vec<usize>) {
    let text = |name: &str| Field::new(name, DataType::Utf8, true);
    let count = |name: &str| Field::new(name, DataType::UInt32, true);
    let mut ours = vec![text("bucket")];
    ours.extend(bucketer.schema().axes.iter().map(|axis| text(axis.column())));
    ours.extend(["length", "prompt_tokens", "completion_tokens"].map(count));
    if with_errors {
        ours.push(text("bucket_error"));
    }
    let mut names: HashSet<String> = ours.iter().map(|field| field.name().clone()).collect();
    names.insert("bucket_error".into());
    let own = OwnColumns::beside(schema, &names);
    let mut fields: Vec<Field> = own.fields.into_iter().map(|(field, _)| field).collect();
    fields.extend(ours);
    (Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone())), own.columns)
}

fn assignment_columns(
    rows: &[Result<Assignment, &str>],
    table: &BucketTable,
    bucketer: &Bucketer,
    with_errors: bool,
) -> Result<Vec<ArrayRef>> {
    let buckets: Vec<Option<i32>> = rows.iter().map(|r| r.as_ref().ok().map(|a| a.bucket as i32)).collect();
    let labels = axis_columns(bucketer.schema().axes.len(), &buckets, table)?;
    let plain = |column: &ArrayRef| cast(column, &DataType::Utf8);
    let mut columns = labels.iter().map(plain).collect::<Result<Vec<_>, _>>()?;
    let count = |of: fn(&Assignment) -> Option<u32>| -> ArrayRef {
        Arc::new(UInt32Array::from_iter(rows.iter().map(|r| r.as_ref().ok().and_then(of))))
    };
    columns.push(count(|a| Some(a.length)));
    columns.push(count(|a| a.prompt_tokens));
    columns.push(count(|a| a.completion_tokens));
    if with_errors {
        columns.push(Arc::new(StringArray::from_iter(rows.iter().map(|r| r.as_ref().err()))));
    }
    Ok(columns)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buckets::BucketSchema;
    use arrow_array::Array;
    use arrow_array::cast::AsArray;

    fn table(rows: usize) -> RecordBatch {
        let prompts = StringArray::from_iter_values((0..rows).map(|i| format!("question {i}")));
        let answers =
            StringArray::from_iter((0..rows).map(|i| {
                (i % 7 != 6).then(|| "these are some English words to be counted ".repeat(i % 50 + 1))
            }));
        let fields = vec![
            Field::new("prompt", DataType::Utf8, true),
            Field::new("completion", DataType::Utf8, true),
            Field::new("bucket", DataType::Utf8, true),
        ];
        let columns: Vec<ArrayRef> = vec![Arc::new(prompts.clone()), Arc::new(answers), Arc::new(prompts)];
        RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
    }

    #[test]
    fn rows_stay_in_place_and_columns_are_shared() {
        let batch = table(5000);
        let bucketer = Bucketer::new(BucketSchema::default(), None, true).unwrap();
        let split = [batch.slice(0, 1), batch.slice(1, 0), batch.slice(1, 4999)];
        let fields = FieldSpec::default();
        let (schema, out, _) = assign_table(&batch.schema(), &split, &bucketer, &fields, 2).unwrap();
        let names: Vec<&str> = schema.fields().iter().map(|f| f.name().as_str()).collect();
        assert_eq!(names[..4], ["prompt", "completion", "source_bucket", "bucket"]);
        assert_eq!(names.last(), Some(&"bucket_error"));
        assert_eq!(out.iter().map(RecordBatch::num_rows).collect::<Vec<_>>(), [1, 0, 4999]);
        let pointer = |b: &RecordBatch| b.column(0).as_string::<i32>().value_data().as_ptr();
        assert_eq!(pointer(&out[2]), pointer(&batch));
        let last = &out[2];
        let lengths = last.column_by_name("length").unwrap();
        let errors = last.column_by_name("bucket_error").unwrap();
        for i in 0..last.num_rows() {
            let bad = (i + 1) % 7 == 6;
            assert_eq!((lengths.is_null(i), errors.is_null(i)), (bad, !bad), "row {i}");
        }
        let (_, one, _) = assign_table(&batch.schema(), &split, &bucketer, &fields, 1).unwrap();
        assert_eq!(one, out);
    }
}
