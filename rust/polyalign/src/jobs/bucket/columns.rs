//! Our output columns: their names and types, and building them row by row.

use super::encode::Storage;
use crate::buckets::{Assignment, BucketSchema, BucketTable};
use crate::records::record::{Message, Record};
use crate::{Error, Result};
use arrow_array::types::Int32Type;
use arrow_array::{
    ArrayRef, DictionaryArray, Int32Array, Int64Array, ListArray, StringArray, StructArray, UInt32Array,
};
use arrow_buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow_schema::{DataType, Field, Fields};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Which of our columns a job writes, and in which order.
#[derive(Clone, Debug)]
pub struct Layout {
    /// The columns of the schema's axes.
    pub axes: Vec<String>,
    /// Whether prompts and responses are written.
    pub texts: bool,
    /// Whether responses come in pairs: `chosen` and `rejected` instead of `completion`.
    pub preference: bool,
    /// Whether the records' remaining members are written as `extra`.
    pub extra: bool,
}

/// Columns before the axes.
const FIRST: [&str; 4] = ["id", "file", "row", "bucket"];
/// Columns after the axes.
const COUNTS: [&str; 4] = ["length", "prompt_tokens", "completion_tokens", "group"];
/// Columns of texts.
const TEXTS: [&str; 5] = ["prompt", "completion", "chosen", "rejected", "extra"];

impl Layout {
    /// The layout of a schema's outputs.
    ///
    /// # Errors
    /// An axis that is named as another of our columns.
    pub fn new(schema: &BucketSchema, texts: bool, preference: bool, extra: bool) -> Result<Self> {
        let axes: Vec<String> = schema.axes.iter().map(|axis| axis.column().to_owned()).collect();
        let taken = |axis: &&String| {
            let axis = axis.as_str();
            FIRST.contains(&axis) || COUNTS.contains(&axis) || TEXTS.contains(&axis)
        };
        match axes.iter().find(taken) {
            Some(axis) => Err(Error::Schema(format!(
                "axis `{axis}` has the name of an output column; give the axis another name"
            ))),
            None => Ok(Self { axes, texts, preference, extra: extra && texts }),
        }
    }

    /// The names of all columns that there may be of ours.
    pub fn names(schema: &BucketSchema) -> HashSet<String> {
        let axes = schema.axes.iter().map(|axis| axis.column());
        axes.chain(FIRST).chain(COUNTS).chain(TEXTS).map(str::to_owned).collect()
    }

    /// The columns, with how they are best stored.
    pub fn fields(&self) -> Vec<(Field, Storage)> {
        let text = |name: &str, storage, nullable| (Field::new(name, DataType::Utf8, nullable), storage);
        let count = |name: &str, nullable| (Field::new(name, DataType::UInt32, nullable), Storage::Number);
        let mut fields = vec![
            text("id", Storage::Id, false),
            text("file", Storage::Label, false),
            (Field::new("row", DataType::Int64, false), Storage::Counter),
            text("bucket", Storage::Label, false),
        ];
        fields.extend(self.axes.iter().map(|axis| text(axis, Storage::Label, false)));
        fields.extend([
            count("length", false),
            count("prompt_tokens", true),
            count("completion_tokens", true),
        ]);
        fields.push(text("group", Storage::Label, true));
        if self.texts {
            let mut messages = vec!["prompt"];
            messages.extend(if self.preference { &["chosen", "rejected"][..] } else { &["completion"] });
            fields.extend(messages.into_iter().map(|name| (messages_field(name), Storage::Text)));
        }
        if self.extra {
            fields.push(text("extra", Storage::Text, true));
        }
        fields
    }
}

/// A column in TRL's conversational form.
fn messages_field(name: &str) -> Field {
    let item = Field::new("element", DataType::Struct(message_fields()), false);
    Field::new(name, DataType::List(Arc::new(item)), false)
}

fn message_fields() -> Fields {
    Fields::from(vec![
        Field::new("role", DataType::Utf8, false),
        Field::new("content", DataType::Utf8, false),
    ])
}

