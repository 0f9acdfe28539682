//! The words that VADER knows, and how they are found.

use std::collections::BTreeMap;
use std::sync::LazyLock;

const LEXICON: &str = include_str!("../vader_lexicon.txt");
const EMOJI: &str = include_str!("../vader_emoji.txt");

/// What a word adds to the intensity of the one it stands before.
pub const BOOST: f64 = 0.293;

const BOOSTERS: &str = "absolutely amazingly awfully completely considerable considerably decidedly deeply effing \
    enormous enormously entirely especially exceptional exceptionally extreme extremely fabulously flipping flippin \
    frackin fracking fricking frickin frigging friggin fully fuckin fucking fuggin fugging greatly hella highly \
    hugely incredible incredibly intensely major majorly more most particularly purely quite really remarkably so \
    substantially thoroughly total totally tremendous tremendously uber unbelievably unusually utter utterly very";

const DAMPENERS: &str = "almost barely hardly kinda kindof kind-of less little marginal marginally occasional \
    occasionally partly scarce scarcely slight slightly somewhat sorta sortof sort-of";

const NEGATIONS: &str = "aint arent cannot cant couldnt darent didnt doesnt ain't aren't can't couldn't daren't \
    didn't doesn't dont hadnt hasnt havent isnt mightnt mustnt neither don't hadn't hasn't haven't isn't mightn't \
    mustn't neednt needn't never none nope nor not nothing nowhere oughtnt shant shouldnt uhuh wasnt werent oughtn't \
    shan't shouldn't uh-uh wasn't weren't without wont wouldnt won't wouldn't rarely seldom despite";

/// The words that rules name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Role {
    /// No rule names it.
    #[default]
    Any,
    Ass,
    At,
    Bad,
    Beating,
    Bomb,
    Bus,
    But,
    Death,
    Die,
    Doubt,
    Enough,
    For,
    Heart,
    Just,
    Kind,
    Kiss,
    Least,
    Never,
    No,
    Nor,
    Of,
    Or,
    Right,
    Shit,
    So,
    Sort,
    Stop,
    The,
    This,
    To,
    Very,
    Without,
    Yeah,
}

const ROLES: [(&str, Role); 33] = [
    ("ass", Role::Ass),
    ("at", Role::At),
    ("bad", Role::Bad),
    ("beating", Role::Beating),
    ("bomb", Role::Bomb),
    ("bus", Role::Bus),
    ("but", Role::But),
    ("death", Role::Death),
    ("die", Role::Die),
    ("doubt", Role::Doubt),
    ("enough", Role::Enough),
    ("for", Role::For),
    ("heart", Role::Heart),
    ("just", Role::Just),
    ("kind", Role::Kind),
    ("kiss", Role::Kiss),
    ("least", Role::Least),
    ("never", Role::Never),
    ("no", Role::No),
    ("nor", Role::Nor),
    ("of", Role::Of),
    ("or", Role::Or),
    ("right", Role::Right),
    ("shit", Role::Shit),
    ("so", Role::So),
    ("sort", Role::Sort),
    ("stop", Role::Stop),
    ("the", Role::The),
    ("this", Role::This),
    ("to", Role::To),
    ("very", Role::Very),
    ("without", Role::Without),
    ("yeah", Role::Yeah),
];

/// What VADER knows of a word.
#[derive(Clone, Copy, Debug, Default)]
pub struct Word {
    /// Its mean valence, if the lexicon has it.
    pub valence: Option<f64>,
    /// [`BOOST`], or less than 0 for a dampener.
    pub boost: f64,
    pub negates: bool,
    pub role: Role,
}

/// A word's number in [`Lexicon::word`].
pub type Id = u16;

/// The number of the words that VADER does not know.
pub const UNKNOWN: Id = 0;

const FILTER_BITS: u32 = 17;
const SLOT_BITS: u32 = 14;

/// The known words by their lower-case letters.
pub struct Lexicon {
    /// A bit for the hash of each word: most words of a text are not known, and end here.
    filter: Box<[u64; 1 << (FILTER_BITS - 6)]>,
    /// Ids by hash, the next free slot if taken.
    slots: Box<[Id; 1 << SLOT_BITS]>,
    /// By id: how the word begins, and the word.
    keys: Vec<(u64, &'static [u8])>,
    words: Vec<Word>,
}

/// The lexicon.
pub static WORDS: LazyLock<Lexicon> = LazyLock::new(Lexicon::new);

impl Lexicon {
    fn new() -> Self {
        let mut lexicon = Self {
            filter: Box::new([0; 1 << (FILTER_BITS - 6)]),
            slots: Box::new([UNKNOWN; 1 << SLOT_BITS]),
            keys: vec![(0, b"")],
            words: vec![Word::default()],
        };
        for (key, word) in known() {
            let (low, id) = (lower(first(key.as_bytes(), 0) & below(key.len())), lexicon.keys.len() as Id);
            let hash = hash(low, key.len());
            let bit = (hash >> (64 - FILTER_BITS)) as usize;
            lexicon.filter[bit / 64] |= 1 << (bit % 64);
            let mut slot = (hash >> (64 - SLOT_BITS)) as usize;
            while lexicon.slots[slot] != UNKNOWN {
                slot = (slot + 1) % lexicon.slots.len();
            }
            lexicon.slots[slot] = id;
            lexicon.keys.push((low, key.as_bytes()));
            lexicon.words.push(word);
        }
        lexicon
    }

