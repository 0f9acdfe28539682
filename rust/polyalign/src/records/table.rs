//! Records out of Arrow tables: the same shapes, from columns.
//!
//! Text is borrowed from the columns. A null is as good as a missing member. A column, a list's elements or a
//! struct's member whose text is JSON (`datasets`' `Json()`) is read as what it holds.

use super::assemble::{Key, Kind, Node, PAIRS, Source, assemble};
use super::decide::decide;
use super::fields::{Field, Label, Plan, bit, own};
use super::forms::Sample;
use super::json::{self, JsonKey, JsonNode};
use super::json_column::is_json;
use super::record::{Record, Reject};
use super::shape::{FieldSpec, Shape};
use super::unify::item;
use crate::{Error, Result};
use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowDictionaryKeyType, Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef, RecordBatch, downcast_integer_array};
use arrow_buffer::NullBuffer;
use arrow_schema::{DataType, Field as ArrowField, FieldRef, Schema};
use bumpalo::Bump;
use bumpalo::collections::String as ArenaString;

/// Reads records of one shape from record batches of one schema.
///
/// ```
/// use arrow_array::{ArrayRef, RecordBatch, StringArray};
/// use polyalign::records::shape::FieldSpec;
/// use polyalign::records::table::TableRecords;
/// use std::sync::Arc;
///
/// let column = |text: &str| Arc::new(StringArray::from(vec![text])) as ArrayRef;
/// let batch = RecordBatch::try_from_iter([("prompt", column("Tea?")), ("completion", column("Yes."))])?;
/// let records = TableRecords::new(&batch.schema(), &FieldSpec::default())?;
/// records.for_each(&batch, &mut |row, record| {
///     assert_eq!((row, record.unwrap().response.content), (0, "Yes."));
/// })?;
/// # Ok::<(), polyalign::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct TableRecords {
    plan: Plan,
    /// By slot: the index of the column.
    columns: Vec<Option<usize>>,
    /// The columns that nothing is read from.
    others: Vec<usize>,
}

impl TableRecords {
    /// Finds the columns; decides the shape by column names if `fields.shape` is `None`.
    ///
    /// # Errors
    /// If the columns have no known shape, or a column that is read has a type that can't hold what
    /// is read from it, or is there twice.
    pub fn new(schema: &Schema, fields: &FieldSpec) -> Result<Self> {
        let plan = Plan::new(&decide_fields(schema, fields)?)?;
        let column = |slot| column_of(schema, plan.names.name(slot));
        let columns = (0..plan.names.len()).map(column).collect::<Result<Vec<_>>>()?;
        let read = |index: &usize| columns.contains(&Some(*index));
        let others = (0..schema.fields().len()).filter(|index| !read(index)).collect();
        let records = Self { plan, columns, others };
        records.check(schema)?;
        Ok(records)
    }

    /// The shape of the records; `None` if prompt and response are fields that the user named.
    pub fn shape(&self) -> Option<Shape> {
        self.plan.shape
    }