/// Strings one after the other.
#[derive(Default)]
struct Strings {
    bytes: Vec<u8>,
    offsets: Vec<i32>,
    valid: Vec<bool>,
}

impl Strings {
    fn push(&mut self, value: &str) {
        if self.offsets.is_empty() {
            self.offsets.push(0);
        }
        self.bytes.extend_from_slice(value.as_bytes());
        // Checked at the end: what is beyond does not fit a column.
        self.offsets.push(self.bytes.len() as i32);
        self.valid.push(true);
    }

    fn push_option(&mut self, value: Option<&str>) {
        self.push(value.unwrap_or_default());
        if let (None, Some(last)) = (value, self.valid.last_mut()) {
            *last = false;
        }
    }

    fn finish(mut self) -> Result<StringArray> {
        if i32::try_from(self.bytes.len()).is_err() {
            return Err(Error::Input("more than 2 GiB of text in one block; lower max_record_bytes".into()));
        }
        if self.offsets.is_empty() {
            self.offsets.push(0);
        }
        let offsets = OffsetBuffer::new(ScalarBuffer::from(self.offsets));
        let nulls = self.valid.contains(&false).then(|| NullBuffer::from(self.valid));
        // SAFETY: `bytes` is a concatenation of `str`s, cut where they end, and offsets rise from 0 to its
        // length, which fits i32.
        Ok(unsafe { StringArray::new_unchecked(offsets, Buffer::from_vec(self.bytes), nulls) })
    }
}

/// Lists of messages.
#[derive(Default)]
struct Messages {
    offsets: Vec<i32>,
    roles: Vec<i32>,
    role_names: Vec<String>,
    contents: Strings,
}

impl Messages {
    fn push(&mut self, messages: &[Message<'_>]) {
        for message in messages {
            let role = self.role(message.role);
            self.roles.push(role);
            self.contents.push(message.content);
        }
        if self.offsets.is_empty() {
            self.offsets.push(0);
        }
        self.offsets.push(self.roles.len() as i32);
    }

    /// The number of a role. There are a handful, so they are searched from the first.
    fn role(&mut self, name: &str) -> i32 {
        const SEARCHED: usize = 16;
        match self.role_names.iter().take(SEARCHED).position(|known| known == name) {
            Some(number) => number as i32,
            None => {
                self.role_names.push(name.to_owned());
                self.role_names.len() as i32 - 1
            }
        }
    }

    fn finish(mut self) -> Result<ArrayRef> {
        if self.offsets.is_empty() {
            self.offsets.push(0);
        }
        let names = StringArray::from(self.role_names);
        let roles = arrow_select::take::take(&names, &Int32Array::from(self.roles), None)?;
        let contents: ArrayRef = Arc::new(self.contents.finish()?);
        let messages = StructArray::try_new(message_fields(), vec![roles, contents], None)?;
        let item = Arc::new(Field::new("element", DataType::Struct(message_fields()), false));
        let offsets = OffsetBuffer::new(ScalarBuffer::from(self.offsets));
        Ok(Arc::new(ListArray::try_new(item, offsets, Arc::new(messages), None)?))
    }
}

/// Strings of which few are distinct, as keys and values; written as plain strings.
fn labels(keys: Int32Array, values: Vec<&str>) -> Result<ArrayRef> {
    let values: ArrayRef = Arc::new(StringArray::from(values));
    Ok(Arc::new(DictionaryArray::<Int32Type>::try_new(keys, values)?))
}

/// Our columns of successive rows.
pub struct Columns<'l> {
    layout: &'l Layout,
    ids: Strings,
    files: Vec<i32>,
    file_names: Vec<String>,
    rows: Vec<i64>,
    buckets: Vec<i32>,
    lengths: Vec<u32>,
    prompt_tokens: Vec<Option<u32>>,
    completion_tokens: Vec<Option<u32>>,
    groups: Strings,
    prompts: Messages,
    responses: Messages,
    rejected: Messages,
    extra: Strings,
}

