//! Which fields are read from a record, and where they are.

use super::shape::{FieldSpec, GROUPS, Shape};
use crate::{Error, Result};
use std::sync::atomic::{AtomicU64, Ordering};

/// The shapes' own fields: they have the first slots of every [`Plan`].
pub(crate) mod own {
    /// Their names, by slot.
    pub const NAMES: [&str; 14] = [
        "messages",
        "prompt",
        "completion",
        "conversations",
        "instruction",
        "input",
        "output",
        "history",
        "question",
        "context",
        "dialogue_history",
        "human_answer",
        "chosen",
        "rejected",
    ];
    pub const MESSAGES: usize = 0;
    pub const PROMPT: usize = 1;
    pub const COMPLETION: usize = 2;
    pub const CONVERSATIONS: usize = 3;
    pub const INSTRUCTION: usize = 4;
    pub const INPUT: usize = 5;
    pub const OUTPUT: usize = 6;
    pub const HISTORY: usize = 7;
    pub const QUESTION: usize = 8;
    pub const CONTEXT: usize = 9;
    pub const DIALOGUE_HISTORY: usize = 10;
    pub const HUMAN_ANSWER: usize = 11;
    pub const CHOSEN: usize = 12;
    pub const REJECTED: usize = 13;
}

/// There are no more slots than this: one bit a slot says what was read.
const MAX_NAMES: usize = 128;

/// The bit of a slot; none of one too many.
pub(crate) fn bit(slot: usize) -> u128 {
    u32::try_from(slot).ok().and_then(|slot| 1u128.checked_shl(slot)).unwrap_or(0)
}

/// The top-level keys that are looked for; an index into them is a *slot*.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    names: Vec<String>,
    read: Vec<bool>,
    marks: Vec<u64>,
    /// Differs between plans; 0 for no names.
    id: u64,
}

impl Names {
    /// The slot of `name`, added if it is new; `read`: its values are read, not just noticed.
    fn add(&mut self, name: &str, read: bool) -> usize {
        let slot = self.names.iter().position(|known| known == name).unwrap_or_else(|| {
            self.names.push(name.to_owned());
            self.read.push(false);
            self.marks.push(mark(name.as_bytes()));
            self.names.len() - 1
        });
        self.read[slot] |= read;
        slot
    }
    /// Names that are all read; as many as there can be slots for.
    pub fn of(names: &[String]) -> Self {
        let mut of = Self::default();
        for name in names.iter().take(MAX_NAMES) {
            of.add(name, true);
        }
        of
    }
    /// What slots remembered from one record to the next belong to.
    pub fn id(&self) -> u64 {
        self.id
    }
    pub fn len(&self) -> usize {
        self.names.len()
    }
    pub fn name(&self, slot: usize) -> &str {
        &self.names[slot]
    }
    pub fn is_read(&self, slot: usize) -> bool {
        self.read[slot]
    }
    /// Whether any name has this mark.
    pub fn has_mark(&self, key_mark: u64) -> bool {
        self.marks.contains(&key_mark)
    }
    /// The slot of `key`, whose mark is `key_mark`.
    pub fn slot(&self, key: &[u8], key_mark: u64) -> Option<usize> {
        let slot = self.marks.iter().position(|&mark| mark == key_mark)?;
        if self.names[slot].as_bytes() == key {
            return Some(slot);
        }
        // Different names may have the same mark.
        self.names.iter().position(|name| name.as_bytes() == key)
    }
}

/// A word that is the same for equal keys, and differs for nearly all different ones.
#[inline(always)]
pub(crate) fn mark(key: &[u8]) -> u64 {
    let word = |bytes: &[u8]| bytes.iter().fold(0u64, |word, &byte| word << 8 | u64::from(byte));
    let (first, last) = match (key.first_chunk::<8>(), key.last_chunk::<8>()) {
        (Some(first), Some(last)) => (u64::from_le_bytes(*first), u64::from_le_bytes(*last)),
        _ => (word(key), 0),
    };
    first ^ last.rotate_left(23) ^ (key.len() as u64) << 56
}

