//! What examples print.

use std::fmt::Arguments;
use std::io::{ErrorKind, Result, Write, stdout};

/// `println!`, but that a reader who has seen enough (`| head`) ends the example without a word.
macro_rules! say {
    ($($text:tt)*) => { common::print_line(format_args!($($text)*)) };
}
pub(crate) use say;

/// Prints a line, or ends the example.
///
/// # Panics
/// If standard output takes nothing for another reason than that nobody reads it.
pub fn print_line(line: Arguments<'_>) {
    if !is_read(&mut stdout().lock(), line).expect("standard output takes a line") {
        std::process::exit(0);
    }
}

/// Writes a line; whether anybody reads it.
pub fn is_read(out: &mut impl Write, line: Arguments<'_>) -> Result<bool> {
    match writeln!(out, "{line}") {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        written => written.map(|()| true),
    }
}
