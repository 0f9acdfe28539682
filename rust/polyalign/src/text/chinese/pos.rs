//! Parts of speech of Chinese words: those of jieba, as universal ones.

use crate::text::class::ClassTable;
use jieba_rs::Jieba;
use std::sync::LazyLock;

static JIEBA: LazyLock<Jieba> = LazyLock::new(Jieba::new);

/// The universal parts of speech, in the order of Universal Dependencies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
#[expect(missing_docs, reason = "the names are those of Universal Dependencies")]
pub enum Upos {
    Adj,
    Adp,
    Adv,
    Aux,
    Cconj,
    Det,
    Intj,
    Noun,
    Num,
    Part,
    Pron,
    Propn,
    Punct,
    Sconj,
    Sym,
    Verb,
    X,
}

/// How many universal parts of speech there are.
pub const UPOS: usize = Upos::X as usize + 1;

/// The universal part of speech of a tag of jieba; `None` of one that says none.
///
/// jieba's tags know neither determiners (they are `r`) nor subordinating conjunctions (`c`).
fn universal(tag: &str) -> Option<Upos> {
    Some(match tag {
        // Adjectives: as attribute (b), as morpheme (ag), of state (z).
        "a" | "ag" | "b" | "bg" | "z" => Upos::Adj,
        // Prepositions; words of place after a noun, such as 上 and 之间.
        "p" | "f" => Upos::Adp,
        // Adverbs; adjectives (ad) and verbs (vd) used as such. Of the mixed tag zg most uses are
        // adverbs: 很, 较, 仍.
        "d" | "df" | "dg" | "ad" | "vd" | "zg" => Upos::Adv,
        // Of aspect: 了, 过, 着.
        "ul" | "ug" | "uz" => Upos::Aux,
        "c" => Upos::Cconj,
        // Interjections and what imitates sounds.
        "e" | "o" => Upos::Intj,
        // Nouns, adjectives (an) and verbs (vn) used as such, of time (t), of place (s), classifiers
        // (q), fixed phrases (l).
        "n" | "ng" | "an" | "vn" | "t" | "tg" | "s" | "q" | "qe" | "qg" | "l" | "ln" | "in" | "jn" | "en" => {
            Upos::Noun
        }
        "m" | "mg" | "mq" => Upos::Num,
        // 的, 地, 得 and others; moods (y); prefixes and suffixes (h, k).
        "u" | "ud" | "uj" | "uv" | "y" | "yg" | "h" | "k" => Upos::Part,
        "r" | "rg" | "rr" | "rz" => Upos::Pron,
        // Of persons, places, organisations and others, and short for such (j).
        "nr" | "nrfg" | "nrt" | "ns" | "nt" | "nz" | "j" => Upos::Propn,
        "w" => Upos::Punct,
        // Verbs; idioms (i), which stand as predicates.
        "v" | "vg" | "vi" | "vq" | "i" => Upos::Verb,
        // Morphemes; words in Latin letters.
        "g" | "eng" => Upos::X,
        _ => return None,
    })
}

const PUNCTUATION: u8 = 1;
const SYMBOL: u8 = 2;
const DIGIT: u8 = 3;
const BLANK: u8 = 4;

static CLASSES: LazyLock<ClassTable> = LazyLock::new(|| {
    ClassTable::new(&[
        (r"\p{P}", PUNCTUATION),
        (r"[\p{S}%‰％]", SYMBOL),
        (r"\p{N}", DIGIT),
        (r"[\s\p{C}]", BLANK),
    ])
});

/// The universal part of speech of a word that jieba's tag says nothing of; `None` of blanks.
fn of_characters(word: &str) -> Option<Upos> {
    match CLASSES.get(word.chars().next()?) {
        PUNCTUATION => Some(Upos::Punct),
        SYMBOL => Some(Upos::Sym),
        DIGIT => Some(Upos::Num),
        BLANK => None,
        _ => Some(Upos::X),
    }
}

/// Counts the parts of speech of texts.
///
/// ```
/// use polyalign::text::chinese::pos::{Tagger, Upos};
///
/// let counts = Tagger::new().counts("我们都爱吃火锅！");
/// assert_eq!(counts[Upos::Pron as usize], 1);
/// assert_eq!(counts[Upos::Punct as usize], 1);
/// ```
pub struct Tagger {
    jieba: &'static Jieba,
}

impl Default for Tagger {
    fn default() -> Self {
        Self::new()
    }
}

impl Tagger {
    /// A tagger; the first reads jieba's dictionary, which all share.
    pub fn new() -> Self {
        Tagger { jieba: &JIEBA }
    }

    /// How many words of `text` are of each universal part of speech, in the order of [`Upos`].
    ///
    /// Words and tags are those of `tag(text, true)` of the crate jieba-rs. Blanks count as nothing.
    pub fn counts(&mut self, text: &str) -> [u32; UPOS] {
        let mut counts = [0; UPOS];
        for tag in self.jieba.tag(text, true) {
            if let Some(upos) = universal(tag.tag).or_else(|| of_characters(tag.word)) {
                counts[upos as usize] += 1;
            }
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::WORDS;
    use super::*;

    /// What says nothing of a word is `x` alone.
    #[test]
    fn every_tag_is_known() {
        for (word, _) in WORDS.iter() {
            for tag in JIEBA.tag(word, true) {
                assert!(tag.tag == "x" || universal(tag.tag).is_some(), "{} of {word}", tag.tag);
            }
        }
        for tag in ["bg", "en", "in", "jn", "ln", "qe", "qg", "w", "yg", "eng"] {
            assert!(universal(tag).is_some(), "{tag}");
        }
    }

    #[test]
    fn counts_by_hand() {
        let counts = Tagger::new().counts("他在北京买了３支铅笔，50%的ABC…… \r\n\t+");
        let expected = [
            (Upos::Adp, 1),
            (Upos::Aux, 1),
            (Upos::Noun, 2),
            (Upos::Num, 2),
            (Upos::Part, 1),
            (Upos::Pron, 1),
            (Upos::Propn, 1),
            (Upos::Punct, 3),
            (Upos::Sym, 1),
            (Upos::Verb, 1),
            (Upos::X, 1),
        ];
        let mut all = [0; UPOS];
        for (upos, count) in expected {
            all[upos as usize] = count;
        }
        assert_eq!(counts, all);
        assert_eq!(Tagger::new().counts(""), [0; UPOS]);
    }
}