impl<'l> Columns<'l> {
    /// No rows yet.
    pub fn new(layout: &'l Layout) -> Self {
        Self {
            layout,
            ids: Strings::default(),
            files: Vec::new(),
            file_names: Vec::new(),
            rows: Vec::new(),
            buckets: Vec::new(),
            lengths: Vec::new(),
            prompt_tokens: Vec::new(),
            completion_tokens: Vec::new(),
            groups: Strings::default(),
            prompts: Messages::default(),
            responses: Messages::default(),
            rejected: Messages::default(),
            extra: Strings::default(),
        }
    }

    /// The rows that follow are of this file.
    pub fn set_file(&mut self, name: &str) {
        if self.file_names.last().is_none_or(|last| last != name) {
            self.file_names.push(name.to_owned());
        }
    }

    /// Rows so far.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Adds a row. [`set_file`](Self::set_file) must have been called.
    pub fn push(&mut self, record: &Record<'_>, row: u64, assignment: &Assignment) {
        match record.id {
            Some(id) => self.ids.push(id),
            None => {
                let file = self.file_names.last().map_or("", String::as_str);
                self.ids.push(&format!("{file}:{row}"));
            }
        }
        self.files.push(self.file_names.len() as i32 - 1);
        self.rows.push(row as i64);
        self.buckets.push(assignment.bucket as i32);
        self.lengths.push(assignment.length);
        self.prompt_tokens.push(assignment.prompt_tokens);
        self.completion_tokens.push(assignment.completion_tokens);
        self.groups.push_option(record.group);
        if self.layout.texts {
            self.prompts.push(record.prompt);
            self.responses.push(std::slice::from_ref(&record.response));
            if self.layout.preference {
                self.rejected.push(record.rejected.as_slice());
            }
        }
        if self.layout.extra {
            self.extra.push_option(record.extra);
        }
    }

    /// The columns, in the layout's order. Labels come as dictionaries.
    pub fn finish(self, table: &BucketTable) -> Result<Vec<ArrayRef>> {
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(self.ids.finish()?),
            labels(self.files.into(), self.file_names.iter().map(String::as_str).collect())?,
            Arc::new(Int64Array::from(self.rows)),
        ];
        columns.extend(axis_columns(self.layout.axes.len(), &self.buckets, table)?);
        columns.push(Arc::new(UInt32Array::from(self.lengths)));
        columns.push(Arc::new(UInt32Array::from(self.prompt_tokens)));
        columns.push(Arc::new(UInt32Array::from(self.completion_tokens)));
        columns.push(Arc::new(self.groups.finish()?));
        if self.layout.texts {
            columns.push(self.prompts.finish()?);
            columns.push(self.responses.finish()?);
            if self.layout.preference {
                columns.push(self.rejected.finish()?);
            }
        }
        if self.layout.extra {
            columns.push(Arc::new(self.extra.finish()?));
        }
        Ok(columns)
    }
}

/// The column of bucket ids, then one of parts for each axis.
pub fn axis_columns<K>(axes: usize, buckets: &[K], table: &BucketTable) -> Result<Vec<ArrayRef>>
where
    K: Copy + Into<Option<i32>>,
{
    let column = |of_bucket: Option<&[i32]>, values: Vec<&str>| -> Result<ArrayRef> {
        let key = |&bucket: &K| bucket.into().map(|b: i32| of_bucket.map_or(b, |of| of[b as usize]));
        labels(buckets.iter().map(key).collect(), values)
    };
    let mut columns = vec![column(None, table.ids().iter().map(String::as_str).collect())?];
    for axis in 0..axes {
        let mut values: Vec<&str> = Vec::new();
        let mut numbers: HashMap<&str, i32> = HashMap::new();
        let mut of_bucket = Vec::with_capacity(table.len());
        for bucket in 0..table.len() as u32 {
            let part = table.parts(bucket)[axis].as_str();
            of_bucket.push(*numbers.entry(part).or_insert_with(|| {
                values.push(part);
                values.len() as i32 - 1
            }));
        }
        columns.push(column(Some(&of_bucket), values)?);
    }
    Ok(columns)
}
