//! How the response relates to what came before it.
//!
//! Words here are UAX #29 words in lower case, which in Chinese are characters, so that overlap means
//! the same in every language.

use super::analysis::Analysis;
use super::language::Language;
use super::registry::Id;
use super::row::Row;
use super::sequence::{Sequence, pair_key};
use super::vocabulary::Vocabulary;
use crate::io::record::Message;
use crate::text;
use crate::text::marks::has_question;
use std::cmp::Ordering;

/// Working memory.
#[derive(Default)]
pub(super) struct Scratch {
    /// The response's words, where they are not those of the analysis.
    sequence: Sequence,
    words: Vec<(u32, u32)>,
    met: Vec<u8>,
    copied: Vec<bool>,
}

/// The prompt in parts.
struct Prompt<'a> {
    user: Option<&'a str>,
    /// Messages before it.
    before: &'a [Message<'a>],
    /// All messages.
    all: &'a [Message<'a>],
}

impl<'a> Prompt<'a> {
    fn new(all: &'a [Message<'a>]) -> Self {
        let last = all.iter().rposition(|message| message.role == "user");
        Self {
            user: last.map(|last| all[last].content.trim()),
            before: &all[..last.unwrap_or(all.len())],
            all,
        }
    }

    /// The messages before the last user's, but for the system's.
    fn turns(&self) -> impl Iterator<Item = &'a Message<'a>> {
        self.before.iter().filter(|message| message.role != "system")
    }
}

pub(super) fn fill(
    text: &str,
    of: &mut Analysis,
    language: Language,
    prompt: &[Message<'_>],
    scratch: &mut Scratch,
    row: &mut Row<'_>,
) {
    let prompt = Prompt::new(prompt);
    lengths(of, &prompt, row);
    if let Some(user) = prompt.user {
        row.yes(Id::asks_back, has_question(user) && has_question(text));
    }
    overlaps(text, of, language, &prompt, scratch, row);
}

fn lengths(of: &Analysis, prompt: &Prompt<'_>, row: &mut Row<'_>) {
    let length = |text: &str| text.trim().chars().count() as u32;
    row.count(Id::earlier_turn_count, prompt.turns().count() as u32);
    if let Some(user) = prompt.user {
        row.ratio(Id::user_chars_ratio, of.characters.all, length(user));
    }
    let earlier = prompt.turns().filter(|message| message.role == "assistant");
    let (turns, characters) =
        earlier.fold((0, 0_u32), |(n, sum), message| (n + 1, sum.saturating_add(length(message.content))));
    if characters > 0 {
        let mean = f64::from(characters) / f64::from(turns);
        row.set(Id::history_chars_ratio, f64::from(of.characters.all) / mean);
    }
}

fn overlaps(
    text: &str,
    of: &mut Analysis,
    language: Language,
    prompt: &Prompt<'_>,
    scratch: &mut Scratch,
    row: &mut Row<'_>,
) {
    // In these languages the analysis has the same words already.
    let shared = matches!(language, Language::English | Language::Spaced);
    let mut own = std::mem::take(&mut scratch.sequence);
    let vocabulary = if shared {
        std::mem::swap(&mut own, &mut of.sequence);
        of.vocabulary_mut(language)
    } else {
        text::words(text, &mut scratch.words);
        let vocabulary = of.vocabulary_mut(Language::Other);
        vocabulary.begin();
        own.fill(text, &scratch.words, vocabulary);
        vocabulary
    };
    let met = compare(&own, vocabulary, prompt, scratch);
    let types = own.counts.len() as u32;
    if prompt.user.is_some() {
        row.ratio(Id::user_overlap_share, met.user, types);
        row.ratio(Id::user_coverage_share, met.user, met.user_types);
    }
    if prompt.turns().next().is_some() {
        row.ratio(Id::history_overlap_share, met.history, types);
    }
    if !prompt.all.is_empty() {
        row.ratio(Id::new_type_share, types - met.any, types);
        row.ratio(Id::copied_pair_share, met.pairs, own.pairs.len());
    }
    if shared {
        std::mem::swap(&mut own, &mut of.sequence);
    }
    scratch.sequence = own;
}

fn lines_of(text: &str) -> impl Iterator<Item = &str> {
    let mut start = 0;
    let ends = memchr::memchr_iter(b'\n', text.as_bytes()).chain([text.len()]);
    ends.map(move |end| &text[std::mem::replace(&mut start, end + 1)..end])
}

/// Types of the response met in the last user message, in the turns before it, anywhere; pairs met anywhere;
/// types of the last user message.
#[derive(Default)]
struct Met {
    user: u32,
    history: u32,
    any: u32,
    pairs: u32,
    user_types: u32,
}

const USER: u8 = 1;
const HISTORY: u8 = 2;
/// In a system message, or after the last user message.
const ELSEWHERE: u8 = 4;

fn compare(
    response: &Sequence,
    vocabulary: &mut Vocabulary,
    prompt: &Prompt<'_>,
    scratch: &mut Scratch,
) -> Met {
    let Scratch { met, copied, .. } = scratch;
    let mut lines = std::mem::take(&mut vocabulary.lines);
    met.clear();
    met.resize(response.counts.len(), 0);
    copied.clear();
    copied.resize(response.pairs.len() as usize, false);
    let mut user_types = 0;
    for (number, message) in prompt.all.iter().enumerate() {
        let place = match number.cmp(&prompt.before.len()) {
            Ordering::Equal => USER,
            Ordering::Less if message.role != "system" => HISTORY,
            _ => ELSEWHERE,
        };
        let mut previous = None;
        // Words don't span lines, and lines come again: in the next turn's history, with the next question.
        for line in lines_of(message.content) {
            for &word in lines.words(line, vocabulary) {
                user_types += u32::from(place == USER && vocabulary.ask(word));
                let known = vocabulary.known_type(word);
                if let Some(known) = known {
                    met[known as usize] |= place;
                    if let Some(previous) = previous
                        && let Some(pair) = response.pairs.get(pair_key(previous, known))
                    {
                        copied[pair as usize] = true;
                    }
                }
                previous = known;
            }
        }
    }
    vocabulary.lines = lines;
    let count = |places: u8| met.iter().filter(|met| **met & places != 0).count() as u32;
    Met {
        user: count(USER),
        history: count(HISTORY),
        any: count(u8::MAX),
        pairs: copied.iter().filter(|copied| **copied).count() as u32,
        user_types,
    }
}
