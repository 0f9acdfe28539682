//! Reading tokenizer.json: what the fast path needs of it, typed and borrowed.

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::fmt;

/// A member that `tokenizers` doesn't write: its setting of that name, which a loaded tokenizer has and its JSON does not.
pub(super) const ENCODE_SPECIAL_TOKENS: &str = "encode_special_tokens";

/// Whether special tokens that stand in a text are counted as text.
pub(super) fn encodes_special_tokens(members: &Map<String, Value>) -> bool {
    members.get(ENCODE_SPECIAL_TOKENS) == Some(&Value::Bool(true))
}

/// A string borrowed from the file unless it holds escapes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Text<'a>(pub(super) Cow<'a, str>);

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;
        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text<'de>;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_borrowed_str<E>(self, s: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(s)))
            }
            fn visit_str<E>(self, s: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(s.to_owned())))
            }
        }
        deserializer.deserialize_str(TextVisitor)
    }
}

/// A tokenizer.json whose BPE tables are typed; everything else stays as it stood.
pub(super) struct File<'a> {
    pub(super) added_tokens: Vec<AddedToken>,
    pub(super) model: ModelConfig<'a>,
    /// All other members.
    pub(super) rest: Map<String, Value>,
}

/// An entry of `added_tokens`.
#[derive(Clone, Debug, serde::Deserialize)]
pub(super) struct AddedToken {
    pub(super) id: u32,
    pub(super) content: String,
    pub(super) single_word: bool,
    pub(super) lstrip: bool,
    pub(super) rstrip: bool,
    pub(super) normalized: bool,
    pub(super) special: bool,
}

/// The `model` member.
pub(super) struct ModelConfig<'a> {
    pub(super) vocab: Vec<(Text<'a>, u32)>,
    pub(super) merges: Vec<(Text<'a>, Text<'a>)>,
    /// All other members.
    pub(super) rest: Map<String, Value>,
}

impl<'a> File<'a> {
    /// Parses a tokenizer.json that holds a map `vocab` and a list of `merges`; an error says only that it is
    /// not such a file.
    pub(super) fn parse(json: &'a [u8]) -> serde_json::Result<Self> {
        serde_json::from_slice(json)
    }
}

impl<'de> Deserialize<'de> for File<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FileVisitor;
        impl<'de> Visitor<'de> for FileVisitor {
            type Value = File<'de>;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a tokenizer.json object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<File<'de>, A::Error> {
                let (mut added_tokens, mut model, mut rest) = (Vec::new(), None, Map::new());
                while let Some(key) = map.next_key::<String>()? {
                    match key.as_str() {
                        "added_tokens" => added_tokens = map.next_value()?,
                        "model" => model = Some(map.next_value()?),
                        _ => drop(rest.insert(key, map.next_value()?)),
                    }
                }
                let model = model.ok_or_else(|| A::Error::missing_field("model"))?;
                Ok(File { added_tokens, model, rest })
            }
        }
        deserializer.deserialize_map(FileVisitor)
    }
}

impl<'de> Deserialize<'de> for ModelConfig<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ModelVisitor;
        impl<'de> Visitor<'de> for ModelVisitor {
            type Value = ModelConfig<'de>;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a model object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<ModelConfig<'de>, A::Error> {
                let (mut vocab, mut merges, mut rest) = (None, None, Map::new());
                while let Some(key) = map.next_key::<String>()? {
                    match key.as_str() {
                        "vocab" => vocab = Some(map.next_value::<Vocab>()?.0),
                        "merges" => merges = Some(map.next_value::<Merges>()?.0),
                        _ => drop(rest.insert(key, map.next_value()?)),
                    }
                }
                let vocab = vocab.ok_or_else(|| A::Error::missing_field("vocab"))?;
                let merges = merges.ok_or_else(|| A::Error::missing_field("merges"))?;
                Ok(ModelConfig { vocab, merges, rest })
            }
        }
        deserializer.deserialize_map(ModelVisitor)
    }
}

struct Vocab<'a>(Vec<(Text<'a>, u32)>);

impl<'de> Deserialize<'de> for Vocab<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct VocabVisitor;
        impl<'de> Visitor<'de> for VocabVisitor {
            type Value = Vocab<'de>;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a map from token to id")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Vocab<'de>, A::Error> {
                let mut vocab = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    vocab.push(entry);
                }
                Ok(Vocab(vocab))
            }
        }
        deserializer.deserialize_map(VocabVisitor)
    }
}

struct Merges<'a>(Vec<(Text<'a>, Text<'a>)>);

impl<'de> Deserialize<'de> for Merges<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MergesVisitor;
        impl<'de> Visitor<'de> for MergesVisitor {
            type Value = Merges<'de>;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a list of merges")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Merges<'de>, A::Error> {
                let mut merges = Vec::new();
                let (mut pairs, mut lines) = (false, false);
                while let Some(merge) = seq.next_element()? {
                    match merge {
                        Merge::Pair(a, b) => {
                            pairs = true;
                            merges.push((a, b));
                        }
                        // The crate drops these from the old form wherever they stand.
                        Merge::Line(line) if line.0.starts_with("#version") => lines = true,
                        Merge::Line(line) => {
                            lines = true;
                            merges.push(split_line(line).ok_or_else(|| A::Error::custom("a bad merge"))?);
                        }
                    }
                }
                if pairs && lines {
                    return Err(A::Error::custom("merges in two forms"));
                }
                Ok(Merges(merges))
            }
        }
        deserializer.deserialize_seq(MergesVisitor)
    }
}

/// Splits `left right`, which must hold exactly one space.
fn split_line(line: Text) -> Option<(Text, Text)> {
    let at = line.0.find(' ')?;
    if line.0[at + 1..].contains(' ') {
        return None;
    }
    Some(match line.0 {
        Cow::Borrowed(s) => (Text(Cow::Borrowed(&s[..at])), Text(Cow::Borrowed(&s[at + 1..]))),
        Cow::Owned(s) => (Text(Cow::Owned(s[..at].to_owned())), Text(Cow::Owned(s[at + 1..].to_owned()))),
    })
}

/// One merge, in the new form (a pair) or the old (a line).
enum Merge<'a> {
    Pair(Text<'a>, Text<'a>),
    Line(Text<'a>),
}

impl<'de> Deserialize<'de> for Merge<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MergeVisitor;
        impl<'de> Visitor<'de> for MergeVisitor {
            type Value = Merge<'de>;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a merge")
            }
            fn visit_borrowed_str<E>(self, s: &'de str) -> Result<Merge<'de>, E> {
                Ok(Merge::Line(Text(Cow::Borrowed(s))))
            }
            fn visit_str<E>(self, s: &str) -> Result<Merge<'de>, E> {
                Ok(Merge::Line(Text(Cow::Owned(s.to_owned()))))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Merge<'de>, A::Error> {
                let mut next =
                    || seq.next_element()?.ok_or_else(|| A::Error::custom("a merge of fewer than two"));
                let pair = Merge::Pair(next()?, next()?);
                match seq.next_element::<Value>()? {
                    None => Ok(pair),
                    Some(_) => Err(A::Error::custom("a merge of more than two")),
                }
            }
        }
        deserializer.deserialize_any(MergeVisitor)
    }
}
