//! Normalisers that change some characters and leave nearly all texts as they are: the forms of Unicode, in the version
//! that `tokenizers` applies, lower case, and SentencePiece's maps of characters.
//!
//! Most texts are seen not to change without being normalised: for NFC by their first bytes, for the others by a table of
//! characters that no step changes and that have nothing to do with what stands beside them.

use super::unicode::{NFC_SUSPECT, TABLE, decode};
use crate::error::panic_text;
use crate::{Error, Result};
use serde::Deserialize;
use serde_json::Value;
use std::borrow::Cow;
use std::ops::RangeInclusive;
use std::panic::{AssertUnwindSafe, catch_unwind};
use tokenizers::normalizers::Precompiled;
use unicode_normalization_alignments::{IsNormalized, UnicodeNormalization, is_nfc_quick};

/// What is done to a text.
pub(super) struct Normaliser {
    steps: Vec<Step>,
    /// Characters that stay, unless NFC is all there is.
    kept: Option<Box<Kept>>,
}

enum Step {
    Nfc,
    Nfd,
    Nfkc,
    Nfkd,
    Lowercase,
    Precompiled(Box<Precompiled>),
}

impl Step {
    fn of(step: &Value) -> Option<Self> {
        Some(match step["type"].as_str()? {
            "NFC" => Self::Nfc,
            "NFD" => Self::Nfd,
            "NFKC" => Self::Nfkc,
            "NFKD" => Self::Nfkd,
            "Lowercase" => Self::Lowercase,
            // Hostile maps reach what panics.
            "Precompiled" => {
                Self::Precompiled(Box::new(catch_unwind(|| Precompiled::deserialize(step).ok()).ok()??))
            }
            _ => return None,
        })
    }

    fn apply(&self, text: &str) -> Result<String> {
        Ok(match self {
            Self::Nfc => text.nfc().map(|(c, _)| c).collect(),
            Self::Nfd => text.nfd().map(|(c, _)| c).collect(),
            Self::Nfkc => text.nfkc().map(|(c, _)| c).collect(),
            Self::Nfkd => text.nfkd().map(|(c, _)| c).collect(),
            // By character: no sigma is final.
            Self::Lowercase => text.chars().flat_map(char::to_lowercase).collect(),
            Self::Precompiled(map) => {
                catch_unwind(AssertUnwindSafe(|| map.normalize_string(text))).map_err(|panic| {
                    let (bytes, why) = (text.len(), panic_text(&*panic));
                    Error::Tokenizer(format!(
                        "the normalizer Precompiled fails on a text of {bytes} bytes: {why}"
                    ))
                })?
            }
        })
    }
}

impl Normaliser {
    /// The steps at the beginning of some that are done here, and those that follow.
    pub(super) fn split<'s, 'v>(steps: &'s [&'v Value]) -> (Self, &'s [&'v Value]) {
        let ours: Vec<Step> = steps.iter().map_while(|step| Step::of(step)).collect();
        let rest = &steps[ours.len()..];
        let nfc_alone = ours.iter().all(|step| matches!(step, Step::Nfc));
        let kept = (!nfc_alone).then(|| Box::new(Kept::by(&ours)));
        (Self { steps: ours, kept }, rest)
    }

    /// Whether there are no steps.
    pub(super) fn is_none(&self) -> bool {
        self.steps.is_empty()
    }

    /// Whether the steps are known to leave a text as it is.
    pub(super) fn keeps(&self, text: &str) -> bool {
        match &self.kept {
            _ if self.is_none() => true,
            Some(kept) => kept.holds(text.as_bytes()),
            None => is_nfc(text),
        }
    }

    /// The same, but for texts that would have to be looked at more closely than once.
    pub(super) fn surely_keeps(&self, text: &str) -> bool {
        match &self.kept {
            None if !self.is_none() => !may_hold_suspects(text.as_bytes()),
            _ => self.keeps(text),
        }
    }

    /// The text as the steps leave it.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] for a text that a damaged map of characters is not for.
    pub(super) fn apply<'t>(&self, text: &'t str) -> Result<Cow<'t, str>> {
        if self.keeps(text) {
            return Ok(Cow::Borrowed(text));
        }
        self.steps.iter().try_fold(Cow::Borrowed(text), |text, step| step.apply(&text).map(Cow::Owned))
    }
}

