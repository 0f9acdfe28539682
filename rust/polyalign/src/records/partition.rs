//! Hive partitions: what the names of folders say of the rows in them (`language=en/source=wiki`).

use std::path::{Component, Path};

/// A key and its value, as Hive, Spark, pyarrow, polars and DuckDB read a folder's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// The column's name.
    pub name: String,
    /// Its value in all rows below the folder; `None`: null.
    pub value: Option<String>,
}

/// How a folder's name writes null.
const NULL: &str = "__HIVE_DEFAULT_PARTITION__";

/// The keys of a file's folders below `root`, and of those that end the path to `root`, so that a part of
/// a partitioned table has the columns of the whole. Of a key that is there twice, the inner one counts.
pub fn keys(path: &Path, root: &Path) -> Vec<Key> {
    let mut found: Vec<Key> = Vec::new();
    let below = path.strip_prefix(root).unwrap_or(path).parent().unwrap_or(Path::new(""));
    let inner = below.components().rev().filter_map(key);
    let outer = root.components().rev().map_while(key);
    for key in inner.chain(outer) {
        if found.iter().all(|other| other.name != key.name) {
            found.push(key);
        }
    }
    found.reverse();
    found
}

fn key(folder: Component<'_>) -> Option<Key> {
    let Component::Normal(name) = folder else { return None };
    let (name, value) = name.to_str()?.split_once('=')?;
    let value = (value != NULL && !value.is_empty()).then(|| decode(value));
    (!name.is_empty()).then(|| Key { name: decode(name), value })
}

/// Undoes percent-escapes; text that they don't make UTF-8 stays as it is.
fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let byte = after.get(..2).filter(|_| *first == b'%').and_then(hexadecimal);
        bytes.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &after[2..] } else { after };
    }
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
}

fn hexadecimal(digits: &[u8]) -> Option<u8> {
    let digit = |byte: u8| (byte as char).to_digit(16);
    Some((digit(digits[0])? << 4 | digit(digits[1])?) as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: &str, root: &str) -> Vec<(String, Option<String>)> {
        keys(Path::new(path), Path::new(root)).into_iter().map(|key| (key.name, key.value)).collect()
    }

    #[test]
    fn folders_below_the_root_and_those_that_end_it_are_read() {
        let own = |pairs: &[(&str, Option<&str>)]| -> Vec<(String, Option<String>)> {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), value.map(str::to_owned))).collect()
        };
        assert_eq!(
            read("/hv/language=yue/x/source=a=b/1.parquet", "/hv"),
            own(&[("language", Some("yue")), ("source", Some("a=b"))])
        );
        assert_eq!(
            read("/run=3/hv/l=yue/s=x/1.parquet", "/run=3/hv/l=yue/s=x"),
            own(&[("l", Some("yue")), ("s", Some("x"))])
        );
        assert_eq!(read("/run=3/hv/1=2.parquet", "/run=3/hv"), own(&[]));
        assert_eq!(read("/a=1/a=2/f", "/"), own(&[("a", Some("2"))]));
        assert_eq!(
            read("/x%3Dy=caf%C3%A9%/n=__HIVE_DEFAULT_PARTITION__/m=/b=%FF/=no/f", "/"),
            own(&[("x=y", Some("café%")), ("n", None), ("m", None), ("b", Some("%FF"))])
        );
    }
}
