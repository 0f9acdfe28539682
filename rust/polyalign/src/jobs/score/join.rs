//! The buckets of human answers, by id.

use crate::jobs::output::bucketed::Bucketed;
use crate::reference::Reference;
use crate::stream::batches::table_schema;
use crate::stream::input::{Input, discover};
use crate::{Error, Result};
use arrow_array::cast::AsArray;
use arrow_array::{Array, RecordBatch};
use arrow_cast::cast;
use arrow_schema::DataType;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::AtomicBool;

/// Which bucket each id is in.
#[derive(Debug, Default)]
pub(crate) struct Joined {
    buckets: Vec<String>,
    ids: HashMap<Box<str>, u32>,
}

/// Ids that stand in several buckets tell nothing.
const AMBIGUOUS: u32 = u32::MAX;

impl Joined {
    /// Reads bucketed folders.
    ///
    /// # Errors
    /// What is no bucketed folder, buckets that the reference means otherwise, and files that can't be read.
    pub fn read(folders: &[String], reference: &Reference) -> Result<Self> {
        let mut joined = Self::default();
        if folders.is_empty() {
            return Ok(joined);
        }
        let bucketed = Bucketed::find(folders, false)?;
        bucketed.check_fits(reference)?;
        let inputs = discover(&bucketed.inputs, &[])?;
        if !inputs.is_table() {
            return Err(Error::Input(format!(
                "{}: not a folder made by polyalign bucket",
                folders.join(", ")
            )));
        }
        inputs.keep_pipes(&AtomicBool::new(false))?;
        table_schema(&inputs)?;
        let mut numbers = HashMap::new();
        for file in &inputs.files {
            let damaged = |_| Err(Error::Input(format!("{}: the file is damaged", file.path.display())));
            let read = AssertUnwindSafe(|| joined.read_file(file, &mut numbers));
            catch_unwind(read).unwrap_or_else(damaged)?;
        }
        Ok(joined)
    }

    /// The bucket of the human answer with this id, if there is one.
    pub fn bucket(&self, id: &str) -> Option<&str> {
        let number = *self.ids.get(id)?;
        self.buckets.get(number as usize).map(String::as_str)
    }

    fn read_file(&mut self, input: &Input, numbers: &mut HashMap<String, u32>) -> Result<()> {
        let path = &input.path;
        let failed = |what: &dyn std::fmt::Display| Error::Input(format!("{}: {what}", path.display()));
        let file = input.open_file().map_err(|error| Error::io(path, error))?;
        let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|error| failed(&error))?;
        let index = |name| builder.schema().index_of(name).map_err(|error| failed(&error));
        let mask = ProjectionMask::roots(builder.parquet_schema(), [index("id")?, index("bucket")?]);
        let reader = builder.with_projection(mask).build().map_err(|error| failed(&error))?;
        for batch in reader {
            self.add(&batch.map_err(|error| failed(&error))?, numbers)?;
        }
        Ok(())
    }

    fn add(&mut self, batch: &RecordBatch, numbers: &mut HashMap<String, u32>) -> Result<()> {
        let column = |name: &str| -> Result<_> {
            let column =
                batch.column_by_name(name).ok_or_else(|| Error::Input(format!("no column `{name}`")))?;
            Ok(cast(column, &DataType::Utf8)?)
        };
        let (ids, buckets) = (column("id")?, column("bucket")?);
        let (ids, buckets) = (ids.as_string::<i32>(), buckets.as_string::<i32>());
        for row in (0..ids.len()).filter(|&row| !ids.is_null(row) && !buckets.is_null(row)) {
            let bucket = buckets.value(row);
            let number = match numbers.get(bucket) {
                Some(number) => *number,
                None => {
                    let number = self.buckets.len() as u32;
                    self.buckets.push(bucket.to_owned());
                    numbers.insert(bucket.to_owned(), number);
                    number
                }
            };
            let known = self.ids.entry(ids.value(row).into()).or_insert(number);
            if *known != number {
                *known = AMBIGUOUS;
            }
        }
        Ok(())
    }
}
