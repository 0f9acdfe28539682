//! Hive-style folders: `language=en/family=qa`.

use crate::jobs::output::shards::{TEST, TRAIN};
use crate::{Error, Result};
use arrow_array::cast::AsArray;
use arrow_array::types::Int32Type;
use arrow_array::{Array, ArrayRef, UInt32Array};
use std::collections::BTreeMap;
use std::fmt::Write;

/// Splits rows by the values of some axes.
pub struct Partitions {
    /// The axes' names and which of our columns they are.
    axes: Vec<(String, usize)>,
}

impl Partitions {
    /// `names` must be axes; `columns` are the names of our output columns.
    ///
    /// # Errors
    /// A name that is no axis, or is given twice.
    pub fn new(names: &[String], axes: &[String], columns: &[&str]) -> Result<Self> {
        let mut found: Vec<(String, usize)> = Vec::new();
        for name in names {
            // The length axis goes by its column, as the number has the plain name.
            let name = if name == "length" { "length_bin" } else { name };
            let column = columns.iter().position(|column| *column == name);
            match column.filter(|_| axes.iter().any(|axis| axis == name)) {
                Some(column) if found.iter().all(|(other, _)| other != name) => {
                    found.push((name.into(), column));
                }
                Some(_) => return Err(Error::Input(format!("partition_by names {name} twice"))),
                None => {
                    return Err(Error::Input(format!(
                        "partition_by: {name} is no axis of the schema; the axes are {}",
                        axes.join(", ")
                    )));
                }
            }
        }
        Ok(Self { axes: found })
    }

    /// The rows of each file, by the start of its name, in that order; `held_out` says which are to be apart, if any
    /// may be. Axis columns must be dictionaries.
    pub fn split(&self, columns: Vec<ArrayRef>, held_out: &[bool]) -> Result<Vec<(String, Vec<ArrayRef>)>> {
        if self.axes.is_empty() && !held_out.contains(&true) {
            return Ok(vec![(TRAIN.into(), columns)]);
        }
        let keys: Vec<_> = self.axes.iter().map(|&(_, i)| columns[i].as_dictionary::<Int32Type>()).collect();
        let mut rows: BTreeMap<(Vec<i32>, bool), Vec<u32>> = BTreeMap::new();
        for row in 0..columns[0].len() {
            let key = keys.iter().map(|k| k.keys().value(row)).collect();
            let is_held_out = held_out.get(row).copied().unwrap_or(false);
            rows.entry((key, is_held_out)).or_default().push(row as u32);
        }
        let mut split = Vec::with_capacity(rows.len());
        for ((key, is_held_out), rows) in rows {
            let mut stem = String::new();
            for ((name, _), (dictionary, number)) in self.axes.iter().zip(keys.iter().zip(key)) {
                let value = dictionary.values().as_string::<i32>().value(number as usize);
                let _ = write!(stem, "{}={}/", escape(name), escape(value));
            }
            stem.push_str(if is_held_out { TEST } else { TRAIN });
            let rows = UInt32Array::from(rows);
            let taken = columns.iter().map(|c| arrow_select::take::take(c, &rows, None));
            split.push((stem, taken.collect::<Result<_, _>>()?));
        }
        split.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(split)
    }
}

/// A folder name's part, percent-escaped as pyarrow, polars and DuckDB read it.
fn escape(value: &str) -> String {
    if value.is_empty() {
        return "__HIVE_DEFAULT_PARTITION__".into();
    }
    let mut out = String::with_capacity(value.len());
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.') {
            out.push(byte as char);
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}