/// Characters that steps keep.
struct Kept {
    /// A bit for each.
    bits: Box<[u64]>,
    /// Whether all are kept that are visible ASCII, or the blank.
    printable: bool,
}

/// Characters that never join with what is beside them: no form composes, reorders or groups them with other characters
/// than those that are left out here. Hangul's letters are left out, combining marks, variation selectors, modifiers,
/// joiners, flags, and the carriage return.
const ALONE: [RangeInclusive<u32>; 20] = [
    0x9..=0xa,
    0x20..=0x7e,
    0xa0..=0xac,
    0xae..=0x2af,
    0x370..=0x482,
    0x48a..=0x52f,
    0x2010..=0x2027,
    0x2030..=0x205e,
    0x20a0..=0x20bf,
    0x2100..=0x2bff,
    0x3000..=0x3029,
    0x3030..=0x3096,
    0x309b..=0x30ff,
    0x3105..=0x312f,
    0x3400..=0x4dbf,
    0x4e00..=0x9fff,
    0xac00..=0xd7a3,
    0xff01..=0xff9d,
    0x1f300..=0x1f3fa,
    0x1f400..=0x1faff,
];

impl Kept {
    fn by(steps: &[Step]) -> Self {
        let mut kept = Self { bits: vec![0; 0x2_0000 / 64].into(), printable: false };
        let stays = |text: &str| steps.iter().all(|step| step.apply(text).is_ok_and(|after| after == text));
        for range in ALONE {
            let chars: Vec<char> = range.filter_map(char::from_u32).collect();
            for some in chars.chunks(64) {
                let all = stays(&String::from_iter(some));
                for &c in some {
                    if all || stays(c.encode_utf8(&mut [0; 4])) {
                        kept.bits[c as usize >> 6] |= 1 << (c as u32 & 63);
                    }
                }
            }
        }
        kept.printable = (0x20..=0x7e).all(|c| kept.contains(c));
        kept
    }

    #[inline(always)]
    fn contains(&self, c: u32) -> bool {
        self.bits.get(c as usize >> 6).is_some_and(|bits| bits >> (c & 63) & 1 != 0)
    }

    /// Whether all characters of a text are kept.
    fn holds(&self, text: &[u8]) -> bool {
        let mut at = 0;
        while at < text.len() {
            if self.printable && text[at].is_ascii() {
                let chunk = text[at..].first_chunk::<32>();
                // Without branches within a chunk, so that it is compiled to vector instructions.
                let plain =
                    |chunk: &[u8; 32]| chunk.iter().fold(true, |all, byte| all & matches!(byte, 0x20..=0x7e));
                if chunk.is_some_and(plain) {
                    at += 32;
                    continue;
                }
            }
            let (c, len) = decode(text, at);
            if !self.contains(c) {
                return false;
            }
            at += len;
        }
        true
    }
}

/// Whether NFC would change nothing; may say false of a text that is normalised.
fn is_nfc(text: &str) -> bool {
    if !may_hold_suspects(text.as_bytes()) {
        return true;
    }
    let table = &*TABLE;
    let suspect = |c: char| c >= '\u{300}' && table.byte(c as u32) & NFC_SUSPECT != 0;
    !text.chars().any(suspect) || is_nfc_quick(text.chars()) == IsNormalized::Yes
}

/// Whether some character is neither ASCII nor of the ranges that Chinese, Japanese and most Latin text is made of.
fn may_hold_suspects(text: &[u8]) -> bool {
    #[cfg(target_arch = "x86_64")]
    if let Some(machine) = crate::cpu::Avx2::get() {
        return machine.run(
            #[inline(always)]
            || any_suspect_start(text),
        );
    }
    any_suspect_start(text)
}

#[inline(always)]
fn any_suspect_start(text: &[u8]) -> bool {
    const WINDOW: usize = CHUNK + 2;
    let mut at = 0;
    while let Some(window) = text[at..].first_chunk::<WINDOW>() {
        if any_suspect_in(window) {
            return true;
        }
        at += CHUNK;
    }
    let mut last = [0; WINDOW + CHUNK];
    last[..text.len() - at].copy_from_slice(&text[at..]);
    let [first, second] = [0, CHUNK].map(|i| last[i..].first_chunk::<WINDOW>().expect("twice as long"));
    any_suspect_in(first) || any_suspect_in(second)
}

