//! Detecting the language of a response.
//!
//! Scripts decide first. Languages that share a script other than Latin differ by their letters or
//! most frequent words; those in Latin script by a vote of frequent words, then a statistical detector.

use super::latin::{self, Votes};
use crate::io::record::{Message, Record};
use crate::text::script::{Script, ScriptCounts};
use std::sync::LazyLock;

/// Responses with fewer letters are judged by their whole conversation.
pub(super) const MIN_LETTERS: u32 = 20;
/// Bytes that telling languages of one script apart looks at.
const SAMPLE_BYTES: usize = 512;

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
    /// Bits of [`latin::languages`].
    Some(u64),
}

/// Working memory of a [`Detector`].
#[derive(Default)]
pub(super) struct Scratch {
    sample: String,
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

    /// The response's language, if its text or its conversation tells.
    pub(super) fn detect(&self, record: &Record<'_>, scratch: &mut Scratch) -> Option<&'static str> {
        let answer = record.answer();
        let mut counts = ScriptCounts::default();
        counts.add(answer);
        if counts.letters() >= MIN_LETTERS {
            let found = self.of_text(&counts, start(answer, SAMPLE_BYTES), record, scratch);
            if found.is_some() {
                return found;
            }
        }
        for message in record.prompt.iter().filter(|message| is_spoken(message)) {
            counts.add(message.content);
        }
        let mut sample = std::mem::take(&mut scratch.sample);
        conversation_sample(record, &mut sample);
        let found = self.of_sample(&counts, &sample);
        scratch.sample = sample;
        found
    }

    /// The language of a text long enough to tell; the conversation is asked only if words leave it
    /// undecided among languages in Latin script.
    fn of_text(
        &self,
        counts: &ScriptCounts,
        text: &str,
        record: &Record<'_>,
        scratch: &mut Scratch,
    ) -> Option<&'static str> {
        let script = self.script(counts)?;
        let Latin::Some(candidates) = self.latin else { return self.of_script(script, counts, text) };
        if script != Script::Latin {
            return self.of_script(script, counts, text);
        }
        let mut alone = Votes::new(candidates);
        alone.add(text);
        let winner = alone.winner();
        if let Some((language, true)) = winner {
            return Some(language);
        }
        let guess = statistical(candidates, text);
        if let (Some((language, _)), Some(guess)) = (winner, guess)
            && language == guess
        {
            return Some(guess);
        }
        conversation_sample(record, &mut scratch.sample);
        let mut votes = Votes::new(candidates);
        votes.add(&scratch.sample);
        match votes.winner() {
            Some((language, true)) => Some(language),
            _ => undecided(&alone, guess),
        }
    }

    fn of_sample(&self, counts: &ScriptCounts, sample: &str) -> Option<&'static str> {
        let script = self.script(counts)?;
        let Latin::Some(candidates) = self.latin else { return self.of_script(script, counts, sample) };
        if script != Script::Latin {
            return self.of_script(script, counts, sample);
        }
        let mut votes = Votes::new(candidates);
        votes.add(sample);
        match votes.winner() {
            Some((language, true)) => Some(language),
            _ => undecided(&votes, statistical(candidates, sample)),
        }
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

    /// The language of a text in this script, where that does not take a vote.
    fn of_script(&self, script: Script, counts: &ScriptCounts, text: &str) -> Option<&'static str> {
        match (script, &self.latin) {
            (Script::Latin, Latin::One(language)) => return Some(language),
            (Script::Han | Script::Kana, _) => return self.han_or_kana(counts),
            _ => {}
        }
        match self.candidates(script)? {
            [one] => Some(one),
            candidates => by_profile(candidates, text),
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
        let known = latin::languages();
        let Some(allowed) = languages else { return Self::Some((1 << known.len()) - 1) };
        let elsewhere = |tag: &str| LANGUAGES.iter().any(|(_, tags)| tags.contains(&tag));
        // A language that no table has is taken to be in Latin script.
        let latin = |tag: &&'static str| known.contains(tag) || !elsewhere(tag);
        let allowed: Vec<&'static str> = allowed.iter().copied().filter(latin).collect();
        let bits = known.iter().enumerate().filter(|(_, tag)| allowed.contains(tag));
        match allowed[..] {
            [] => Self::None,
            [one] => Self::One(one),
            _ => Self::Some(bits.map(|(bit, _)| 1 << bit).sum()),
        }
    }
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

/// The statistical detector's verdict, if it is a candidate.
fn statistical(candidates: u64, text: &str) -> Option<&'static str> {
    let guess = latin::statistical(start(text, SAMPLE_BYTES));
    let bit = latin::languages().iter().position(|tag| *tag == guess)?;
    (candidates >> bit & 1 == 1).then_some(guess)
}

/// The statistical guess, unless words speak clearly for a language that it does not know.
fn undecided(votes: &Votes, guess: Option<&'static str>) -> Option<&'static str> {
    let winner = votes.winner().map(|(language, _)| language);
    let (Some(language), Some(guess)) = (winner, guess) else { return guess.or(winner) };
    let is_unknown = !latin::STATISTICAL.contains(&language);
    Some(if is_unknown && votes.get(language) >= 2 * votes.get(guess) { language } else { guess })
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

/// Whether the message is someone's speech rather than instructions or a tool's output.
fn is_spoken(message: &Message<'_>) -> bool {
    matches!(message.role, "user" | "assistant")
}

/// The response and, nearest first, as much of the conversation before it as fits.
fn conversation_sample(record: &Record<'_>, sample: &mut String) {
    sample.clear();
    sample.push_str(start(record.answer(), SAMPLE_BYTES));
    for message in record.prompt.iter().rev().filter(|message| is_spoken(message)) {
        sample.push('\n');
        let room = SAMPLE_BYTES.saturating_sub(sample.len());
        if room == 0 {
            break;
        }
        sample.push_str(start(message.content, room));
    }
}

/// At most this many bytes from the start of the text, in whole characters.
fn start(text: &str, bytes: usize) -> &str {
    let mut end = bytes.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}