    /// Calls `each` with every row's record or reason, in row order.
    ///
    /// # Errors
    /// If the batch does not have the schema that `new` saw.
    pub fn for_each(
        &self,
        batch: &RecordBatch,
        each: &mut dyn FnMut(usize, Result<Record<'_>, Reject>),
    ) -> Result<()> {
        let columns = self.bind(batch)?;
        let schema = batch.schema_ref();
        let others: Vec<_> = self
            .others
            .iter()
            .map(|&index| (schema.field(index).name().as_str(), batch.column(index).logical_nulls()))
            .collect();
        let mut arena = Bump::new();
        // Most tables hold no JSON, and are read without asking every value for it.
        let holds_json = columns.iter().flatten().any(Column::holds_json);
        let bound = columns.iter().enumerate().filter(|(_, column)| column.is_some());
        let present = bound.fold(0, |present, (slot, _)| present | bit(slot));
        for row in 0..batch.num_rows() {
            arena.reset();
            let source = Row { records: self, columns: &columns, present, others: &others, row };
            let read = match holds_json {
                true => assemble(&self.plan, &JsonRow { row: source, arena: &arena }, &arena),
                false => assemble(&self.plan, &source, &arena),
            };
            each(row, read.map(|read| read.record));
        }
        Ok(())
    }

    /// By slot: the batch's column.
    fn bind<'b>(&self, batch: &'b RecordBatch) -> Result<Vec<Option<Column<'b>>>> {
        let bind = |(slot, index): (usize, &Option<usize>)| {
            let Some(index) = *index else { return Ok(None) };
            let name = self.plan.names.name(slot);
            if batch.schema_ref().fields().get(index).is_none_or(|field| field.name() != name) {
                return Err(Error::Input(format!("a batch without the column `{name}` of the first")));
            }
            Ok(Some(Column::of(batch.schema_ref().field(index), batch.column(index))))
        };
        self.columns.iter().enumerate().map(bind).collect()
    }

    /// Refuses columns that can't hold what is read from them.
    fn check(&self, schema: &Schema) -> Result<()> {
        let plan = &self.plan;
        for (slot, name) in own::NAMES.iter().enumerate().filter(|(slot, _)| plan.names.is_read(*slot)) {
            let own = plan.shape.is_some_and(|shape| shape.fields().contains(name));
            if let Some(index) = self.columns[slot].filter(|_| own) {
                expect(schema, index, own_classes(slot))?;
            }
        }
        let whole = |field: &Field| self.columns[field.ways[0].0];
        for (field, classes) in [
            (&plan.prompt, &[Class::Text, Class::List][..]),
            (&plan.response, &[Class::Text, Class::List, Class::Struct]),
            (&plan.rejected, &[Class::Text, Class::List, Class::Struct]),
            (&plan.messages, &[Class::List]),
        ] {
            if let Some(index) = field.as_ref().and_then(whole) {
                expect(schema, index, classes)?;
            }
        }
        let labels = [(&plan.id, true), (&plan.group, true), (&plan.language, false), (&plan.track, false)];
        let labels = labels.into_iter().chain([(&plan.family, false)]);
        // What holds something else is no label where it was not named so.
        let columns =
            |label: &Label| label.fields.iter().take(label.lenient).filter_map(whole).collect::<Vec<_>>();
        for (label, integers) in labels {
            for index in columns(label) {
                expect(
                    schema,
                    index,
                    if integers { &[Class::Text, Class::Integer] } else { &[Class::Text] },
                )?;
            }
        }
        let scalars = &[Class::Text, Class::Integer, Class::Float, Class::Bool];
        for label in plan.custom.iter().chain([&plan.source, &plan.system]) {
            for index in columns(label) {
                expect(schema, index, scalars)?;
            }
        }
        Ok(())
    }
}

/// What to read from a table: `fields` with the shape decided, and the column that holds the conversations where that
/// is not the shape's own.
///
/// # Errors
/// If the columns have no known shape: lists them; if they can be read in two ways: says which.
pub fn decide_fields(schema: &Schema, fields: &FieldSpec) -> Result<FieldSpec> {
    if fields.needs_shape() { decide(&[sample(schema)], fields) } else { Ok(fields.clone()) }
}

/// What the shape is decided from.
fn sample(schema: &Schema) -> Sample {
    let named = |holds: fn(&ArrowField) -> bool| {
        schema.fields().iter().filter(|field| holds(field)).map(|field| field.name().clone()).collect()
    };
    Sample {
        names: named(|_| true),
        chats: named(is_chat),
        texts: named(|field| Class::of_field(field) == Class::Text),
    }
}

/// Whether a column's values are lists of messages (or, of what is JSON, may be).
fn is_chat(field: &ArrowField) -> bool {
    let Some(item) = item(field.data_type()) else { return is_json(field) };
    let DataType::Struct(members) = item.data_type() else { return is_json(item) };
    let has = |names: &[&str]| members.iter().any(|member| names.contains(&member.name().as_str()));
    let has_both = |pair: &[&str; 2]| pair.iter().all(|name| has(&[name]));
    has(&["role", "from"]) && has(&["content", "value", "text"]) || PAIRS.iter().any(has_both)
}

fn column_of(schema: &Schema, name: &str) -> Result<Option<usize>> {
    let mut found = (0..schema.fields().len()).filter(|&index| schema.field(index).name() == name);
    match (found.next(), found.next()) {
        (_, Some(_)) => Err(Error::Input(format!("the column `{name}` is there twice: rename one"))),
        (found, None) => Ok(found),
    }
}

/// What a column's values are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Null,
    Bool,
    Integer,
    Float,
    Text,
    /// Text that holds anything.
    Json,
    List,
    Struct,
    Other,
}

impl Class {
    fn of_field(field: &ArrowField) -> Self {
        if is_json(field) { Self::Json } else { Self::of(field.data_type()) }
    }

