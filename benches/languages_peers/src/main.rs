//! What whatlang and whichlang take each line of the input for, and how long each took for all.

use std::io::{BufWriter, Read, Write};
use std::time::Instant;

fn main() -> std::io::Result<()> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    let lines: Vec<&str> = text.lines().collect();
    let start = Instant::now();
    let whatlang: Vec<&str> =
        lines.iter().map(|line| whatlang::detect_lang(line).map_or("", |lang| lang.code())).collect();
    let seconds = start.elapsed().as_secs_f64();
    let start = Instant::now();
    let whichlang: Vec<&str> =
        lines.iter().map(|line| whichlang::detect_language(line).three_letter_code()).collect();
    let mut out = BufWriter::new(std::io::stdout().lock());
    writeln!(out, "{seconds}\t{}", start.elapsed().as_secs_f64())?;
    for (one, other) in whatlang.iter().zip(&whichlang) {
        writeln!(out, "{one}\t{other}")?;
    }
    out.flush()
}
