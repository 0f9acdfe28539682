//! Pre-tokenizers without an automaton of their own, step by step, as `tokenizers` takes them.
//!
//! A step cuts every piece that the steps before left. `ByteLevel` puts a space before each that begins without one, cuts
//! as GPT-2 did, and spells what is left in its characters for bytes: what follows it sees these.

use super::super::alphabet::Alphabet;
use super::super::unicode::{TABLE, decode};
use super::pattern::Pattern;
use super::scan::Family;
use crate::text::class::ClassTable;
use serde_json::Value;
use unicode_categories::UnicodeCategories;

/// A sequence of steps.
pub(in super::super) struct General {
    before: Vec<Split>,
    prefix_space: bool,
    use_regex: bool,
    /// What follows `ByteLevel`.
    after: Vec<Split>,
    alphabet: Alphabet,
}

/// A step that cuts out what it finds.
struct Split {
    finder: Finder,
    invert: bool,
    behavior: Behavior,
}

enum Finder {
    Pattern(Box<Pattern>),
    /// Single characters, those of class 1.
    Characters(ClassTable),
}

#[derive(Clone, Copy)]
enum Behavior {
    Removed,
    Isolated,
    MergedWithPrevious,
    MergedWithNext,
    Contiguous,
}

/// A text as the steps have left it, and where its pre-tokens are.
#[derive(Default)]
pub(in super::super) struct Cutting {
    text: Vec<u8>,
    pieces: Vec<Piece>,
    spare: Vec<Piece>,
    spelled: String,
}

impl Cutting {
    /// The memory it holds, roughly.
    pub(in super::super) fn size(&self) -> usize {
        let pieces = self.pieces.capacity() + self.spare.capacity();
        self.text.capacity() + self.spelled.capacity() + pieces * size_of::<Piece>()
    }
}

/// Where a piece begins and ends.
pub(in super::super) type Piece = (u32, u32);

impl General {
    /// The steps of a pre-tokenizer, one of which is `ByteLevel`; or why they can't be taken here.
    pub(super) fn new(steps: &[Value]) -> Result<Self, String> {
        let at = steps.iter().position(is_byte_level).ok_or("no ByteLevel among the steps")?;
        let byte_level = &steps[at];
        let flag = |name: &str, default: Option<bool>| match byte_level.get(name) {
            None => default.ok_or_else(|| format!("ByteLevel without {name}")),
            Some(value) => value.as_bool().ok_or_else(|| format!("{name} is not a boolean")),
        };
        let all = |steps: &[Value]| steps.iter().map(Split::new).collect::<Result<Vec<_>, _>>();
        Ok(Self {
            before: all(&steps[..at])?,
            prefix_space: flag("add_prefix_space", None)?,
            use_regex: flag("use_regex", Some(true))?,
            after: all(&steps[at + 1..])?,
            alphabet: Alphabet::new(),
        })
    }

    /// Cuts a text. The pieces are of the text that is returned with them, which may have more spaces, or lack what steps
    /// have removed.
    pub(in super::super) fn cut<'c>(&self, text: &str, cutting: &'c mut Cutting) -> (&'c [u8], &'c [Piece]) {
        let Cutting { text: copy, pieces, spare, spelled } = cutting;
        copy.clear();
        copy.extend_from_slice(text.as_bytes());
        pieces.clear();
        if !text.is_empty() {
            pieces.push((0, text.len() as u32));
        }
        for split in &self.before {
            split.apply(copy, pieces, spare);
        }
        if self.prefix_space {
            add_spaces(copy, pieces);
        }
        if self.use_regex {
            each_piece(pieces, spare, |(from, to), out| {
                let piece = &copy[..to as usize];
                let mut at = from as usize;
                while at < piece.len() {
                    let next = Family::Gpt2.next(piece, &TABLE, at);
                    out.push((at as u32, next as u32));
                    at = next;
                }
            });
        }
        if !self.after.is_empty() {
            self.spell(copy, pieces, spelled);
            for split in &self.after {
                split.apply(spelled.as_bytes(), pieces, spare);
            }
            self.unspell(spelled, pieces, copy);
        }
        (copy, pieces)
    }

    /// Whether a piece may begin or end within a character.
    pub(in super::super) fn cuts_characters(&self) -> bool {
        !self.after.is_empty()
    }

    /// Spells the pieces in the characters for bytes.
    fn spell(&self, text: &[u8], pieces: &mut [Piece], spelled: &mut String) {
        spelled.clear();
        for (from, to) in pieces {
            let start = spelled.len() as u32;
            spelled
                .extend(text[*from as usize..*to as usize].iter().map(|&byte| self.alphabet.char_of(byte)));
            (*from, *to) = (start, spelled.len() as u32);
        }
    }

    /// The reverse.
    fn unspell(&self, spelled: &str, pieces: &mut [Piece], text: &mut Vec<u8>) {
        text.clear();
        for (from, to) in pieces {
            let start = text.len() as u32;
            self.alphabet.decode_more(&spelled[*from as usize..*to as usize], text);
            (*from, *to) = (start, text.len() as u32);
        }
    }
}

fn is_byte_level(step: &Value) -> bool {
    step["type"] == "ByteLevel"
}