    fn of(data_type: &DataType) -> Self {
        match data_type {
            DataType::Null => Self::Null,
            DataType::Boolean => Self::Bool,
            DataType::Float16 | DataType::Float32 | DataType::Float64 => Self::Float,
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Self::Text,
            DataType::List(_)
            | DataType::LargeList(_)
            | DataType::FixedSizeList(..)
            | DataType::ListView(_)
            | DataType::LargeListView(_) => Self::List,
            DataType::Struct(_) => Self::Struct,
            DataType::Dictionary(_, values) => Self::of(values),
            integer if integer.is_integer() => Self::Integer,
            _ => Self::Other,
        }
    }
    const fn name(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool => "booleans",
            Self::Integer => "integers",
            Self::Float => "floats",
            Self::Text => "text",
            Self::Json => "JSON",
            Self::List => "lists",
            Self::Struct => "structs",
            Self::Other => "other values",
        }
    }
}

fn own_classes(slot: usize) -> &'static [Class] {
    match slot {
        own::PROMPT => &[Class::Text, Class::List],
        own::COMPLETION | own::CHOSEN | own::REJECTED => &[Class::Text, Class::List, Class::Struct],
        own::MESSAGES | own::CONVERSATIONS | own::HISTORY | own::DIALOGUE_HISTORY => &[Class::List],
        _ => &[Class::Text],
    }
}

fn expect(schema: &Schema, index: usize, classes: &[Class]) -> Result<()> {
    let field = schema.field(index);
    let class = Class::of_field(field);
    if matches!(class, Class::Null | Class::Json) || classes.contains(&class) {
        return expect_messages(field);
    }
    let expected: Vec<&str> = classes.iter().map(|class| class.name()).collect();
    let (name, found) = (field.name(), field.data_type());
    let expected = expected.join(" or ");
    let remedy = match class {
        Class::Text => "parse it first if it holds JSON, else rename it",
        _ => "cast or rename it",
    };
    Err(Error::Input(format!("the column `{name}` has type {found}, expected {expected}: {remedy}")))
}

/// Refuses lists whose elements can hold neither messages nor turns.
fn expect_messages(field: &ArrowField) -> Result<()> {
    let Some(item) = item(field.data_type()) else { return Ok(()) };
    if Class::of_field(item) != Class::Other {
        return Ok(());
    }
    let (name, found) = (field.name(), item.data_type());
    Err(Error::Input(format!(
        "the column `{name}` has lists of {found}, expected lists of structs (role, content): cast or rename it"
    )))
}

