//! Encoding columns as Parquet: in the workers, so that the writer only appends.

use crate::buckets::BucketSchema;
use crate::{Error, Result};
use arrow_array::ArrayRef;
use arrow_schema::{DataType, Field, Fields, Schema, SchemaRef};
use parquet::arrow::arrow_writer::{
    ArrowColumnChunk, ArrowColumnWriter, ArrowRowGroupWriterFactory, compute_leaves,
};
use parquet::arrow::{ArrowSchemaConverter, add_encoded_arrow_schema_to_metadata};
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{
    EnabledStatistics, WriterProperties, WriterPropertiesBuilder, WriterPropertiesPtr, WriterVersion,
};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::{ColumnPath, TypePtr};
use std::io::Write;
use std::sync::Arc;

/// How a column is best stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Storage {
    /// Few distinct strings.
    Label,
    /// Nearly all distinct, with common beginnings.
    Id,
    /// Rises by one.
    Counter,
    /// Small numbers.
    Number,
    /// Long texts.
    Text,
    /// A column of the input.
    Own,
}

/// The key of our schema in the metadata of a Parquet file.
pub const METADATA_KEY: &str = "polyalign.schema";

/// The columns of an output, ready to encode.
pub struct Encoder {
    /// The columns as they are read back.
    pub schema: SchemaRef,
    root: TypePtr,
    properties: WriterPropertiesPtr,
    factory: ArrowRowGroupWriterFactory,
}

impl Encoder {
    /// `own`: whether some columns are the input's, whose Arrow types are then kept in the metadata.
    ///
    /// # Errors
    /// A column of a type that Parquet does not have.
    pub fn new(fields: &[(Field, Storage)], buckets: &BucketSchema, own: bool) -> Result<Self> {
        let schema = Arc::new(Schema::new(fields.iter().map(|(f, _)| f.clone()).collect::<Vec<_>>()));
        let failed = |e: ParquetError| Error::Input(format!("the columns can't be stored as Parquet: {e}"));
        let parquet = ArrowSchemaConverter::new().convert(&schema).map_err(failed)?;
        let mut builder = WriterProperties::builder()
            .set_writer_version(WriterVersion::PARQUET_1_0)
            .set_created_by(concat!("polyalign ", env!("CARGO_PKG_VERSION")).to_owned())
            .set_compression(zstd(1))
            .set_statistics_enabled(EnabledStatistics::Chunk)
            .set_offset_index_disabled(true)
            .set_key_value_metadata(Some(vec![KeyValue::new(METADATA_KEY.to_owned(), buckets.to_json())]));
        for (field, storage) in fields {
            let leaves = parquet.columns().iter().map(|c| c.path());
            for leaf in leaves.filter(|path| path.parts()[0] == *field.name()) {
                builder = store(builder, leaf, *storage);
            }
        }
        let mut properties = builder.build();
        if own {
            add_encoded_arrow_schema_to_metadata(&schema, &mut properties);
        }
        let properties = Arc::new(properties);
        let root = parquet.root_schema_ptr();
        let file = SerializedFileWriter::new(Vec::new(), Arc::clone(&root), Arc::clone(&properties))
            .map_err(failed)?;
        let factory = ArrowRowGroupWriterFactory::new(&file, Arc::clone(&schema));
        factory.create_column_writers(0).map_err(failed)?;
        Ok(Self { schema, root, properties, factory })
    }

    /// A file to append row groups to.
    pub fn file<W: Write + Send>(&self, sink: W) -> Result<SerializedFileWriter<W>, ParquetError> {
        SerializedFileWriter::new(sink, Arc::clone(&self.root), Arc::clone(&self.properties))
    }

    /// A row group to encode.
    pub fn row_group(&self) -> Result<RowGroup> {
        let writers = self.factory.create_column_writers(0).map_err(internal)?;
        Ok(RowGroup { writers, fields: self.schema.fields().clone(), rows: 0 })
    }
}

fn zstd(level: i32) -> Compression {
    Compression::ZSTD(ZstdLevel::try_new(level).unwrap_or_default())
}

fn store(builder: WriterPropertiesBuilder, leaf: &ColumnPath, storage: Storage) -> WriterPropertiesBuilder {
    let column = || leaf.clone();
    let plain = |builder: WriterPropertiesBuilder| builder.set_column_dictionary_enabled(column(), false);
    let is_role = leaf.parts().last().is_some_and(|part| part == "role");
    match storage {
        Storage::Label | Storage::Own => builder,
        Storage::Text if is_role => builder.set_column_statistics_enabled(column(), EnabledStatistics::None),
        Storage::Text => plain(builder)
            .set_column_encoding(column(), Encoding::PLAIN)
            .set_column_statistics_enabled(column(), EnabledStatistics::None),
        Storage::Id => plain(builder)
            .set_column_encoding(column(), Encoding::DELTA_BYTE_ARRAY)
            .set_column_statistics_enabled(column(), EnabledStatistics::None),
        Storage::Counter => plain(builder)
            .set_column_encoding(column(), Encoding::DELTA_BINARY_PACKED)
            .set_column_compression(column(), Compression::UNCOMPRESSED),
        Storage::Number => plain(builder)
            .set_column_encoding(column(), Encoding::DELTA_BINARY_PACKED)
            .set_column_compression(column(), Compression::UNCOMPRESSED),
    }
}

/// Columns being encoded.
pub struct RowGroup {
    writers: Vec<ArrowColumnWriter>,
    fields: Fields,
    rows: usize,
}

/// Encoded columns.
pub struct Encoded {
    chunks: Vec<ArrowColumnChunk>,
    /// Rows.
    pub rows: usize,
}

impl RowGroup {
    /// Adds rows. A column of strings may come as a dictionary of them.
    pub fn write(&mut self, columns: &[ArrayRef]) -> Result<()> {
        self.rows += columns.first().map_or(0, |c| c.len());
        let mut writers = self.writers.iter_mut();
        for (field, column) in self.fields.iter().zip(columns) {
            let leaves = match (field.data_type(), column.data_type()) {
                (DataType::Utf8, DataType::Dictionary(..)) => {
                    let field = field.as_ref().clone().with_data_type(column.data_type().clone());
                    compute_leaves(&field, column)
                }
                _ => compute_leaves(field, column),
            };
            for leaf in leaves.map_err(internal)? {
                let writer =
                    writers.next().ok_or_else(|| Error::Output("fewer columns than leaves".into()))?;
                writer.write(&leaf).map_err(internal)?;
            }
        }
        Ok(())
    }

    /// Ends the row group.
    pub fn finish(self) -> Result<Encoded> {
        // Collected, they would stay in the writers' memory, which is much larger.
        let mut chunks = Vec::with_capacity(self.writers.len());
        for writer in self.writers {
            chunks.push(writer.close().map_err(internal)?);
        }
        Ok(Encoded { chunks, rows: self.rows })
    }
}

impl Encoded {
    /// Appends the row group to a file.
    pub fn append<W: Write + Send>(self, file: &mut SerializedFileWriter<W>) -> Result<(), ParquetError> {
        let mut group = file.next_row_group()?;
        for chunk in self.chunks {
            chunk.append_to_row_group(&mut group)?;
        }
        group.close()?;
        Ok(())
    }
}

fn internal(e: ParquetError) -> Error {
    Error::Output(format!("encoding Parquet: {e}"))
}
