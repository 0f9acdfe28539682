//! The hash by which a tokenizer is known, wherever it came from.
//!
//! SHA-256 over the JSON in a canonical form: compact, members sorted by the bytes of their names. So that a file and
//! what `Tokenizer.to_str()` makes of it agree, also after `transformers` has loaded it, the form leaves out what
//! changes no count: `truncation`, `padding`, `version`, `post_processor` and `decoder`, a `ByteLevel`'s
//! `trim_offsets`, members that are null (anywhere), members of the model that are false or empty text; merges
//! written `"a b"` become `["a","b"]`; a missing `use_regex` of a `ByteLevel` is filled in, and a `Metaspace` is put
//! in its present form.

use super::config::{AddedToken, ENCODE_SPECIAL_TOKENS, File, Text};
use crate::hash::hex;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use std::io::Write;

/// The hash of a parsed file.
pub(super) fn hash(file: &File) -> String {
    let mut out = Hashing::default();
    let mut members: Vec<(&str, Member)> = vec![("added_tokens", Member::Added), ("model", Member::Model)];
    members.extend(
        file.rest.iter().filter(|(k, v)| keep_top(k, v)).map(|(k, v)| (k.as_str(), Member::Value(v))),
    );
    members.sort_by_key(|(name, _)| *name);
    out.object(members, |out, member| match member {
        Member::Added => {
            out.list(&mut added_values(&file.added_tokens).iter(), |out, token| out.value(token))
        }
        Member::Model => model(out, file),
        Member::Value(value) => out.value(value),
    });
    out.finish()
}

/// The hash of any other tokenizer.json.
pub(super) fn hash_value(json: &Value) -> String {
    let mut out = Hashing::default();
    let top = json.as_object().into_iter().flatten();
    let mut members: Vec<_> = top.filter(|(k, v)| keep_top(k, v)).map(|(k, v)| (k.as_str(), v)).collect();
    members.sort_by_key(|(name, _)| *name);
    out.object(members, |out, value| out.value(value));
    out.finish()
}

enum Member<'a> {
    Added,
    Model,
    Value(&'a Value),
}

fn keep_top(name: &str, value: &Value) -> bool {
    let changes_no_count = ["truncation", "padding", "version", "post_processor", "decoder"].contains(&name);
    let is_default = name == ENCODE_SPECIAL_TOKENS && *value == Value::Bool(false);
    !value.is_null() && !changes_no_count && !is_default
}

fn added_values(tokens: &[AddedToken]) -> Vec<Value> {
    let value = |t: &AddedToken| {
        json!({"id": t.id, "content": t.content, "single_word": t.single_word, "lstrip": t.lstrip,
               "rstrip": t.rstrip, "normalized": t.normalized, "special": t.special})
    };
    let mut sorted: Vec<&AddedToken> = tokens.iter().collect();
    sorted.sort_by_key(|t| t.id);
    sorted.into_iter().map(value).collect()
}

fn model(out: &mut Hashing, file: &File) {
    enum Part<'a> {
        Vocab,
        Merges,
        Value(&'a Value),
    }
    let model = &file.model;
    let mut members: Vec<(&str, Part)> = vec![("vocab", Part::Vocab), ("merges", Part::Merges)];
    let says_nothing = |v: &Value| v.is_null() || *v == Value::Bool(false) || v.as_str() == Some("");
    let rest = model.rest.iter().filter(|(_, v)| !says_nothing(v));
    members.extend(rest.map(|(k, v)| (k.as_str(), Part::Value(v))));
    members.sort_by_key(|(name, _)| *name);
    out.object(members, |out, part| match part {
        Part::Vocab => out.object(sorted_vocab(&model.vocab), |out, id| out.number(id)),
        Part::Merges => out.list(&mut model.merges.iter(), |out, (a, b)| {
            out.list(&mut [a, b].into_iter(), |out, text| out.string(&text.0));
        }),
        Part::Value(value) => out.value(value),
    });
}

