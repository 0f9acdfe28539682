//! Records whose fields go by other names than a shape's, as projects document them: how they are read, or why not.

use super::shape::{FieldSpec, Shape};
use crate::error::shown;
use crate::{Error, Result};

/// What the shape is decided from: the names of a record's fields, and what some of them hold.
#[derive(Clone, Debug, Default)]
pub(super) struct Sample {
    pub names: Vec<String>,
    /// The fields that hold lists of messages.
    pub chats: Vec<String>,
    /// The fields that hold text.
    pub texts: Vec<String>,
}

/// The fields of preferences: the chosen response, the rejected one, and the prompt where no shape has it. The chosen
/// one may be a whole conversation.
const PREFERENCES: [(&str, &str, Option<&str>); 6] = [
    ("preferred_output", "non_preferred_output", Some("input.messages")),
    ("chosen_response", "rejected_response", None),
    ("chosen_messages", "rejected_messages", None),
    ("messages", "rejected_messages", None),
    ("messages", "rejected_response", None),
    ("response", "rejected_response", Some("query")),
];

/// What a question is called, the most telling name first, and the shape that has more to it.
const QUESTIONS: [(&str, Option<Shape>); 7] = [
    ("prompt", Some(Shape::PromptCompletion)),
    ("instruction", Some(Shape::Alpaca)),
    ("question", Some(Shape::PolyAlign)),
    ("query", None),
    ("input", None),
    ("INSTRUCTION", None),
    ("message_1", None),
];
/// What the answer to a question is called.
const REPLIES: [&str; 9] = [
    "response",
    "answer",
    "output",
    "completion",
    "generation",
    "reply",
    "revision",
    "RESPONSE",
    "message_2",
];

/// What a field of whole conversations is called, besides `messages` and `conversations`.
pub(super) const CHATS: [&str; 8] =
    ["conversation", "dialogue", "dialog", "turns", "chat", "chat_messages", "dialogues", "chats"];

/// Fields of records that are no prompt and response, and what to do with such records.
const REFUSED: [(&[&str], &str); 11] = [
    (&["parent_id", "role", "text"], OASST),
    (&["message_tree_id", "prompt"], OASST),
    (
        &["prompt", "completions", "labels"],
        "`completions` are the steps of one answer: join them first, as jq -c '{prompt, completion: (.completions | \
         join(\"\\n\"))}' does",
    ),
    (
        &["instruction", "completions"],
        "`completions` are several answers to one instruction: write the best as `chosen` and another as `rejected` \
         first, as jq -c '(.completions | sort_by(-.overall_score)) as $c | {prompt: .instruction, chosen: \
         $c[0].response, rejected: $c[-1].response}' does",
    ),
    (
        &["prompt", "answers"],
        "`answers` are several to one prompt: write the best as `chosen` and another as `rejected` first, as jq -c \
         '(.answers | sort_by(.rank)) as $a | {prompt, chosen: $a[0].answer, rejected: $a[-1].answer}' does",
    ),
    (
        &["conversation_a", "conversation_b"],
        "of `conversation_a` and `conversation_b` one is better: write that as `chosen` and the other as `rejected` \
         first, as jq -c 'select(.winner | startswith(\"model_\")) | if .winner == \"model_a\" then {chosen: \
         .conversation_a, rejected: .conversation_b} else {chosen: .conversation_b, rejected: .conversation_a} end' does",
    ),
    (&["segments"], "`segments` hold text in a template's form: take the records from before the template"),
    (&["input_ids"], "`input_ids` are tokens, not text: take the records from before the tokenizer"),
    (
        &["question", "choices"],
        "the choices belong to the prompt: write both as `prompt`, and the answer as `completion`, first",
    ),
    (
        &["article", "question"],
        "the article belongs to the prompt: join them first, as jq -c '{prompt: (.article + \"\\n\\n\" + .question), \
         completion: .answer}' does",
    ),
    (
        &["article", "summary"],
        "an article and its summary have no question: --prompt-field article --response-field summary takes the \
         article for one",
    ),
];
const OASST: &str = "messages of a tree (OpenAssistant): write each reply with the messages above it as `messages` first, \
                     as docs/files.md does";

