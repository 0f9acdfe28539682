//! Files of formats that are not read, so that they are called by their name.

use crate::Error;
use std::path::Path;

/// A format that is not read.
#[derive(Debug)]
pub struct Foreign {
    name: &'static str,
    remedy: &'static str,
    /// The first bytes of its files.
    magic: &'static [u8],
    /// How its files' names end.
    endings: &'static [&'static str],
}

const fn foreign(
    name: &'static str,
    remedy: &'static str,
    magic: &'static [u8],
    endings: &'static [&'static str],
) -> Foreign {
    Foreign { name, remedy, magic, endings }
}

const CONVERT: &str = "convert it to Parquet or JSON lines";
const UNPACK: &str = "unpack it";

/// Longer endings come before those that they end with.
static FORMATS: [Foreign; 19] = [
    foreign("a tar archive", UNPACK, b"", &[".tar", ".tar.gz", ".tgz", ".tar.zst", ".tar.bz2", ".tar.xz"]),
    foreign(
        "CSV",
        "convert it, such as with duckdb -c \"COPY (FROM 'in.csv') TO 'in.parquet'\"",
        b"",
        &[".csv", ".csv.gz", ".csv.zst", ".tsv", ".tsv.gz", ".tsv.zst"],
    ),
    foreign("an Excel workbook", CONVERT, b"", &[".xlsx", ".xls"]),
    foreign("a ZIP archive", UNPACK, b"PK\x03\x04", &[".zip"]),
    foreign("packed with bzip2", "unpack it with bunzip2, or pipe it in with bzcat", b"BZh", &[".bz2"]),
    foreign(
        "packed with xz",
        "unpack it with unxz, or pipe it in with xzcat",
        b"\xfd7zXZ\x00",
        &[".xz", ".lzma"],
    ),
    foreign(
        "packed with LZ4",
        "unpack it with unlz4, or pipe it in with lz4cat",
        b"\x04\x22\x4d\x18",
        &[".lz4"],
    ),
    foreign("packed with Brotli", UNPACK, b"", &[".br"]),
    foreign("packed with Snappy", UNPACK, b"\xff\x06\x00\x00sNaPpY", &[".snappy", ".sz"]),
    foreign("a 7-Zip archive", UNPACK, b"7z\xbc\xaf\x27\x1c", &[".7z"]),
    foreign("ORC", CONVERT, b"ORC", &[".orc"]),
    foreign("Avro", CONVERT, b"Obj\x01", &[".avro"]),
    foreign("Feather of version 1", "write it again with a newer pyarrow", b"FEA1", &[]),
    foreign("an SQLite database", CONVERT, b"SQLite format 3\0", &[".sqlite", ".sqlite3", ".db"]),
    foreign("HDF5", CONVERT, b"\x89HDF\r\n\x1a\n", &[".h5", ".hdf5"]),
    foreign("a NumPy array", CONVERT, b"\x93NUMPY", &[".npy", ".npz"]),
    foreign("a pickle", CONVERT, b"", &[".pkl", ".pickle"]),
    foreign("UTF-16 text", "convert it with iconv -f UTF-16 -t UTF-8", b"\xff\xfe", &[]),
    foreign("UTF-16 text", "convert it with iconv -f UTF-16 -t UTF-8", b"\xfe\xff", &[]),
];

impl Foreign {
    /// What is wrong with a file of this format.
    pub fn error(&self, file: &str) -> Error {
        Error::Input(format!("{file} is {}, which is not read: {} first", self.name, self.remedy))
    }
}

/// The format of a file's first bytes.
pub fn by_content(head: &[u8]) -> Option<&'static Foreign> {
    FORMATS.iter().find(|format| !format.magic.is_empty() && head.starts_with(format.magic))
}

fn by_name(name: &str) -> Option<&'static Foreign> {
    let name = name.to_ascii_lowercase();
    FORMATS.iter().find(|format| format.endings.iter().any(|ending| name.ends_with(ending)))
}

/// The format of a file that is neither JSON nor a table: by its name, else by its first bytes.
pub fn of(path: &Path, head: &[u8]) -> Option<&'static Foreign> {
    let text = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head);
    let first = text.iter().find(|byte| !byte.is_ascii_whitespace())?;
    if matches!(first, b'{' | b'[') {
        return None;
    }
    by_name(&path.file_name()?.to_string_lossy()).or_else(|| by_content(head))
}

/// Why a file of this name is passed over in a folder.
pub fn reason(name: &str) -> String {
    match by_name(name) {
        Some(format) => format!("{}, which is not read: {} first", format.name, format.remedy),
        None => "not JSON, Parquet or Arrow by its name".to_owned(),
    }
}
