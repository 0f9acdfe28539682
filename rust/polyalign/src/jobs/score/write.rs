//! Scores as JSON lines or Parquet.

use crate::jobs::output::publish::{Claim, publish};
use crate::reference::scorer::Score;
use crate::{Error, Result};
use arrow_array::builder::{Float32Builder, ListBuilder, StringBuilder, UInt64Builder};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use serde::Serialize;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::Arc;

/// How scores are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Lines,
    Parquet,
}

impl Format {
    /// Told by the file's name.
    pub fn of(path: &Path) -> Result<Self> {
        let name = path.to_string_lossy();
        match path.extension().and_then(|extension| extension.to_str()) {
            _ if name == "-" => Ok(Self::Lines),
            Some("jsonl" | "ndjson" | "json") => Ok(Self::Lines),
            Some("parquet") => Ok(Self::Parquet),
            _ => Err(Error::Output(format!(
                "{name}: name a .jsonl or .parquet file, or - for standard output"
            ))),
        }
    }
}

/// A response's line.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Line<'a> {
    pub id: Option<&'a str>,
    pub file: &'a str,
    pub row: u64,
    pub bucket: Option<&'a str>,
    pub served_by: Option<&'a str>,
    pub score: Option<Score>,
    pub reason: Option<&'a str>,
    pub outside: &'a [String],
}

/// A line as JSON has it.
#[derive(Serialize)]
struct Json<'a> {
    id: &'a str,
    file: &'a str,
    row: u64,
    bucket: Option<&'a str>,
    served_by: Option<&'a str>,
    distance: Option<f32>,
    percentile: Option<f32>,
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    outside: &'a [String],
}

/// A number, if it is one.
fn defined(value: f64) -> Option<f32> {
    (!value.is_nan()).then_some(value as f32)
}

/// Lines of one block.
pub(crate) enum Lines {
    Json(Vec<u8>, String),
    Table(Box<Table>),
}

/// Lines of one block, ready to write.
pub(crate) enum Encoded {
    Bytes(Vec<u8>),
    Batch(RecordBatch),
}

impl Lines {
    pub fn new(format: Format) -> Self {
        match format {
            Format::Lines => Self::Json(Vec::new(), String::new()),
            Format::Parquet => Self::Table(Box::default()),
        }
    }

    pub fn push(&mut self, line: &Line<'_>) -> Result<()> {
        use std::fmt::Write;
        match self {
            Self::Table(table) => table.push(line),
            Self::Json(bytes, made) => {
                if line.id.is_none() {
                    made.clear();
                    let _ = write!(made, "{}:{}", line.file, line.row);
                }
                let json = Json {
                    id: line.id.unwrap_or(made),
                    file: line.file,
                    row: line.row,
                    bucket: line.bucket,
                    served_by: line.served_by,
                    distance: line.score.and_then(|score| defined(score.distance)),
                    percentile: line.score.and_then(|score| defined(score.percentile)),
                    reason: line.reason,
                    outside: line.outside,
                };
                serde_json::to_writer(&mut *bytes, &json)
                    .map_err(|error| Error::Output(format!("a line can't be written: {error}")))?;
                bytes.push(b'\n');
            }
        }
        Ok(())
    }

    pub fn finish(&mut self) -> Result<Encoded> {
        match self {
            Self::Json(bytes, _) => Ok(Encoded::Bytes(std::mem::take(bytes))),
            Self::Table(table) => table.finish().map(Encoded::Batch),
        }
    }
}

/// Columns in the making.
#[derive(Default)]
pub(crate) struct Table {
    texts: [StringBuilder; 5],
    row: UInt64Builder,
    distance: Float32Builder,
    percentile: Float32Builder,
    outside: ListBuilder<StringBuilder>,
}

impl Table {
    fn push(&mut self, line: &Line<'_>) {
        let [id, file, bucket, served_by, reason] = &mut self.texts;
        match line.id {
            Some(text) => id.append_value(text),
            None => id.append_value(format!("{}:{}", line.file, line.row)),
        }
        file.append_value(line.file);
        bucket.append_option(line.bucket);
        served_by.append_option(line.served_by);
        reason.append_option(line.reason);
        self.row.append_value(line.row);
        self.distance.append_option(line.score.and_then(|score| defined(score.distance)));
        self.percentile.append_option(line.score.and_then(|score| defined(score.percentile)));
        line.outside.iter().for_each(|words| self.outside.values().append_value(words));
        self.outside.append(true);
    }