/// A column of known type.
enum Column<'b> {
    /// Text, and which array it lies in.
    Utf8(&'b arrow_array::StringArray),
    LargeUtf8(&'b arrow_array::LargeStringArray),
    Utf8View(&'b arrow_array::StringViewArray),
    /// Numbers, booleans and what is never read.
    Plain(&'b ArrayRef, Kind),
    Dictionary(&'b ArrayRef, Keys, Box<Column<'b>>),
    /// Text that is JSON.
    Json(Box<Column<'b>>),
    List(&'b ArrayRef, Bounds, Box<Column<'b>>),
    Struct(&'b ArrayRef, Vec<(Name<'b>, Column<'b>)>),
}

/// The index of a row's value in a dictionary.
type Keys = fn(&ArrayRef, usize) -> usize;
/// Where a row's elements start and end.
type Bounds = fn(&ArrayRef, usize) -> (usize, usize);

/// A struct member's name.
#[derive(Clone, Copy)]
struct Name<'b>(&'b str);

impl<'b> Key<'b> for Name<'b> {
    fn shown(self) -> &'b str {
        self.0
    }
}

impl PartialEq<str> for Name<'_> {
    fn eq(&self, name: &str) -> bool {
        self.0 == name
    }
}

impl<'b> Column<'b> {
    fn of(field: &ArrowField, array: &'b ArrayRef) -> Self {
        match is_json(field) {
            true => Self::Json(Box::new(Self::plain(array))),
            false => Self::plain(array),
        }
    }

    fn plain(array: &'b ArrayRef) -> Self {
        match array.data_type() {
            DataType::Utf8 => Self::Utf8(array.as_string()),
            DataType::LargeUtf8 => Self::LargeUtf8(array.as_string()),
            DataType::Utf8View => Self::Utf8View(array.as_string_view()),
            DataType::List(item) => Self::list(array, item, array.as_list::<i32>().values(), |array, row| {
                let offsets = array.as_list::<i32>().value_offsets();
                (offsets[row] as usize, offsets[row + 1] as usize)
            }),
            DataType::LargeList(item) => {
                Self::list(array, item, array.as_list::<i64>().values(), |array, row| {
                    let offsets = array.as_list::<i64>().value_offsets();
                    (offsets[row] as usize, offsets[row + 1] as usize)
                })
            }
            DataType::FixedSizeList(item, _) => {
                Self::list(array, item, array.as_fixed_size_list().values(), |array, row| {
                    let list = array.as_fixed_size_list();
                    let start = list.value_offset(row) as usize;
                    (start, start + list.value_length() as usize)
                })
            }
            DataType::ListView(item) => {
                Self::list(array, item, array.as_list_view::<i32>().values(), |array, row| {
                    let list = array.as_list_view::<i32>();
                    let start = list.value_offset(row) as usize;
                    (start, start + list.value_size(row) as usize)
                })
            }
            DataType::LargeListView(item) => {
                Self::list(array, item, array.as_list_view::<i64>().values(), |array, row| {
                    let list = array.as_list_view::<i64>();
                    let start = list.value_offset(row) as usize;
                    (start, start + list.value_size(row) as usize)
                })
            }
            DataType::Struct(fields) => {
                let members = fields.iter().zip(array.as_struct().columns());
                let member =
                    |(field, column): (&'b FieldRef, _)| (Name(field.name()), Self::of(field, column));
                Self::Struct(array, members.map(member).collect())
            }
            DataType::Dictionary(keys, _) => {
                let values = Box::new(Self::plain(array.as_any_dictionary().values()));
                Self::Dictionary(array, keys_of(keys), values)
            }
            other => Self::Plain(array, kind_of(Class::of(other))),
        }
    }

    fn list(array: &'b ArrayRef, item: &ArrowField, values: &'b ArrayRef, bounds: Bounds) -> Self {
        Self::List(array, bounds, Box::new(Self::of(item, values)))
    }

    fn holds_json(&self) -> bool {
        match self {
            Self::Json(_) => true,
            Self::List(_, _, values) | Self::Dictionary(_, _, values) => values.holds_json(),
            Self::Struct(_, members) => members.iter().any(|(_, column)| column.holds_json()),
            _ => false,
        }
    }

    fn is_null(&self, row: usize) -> bool {
        match self {
            Self::Utf8(array) => array.is_null(row),
            Self::LargeUtf8(array) => array.is_null(row),
            Self::Utf8View(array) => array.is_null(row),
            Self::Json(texts) => texts.is_null(row),
            Self::Plain(array, kind) => *kind == Kind::Null || array.is_null(row),
            Self::Dictionary(array, keys, values) => array.is_null(row) || values.is_null(keys(array, row)),
            Self::List(array, ..) | Self::Struct(array, _) => array.is_null(row),
        }
    }
}

/// The kind of a column's values that are neither text nor nested.
const fn kind_of(class: Class) -> Kind {
    match class {
        Class::Null => Kind::Null,
        Class::Bool => Kind::Bool,
        Class::Integer => Kind::Integer,
        Class::Float => Kind::Float,
        _ => Kind::Other,
    }
}

fn keys_of(keys: &DataType) -> Keys {
    fn key<K: ArrowDictionaryKeyType>(array: &ArrayRef, row: usize) -> usize {
        use arrow_buffer::ArrowNativeType;
        array.as_dictionary::<K>().keys().value(row).as_usize()
    }
    match keys {
        DataType::Int8 => key::<Int8Type>,
        DataType::Int16 => key::<Int16Type>,
        DataType::Int64 => key::<Int64Type>,
        DataType::UInt8 => key::<UInt8Type>,
        DataType::UInt16 => key::<UInt16Type>,
        DataType::UInt32 => key::<UInt32Type>,
        DataType::UInt64 => key::<UInt64Type>,
        _ => key::<Int32Type>,
    }
}

#[derive(Clone, Copy)]
struct Row<'a> {
    records: &'a TableRecords,
    columns: &'a [Option<Column<'a>>],
    /// One bit a slot: it has a column.
    present: u128,
    /// The columns that nothing is read from: names and nulls.
    others: &'a [(&'a str, Option<NullBuffer>)],
    row: usize,
}

