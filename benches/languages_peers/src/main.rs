//! What whatlang and whichlang take each line of the input for.

use std::io::{BufWriter, Write, stdin, stdout};

fn main() -> std::io::Result<()> {
    let mut out = BufWriter::new(stdout().lock());
    for line in stdin().lines() {
        let line = line?;
        let whatlang = whatlang::detect_lang(&line).map_or("", |language| language.code());
        writeln!(out, "{whatlang}\t{}", whichlang::detect_language(&line).three_letter_code())?;
    }
    out.flush()
}
