//! The engine's messages name options as the command line has them; who calls Python knows them as arguments.

use pyo3::prelude::*;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether messages are for the command line.
static FLAGS: AtomicBool = AtomicBool::new(false);

/// Flags that messages name, and what Python calls them. One that begins another stands after it.
const ARGUMENTS: [(&str, &str); 18] = [
    ("--chat_template_path", "chat_template_path"),
    ("--bf16 false", "bf16=False"),
    ("--use_cpu", "use_cpu=True"),
    ("--length-edges auto", "length_edges=\"auto\""),
    ("--max-record-bytes", "max_record_bytes"),
    ("--messages-field", "fields={\"messages\": …}"),
    ("--rejected-field", "fields={\"rejected\": …}"),
    ("--response-field", "fields={\"response\": …}"),
    ("--system-field", "fields={\"system\": …}"),
    ("--prompt-field", "fields={\"prompt\": …}"),
    ("--assignments-only", "assignments_only=True"),
    ("--keep-thinking", "keep_thinking=True"),
    ("--overwrite", "overwrite=True"),
    ("--reference", "reference"),
    ("--role", "roles"),
    ("--samples", "samples"),
    ("--shape", "shape"),
    ("--turns all", "turns=\"all\""),
];

/// Whether messages name flags from now on, instead of arguments; returns whether they did.
#[pyfunction]
pub fn name_flags(on: bool) -> bool {
    FLAGS.swap(on, Ordering::Relaxed)
}

/// A message in the words of who asked.
#[pyfunction]
pub fn in_words(message: String) -> String {
    if FLAGS.load(Ordering::Relaxed) || !message.contains("--") {
        return message;
    }
    ARGUMENTS.iter().fold(message, |message, (flag, argument)| message.replace(flag, argument))
}
