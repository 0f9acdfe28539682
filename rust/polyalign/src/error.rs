//! The one error type of the engine, and how what others said stands in its one line: names of files, messages of other
//! libraries, and what records hold.

use std::any::Any;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// What went wrong, in one line that says what, where and what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be opened, read or written.
    #[error("{}: {source}", printable(path.as_os_str()))]
    Io {
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        source: std::io::Error,
    },
    /// A tokenizer.json that can't be used.
    #[error("tokenizer: {0}")]
    Tokenizer(String),
    /// A bucket schema, or a record under it, that breaks the schema's rules.
    #[error("schema: {0}")]
    Schema(String),
    /// Input whose shape, columns or settings can't be used as a whole.
    #[error("{0}")]
    Input(String),
    /// An output directory that can't be used, or does not belong to this job.
    #[error("{0}")]
    Output(String),
    /// An output that exists, or has come to, and is not to be replaced.
    #[error("{0}")]
    Exists(String),
    /// An Arrow or Parquet error in otherwise usable data.
    #[error(transparent)]
    Arrow(#[from] arrow_schema::ArrowError),
    /// A bug: something panicked.
    #[error("internal error in {place}, please report it: {message}")]
    Internal {
        /// What was being done.
        place: &'static str,
        /// What the panic said.
        message: String,
    },
    /// The caller asked to stop.
    #[error("interrupted")]
    Interrupted,
}

impl Error {
    /// Wraps an I/O error with the path it happened on.
    pub fn io(path: impl AsRef<Path>, source: std::io::Error) -> Self {
        Self::Io { path: path.as_ref().to_path_buf(), source }
    }

    /// What a caught panic said, as an error.
    pub(crate) fn panic(place: &'static str, panic: &(dyn Any + Send)) -> Self {
        Self::Internal { place, message: panic_text(panic) }
    }
}

/// What a caught panic said, in one line.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
    one_line(text)
}

/// A file's name as text that no other file has and that can be printed: what is no UTF-8, and control
/// characters, as `\xHH`.
pub(crate) fn printable(name: &OsStr) -> String {
    let bytes = name.as_encoded_bytes();
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            if character.is_control() {
                escape(&mut text, character.encode_utf8(&mut [0; 4]).as_bytes());
            } else {
                text.push(character);
            }
        }
        escape(&mut text, chunk.invalid());
    }
    text
}

fn escape(text: &mut String, bytes: &[u8]) {
    bytes.iter().for_each(|byte| text.push_str(&format!("\\x{byte:02X}")));
}

/// A message of another library, in one line.
pub(crate) fn one_line(text: &str) -> String {
    text.split(|c: char| c.is_whitespace() || c.is_control())
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

/// The start of a text; an ellipsis stands for the rest.
fn start(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// What a record, a file or a user said, for a message: quoted, escaped, short.
pub(crate) fn quoted(raw: &str) -> String {
    format!("{:?}", start(raw, 40))
}

/// Some of a record's text, for a one-line reason that quotes it itself: short, and without control characters.
pub(crate) fn shown(text: &str) -> String {
    start(text, 60).chars().flat_map(char::escape_debug).collect()
}

/// The start of a reason, for a report: it may hold the record's own words.
pub(crate) fn shortened(reason: &str) -> String {
    start(reason, 240)
}

/// The engine's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// [`Error::Interrupted`] once `stop` is set: what long work asks again and again.
pub(crate) fn unless_stopped(stop: &AtomicBool) -> Result<()> {
    if stop.load(Ordering::Relaxed) { Err(Error::Interrupted) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_said_is_short_and_in_one_line() {
        assert_eq!(quoted("a\n\"b\""), r#""a\n\"b\"""#);
        assert_eq!(quoted(&"é".repeat(41)), format!("\"{}…\"", "é".repeat(40)));
        assert_eq!(shown("a\n`b`"), "a\\n`b`");
        assert_eq!(shown(&"é".repeat(60)), "é".repeat(60));
        assert_eq!(shown(&"é".repeat(61)), format!("{}…", "é".repeat(60)));
        assert_eq!(shortened(&"é".repeat(241)), format!("{}…", "é".repeat(240)));
    }
}
