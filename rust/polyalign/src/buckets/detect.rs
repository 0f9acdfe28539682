//! Detecting the language of a response, from its prose.
//!
//! Scripts decide first. Languages that share a script other than Latin differ by their letters or
//! most frequent words; those in Latin script by how their letters follow each other.

use super::latin::{self, Costs, Evidence, NAT, Words};
use super::prose::{is_plain, prose};
use crate::records::record::{Message, Record};
use crate::text::script::{Script, ScriptCounts};
use std::sync::{LazyLock, OnceLock};
use unicode_normalization::UnicodeNormalization;

/// The script of responses with fewer letters is their whole conversation's.
pub(super) const MIN_LETTERS: u32 = 20;
/// Bytes of prose that telling languages of one script apart looks at.
const SAMPLE_BYTES: usize = 512;
/// The same of the conversation, where the response leaves that open.
const CONVERSATION_BYTES: usize = 256;
/// A response that speaks so much more for a language than for any other needs no conversation, and
/// a conversation never speaks more for one.
const CERTAIN: i16 = 12 * NAT;
/// Anything less is left open.
const UNSURE: i16 = NAT;
/// Letters of a language cost about two nats each, those of one that the model lacks three: 23 eighths
/// are between.
const STRANGE: u32 = 23;
/// Fewer letters may be a name in any language.
const STRANGE_LETTERS: u32 = 40;

/// The languages of each script but Latin, the most probable first.
const LANGUAGES: [(Script, &[&str]); 34] = [
    (Script::Han, &["zh", "yue", "wuu", "lzh"]),
    (Script::Kana, &["ja"]),
    (Script::Hangul, &["ko"]),
    (Script::Cyrillic, &["ru", "bg", "uk", "be", "sr", "mk", "kk", "ky", "mn", "tg", "tt", "ba", "cv"]),
    (Script::Arabic, &["ar", "fa", "ur", "ps", "ckb", "ug", "sd"]),
    (Script::Hebrew, &["he", "yi"]),
    (Script::Greek, &["el", "grc"]),
    (Script::Thai, &["th"]),
    (Script::Devanagari, &["hi", "mr", "ne", "sa", "mai", "bho", "awa", "kok"]),
    (Script::Bengali, &["bn", "as"]),
    (Script::Gurmukhi, &["pa"]),
    (Script::Gujarati, &["gu"]),
    (Script::Oriya, &["or"]),
    (Script::Tamil, &["ta"]),
    (Script::Telugu, &["te"]),
    (Script::Kannada, &["kn"]),
    (Script::Malayalam, &["ml"]),
    (Script::Sinhala, &["si"]),
    (Script::Lao, &["lo"]),
    (Script::Khmer, &["km"]),
    (Script::Myanmar, &["my"]),
    (Script::Tibetan, &["bo", "dz"]),
    (Script::Georgian, &["ka"]),
    (Script::Armenian, &["hy"]),
    (Script::Ethiopic, &["am", "ti"]),
    (Script::Bopomofo, &["zh"]),
    (Script::Thaana, &["dv"]),
    (Script::Mongolian, &["mn"]),
    (Script::OlChiki, &["sat"]),
    (Script::Syriac, &["syr"]),
    (Script::Tifinagh, &["tzm", "kab"]),
    (Script::Cherokee, &["chr"]),
    (Script::Yi, &["ii"]),
    (Script::Inuktitut, &["iu"]),
];

/// What tells a language from others of its script, other than Latin.
struct Profile {
    tag: &'static str,
    /// In order.
    letters: Vec<char>,
    words: Vec<&'static str>,
}

static PROFILES: LazyLock<Vec<Profile>> = LazyLock::new(|| {
    let lines = include_str!("shared_scripts.tsv").lines().filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| {
            let mut columns = line.split('\t').skip(1);
            let tag = columns.next()?;
            let mut letters: Vec<char> = columns.next()?.chars().collect();
            letters.sort_unstable();
            Some(Profile { tag, letters, words: columns.next()?.split(' ').collect() })
        })
        .collect()
});