impl<'a> Source<'a> for Row<'a> {
    type Node = Cell<'a>;

    fn slot(&self, slot: usize) -> Option<Cell<'a>> {
        self.columns[slot].as_ref().map(|column| Cell::new(column, self.row))
    }

    fn present(&self) -> u128 {
        self.present
    }

    fn others(&self, used: u128, each: &mut dyn FnMut(&'a str)) {
        let bound = self.columns.iter().enumerate().filter(|(slot, _)| used >> slot & 1 == 0);
        for (slot, column) in bound {
            if column.as_ref().is_some_and(|column| !column.is_null(self.row)) {
                each(self.records.plan.names.name(slot));
            }
        }
        for (name, nulls) in self.others {
            if nulls.as_ref().is_none_or(|nulls| nulls.is_valid(self.row)) {
                each(name);
            }
        }
    }
}

/// A row of which some values are JSON.
struct JsonRow<'a> {
    row: Row<'a>,
    arena: &'a Bump,
}

impl<'a> Source<'a> for JsonRow<'a> {
    type Node = Value<'a>;

    fn slot(&self, slot: usize) -> Option<Value<'a>> {
        self.row.slot(slot).map(|cell| Value::new(cell, self.arena))
    }

    fn present(&self) -> u128 {
        self.row.present
    }

    fn others(&self, used: u128, each: &mut dyn FnMut(&'a str)) {
        self.row.others(used, each);
    }
}

/// One value of such a row: of a column, or of the JSON that a column's text holds.
#[derive(Clone, Copy)]
enum Value<'a> {
    Cell(Cell<'a>, &'a Bump),
    Json(JsonNode<'a>),
    /// Text that should be JSON and is not.
    Broken,
}

impl<'a> Value<'a> {
    fn new(cell: Cell<'a>, arena: &'a Bump) -> Self {
        match cell.column {
            Column::Json(texts) if !cell.null => {
                let text = Cell::new(texts, cell.row).str();
                json::value(text, arena).map_or(Self::Broken, Self::Json)
            }
            _ => Self::Cell(cell, arena),
        }
    }

    fn split(self) -> (Option<(Cell<'a>, &'a Bump)>, Option<JsonNode<'a>>) {
        match self {
            Self::Cell(cell, arena) => (Some((cell, arena)), None),
            Self::Json(node) => (None, Some(node)),
            Self::Broken => (None, None),
        }
    }
}

/// A member's name, in a struct or in JSON.
#[derive(Clone, Copy)]
enum MemberKey<'a> {
    Name(Name<'a>),
    Json(JsonKey<'a>),
}

impl<'a> Key<'a> for MemberKey<'a> {
    fn shown(self) -> &'a str {
        match self {
            Self::Name(own) => own.shown(),
            Self::Json(own) => own.shown(),
        }
    }
}

impl PartialEq<str> for MemberKey<'_> {
    fn eq(&self, name: &str) -> bool {
        match self {
            Self::Name(own) => own == name,
            Self::Json(own) => own == name,
        }
    }
}

impl<'a> Node<'a> for Value<'a> {
    type Key = MemberKey<'a>;

    fn kind(self) -> Kind {
        match self {
            Self::Cell(cell, _) => cell.kind(),
            Self::Json(node) => node.kind(),
            Self::Broken => Kind::Broken,
        }
    }

    fn offset(self) -> usize {
        if let Self::Json(node) = self { node.offset() } else { 0 }
    }

    fn text(self, arena: &'a Bump) -> Result<&'a str, Reject> {
        match self {
            Self::Cell(cell, _) => cell.text(arena),
            Self::Json(node) => node.text(arena),
            Self::Broken => Ok(""),
        }
    }

    fn push_text(self, text: &mut ArenaString<'a>) -> Result<(), Reject> {
        match self {
            Self::Cell(cell, _) => cell.push_text(text),
            Self::Json(node) => node.push_text(text),
            Self::Broken => Ok(()),
        }
    }

    fn scalar(self, arena: &'a Bump) -> &'a str {
        match self {
            Self::Cell(cell, _) => cell.scalar(arena),
            Self::Json(node) => node.scalar(arena),
            Self::Broken => "",
        }
    }

    fn elements(self) -> impl Iterator<Item = Self> {
        let (cell, node) = self.split();
        let cells = cell
            .into_iter()
            .flat_map(|(cell, arena)| cell.elements().map(move |element| Self::new(element, arena)));
        cells.chain(node.into_iter().flat_map(|node| node.elements().map(Self::Json)))
    }

    fn members(self) -> impl Iterator<Item = (Self::Key, Self)> {
        let (cell, node) = self.split();
        let cells = cell.into_iter().flat_map(|(cell, arena)| {
            cell.members().map(move |(name, member)| (MemberKey::Name(name), Self::new(member, arena)))
        });
        let nodes = node.into_iter().flat_map(|node| node.members());
        cells.chain(nodes.map(|(key, value)| (MemberKey::Json(key), Self::Json(value))))
    }
}

/// One value of a column (of a dictionary's values, if it has one).
#[derive(Clone, Copy)]
struct Cell<'a> {
    column: &'a Column<'a>,
    row: usize,
    null: bool,
}