/// The vocabulary in order, a repeated token with its last id.
fn sorted_vocab<'v>(vocab: &'v [(Text, u32)]) -> Vec<(&'v str, u32)> {
    let mut sorted: Vec<(u64, &str, u32)> =
        vocab.iter().rev().map(|(token, id)| (first_bytes(&token.0), &*token.0, *id)).collect();
    sorted.sort_by(|a, b| a.0.cmp(&b.0).then_with(|| a.1.cmp(b.1)));
    sorted.dedup_by_key(|(_, token, _)| *token);
    sorted.into_iter().map(|(_, token, id)| (token, id)).collect()
}

/// The first bytes as a number that sorts as they do, so that most comparisons don't go to the text.
fn first_bytes(token: &str) -> u64 {
    let mut bytes = [0; 8];
    let len = token.len().min(8);
    bytes[..len].copy_from_slice(&token.as_bytes()[..len]);
    u64::from_be_bytes(bytes)
}

/// Writes canonical JSON into the hash.
#[derive(Default)]
struct Hashing {
    buffer: Vec<u8>,
    sha: Sha256,
}

impl Hashing {
    fn finish(mut self) -> String {
        self.sha.update(&self.buffer);
        hex(&self.sha.finalize())
    }

    /// Members must come sorted.
    fn object<T>(&mut self, members: Vec<(&str, T)>, mut each: impl FnMut(&mut Self, T)) {
        self.buffer.push(b'{');
        for (i, (name, member)) in members.into_iter().enumerate() {
            if i > 0 {
                self.buffer.push(b',');
            }
            self.string(name);
            self.buffer.push(b':');
            each(self, member);
        }
        self.buffer.push(b'}');
        self.drain();
    }

    fn list<T>(&mut self, items: &mut dyn Iterator<Item = T>, mut each: impl FnMut(&mut Self, T)) {
        self.buffer.push(b'[');
        for (i, item) in items.enumerate() {
            if i > 0 {
                self.buffer.push(b',');
            }
            each(self, item);
        }
        self.buffer.push(b']');
        self.drain();
    }

    fn drain(&mut self) {
        if self.buffer.len() >= 1 << 16 {
            self.sha.update(&self.buffer);
            self.buffer.clear();
        }
    }

    fn string(&mut self, s: &str) {
        let plain = |b: u8| b >= 0x20 && b != b'"' && b != b'\\';
        if s.bytes().all(plain) {
            self.buffer.push(b'"');
            self.buffer.extend_from_slice(s.as_bytes());
            self.buffer.push(b'"');
        } else {
            serde_json::to_writer(&mut self.buffer, s).expect("a vector takes every write");
        }
    }

    fn number(&mut self, n: u32) {
        write!(self.buffer, "{n}").expect("a vector takes every write");
    }

    fn value(&mut self, value: &Value) {
        match value {
            Value::Object(map) => {
                let filled = fill(map);
                let map = filled.as_ref().unwrap_or(map);
                let mut members: Vec<_> =
                    map.iter().filter(|(_, v)| !v.is_null()).map(|(k, v)| (k.as_str(), v)).collect();
                members.sort_by_key(|(name, _)| *name);
                self.object(members, |out, value| out.value(value));
            }
            Value::Array(items) => self.list(&mut items.iter(), |out, item| out.value(item)),
            Value::String(s) => self.string(s),
            other => serde_json::to_writer(&mut self.buffer, other).expect("a vector takes every write"),
        }
    }
}

/// The members as serialising again writes them, without those that change no count.
fn fill(map: &Map<String, Value>) -> Option<Map<String, Value>> {
    let missing = |name: &str| map.get(name).is_none_or(Value::is_null);
    let mut filled = map.clone();
    match map.get("type")?.as_str()? {
        "ByteLevel" => {
            if missing("use_regex") {
                filled.insert("use_regex".into(), true.into());
            }
            filled.remove("trim_offsets");
        }
        "Metaspace" => {
            let scheme =
                if map.get("add_prefix_space") == Some(&Value::Bool(false)) { "never" } else { "always" };
            if missing("prepend_scheme") {
                filled.insert("prepend_scheme".into(), scheme.into());
            }
            if missing("split") {
                filled.insert("split".into(), true.into());
            }
            filled.retain(|name, _| !matches!(name.as_str(), "add_prefix_space" | "str_rep"));
        }
        _ => return None,
    }
    Some(filled)
}