/// Detects a response's language among the allowed ones.
pub(super) struct Detector {
    /// The candidates among the languages of each script of [`LANGUAGES`].
    scripts: Vec<(Script, Vec<&'static str>)>,
    latin: Latin,
}

/// The candidates in Latin script.
enum Latin {
    None,
    One(&'static str),
    /// Their costs stay in the processor's nearest caches.
    Few(Box<Candidates<FEW>>),
    Many(Box<Candidates<MANY>>),
    Any,
}

/// Columns of costs that [`Candidates`] have at most, with the one that all have in common.
const FEW: usize = 8;
const MANY: usize = 64;

/// Languages in Latin script.
struct Candidates<const N: usize> {
    /// Whether texts may also be in none of these.
    any: bool,
    tags: Vec<&'static str>,
    /// Columns of the model, and what they cost: not made before a text asks.
    columns: Vec<usize>,
    costs: OnceLock<Costs<N>>,
    /// By column: the candidate it stands for, one past the last for none.
    owners: [i16; N],
    /// By column: how much more common the language is than most.
    priors: [i16; N],
}

/// Where any language may be.
static ANYTHING: LazyLock<Candidates<MANY>> =
    LazyLock::new(|| Candidates::new(&ANY, (0..latin::LANGUAGES.len()).collect(), true));

/// Working memory of one [`Detector`].
#[derive(Default)]
pub(super) struct DetectorScratch {
    sample: String,
    few: Words<FEW>,
    many: Words<MANY>,
}

impl Detector {
    /// Among these languages; `None`: any that can be told.
    pub(super) fn new(languages: Option<&[&'static str]>) -> Self {
        let allowed = |tag: &&'static str| languages.is_none_or(|allowed| allowed.contains(tag));
        let scripts: Vec<(Script, Vec<&'static str>)> = LANGUAGES
            .iter()
            .map(|(script, tags)| (*script, tags.iter().copied().filter(allowed).collect()))
            .filter(|(_, tags): &(_, Vec<_>)| !tags.is_empty())
            .collect();
        Self { latin: Latin::new(languages), scripts }
    }

    /// The response's language, if its prose or its conversation tells.
    pub(super) fn detect(&self, record: &Record<'_>, scratch: &mut DetectorScratch) -> Option<&'static str> {
        let answer = record.answer();
        let mut counts = ScriptCounts::default();
        let plain = is_plain(answer.as_bytes());
        count_answer(answer, plain, &mut counts);
        if counts.letters() >= MIN_LETTERS
            && let Some(script) = self.script(&counts)
        {
            let texts = std::iter::once(answer);
            return self.of_script(script, &counts, texts, record, plain, scratch);
        }
        spoken(record).for_each(|text| count_message(text, &mut counts));
        let script = self.script(&counts)?;
        let texts = std::iter::once(answer).chain(spoken(record));
        self.of_script(script, &counts, texts, record, plain, scratch)
    }

    /// The script that most of the text is in, among those that candidates are written in.
    fn script(&self, counts: &ScriptCounts) -> Option<Script> {
        let latin = match self.latin {
            Latin::None => 0,
            _ => weight(Script::Latin, counts),
        };
        let latin = (Script::Latin, latin);
        if counts.get(Script::Latin) == counts.letters() {
            return (latin.1 > 0).then_some(Script::Latin);
        }
        let others = self.scripts.iter().map(|&(script, _)| (script, weight(script, counts)));
        // Kana and Han stand together, whichever of them are more.
        let together = |(script, own): (Script, u32)| match script {
            Script::Han if self.candidates(Script::Kana).is_some() => {
                (script, own + weight(Script::Kana, counts))
            }
            Script::Kana => (script, own + weight(Script::Han, counts)),
            _ => (script, own),
        };
        // The first of equals: Latin, then as listed.
        let most = |best: (Script, u32), next: (Script, u32)| if next.1 > best.1 { next } else { best };
        let (script, weight) = others.map(together).fold(latin, most);
        (weight > 0).then_some(script)
    }

    fn candidates(&self, script: Script) -> Option<&[&'static str]> {
        self.scripts.iter().find(|(known, _)| *known == script).map(|(_, tags)| &**tags)
    }

    /// The language of texts in this script; `plain`: all of the answer is prose.
    fn of_script<'a>(
        &self,
        script: Script,
        counts: &ScriptCounts,
        texts: impl Iterator<Item = &'a str>,
        record: &Record<'_>,
        plain: bool,
        scratch: &mut DetectorScratch,
    ) -> Option<&'static str> {
        match (script, &self.latin) {
            (Script::Latin, Latin::One(language)) => return Some(language),
            (Script::Latin, Latin::Few(candidates)) => {
                return candidates.detect(record, plain, &mut scratch.few);
            }
            (Script::Latin, Latin::Many(candidates)) => {
                return candidates.detect(record, plain, &mut scratch.many);
            }
            (Script::Latin, Latin::Any) => return ANYTHING.detect(record, plain, &mut scratch.many),
            (Script::Han | Script::Kana, _) => return self.han_or_kana(counts),
            _ => {}
        }
        match self.candidates(script)? {
            [one] => Some(one),
            candidates => {
                scratch.sample.clear();
                sample(texts, SAMPLE_BYTES, |piece| {
                    scratch.sample.push_str(piece);
                    scratch.sample.push('\n');
                });
                by_profile(candidates, &scratch.sample)
            }
        }
    }

    fn han_or_kana(&self, counts: &ScriptCounts) -> Option<&'static str> {
        let first = |script| self.candidates(script).and_then(|tags| tags.first().copied());
        let (chinese, japanese) = (first(Script::Han), first(Script::Kana));
        let (han, kana) = (counts.get(Script::Han), counts.get(Script::Kana));
        // Japanese prose is about half kana; Chinese has a few in names and as decoration.
        if kana * 5 >= han + kana && kana > 0 { japanese.or(chinese) } else { chinese.or(japanese) }
    }
}

impl Latin {
    fn new(languages: Option<&[&'static str]>) -> Self {
        let Some(allowed) = languages else { return Self::Any };
        let elsewhere = |tag: &str| LANGUAGES.iter().any(|(_, tags)| tags.contains(&tag));
        // A language that no table has is taken to be in Latin script.
        let latin = |tag: &&'static str| !columns(tag).is_empty() || !elsewhere(tag);
        let allowed: Vec<&'static str> = allowed.iter().copied().filter(latin).collect();
        match allowed[..] {
            [] => Self::None,
            [one] => Self::One(one),
            _ => {
                let mut columns: Vec<usize> = allowed.iter().flat_map(|tag| columns(tag)).collect();
                columns.sort_unstable();
                columns.dedup();
                if columns.len() < FEW {
                    Self::Few(Box::new(Candidates::new(&allowed, columns, false)))
                } else {
                    Self::Many(Box::new(Candidates::new(&allowed, columns, false)))
                }
            }
        }
    }
}

/// The languages in Latin script that are told apart where any may be.
///
/// Norwegian is one, and Bosnian is left to Croatian and Serbian, which most of its sentences are too.
const ANY: [&str; 48] = [
    "en", "de", "es", "fr", "it", "pt", "nl", "pl", "tr", "vi", "id", "sv", "cs", "ro", "hu", "da", "fi",
    "no", "sk", "hr", "sr", "sl", "lt", "lv", "et", "ca", "eu", "ga", "cy", "is", "sq", "az", "af", "ms",
    "tl", "sw", "la", "eo", "mi", "so", "yo", "zu", "xh", "sn", "st", "tn", "ts", "lg",
];

/// The columns of the model that a language takes; none of one that the model lacks.
fn columns(tag: &str) -> Vec<usize> {
    let members: &[&str] = match tag {
        "no" => &["nb", "nn"],
        "sh" => &["hr", "bs", "sr"],
        "fil" => &["tl"],
        _ => &[tag],
    };
    let column = |member: &&str| latin::LANGUAGES.iter().position(|known| known == member);
    members.iter().filter_map(column).collect()
}

impl<const N: usize> Candidates<N> {
    /// Of columns of the model, at most `N - 1`. Where two languages take one, the one named first has it.
    fn new(tags: &[&'static str], all: Vec<usize>, any: bool) -> Self {
        let mut owners = [tags.len() as i16; N];
        let mut priors = [0; N];
        for (owner, tag) in tags.iter().enumerate().rev() {
            let own = columns(tag);
            for at in (0..all.len()).filter(|&at| own.contains(&all[at])) {
                owners[at] = owner as i16;
                priors[at] = match *tag {
                    "en" => 4 * NAT,
                    "de" | "es" | "fr" | "id" | "it" | "pt" => 2 * NAT,
                    "nl" | "pl" | "sv" | "tr" | "vi" => NAT,
                    _ => 0,
                };
            }
        }
        Self { any, tags: tags.to_vec(), columns: all, costs: OnceLock::new(), owners, priors }
    }

    /// The language that the response is most likely in; the conversation is asked where that is not
    /// certain.
    fn detect(&self, record: &Record<'_>, plain: bool, words: &mut Words<N>) -> Option<&'static str> {
        let costs = self.costs.get_or_init(|| Costs::new(&self.columns));
        let answer = if plain {
            let mut evidence = Evidence::default();
            add(&mut evidence, start(record.answer(), SAMPLE_BYTES), costs, words);
            evidence
        } else {
            evidence(std::iter::once(record.answer()), SAMPLE_BYTES, costs, words)
        };
        if self.is_strange(&answer) {
            return None;
        }
        let mut sums = *answer.costs();
        let (owner, margin) = self.cheapest(&sums, answer.letters());
        if margin >= CERTAIN {
            return self.tags.get(owner).copied();
        }
        let conversation = evidence(spoken(record), CONVERSATION_BYTES, costs, words);
        let mut letters = answer.letters();
        if !self.is_strange(&conversation) {
            letters += conversation.letters();
            let least = self.least(conversation.costs());
            for (sum, &said) in sums.iter_mut().zip(conversation.costs()) {
                *sum += (said - least).clamp(0, CERTAIN);
            }
        }
        let (owner, margin) = self.cheapest(&sums, letters);
        let is_told = letters > 0 && (!self.any || margin >= UNSURE);
        if is_told { self.tags.get(owner).copied() } else { None }
    }

    /// Whether a text's letters follow each other as in no language of the model.
    fn is_strange(&self, evidence: &Evidence<N>) -> bool {
        let letters = evidence.letters();
        self.any
            && letters >= STRANGE_LETTERS
            && evidence.base() + self.least(evidence.costs()) as u32 > STRANGE * letters
    }

    /// The least cost of any candidate.
    fn least(&self, costs: &[i16; N]) -> i16 {
        let none = self.tags.len() as i16;
        let own = |(&cost, &owner): (&i16, &i16)| if owner == none { i16::MAX } else { cost };
        costs.iter().zip(&self.owners).map(own).fold(i16::MAX, i16::min)
    }

    /// The candidate of the least cost (the first of equals), and how much less than any other's it
    /// is. What is common is likely, but few letters are no reason to take it.
    fn cheapest(&self, costs: &[i16; N], letters: u32) -> (usize, i16) {
        let most = (letters.min(100) as i16) * (NAT / 2);
        let mut sums = [0; N];
        for ((sum, &cost), &prior) in sums.iter_mut().zip(costs).zip(&self.priors) {
            *sum = cost - prior.min(most);
        }
        let least = self.least(&sums);
        let none = self.tags.len() as i16;
        let at_least = |(&sum, &owner): (&i16, &i16)| if sum == least { owner } else { none };
        let best = sums.iter().zip(&self.owners).map(at_least).fold(none, i16::min);
        let other = |(&sum, &owner): (&i16, &i16)| {
            if owner == none || owner == best { i16::MAX } else { sum }
        };
        let second = sums.iter().zip(&self.owners).map(other).fold(i16::MAX, i16::min);
        (best as usize, second.saturating_sub(least))
    }
}

fn evidence<'a, const N: usize>(
    texts: impl Iterator<Item = &'a str>,
    bytes: usize,
    costs: &Costs<N>,
    words: &mut Words<N>,
) -> Evidence<N> {
    let mut evidence = Evidence::default();
    sample(texts, bytes, |piece| add(&mut evidence, piece, costs, words));
    evidence
}

#[inline]
fn add<const N: usize>(evidence: &mut Evidence<N>, piece: &str, costs: &Costs<N>, words: &mut Words<N>) {
    // Combining marks: letters may be in pieces.
    if memchr::memchr2(0xCC, 0xCD, piece.as_bytes()).is_some() {
        evidence.add(&piece.nfc().collect::<String>(), costs, words);
    } else {
        evidence.add(piece, costs, words);
    }
}

/// Calls `each` with the first prose of texts, so much as fits.
fn sample<'a>(texts: impl Iterator<Item = &'a str>, bytes: usize, mut each: impl FnMut(&'a str)) {
    let mut room = bytes;
    for text in texts {
        prose(text, |piece| {
            let piece = start(piece, room);
            each(piece);
            room -= piece.len();
            // Less is no whole character.
            room >= 4
        });
        if room < 4 {
            break;
        }
    }
}

/// Counts the letters of a response's prose; of one in Latin script alone perhaps only enough.
fn count_answer(text: &str, plain: bool, counts: &mut ScriptCounts) {
    counts.add(text);
    let latin = counts.get(Script::Latin);
    if plain || latin == 0 {
        return;
    }
    let is_latin = latin == counts.letters();
    *counts = ScriptCounts::default();
    prose(text, |piece| {
        counts.add(piece);
        !(is_latin && counts.letters() >= MIN_LETTERS)
    });
}

/// Adds the letters of a message, without its code.
fn count_message(text: &str, counts: &mut ScriptCounts) {
    if memchr::memchr(b'`', text.as_bytes()).is_none() {
        return counts.add(text);
    }
    prose(text, |piece| {
        counts.add(piece);
        true
    });
}

/// A script's letters, weighted by how much each says: a Chinese word is one or two characters, an
/// English one five letters.
fn weight(script: Script, counts: &ScriptCounts) -> u32 {
    let each = match script {
        Script::Han => 3,
        Script::Kana | Script::Hangul => 2,
        _ => 1,
    };
    each * counts.get(script)
}

/// The candidate whose alphabet covers the most letters; of equals the one most of whose words are
/// there, of these the first.
fn by_profile(candidates: &[&'static str], text: &str) -> Option<&'static str> {
    let lower = text.to_lowercase();
    // Marks belong to words in Devanagari; no letter or mark is in ASCII here.
    let is_break =
        |c: char| c.is_ascii() || !(c.is_alphanumeric() || matches!(c, '\u{900}'..='\u{97F}') && c != '।');
    let score = |tag: &str| {
        let Some(profile) = PROFILES.iter().find(|profile| profile.tag == tag) else { return (0, 0) };
        let letters = lower.chars().filter(|c| profile.letters.binary_search(c).is_ok()).count();
        let words = lower.split(is_break).filter(|word| profile.words.contains(word)).count();
        (letters, words)
    };
    let scored = candidates.iter().map(|tag| (*tag, score(tag)));
    scored.reduce(|best, next| if next.1 > best.1 { next } else { best }).map(|(tag, _)| tag)
}

/// What user and assistant said before the response, the nearest first; neither instructions nor a
/// tool's output.
fn spoken<'a>(record: &Record<'a>) -> impl Iterator<Item = &'a str> {
    let is_spoken = |message: &&Message<'_>| matches!(message.role, "user" | "assistant");
    record.prompt.iter().rev().filter(is_spoken).map(|message| message.content)
}

/// At most this many bytes from the start of the text, in whole characters.
fn start(text: &str, bytes: usize) -> &str {
    let mut end = bytes.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_language_of_the_model_is_told_or_left_to_another() {
        let candidates = &*ANYTHING;
        let left: Vec<&str> = latin::LANGUAGES
            .iter()
            .zip(candidates.owners)
            .filter(|(_, owner)| usize::from(owner.unsigned_abs()) == ANY.len())
            .map(|(tag, _)| *tag)
            .collect();
        assert_eq!(left, ["bs"]);
        assert!(ANY.iter().all(|tag| !columns(tag).is_empty()));
    }
}
