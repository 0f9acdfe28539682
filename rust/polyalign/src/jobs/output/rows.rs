//! Rows of an output directory, to look at.

use crate::error::one_line;
use crate::stream::open::Handle;
use crate::{Error, Result};
use arrow_array::cast::AsArray;
use arrow_array::{BooleanArray, RecordBatch};
use arrow_cast::cast;
use arrow_schema::{ArrowError, DataType, SchemaRef};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowPredicateFn, ParquetRecordBatchReaderBuilder, RowFilter};
use parquet::errors::ParquetError;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

const BATCH_ROWS: usize = 256;

/// The first `limit` rows of a bucket (of all, if `None`), in the output's order; a batch may have
/// none. `output` is a directory made by a bucketing job.
///
/// # Errors
/// A directory without Parquet files in `data/`, and files that can't be read or have no `bucket`.
pub fn first_rows(
    output: &Path,
    bucket: Option<&str>,
    limit: usize,
) -> Result<(SchemaRef, Vec<RecordBatch>)> {
    let data = output.join("data");
    let mut files = Vec::new();
    parquet_files(&data, &mut files)?;
    files.sort_unstable();
    let mut schema = None;
    let mut batches = Vec::new();
    let mut left = limit;
    for file in &files {
        let read = AssertUnwindSafe(|| rows_of(file, bucket, left));
        let damaged = |_| Err(unreadable(file, "the file is damaged"));
        let (own, rows) = catch_unwind(read).unwrap_or_else(damaged)?;
        schema.get_or_insert(own);
        left -= rows.iter().map(RecordBatch::num_rows).sum::<usize>();
        batches.extend(rows);
        if left == 0 {
            break;
        }
    }
    match schema {
        Some(schema) => Ok((schema, batches)),
        None => Err(Error::Output(format!("{}: no Parquet files there", data.display()))),
    }
}

/// The first rows of one file.
fn rows_of(file: &Path, bucket: Option<&str>, limit: usize) -> Result<(SchemaRef, Vec<RecordBatch>)> {
    let builder = open(file)?;
    let schema = builder.schema().clone();
    if limit == 0 {
        return Ok((schema, Vec::new()));
    }
    let unreadable = |error: &dyn std::fmt::Display| unreadable(file, one_line(&error.to_string()));
    let builder = match bucket {
        Some(bucket) => only_bucket(builder, bucket).map_err(|error| unreadable(&error))?,
        None => builder,
    };
    let builder = builder.with_batch_size(limit.min(BATCH_ROWS)).with_limit(limit);
    let reader = builder.build().map_err(|error| unreadable(&error))?;
    let batches = reader.collect::<Result<_, _>>().map_err(|error| unreadable(&error))?;
    Ok((schema, batches))
}

fn parquet_files(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).map_err(|error| Error::io(folder, error))? {
        let entry = entry.map_err(|error| Error::io(folder, error))?;
        let path = entry.path();
        // Links, which may lead back, are no part of an output.
        if entry.file_type().is_ok_and(|of| of.is_dir()) {
            parquet_files(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "parquet") {
            files.push(path);
        }
    }
    Ok(())
}

fn open(file: &Path) -> Result<ParquetRecordBatchReaderBuilder<Handle>> {
    let handle = Handle::open(file).map_err(|error| Error::io(file, error))?;
    ParquetRecordBatchReaderBuilder::try_new(handle).map_err(|error| unreadable(file, error))
}

/// Reads the other columns only where `bucket` matches.
fn only_bucket(
    builder: ParquetRecordBatchReaderBuilder<Handle>,
    bucket: &str,
) -> Result<ParquetRecordBatchReaderBuilder<Handle>, ParquetError> {
    let columns = builder.schema();
    let index = columns.index_of("bucket").map_err(ParquetError::from)?;
    let mask = ProjectionMask::roots(builder.parquet_schema(), [index]);
    let wanted = bucket.to_owned();
    let matches = move |batch: RecordBatch| -> Result<BooleanArray, ArrowError> {
        let buckets = cast(batch.column(0), &DataType::Utf8)?;
        Ok(buckets.as_string::<i32>().iter().map(|bucket| bucket.map(|bucket| bucket == wanted)).collect())
    };
    Ok(builder.with_row_filter(RowFilter::new(vec![Box::new(ArrowPredicateFn::new(mask, matches))])))
}

fn unreadable(file: &Path, error: impl std::fmt::Display) -> Error {
    Error::Output(format!("{}: {error}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::types::Int64Type;
    use arrow_array::{ArrayRef, Int64Array, StringArray};
    use parquet::arrow::ArrowWriter;
    use std::fs::File;
    use std::sync::Arc;

    fn write(file: &Path, buckets: &[&str], first: i64) {
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        let bucket: ArrayRef = Arc::new(StringArray::from(buckets.to_vec()));
        let rows: ArrayRef = Arc::new(Int64Array::from_iter_values(first..first + buckets.len() as i64));
        let dictionary = DataType::Dictionary(DataType::Int32.into(), DataType::Utf8.into());
        let bucket = cast(&bucket, &dictionary).unwrap();
        let batch = RecordBatch::try_from_iter([("row", rows), ("bucket", bucket)]).unwrap();
        let mut writer = ArrowWriter::try_new(File::create(file).unwrap(), batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
    }

    fn rows(output: &Path, bucket: Option<&str>, limit: usize) -> Vec<i64> {
        let (_, batches) = first_rows(output, bucket, limit).unwrap();
        batches
            .iter()
            .flat_map(|batch| {
                batch.column_by_name("row").unwrap().as_primitive::<Int64Type>().values().to_vec()
            })
            .collect()
    }

    #[test]
    fn gives_the_first_rows_of_a_bucket_over_files_and_folders() {
        let folder = tempfile::tempdir().unwrap();
        let output = folder.path();
        write(&output.join("data/family=qa/b.parquet"), &["x", "y", "x"], 10);
        write(&output.join("data/family=qa/a.parquet"), &["y", "x", "y"], 0);
        assert_eq!(rows(output, Some("x"), 10), [1, 10, 12]);
        assert_eq!(rows(output, Some("x"), 2), [1, 10]);
        assert_eq!(rows(output, Some("absent"), 2), Vec::<i64>::new());
        assert_eq!(rows(output, None, 4), [0, 1, 2, 10]);
    }

    #[test]
    fn says_what_is_not_an_output() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(first_rows(folder.path(), None, 1), Err(Error::Io { .. })));
        fs::create_dir(folder.path().join("data")).unwrap();
        assert!(first_rows(folder.path(), None, 1).unwrap_err().to_string().contains("no Parquet files"));
        fs::write(folder.path().join("data/a.parquet"), "no").unwrap();
        assert!(first_rows(folder.path(), None, 1).unwrap_err().to_string().contains("a.parquet"));
    }
}