    fn finish(&mut self) -> Result<RecordBatch> {
        let [id, file, bucket, served_by, reason] =
            self.texts.each_mut().map(|texts| Arc::new(texts.finish()) as ArrayRef);
        let columns: Vec<ArrayRef> = vec![
            id,
            file,
            Arc::new(self.row.finish()),
            bucket,
            served_by,
            Arc::new(self.distance.finish()),
            Arc::new(self.percentile.finish()),
            reason,
            Arc::new(self.outside.finish()),
        ];
        Ok(RecordBatch::try_new(schema(), columns)?)
    }
}

fn schema() -> SchemaRef {
    let text = |name: &str, nullable| Field::new(name, DataType::Utf8, nullable);
    let number = |name: &str| Field::new(name, DataType::Float32, true);
    let words = DataType::List(Arc::new(Field::new_list_field(DataType::Utf8, true)));
    Arc::new(Schema::new(vec![
        text("id", false),
        text("file", false),
        Field::new("row", DataType::UInt64, false),
        text("bucket", true),
        text("served_by", true),
        number("distance"),
        number("percentile"),
        text("reason", true),
        Field::new("outside", words, false),
    ]))
}

/// Where the lines go. A file appears when all of it is written.
pub(crate) struct Sink {
    to: To,
    claim: Option<Arc<Claim>>,
}

enum To {
    Nothing,
    Stdout,
    Lines(BufWriter<File>),
    Parquet(Box<ArrowWriter<File>>),
}

impl Sink {
    /// To a file that is claimed, or to standard output, if to anything.
    pub fn open(claim: Option<Arc<Claim>>, format: Option<Format>) -> Result<Self> {
        let to = match (&claim, format) {
            (_, None) => To::Nothing,
            (None, Some(_)) => To::Stdout,
            (Some(claim), Some(Format::Lines)) => To::Lines(BufWriter::new(claim.create()?)),
            (Some(claim), Some(Format::Parquet)) => {
                let zstd = ZstdLevel::try_new(1).map_err(|error| Error::Output(error.to_string()))?;
                let properties = WriterProperties::builder()
                    .set_created_by(concat!("polyalign ", env!("CARGO_PKG_VERSION")).to_owned())
                    .set_compression(Compression::ZSTD(zstd))
                    .build();
                let writer = ArrowWriter::try_new(claim.create()?, schema(), Some(properties));
                To::Parquet(Box::new(writer.map_err(|error| parquet_failed(claim, error))?))
            }
        };
        Ok(Self { to, claim })
    }

    pub fn write(&mut self, encoded: Encoded) -> Result<()> {
        match (&mut self.to, &self.claim, encoded) {
            (To::Nothing, ..) => Ok(()),
            (To::Stdout, _, Encoded::Bytes(bytes)) => {
                io::stdout().lock().write_all(&bytes).map_err(|error| Error::io("-", error))
            }
            (To::Lines(file), Some(claim), Encoded::Bytes(bytes)) => {
                file.write_all(&bytes).map_err(|error| claim.failed(error))
            }
            (To::Parquet(writer), Some(claim), Encoded::Batch(batch)) => {
                writer.write(&batch).map_err(|error| parquet_failed(claim, error))
            }
            _ => Err(Error::Output("lines of another format".into())),
        }
    }

    pub fn finish(self) -> Result<()> {
        let Some(claim) = self.claim else {
            return match self.to {
                To::Stdout => io::stdout().lock().flush().map_err(|error| Error::io("-", error)),
                _ => Ok(()),
            };
        };
        let file = match self.to {
            To::Lines(file) => file.into_inner().map_err(|error| claim.failed(error.into_error()))?,
            To::Parquet(writer) => writer.into_inner().map_err(|error| parquet_failed(&claim, error))?,
            To::Nothing | To::Stdout => return Ok(()),
        };
        file.sync_all().map_err(|error| claim.failed(error))?;
        // Some systems rename no open file.
        drop(file);
        publish(&[&claim])
    }
}

fn parquet_failed(claim: &Claim, error: ParquetError) -> Error {
    match error {
        ParquetError::External(error) => match error.downcast::<io::Error>() {
            Ok(error) => claim.failed(*error),
            Err(error) => claim.failed(io::Error::other(error)),
        },
        error => claim.failed(io::Error::other(error)),
    }
}