impl<'a> Cell<'a> {
    fn new(column: &'a Column<'a>, row: usize) -> Self {
        let null = column.is_null(row);
        match column {
            Column::Dictionary(array, keys, values) if !null => Self::new(values, keys(array, row)),
            _ => Self { column, row, null },
        }
    }

    fn str(self) -> &'a str {
        match self.column {
            Column::Utf8(array) => array.value(self.row),
            Column::LargeUtf8(array) => array.value(self.row),
            Column::Utf8View(array) => array.value(self.row),
            _ => "",
        }
    }
}

impl<'a> Node<'a> for Cell<'a> {
    type Key = Name<'a>;

    fn kind(self) -> Kind {
        match self.column {
            _ if self.null => Kind::Null,
            Column::Utf8(_) | Column::LargeUtf8(_) | Column::Utf8View(_) => Kind::Text,
            Column::Plain(_, kind) => *kind,
            Column::List(..) => Kind::List,
            Column::Struct(..) => Kind::Object,
            Column::Json(_) | Column::Dictionary(..) => Kind::Other,
        }
    }

    fn offset(self) -> usize {
        0
    }

    fn text(self, _: &'a Bump) -> Result<&'a str, Reject> {
        Ok(self.str())
    }

    fn push_text(self, text: &mut ArenaString<'a>) -> Result<(), Reject> {
        text.push_str(self.str());
        Ok(())
    }

    fn scalar(self, arena: &'a Bump) -> &'a str {
        let Column::Plain(array, _) = self.column else { return "" };
        let row = self.row;
        let array = *array;
        downcast_integer_array!(
            array => bumpalo::format!(in arena, "{}", array.value(row)).into_bump_str(),
            DataType::Boolean => if array.as_boolean().value(row) { "true" } else { "false" },
            DataType::Float16 => float(array.as_primitive::<Float16Type>().value(row).to_f64(), arena),
            DataType::Float32 => bumpalo::format!(in arena, "{:?}", array.as_primitive::<Float32Type>().value(row)).into_bump_str(),
            DataType::Float64 => float(array.as_primitive::<Float64Type>().value(row), arena),
            _ => "",
        )
    }

    fn elements(self) -> impl Iterator<Item = Self> {
        let rows = match self.column {
            Column::List(array, bounds, values) => Some((bounds(array, self.row), &**values)),
            _ => None,
        };
        rows.into_iter()
            .flat_map(|((start, end), values)| (start..end).map(move |row| Self::new(values, row)))
    }

    fn members(self) -> impl Iterator<Item = (Self::Key, Self)> {
        let columns: &'a [(Name<'a>, Column<'a>)] = match self.column {
            Column::Struct(_, columns) => columns,
            _ => &[],
        };
        columns.iter().map(move |(name, column)| (*name, Self::new(column, self.row)))
    }
}

/// The shortest text that reads back as the same number.
fn float(value: f64, arena: &Bump) -> &str {
    bumpalo::format!(in arena, "{:?}", value).into_bump_str()
}

/// Rows that a thread takes at a time of a table in memory.
const PIECE_ROWS: usize = 1024;

/// Slices of a table in memory, with the number of their first row.
pub(crate) fn pieces(batches: &[RecordBatch]) -> Vec<(u64, RecordBatch)> {
    let mut pieces = Vec::new();
    let mut first = 0;
    for batch in batches {
        let rows = batch.num_rows();
        let slice = |start| (first + start as u64, batch.slice(start, PIECE_ROWS.min(rows - start)));
        pieces.extend((0..rows).step_by(PIECE_ROWS).map(slice));
        first += rows as u64;
    }
    pieces
}
