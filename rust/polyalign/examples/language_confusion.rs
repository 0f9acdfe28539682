//! How well languages and families are told: reads records that name them, hides that, and compares.
//!
//! `cargo run --release --example language_confusion -- FILE.jsonl [en,zh]`
//!
//! Each line has `language`, and `messages` or `question` / `context` / `dialogue_history` /
//! `human_answer`; `family` too where it is known. The second argument restricts the languages.

mod common;

use common::say;
use polyalign::buckets::family::infer;
use polyalign::buckets::language::primary_subtag;
use polyalign::buckets::track::is_multi_turn;
use polyalign::buckets::{Axis, BucketSchema, BucketTable, Bucketer, LengthUnit};
use polyalign::records::record::{Message, Record};
use polyalign::text::script::{Script, ScriptCounts};
use serde_json::Value;
use std::collections::BTreeMap;
use std::error::Error;
use std::io::BufRead;
use std::sync::LazyLock;
use std::time::Instant;

/// A record's language and its messages, the last of them the response.
struct Example {
    language: &'static str,
    family: Option<String>,
    messages: Vec<(String, String)>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("usage: language_confusion FILE.jsonl [en,zh]")?;
    let languages = arguments.next().map(|list| list.split(',').map(str::to_owned).collect());
    let examples = read(&path)?;
    let schema = BucketSchema {
        axes: vec![Axis::Language],
        length_unit: Some(LengthUnit::Characters),
        languages,
        ..BucketSchema::default()
    };
    let bucketer = Bucketer::new(schema, None, false)?;
    for alone in [false, true] {
        say!("\n# {}", if alone { "Responses alone" } else { "Responses in their conversations" });
        report(&bucketer, &examples, alone)?;
    }
    report_families(&examples);
    Ok(())
}

fn read(path: &str) -> Result<Vec<Example>, Box<dyn Error>> {
    let file = std::io::BufReader::new(std::fs::File::open(path)?);
    let mut examples = Vec::new();
    for line in file.lines() {
        let record: Value = serde_json::from_str(&line?)?;
        let name = record["language"].as_str().ok_or("a record has no `language`")?;
        let language = primary_subtag(name).ok_or_else(|| format!("language {name:?} is not known"))?;
        let messages = messages(&record);
        if messages.len() > 1 || record["messages"].is_null() {
            let family = record["family"].as_str().map(str::to_owned);
            examples.push(Example { language, family, messages });
        }
    }
    Ok(examples)
}

fn messages(record: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let list = |value: &Value, content: &str| -> Vec<_> {
        let items = value.as_array().map_or(&[][..], Vec::as_slice);
        items.iter().map(|item| (text(&item["role"]), text(&item[content]))).collect()
    };
    if !record["messages"].is_null() {
        return list(&record["messages"], "content");
    }
    let mut messages = list(&record["dialogue_history"], "text");
    let question = [text(&record["context"]), text(&record["question"])].join("\n\n");
    messages.push(("user".into(), question.trim().to_owned()));
    messages.push(("assistant".into(), text(&record["human_answer"])));
    messages
}

type Matrix = BTreeMap<(String, String), u64>;

fn report(bucketer: &Bucketer, examples: &[Example], alone: bool) -> Result<(), Box<dyn Error>> {
    let (mut all, mut short, mut mixed) = (Matrix::new(), Matrix::new(), Matrix::new());
    let mut table = BucketTable::default();
    let mut scratch = bucketer.scratch();
    let (mut seconds, mut bytes) = (0.0, 0);
    for batch in examples.chunks(512) {
        let views: Vec<Vec<Message<'_>>> = batch.iter().map(view).collect();
        let records: Vec<Record<'_>> = views.iter().map(|messages| record(messages, alone)).collect();
        // What is timed finds its texts where a reader leaves them: in the processor's caches.
        let counts: Vec<ScriptCounts> = records.iter().map(counted).collect();
        let start = cpu_seconds();
        let found: Vec<_> =
            records.iter().map(|record| bucketer.assign(record, &mut table, &mut scratch)).collect();
        seconds += cpu_seconds() - start;
        for (((example, record), counts), found) in batch.iter().zip(&records).zip(counts).zip(found) {
            bytes += record.answer().len();
            let key = (example.language.to_owned(), table.id(found?.bucket).to_owned());
            if counts.letters() < 20 {
                *short.entry(key.clone()).or_default() += 1;
            }
            if is_mixed(&counts) {
                *mixed.entry(key.clone()).or_default() += 1;
            }
            *all.entry(key).or_default() += 1;
        }
    }
    say!("{:.0} MB/s of responses on one core", bytes as f64 / 1e6 / seconds);
    for (name, matrix) in [("all", all), ("fewer than 20 letters", short), ("mixed scripts", mixed)] {
        print_matrix(name, &matrix);
    }
    Ok(())
}

/// The letters of a record's response; all of its text is read.
fn counted(record: &Record<'_>) -> ScriptCounts {
    let of = |text: &str| {
        let mut counts = ScriptCounts::default();
        counts.add(text);
        counts
    };
    record.prompt.iter().for_each(|message| {
        std::hint::black_box(of(message.content));
    });
    of(record.answer())
}

/// Seconds this thread has run, where the system tells; else seconds passed. Other work on the
/// machine then counts less.
fn cpu_seconds() -> f64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    let spent = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanoseconds = spent.and_then(|line| line.split(' ').next()?.parse::<f64>().ok());
    nanoseconds.map_or_else(|| START.elapsed().as_secs_f64(), |nanoseconds| nanoseconds / 1e9)
}

fn view(example: &Example) -> Vec<Message<'_>> {
    example.messages.iter().map(|(role, content)| Message { role, content }).collect()
}

fn record<'a>(messages: &'a [Message<'a>], alone: bool) -> Record<'a> {
    let (response, prompt) = messages.split_last().expect("a response");
    Record { prompt: if alone { &[] } else { prompt }, response: *response, ..Record::default() }
}

/// Whether at least a tenth of the letters are not in the script that most are in.
fn is_mixed(counts: &ScriptCounts) -> bool {
    let most = Script::ALL.iter().map(|&script| counts.get(script)).max().unwrap_or(0);
    counts.letters() > 0 && (counts.letters() - most) * 10 >= counts.letters()
}

fn report_families(examples: &[Example]) {
    say!("\n# Families");
    for (name, multi) in [("single-turn", false), ("multi-turn", true)] {
        let mut matrix = Matrix::new();
        for example in examples {
            let messages = view(example);
            let record = record(&messages, false);
            if let Some(truth) = &example.family
                && is_multi_turn(record.prompt) == multi
            {
                *matrix.entry((truth.clone(), infer(&record).into())).or_default() += 1;
            }
        }
        print_matrix(name, &matrix);
    }
}

fn print_matrix(name: &str, matrix: &Matrix) {
    let mut totals: BTreeMap<&String, (u64, u64, Vec<String>)> = BTreeMap::new();
    for ((truth, found), &count) in matrix {
        let (total, right, wrong) = totals.entry(truth).or_default();
        *total += count;
        if truth == found {
            *right += count;
        } else {
            wrong.push(format!("{found} {count}"));
        }
    }
    say!("\n{name}\n| label | responses | right | taken for |\n|---|---|---|---|");
    for (truth, (total, right, wrong)) in totals {
        let share = 100.0 * right as f64 / total as f64;
        say!("| {truth} | {total} | {right} ({share:.2}%) | {} |", wrong.join(", "));
    }
}