    /// What is known of the word.
    #[inline]
    pub fn word(&self, id: Id) -> Word {
        self.words[usize::from(id)]
    }

    /// Whether the ASCII word of `len` bytes at `start` may be known; false is certain.
    #[inline(always)]
    pub fn may_know(&self, text: &[u8], start: usize, len: usize) -> bool {
        let hash = hash(lower(first(text, start) & below(len)), len);
        let bit = (hash >> (64 - FILTER_BITS)) as usize;
        self.filter[bit / 64] >> (bit % 64) & 1 != 0
    }

    /// The number of the ASCII word, in whatever case.
    #[inline]
    pub fn find(&self, text: &[u8], start: usize, len: usize) -> Id {
        let low = lower(first(text, start) & below(len));
        let mut slot = (hash(low, len) >> (64 - SLOT_BITS)) as usize;
        loop {
            let id = self.slots[slot];
            let (begins, key) = self.keys[usize::from(id)];
            let is_rest = || key[8..].eq_ignore_ascii_case(&text[start + 8..start + len]);
            if id == UNKNOWN || begins == low && key.len() == len && (len <= 8 || is_rest()) {
                return id;
            }
            slot = (slot + 1) % self.slots.len();
        }
    }
}

/// All words, with what is known of them.
fn known() -> BTreeMap<&'static str, Word> {
    let mut words: BTreeMap<&str, Word> = BTreeMap::new();
    for line in LEXICON.lines() {
        let (word, valence) = line.split_once('\t').unwrap_or((line, ""));
        words.entry(word).or_default().valence = valence.parse().ok();
    }
    for (list, boost) in [(BOOSTERS, BOOST), (DAMPENERS, -BOOST)] {
        list.split(' ').for_each(|word| words.entry(word).or_default().boost = boost);
    }
    NEGATIONS.split(' ').for_each(|word| words.entry(word).or_default().negates = true);
    for (word, role) in ROLES {
        words.entry(word).or_default().role = role;
    }
    words
}

/// Eight bytes, or as many as there are.
#[inline(always)]
fn first(text: &[u8], start: usize) -> u64 {
    let rest = text.get(start..).unwrap_or_default();
    if let Some(eight) = rest.first_chunk() {
        return u64::from_le_bytes(*eight);
    }
    rest.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte))
}

/// The lowest bytes.
#[inline(always)]
fn below(len: usize) -> u64 {
    if len >= 8 { u64::MAX } else { (1 << (8 * len)) - 1 }
}

/// Eight ASCII characters in lower case.
#[inline(always)]
fn lower(eight: u64) -> u64 {
    const EACH: u64 = 0x0101_0101_0101_0101;
    let from_a = eight.wrapping_add(EACH * u64::from(0x80 - b'A'));
    let beyond_z = eight.wrapping_add(EACH * u64::from(0x7F - b'Z'));
    eight | (from_a & !beyond_z & (EACH * 0x80)) >> 2
}

#[inline(always)]
fn hash(low: u64, len: usize) -> u64 {
    (low ^ (len as u64) << 58).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

/// What emoji are called, in the order of the characters.
static DESCRIPTIONS: LazyLock<Vec<(char, &str)>> = LazyLock::new(|| {
    let description = |line: &'static str| {
        let (emoji, description) = line.split_once('\t')?;
        Some((emoji.chars().next()?, description))
    };
    EMOJI.lines().filter_map(description).collect()
});

/// What the character is called, if it is an emoji.
#[inline]
pub fn description(c: char) -> Option<&'static str> {
    let may_be = matches!(c, '©' | '®' | '\u{203C}'..='\u{303D}' | '\u{3297}' | '\u{3299}' | '\u{1F000}'..);
    if !may_be {
        return None;
    }
    let found = DESCRIPTIONS.binary_search_by_key(&c, |&(emoji, _)| emoji).ok()?;
    Some(DESCRIPTIONS[found].1)
}

/// Whether an emoji may start with the byte.
#[inline(always)]
pub fn may_be_emoji(byte: u8) -> bool {
    (byte == 0xC2) | (byte == 0xE2) | (byte == 0xE3) | (byte >= 0xF0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_found_in_any_case() {
        let known = known();
        for (key, word) in &known {
            for text in [key.to_string(), format!(" {}. and so on", key.to_uppercase())] {
                let id = WORDS.find(text.as_bytes(), text.find(|c| c != ' ').unwrap(), key.len());
                let found = WORDS.word(id);
                assert_eq!((found.valence, found.role), (word.valence, word.role), "{text:?}");
            }
            let longer = format!("{key}q");
            assert_eq!(
                WORDS.find(longer.as_bytes(), 0, longer.len()) != UNKNOWN,
                known.contains_key(&*longer)
            );
        }
    }

    #[test]
    fn files_are_sorted_and_whole() {
        assert!(LEXICON.lines().is_sorted() && EMOJI.lines().is_sorted());
        assert_eq!(known().values().filter(|word| word.valence.is_some()).count(), LEXICON.lines().count());
        assert_eq!(DESCRIPTIONS.len(), EMOJI.lines().count());
        for (c, text) in DESCRIPTIONS.iter() {
            assert_eq!(description(*c), Some(*text));
            assert!(may_be_emoji(c.to_string().as_bytes()[0]), "{c}");
        }
    }
}