const CHUNK: usize = 64;

/// Without branches within a chunk, so that it is compiled to vector instructions.
#[inline(always)]
fn any_suspect_in(window: &[u8; CHUNK + 2]) -> bool {
    if window[..CHUNK].iter().fold(0, |highest, &byte| highest.max(byte)) < FIRST_SUSPECT {
        return false;
    }
    let mut any = false;
    for i in 0..CHUNK {
        any |= suspect_start(window[i], window[i + 1], window[i + 2]);
    }
    any
}

/// Characters that start with a lower byte are not changed.
const FIRST_SUSPECT: u8 = 0xcc;

/// Whether a character that starts with these bytes may be changed by NFC or change its neighbours.
#[inline(always)]
fn suspect_start(a: u8, b: u8, c: u8) -> bool {
    let plain = (a.wrapping_sub(0xe4) <= 5) // U+4000 to U+9FFF
        | ((a == 0xef) & ((b == 0xbc) | (b == 0xbd))) // full-width forms
        | ((a == 0xe2) & (b == 0x80) & (c >= 0x90)) // quotation marks, dashes
        | ((a == 0xe3) & (b == 0x80) & (c < 0xaa)) // ideographic punctuation
        | ((a == 0xe3) & ((b == 0x81) | (b == 0x83) | (b == 0x82) & (c.wrapping_sub(0x99) > 1))); // kana
    (a >= FIRST_SUSPECT) & !plain
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_suspect_is_seen() {
        for c in '\0'..=char::MAX {
            if TABLE.byte(c as u32) & NFC_SUSPECT != 0 {
                for text in [format!("{c}"), format!("{}{c}{}", "a".repeat(63), "你".repeat(50))] {
                    assert!(
                        any_suspect_start(text.as_bytes()) && may_hold_suspects(text.as_bytes()),
                        "{c:?}"
                    );
                }
            }
        }
    }

    /// What the table says stays does, in any company of its like; and most of what texts are made of is in it.
    #[test]
    fn what_is_kept_stays() {
        let steps = [
            json!({"type": "NFC"}),
            json!({"type": "NFKD"}),
            json!({"type": "NFKC"}),
            json!({"type": "Lowercase"}),
        ];
        for step in &steps {
            let kept = Kept::by(&[Step::of(step).unwrap()]);
            let all: Vec<char> = ('\0'..=char::MAX).filter(|&c| kept.contains(c as u32)).collect();
            assert!(all.len() > 20_000, "{step}");
            let mut state = 7usize;
            let mut random = || {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                all[(state >> 33) % all.len()]
            };
            let text: String = (0..200_000).map(|_| random()).collect();
            assert!(kept.holds(text.as_bytes()));
            let steps = [step];
            let (normaliser, rest) = Normaliser::split(&steps);
            assert!(rest.is_empty());
            assert_eq!(normaliser.steps[0].apply(&text).unwrap(), text, "{step}");
        }
    }

    #[test]
    fn what_changes_is_not_kept() {
        let steps = [&json!({"type": "NFKC"})];
        let (normaliser, _) = Normaliser::split(&steps);
        for (text, expected) in
            [("ﬁ", "fi"), ("é", "é"), ("e\u{301}", "é"), ("Ａ好", "A好"), ("a\u{a0}b", "a b")]
        {
            assert_eq!(normaliser.apply(text).unwrap(), expected);
        }
        for text in [
            "plain text of more than thirty-two bytes, and then “some” 你好，".replace('，', "。"),
            String::new(),
        ] {
            assert!(matches!(normaliser.apply(&text), Ok(Cow::Borrowed(_))), "{text:?}");
        }
    }

    #[test]
    fn ordinary_texts_hold_no_suspects() {
        let text = "“Hello” – it’s 你好，世界！「カタカナ」。 naïve".repeat(9);
        assert!(!any_suspect_start(text.as_bytes()) && !may_hold_suspects(text.as_bytes()));
    }
}