impl Sample {
    fn has(&self, name: &str) -> bool {
        self.names.iter().any(|known| known == name)
    }

    /// Whether a field holds text or messages.
    fn holds(&self, name: &str) -> bool {
        self.texts.iter().chain(&self.chats).any(|held| held == name)
    }
}

/// A record's preference, if it is one whose fields have none of the shapes' names.
pub(super) fn preference(sample: &Sample, spec: &FieldSpec) -> Option<FieldSpec> {
    if spec.response.is_some() || spec.messages.is_some() || sample.has("chosen") && sample.has("rejected") {
        return None;
    }
    let (chosen, rejected, prompt) =
        PREFERENCES.iter().find(|(chosen, rejected, _)| sample.holds(chosen) && sample.holds(rejected))?;
    let prompt = prompt.filter(|path| sample.has(path.split('.').next().unwrap_or(path)));
    Some(FieldSpec {
        shape: Some(Shape::Preference),
        prompt: spec.prompt.clone().or(prompt.map(str::to_owned)),
        response: Some((*chosen).to_owned()),
        rejected: Some((*rejected).to_owned()),
        ..spec.clone()
    })
}

/// A record's question and answer, if it has one of each by the names that they go by.
///
/// # Errors
/// If there are two answers: names both.
pub(super) fn question_and_answer(sample: &Sample, spec: &FieldSpec) -> Result<Option<FieldSpec>> {
    // What a whole conversation beside them may be, only the user knows.
    let unclear = CHATS.iter().any(|name| sample.holds(name)) || refused(sample).is_some();
    if spec.messages.is_some() || unclear && spec.prompt.is_none() {
        return Ok(None);
    }
    let mut found = spec.clone();
    if spec.prompt.is_none() {
        let Some((name, shape)) = QUESTIONS.iter().find(|(name, _)| sample.holds(name)) else {
            return Ok(None);
        };
        match shape {
            Some(shape) => found.shape = Some(*shape),
            None => found.prompt = Some((*name).to_owned()),
        }
    }
    if spec.response.is_none() {
        let prompt = spec.prompt.as_deref();
        let mut replies = REPLIES.iter().filter(|name| sample.holds(name) && prompt != Some(**name));
        let Some(reply) = replies.next() else { return Ok(None) };
        if let Some(other) = replies.next() {
            return Err(Error::Input(format!(
                "the records can be read in two ways: the response is `{reply}` (--response-field {reply}), or it is \
                 `{other}` (--response-field {other})"
            )));
        }
        found.response = Some((*reply).to_owned());
    }
    Ok(Some(found))
}

/// What is wrong with records of a known form that are no prompt and response, and what to do with them.
pub(super) fn refusal(samples: &[Sample]) -> Option<String> {
    let first = samples.first()?;
    if first.texts == ["text"] && first.chats.is_empty() {
        let seen = first.names.iter().map(|name| shown(name)).collect::<Vec<_>>().join(", ");
        return Some(format!(
            "no known record shape: `text` alone is no prompt and response, so that there is nothing to bucket (fields \
             seen: {seen})"
        ));
    }
    let (fields, remedy) = refused(first)?;
    let fields: Vec<String> = fields.iter().map(|field| format!("`{field}`")).collect();
    Some(format!("no known record shape: records with {} are not read: {remedy}", fields.join(", ")))
}

/// The known form of a record that is no prompt and response.
fn refused(sample: &Sample) -> Option<&'static (&'static [&'static str], &'static str)> {
    REFUSED.iter().find(|(fields, _)| fields.iter().all(|field| sample.has(field)))
}
