//! Which shape the records of a corpus have, decided from the first of them.

use super::forms::{self, CHATS, Sample};
use super::shape::{FieldSpec, RESPONSES, Shape};
use crate::error::shown;
use crate::{Error, Result};

/// `spec` with the shape that most of `samples` have; of equals the first seen. Where none has a known shape but
/// one field that is named as conversations are holds them, that field is taken.
///
/// Where responses are measured, the response may also stand in a field that is named as a model's is.
///
/// # Errors
/// If none of them has a known shape, or what they have can be read in two ways: says which.
pub(super) fn decide(samples: &[Sample], spec: &FieldSpec) -> Result<FieldSpec> {
    let named = || response(samples, spec).map(|name| answered_by(name, samples, spec));
    let decided = match spec.samples {
        true => named().or_else(|| vote(samples, spec)),
        false => vote(samples, spec).or_else(named),
    };
    if let Some(decided) = decided {
        return Ok(decided);
    }
    let answered = samples.iter().map(|sample| forms::question_and_answer(sample, spec));
    match (most(answered.collect::<Result<Vec<_>>>()?), &spec.prompt, &spec.response) {
        (Some(answered), ..) => Ok(answered),
        (None, None, None) => chat(samples, spec),
        _ => Err(unknown(samples)),
    }
}

/// `spec` with this field for the response, unless it is that of the shape anyway.
fn answered_by(name: &str, samples: &[Sample], spec: &FieldSpec) -> FieldSpec {
    let named = FieldSpec { response: Some(name.to_owned()), ..spec.clone() };
    if !named.needs_shape() {
        return named;
    }
    match vote(samples, &named) {
        Some(decided) if decided.shape.is_some_and(|shape| shape.signs().1 == [name]) => {
            FieldSpec { response: None, ..decided }
        }
        decided => decided.unwrap_or(named),
    }
}

/// `spec` with the shape that most of `samples` have, if any has one; of equals the first seen.
fn vote(samples: &[Sample], spec: &FieldSpec) -> Option<FieldSpec> {
    most(samples.iter().map(|sample| {
        forms::preference(sample, spec).or_else(|| {
            let shape = Shape::of(|field| sample.names.iter().any(|name| name == field), spec)?;
            Some(FieldSpec { shape: Some(shape), ..spec.clone() })
        })
    }))
}

/// What is there most often; of equals the first seen.
fn most(votes: impl IntoIterator<Item = Option<FieldSpec>>) -> Option<FieldSpec> {
    let mut counted: Vec<(FieldSpec, usize)> = Vec::new();
    for vote in votes.into_iter().flatten() {
        match counted.iter_mut().find(|(known, _)| *known == vote) {
            Some((_, count)) => *count += 1,
            None => counted.push((vote, 1)),
        }
    }
    let most = counted.iter().map(|(_, count)| *count).max();
    counted.into_iter().find(|(_, count)| Some(*count) == most).map(|(vote, _)| vote)
}

/// The field of the response where only responses are measured: the first of [`RESPONSES`] that holds texts or
/// messages, else the first that is there. Beside what may be the whole conversation, only a model's is.
fn response(samples: &[Sample], spec: &FieldSpec) -> Option<&'static str> {
    let is_chat = |sample: &Sample| sample.chats.iter().any(|chat| CHATS.contains(&chat.as_str()));
    if !spec.lenient || spec.response.is_some() || !spec.samples && samples.iter().any(is_chat) {
        return None;
    }
    let first = |is: fn(&Sample, &str) -> bool| {
        RESPONSES.into_iter().find(|name| samples.iter().any(|sample| is(sample, name)))
    };
    let holds =
        |sample: &Sample, name: &str| sample.texts.iter().chain(&sample.chats).any(|held| held == name);
    first(holds).or_else(|| first(|sample, name| sample.names.iter().any(|known| known == name)))
}

/// What a field with the answer to a conversation is called.
const ANSWERS: [&str; 10] = [
    "response",
    "answer",
    "output",
    "completion",
    "reply",
    "target",
    "chosen",
    "rejected",
    "rejected_response",
    "human_answer",
];

/// `spec` with the one field that is named as conversations are, and holds them.
fn chat(samples: &[Sample], spec: &FieldSpec) -> Result<FieldSpec> {
    let named = |name: &&str| samples.iter().any(|sample| sample.chats.iter().any(|chat| chat == name));
    let chats: Vec<&str> = CHATS.into_iter().filter(|name| named(name)).collect();
    let answer = ANSWERS.into_iter().find(|name| {
        samples.iter().any(|sample| sample.texts.iter().chain(&sample.chats).any(|text| text == name))
    });
    match (&chats[..], answer) {
        ([], _) => Err(unknown(samples)),
        ([chat], None) => {
            Ok(FieldSpec { shape: Some(Shape::Messages), messages: Some((*chat).to_owned()), ..spec.clone() })
        }
        ([chat], Some(answer)) => Err(Error::Input(format!(
            "the records can be read in two ways: `{chat}` is the whole conversation (--messages-field {chat}), or \
             `{answer}` answers it (--prompt-field {chat} --response-field {answer})"
        ))),
        ([chat, other, ..], _) => Err(Error::Input(format!(
            "both `{chat}` and `{other}` hold conversations: name the one to read with --messages-field {chat} or \
             --messages-field {other}"
        ))),
    }
}

/// The error for records of no known shape.
fn unknown(samples: &[Sample]) -> Error {
    if let Some(refusal) = forms::refusal(samples) {
        return Error::Input(refusal);
    }
    const SHOWN: usize = 20;
    let mut seen: Vec<String> = Vec::new();
    for name in samples.iter().flat_map(|sample| &sample.names).map(|name| shown(name)) {
        if seen.len() <= SHOWN && !seen.contains(&name) {
            seen.push(name);
        }
    }
    let dots = if seen.len() > SHOWN { ", …" } else { "" };
    seen.truncate(SHOWN);
    let known: Vec<String> =
        Shape::ALL.iter().map(|shape| format!("{shape} ({})", shape.fields().join(", "))).collect();
    let fields = if seen.is_empty() { "none".to_owned() } else { seen.join(", ") + dots };
    let chat = samples.iter().find_map(|sample| sample.chats.first());
    let remedy = match chat.map(|chat| shown(chat)) {
        Some(chat) => {
            format!("`{chat}` holds messages: if it is the whole conversation, --messages-field {chat}; else")
        }
        None => "if one field holds the whole conversation, name it with --messages-field; else".to_owned(),
    };
    Error::Input(format!(
        "no known record shape: fields seen: {fields}; shapes known: {}; {remedy} name the fields with --prompt-field \
         and --response-field",
        known.join(", ")
    ))
}