/// Whether two names are the same. Most have few bytes: comparing words is quicker than a call.
#[inline(always)]
pub(crate) fn same(one: &[u8], other: &[u8]) -> bool {
    /// With words at both ends, which overlap.
    #[inline(always)]
    fn ends<const N: usize>(one: &[u8], other: &[u8]) -> bool {
        one.first_chunk::<N>() == other.first_chunk() && one.last_chunk::<N>() == other.last_chunk()
    }
    one.len() == other.len()
        && match one.len() {
            0..4 => one.iter().eq(other),
            4..=8 => ends::<4>(one, other),
            9..=16 => ends::<8>(one, other),
            _ => one == other,
        }
}

/// A field given as a dotted path.
#[derive(Clone, Debug)]
pub(crate) struct Field {
    /// The path as given.
    pub path: String,
    /// Slots to try in order, with the path from there on: the whole path as one key first, then
    /// ever shorter heads.
    pub ways: Vec<(usize, Option<String>)>,
    /// Those slots, a bit each.
    pub slots: u128,
}

impl Field {
    fn new(path: &str, names: &mut Names) -> Result<Self> {
        if path.is_empty() {
            return Err(Error::Input("a field name is empty".to_owned()));
        }
        let mut ways = vec![(names.add(path, true), None)];
        for (dot, _) in path.rmatch_indices('.') {
            ways.push((names.add(&path[..dot], true), Some(path[dot + 1..].to_owned())));
        }
        let slots = ways.iter().fold(0, |slots, &(slot, _)| slots | bit(slot));
        Ok(Self { path: path.to_owned(), ways, slots })
    }
}

/// A label's fields, the first that says something wins.
#[derive(Clone, Debug)]
pub(crate) struct Label {
    pub fields: Vec<Field>,
    /// The slots of all of them, a bit each.
    pub slots: u128,
    /// Named by the user, not one of our guesses.
    pub given: bool,
    /// The guesses, if none was named: one a field.
    pub guesses: &'static [&'static str],
    /// Fields from this one on are others' as well: what they hold that is no label says nothing.
    pub lenient: usize,
}

impl Label {
    fn new(given: Option<&str>, guesses: &'static [&'static str], names: &mut Names) -> Result<Self> {
        let (paths, guesses) = match &given {
            Some(path) => (std::slice::from_ref(path), &[][..]),
            None => (guesses, guesses),
        };
        let fields: Vec<Field> = paths.iter().map(|path| Field::new(path, names)).collect::<Result<_>>()?;
        let slots = fields.iter().fold(0, |slots, field| slots | field.slots);
        Ok(Self { fields, slots, given: given.is_some(), guesses, lenient: usize::MAX })
    }

    /// With guesses that are others' names as well, from the one of this number on.
    fn lenient_from(self, guess: usize) -> Self {
        if self.given { self } else { Self { lenient: guess, ..self } }
    }
}

/// What is read from every record of a corpus.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub spec: FieldSpec,
    pub names: Names,
    /// `None` only if both `prompt` and `response` are given.
    pub shape: Option<Shape>,
    pub prompt: Option<Field>,
    pub response: Option<Field>,
    /// The conversation, where it is not the shape's own field.
    pub messages: Option<Field>,
    /// The rejected response, where it is not the shape's own field.
    pub rejected: Option<Field>,
    pub system: Label,
    pub id: Label,
    pub language: Label,
    pub track: Label,
    pub family: Label,
    pub source: Label,
    pub group: Label,
    pub custom: Vec<Label>,
}

