//! How the response relates to what came before it.
//!
//! Words here are UAX #29 words in lower case, which in Chinese are characters, so that overlap means
//! the same in every language.

use super::analysis::Analysis;
use super::language::Language;
use super::registry::Id;
use super::row::Row;
use super::sequence::{Sequence, Source, pair_key};
use super::vocabulary::Vocabulary;
use crate::Result;
use crate::error::unless_stopped;
use crate::records::record::Message;
use crate::text;
use crate::text::marks::has_question;
use std::cmp::Ordering;
use std::sync::atomic::AtomicBool;

/// Working memory.
#[derive(Default)]
pub(super) struct InteractionScratch {
    /// The response's words, where they are not those of the analysis.
    sequence: Sequence,
    met: Vec<u8>,
    copied: Vec<bool>,
}

/// UAX #29 words.
struct Plain;

impl Source for Plain {
    fn part(&mut self, text: &str, at: usize, places: &mut Vec<(u32, u32)>) -> usize {
        text::words_from(text, at, places)
    }
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

/// The interaction of a response with what came before it; `long` if the words of both take too much room to be kept in
/// a vocabulary.
pub(super) fn fill(
    text: &str,
    of: &mut Analysis,
    (language, prompt, long): (Language, &[Message<'_>], bool),
    scratch: &mut InteractionScratch,
    row: &mut Row<'_>,
    stop: &AtomicBool,
) -> Result<()> {
    let prompt = Prompt::new(prompt);
    lengths(of, &prompt, row);
    if let Some(user) = prompt.user {
        row.yes(Id::asks_back, has_question(user) && has_question(text));
    }
    // In these languages the analysis has the same words already.
    let shared = matches!(language, Language::English | Language::Spaced) && !long;
    let mut own = std::mem::take(&mut scratch.sequence);
    let met = if long {
        of.sequence = Sequence::default();
        let messages = prompt.all.iter().map(|message| message.content);
        let texts: Vec<&str> = [text].into_iter().chain(messages).collect();
        let vocabulary = of.vocabulary_mut(Language::Other);
        vocabulary.begin();
        own.fill(&texts, vocabulary, &mut Plain, stop)?;
        compare_long(&own, &prompt, scratch, stop)?
    } else if shared {
        std::mem::swap(&mut own, &mut of.sequence);
        compare(&own, of.vocabulary_mut(language), &prompt, scratch)
    } else {
        let vocabulary = of.vocabulary_mut(Language::Other);
        vocabulary.begin();
        own.fill(&[text], vocabulary, &mut Plain, stop)?;
        compare(&own, vocabulary, &prompt, scratch)
    };
    overlaps(&met, &prompt, row);
    if shared {
        std::mem::swap(&mut own, &mut of.sequence);
    }
    scratch.sequence = own;
    Ok(())
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

fn overlaps(met: &Met, prompt: &Prompt<'_>, row: &mut Row<'_>) {
    if prompt.user.is_some() {
        row.ratio(Id::user_overlap_share, met.user, met.types);
        row.ratio(Id::user_coverage_share, met.user, met.user_types);
    }
    if prompt.turns().next().is_some() {
        row.ratio(Id::history_overlap_share, met.history, met.types);
    }
    if !prompt.all.is_empty() {
        row.ratio(Id::new_type_share, met.types - met.any, met.types);
        row.ratio(Id::copied_pair_share, met.pairs, met.all_pairs);
    }
}

fn lines_of(text: &str) -> impl Iterator<Item = &str> {
    let mut start = 0;
    let ends = memchr::memchr_iter(b'\n', text.as_bytes()).chain([text.len()]);
    ends.map(move |end| &text[std::mem::replace(&mut start, end + 1)..end])
}

/// Types of the response met in the last user message, in the turns before it, anywhere, and all; pairs met anywhere,
/// and all; types of the last user message.
#[derive(Default)]
struct Met {
    user: u32,
    history: u32,
    any: u32,
    types: u32,
    pairs: u32,
    all_pairs: u32,
    user_types: u32,
}

const USER: u8 = 1;
const HISTORY: u8 = 2;
/// In a system message, or after the last user message.
const ELSEWHERE: u8 = 4;

/// What the prompt has of the response, word by word.
struct Meeting<'a> {
    response: &'a Sequence,
    met: &'a mut [u8],
    copied: &'a mut [bool],
    previous: Option<u32>,
}

impl<'a> Meeting<'a> {
    fn new(response: &'a Sequence, types: usize, scratch: &'a mut InteractionScratch) -> Self {
        let InteractionScratch { met, copied, .. } = scratch;
        met.clear();
        met.resize(types, 0);
        copied.clear();
        copied.resize(response.pairs.len() as usize, false);
        Self { response, met, copied, previous: None }
    }

    /// The next word of a message in this place: its type, if it is one of the response.
    #[inline]
    fn word(&mut self, known: Option<u32>, place: u8) {
        if let Some(known) = known {
            self.met[known as usize] |= place;
            if let Some(previous) = self.previous
                && let Some(pair) = self.response.pairs.get(pair_key(previous, known))
            {
                self.copied[pair as usize] = true;
            }
        }
        self.previous = known;
    }

    fn end(self, user_types: u32) -> Met {
        let count = |places: u8| self.met.iter().filter(|met| **met & places != 0).count() as u32;
        Met {
            user: count(USER),
            history: count(HISTORY),
            any: count(u8::MAX),
            types: self.met.len() as u32,
            pairs: self.copied.iter().filter(|copied| **copied).count() as u32,
            all_pairs: self.copied.len() as u32,
            user_types,
        }
    }
}

/// The messages, each with its place.
fn placed<'a>(prompt: &Prompt<'a>) -> impl Iterator<Item = (&'a Message<'a>, u8)> {
    let user = prompt.before.len();
    prompt.all.iter().enumerate().map(move |(number, message)| match number.cmp(&user) {
        Ordering::Equal => (message, USER),
        Ordering::Less if message.role != "system" => (message, HISTORY),
        _ => (message, ELSEWHERE),
    })
}

fn compare(
    response: &Sequence,
    vocabulary: &mut Vocabulary,
    prompt: &Prompt<'_>,
    scratch: &mut InteractionScratch,
) -> Met {
    let mut lines = std::mem::take(&mut vocabulary.lines);
    let mut meeting = Meeting::new(response, response.counts.len(), scratch);
    let mut user_types = 0;
    for (message, place) in placed(prompt) {
        meeting.previous = None;
        // Words don't span lines, and lines come again: in the next turn's history, with the next question.
        for line in lines_of(message.content) {
            for &word in lines.words(line, |at| vocabulary.number(line, at)) {
                user_types += u32::from(place == USER && vocabulary.ask(word));
                meeting.word(vocabulary.known_type(word), place);
            }
        }
    }
    vocabulary.lines = lines;
    meeting.end(user_types)
}

/// The same, of a sequence that has the messages too.
fn compare_long(
    all: &Sequence,
    prompt: &Prompt<'_>,
    scratch: &mut InteractionScratch,
    stop: &AtomicBool,
) -> Result<Met> {
    let types = all.types.iter().max().map_or(0, |last| last + 1);
    let mut meeting = Meeting::new(all, types as usize, scratch);
    let mut asked = vec![false; all.counts.len()];
    let mut user_types = 0;
    let mut start = 0;
    for ((_, place), &end) in placed(prompt).zip(&all.ends) {
        meeting.previous = None;
        for words in all.others[start..end].chunks(1 << 16) {
            unless_stopped(stop)?;
            for &word in words {
                let is_new = place == USER && !std::mem::replace(&mut asked[word as usize], true);
                user_types += u32::from(is_new);
                meeting.word((word < types).then_some(word), place);
            }
        }
        start = end;
    }
    Ok(meeting.end(user_types))
}