/// Puts a space before every piece that begins without one.
fn add_spaces(text: &mut Vec<u8>, pieces: &mut [Piece]) {
    if pieces.iter().all(|&(from, _)| text[from as usize] == b' ') {
        return;
    }
    let mut spaced = Vec::with_capacity(text.len() + pieces.len());
    for (from, to) in pieces.iter_mut() {
        let piece = &text[*from as usize..*to as usize];
        let start = spaced.len() as u32;
        if piece[0] != b' ' {
            spaced.push(b' ');
        }
        spaced.extend_from_slice(piece);
        (*from, *to) = (start, spaced.len() as u32);
    }
    *text = spaced;
}

/// Replaces every piece by what `cut` makes of it.
fn each_piece(pieces: &mut Vec<Piece>, spare: &mut Vec<Piece>, mut cut: impl FnMut(Piece, &mut Vec<Piece>)) {
    spare.clear();
    pieces.iter().for_each(|&piece| cut(piece, spare));
    std::mem::swap(pieces, spare);
}

impl Split {
    fn new(step: &Value) -> Result<Self, String> {
        let kind = step["type"].as_str().unwrap_or("without a type");
        let behavior = || match step["behavior"].as_str() {
            Some("Removed") => Ok(Behavior::Removed),
            Some("Isolated") => Ok(Behavior::Isolated),
            Some("MergedWithPrevious") => Ok(Behavior::MergedWithPrevious),
            Some("MergedWithNext") => Ok(Behavior::MergedWithNext),
            Some("Contiguous") => Ok(Behavior::Contiguous),
            _ => Err(format!("{kind} without a known behavior")),
        };
        let characters = |holds: fn(char) -> bool| Finder::Characters(ClassTable::from_runs(runs(holds)));
        match kind {
            "Split" => {
                let pattern =
                    step["pattern"].as_object().filter(|p| p.len() == 1).and_then(|p| p.iter().next());
                let pattern = match pattern {
                    Some((kind, Value::String(regex))) if kind == "Regex" => Pattern::new(regex)?,
                    Some((kind, Value::String(text))) if kind == "String" => Pattern::literal(text)?,
                    _ => return Err("a Split without a pattern".into()),
                };
                let invert = step["invert"].as_bool().ok_or("a Split without invert")?;
                Ok(Self { finder: Finder::Pattern(Box::new(pattern)), invert, behavior: behavior()? })
            }
            "Digits" => {
                let each = step["individual_digits"].as_bool().ok_or("Digits without individual_digits")?;
                let behavior = if each { Behavior::Isolated } else { Behavior::Contiguous };
                Ok(Self { finder: characters(char::is_numeric), invert: false, behavior })
            }
            "Punctuation" => {
                let behavior = if step.get("behavior").is_none() { Behavior::Isolated } else { behavior()? };
                let holds = |c: char| c.is_ascii_punctuation() || c.is_punctuation();
                Ok(Self { finder: characters(holds), invert: false, behavior })
            }
            _ => Err(format!("pre-tokenizer {kind} beside ByteLevel")),
        }
    }

    fn apply(&self, text: &[u8], pieces: &mut Vec<Piece>, spare: &mut Vec<Piece>) {
        each_piece(pieces, spare, |(from, to), out| {
            let (first, mut before) = (out.len(), false);
            self.finder.each(&text[..to as usize], from as usize, |from, to, found| {
                let found = found != self.invert;
                self.behavior.add(&mut before, found, first, (from as u32, to as u32), out);
            });
        });
    }
}

impl Finder {
    /// Calls `each` on every stretch from `at` on, with whether it is found or lies between.
    fn each(&self, text: &[u8], mut at: usize, mut each: impl FnMut(usize, usize, bool)) {
        let mut from = at;
        while at < text.len() {
            let found = match self {
                Self::Pattern(pattern) => pattern.find(text, at).unwrap_or(text.len()..text.len()),
                Self::Characters(table) => {
                    let (c, len) = decode(text, at);
                    if table.of_code(c) == 0 {
                        at += len;
                        continue;
                    }
                    at..at + len
                }
            };
            if from < found.start {
                each(from, found.start, false);
            }
            if !found.is_empty() {
                each(found.start, found.end, true);
            }
            (at, from) = (found.end, found.end);
        }
        if from < text.len() {
            each(from, text.len(), false);
        }
    }
}

impl Behavior {
    /// Adds a stretch behind those of its piece, which begin at `first`, or to the last of them. `before`: whether that one
    /// was found.
    fn add(self, before: &mut bool, found: bool, first: usize, stretch: Piece, out: &mut Vec<Piece>) {
        let joined = match self {
            Self::Removed | Self::Isolated => false,
            Self::MergedWithPrevious => found && !*before,
            Self::MergedWithNext => !found && *before,
            Self::Contiguous => found == *before,
        };
        *before = found;
        match out[first..].last_mut() {
            _ if found && matches!(self, Self::Removed) => {}
            Some(last) if joined => last.1 = stretch.1,
            _ => out.push(stretch),
        }
    }
}

/// The runs of characters that satisfy `holds`, and of others.
fn runs(holds: fn(char) -> bool) -> impl Iterator<Item = (u32, u8)> {
    let mut last = None;
    (0..=char::MAX as u32).filter_map(move |code| {
        let class = char::from_u32(code).is_some_and(holds) as u8;
        (last.replace(class) != Some(class)).then_some((code, class))
    })
}