impl Plan {
    /// # Errors
    /// If the shape is undecided, a field name empty or named twice, or there are more than 128 names to look for.
    pub fn new(spec: &FieldSpec) -> Result<Self> {
        spec.check()?;
        if spec.needs_shape() {
            return Err(Error::Input("the records' shape is not decided yet".to_owned()));
        }
        let free = spec.prompt.is_some() && spec.response.is_some();
        let shape = match &spec.messages {
            Some(_) => spec.known_shape(),
            None => spec.known_shape().filter(|shape| !free || *shape == Shape::Preference),
        };
        let mut names = Names::default();
        for name in own::NAMES {
            let may_hold = |shape: Shape| {
                shape.fields().contains(&name)
                    || spec.prompt.is_none() && shape.spare_fields().contains(&name)
            };
            // What was said before a question in a field that the user named.
            let before = name == own::NAMES[own::HISTORY] && spec.prompt.is_some();
            names.add(name, before || shape.is_some_and(may_hold));
        }
        let field = |path: &Option<String>, names: &mut Names| {
            path.as_deref().map(|path| Field::new(path, names)).transpose()
        };
        let (prompt, response) = (field(&spec.prompt, &mut names)?, field(&spec.response, &mut names)?);
        let (messages, rejected) = (field(&spec.messages, &mut names)?, field(&spec.rejected, &mut names)?);
        let mut label = |given: &Option<String>, guesses: &'static [&'static str]| {
            Label::new(given.as_deref(), guesses, &mut names)
        };
        let mut plan = Self {
            system: label(&spec.system, &["system", "system_prompt"])?.lenient_from(0),
            id: label(&spec.id, &["id"])?,
            language: label(&spec.language, &["language", "lang"])?,
            track: label(&spec.track, &["track"])?,
            family: label(&spec.family, &["family"])?,
            source: label(&spec.source, &["source", "dataset"])?.lenient_from(0),
            group: label(&spec.group, &GROUPS)?.lenient_from(1),
            custom: spec.custom.iter().map(|path| label(&Some(path.clone()), &[])).collect::<Result<_>>()?,
            spec: spec.clone(),
            names: Names::default(),
            shape,
            prompt,
            response,
            messages,
            rejected,
        };
        static PLANS: AtomicU64 = AtomicU64::new(1);
        names.id = PLANS.fetch_add(1, Ordering::Relaxed);
        plan.names = names;
        match plan.names.len() {
            0..=MAX_NAMES => Ok(plan),
            many => Err(Error::Input(format!("{many} fields to look for: at most {MAX_NAMES} can be"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_slots_match_their_names() {
        let slots = [
            (own::MESSAGES, "messages"),
            (own::PROMPT, "prompt"),
            (own::COMPLETION, "completion"),
            (own::CONVERSATIONS, "conversations"),
            (own::INSTRUCTION, "instruction"),
            (own::INPUT, "input"),
            (own::OUTPUT, "output"),
            (own::HISTORY, "history"),
            (own::QUESTION, "question"),
            (own::CONTEXT, "context"),
            (own::DIALOGUE_HISTORY, "dialogue_history"),
            (own::HUMAN_ANSWER, "human_answer"),
            (own::CHOSEN, "chosen"),
            (own::REJECTED, "rejected"),
        ];
        assert_eq!(slots.len(), own::NAMES.len());
        for (slot, name) in slots {
            assert_eq!(own::NAMES[slot], name);
        }
        for field in Shape::ALL.iter().flat_map(|shape| shape.fields().iter().chain(shape.spare_fields())) {
            assert!(own::NAMES.contains(field), "{field}");
        }
    }

    #[test]
    fn names_are_the_same_if_all_their_bytes_are() {
        for length in 0..40 {
            let name: Vec<u8> = (0..length).collect();
            assert!(same(&name, &name.clone()));
            assert!(!same(&name, &[&name[..], b"x"].concat()));
            for at in 0..name.len() {
                let mut other = name.clone();
                other[at] ^= 1;
                assert!(!same(&name, &other), "{length} {at}");
            }
        }
    }

    #[test]
    fn names_with_the_same_mark_are_told_apart() {
        // The mark sees the first and last eight bytes and the length.
        let (a, b) = ("abcdefgh_1_abcdefgh", "abcdefgh_2_abcdefgh");
        assert_eq!(mark(a.as_bytes()), mark(b.as_bytes()));
        let mut names = Names::default();
        assert_eq!((names.add(a, true), names.add(b, false), names.add(a, false)), (0, 1, 0));
        let slot = |key: &str| names.slot(key.as_bytes(), mark(key.as_bytes()));
        assert_eq!(
            (slot(a), slot(b), slot("abcdefgh_3_abcdefgh"), slot("a")),
            (Some(0), Some(1), None, None)
        );
        assert!(names.is_read(0) && !names.is_read(1));
    }

    #[test]
    fn a_dotted_path_is_tried_as_one_key_first() {
        let mut names = Names::default();
        let field = Field::new("a.b.c", &mut names).unwrap();
        let ways: Vec<_> =
            field.ways.iter().map(|(slot, rest)| (names.name(*slot), rest.as_deref())).collect();
        assert_eq!(ways, [("a.b.c", None), ("a.b", Some("c")), ("a", Some("b.c"))]);
        assert!(Field::new("", &mut names).is_err());
    }
}
