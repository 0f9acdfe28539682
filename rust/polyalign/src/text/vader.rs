//! Sentiment by VADER.

mod lexicon;

use super::class::ClassTable;
use super::{masks, place_of_character};
use crate::error::{Result, unless_stopped};
use lexicon::{BOOST, Id, Lexicon, Role, UNKNOWN, WORDS, Word, description, may_be_emoji};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::LazyLock;
use std::sync::atomic::AtomicBool;

/// What capitals add to the intensity of a word.
const CAPITALS: f64 = 0.733;
/// What a negation makes of the word after it.
const NEGATED: f64 = -0.74;

/// The sentiment of a text, not rounded.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sentiment {
    /// The share of negative words, weighted by how negative they are; with the next two it makes 1.
    pub negative: f64,
    /// The share of neutral words.
    pub neutral: f64,
    /// The share of positive words.
    pub positive: f64,
    /// From -1, most negative, to 1.
    pub compound: f64,
}

/// Scores texts by VADER, and keeps the memory it needs for that: one for each thread.
///
/// It gives what the package vaderSentiment 3.3.2 gives before it rounds: shares to 3 digits, the compound
/// score to 4. C.J. Hutto and E. Gilbert, VADER: a parsimonious rule-based model for sentiment analysis of
/// social media text, ICWSM 2014.
///
/// ```
/// # use polyalign::text::Vader;
/// let sentiment = Vader::new().scores("VADER is smart, handsome, and funny!");
/// assert_eq!(format!("{:.4}", sentiment.compound), "0.8439");
/// assert_eq!(sentiment.negative, 0.0);
/// ```
#[derive(Debug)]
pub struct Vader {
    /// Those of a part of the text, after the last few of the part before.
    tokens: Vec<Token>,
    /// The tokens that the lexicon has, but for those whose valence is known.
    hits: Vec<usize>,
    /// The first "but", until it is known how many valences come before it.
    but: Option<usize>,
    before_but: Option<usize>,
    /// The valences that are not 0.
    valences: Vec<f64>,
    /// All tokens.
    count: usize,
    exclamations: usize,
    questions: usize,
    /// The part with emoji put into words.
    described: String,
    /// [`PART`], but in tests.
    part: usize,
}

/// A word or emoticon: what stands between blanks, without the punctuation around it.
#[derive(Clone, Copy, Debug)]
struct Token {
    start: usize,
    len: u32,
    id: Id,
    /// What is asked of its text, of one of the part before.
    kept: Option<Kept>,
}

#[derive(Clone, Copy, Debug)]
struct Kept {
    is_upper: bool,
    has_contracted_not: bool,
}

/// Bytes that are read at a time, if the text can be cut after these.
const PART: usize = 1 << 16;

/// How many tokens before and after a word bear on its valence.
const BEFORE: usize = 3;
const AFTER: usize = 2;

impl Default for Vader {
    fn default() -> Self {
        Self::new()
    }
}

impl Vader {
    /// A scorer.
    pub fn new() -> Self {
        Self {
            tokens: Vec::new(),
            hits: Vec::new(),
            but: None,
            before_but: None,
            valences: Vec::new(),
            count: 0,
            exclamations: 0,
            questions: 0,
            described: String::new(),
            part: PART,
        }
    }

    /// The sentiment of a text; all 0 if it has no words.
    pub fn scores(&mut self, text: &str) -> Sentiment {
        self.scores_unless(text, &AtomicBool::new(false)).unwrap_or_default()
    }

    /// The same, unless it is stopped.
    ///
    /// # Errors
    /// [`Interrupted`](crate::Error::Interrupted) soon after `stop` is set.
    pub fn scores_unless(&mut self, text: &str, stop: &AtomicBool) -> Result<Sentiment> {
        self.begin();
        let mut mixes_capitals = None;
        for (start, end) in parts(text, self.part) {
            unless_stopped(stop)?;
            let part = &text[start..end];
            let is_described = self.read(part);
            let described = std::mem::take(&mut self.described);
            let read = if is_described { &described } else { part };
            self.weigh(read, text, (end - start, end), &mut mixes_capitals);
            self.described = described;
        }
        if self.count == 0 {
            return Ok(Sentiment::default());
        }
        if let Some(before) = self.before_but {
            weigh_but(&mut self.valences, before);
        }
        let neutral = self.count - self.valences.len();
        let emphasis = emphasis(self.exclamations, self.questions);
        Ok(sentiment(self.valences.iter().copied(), neutral, emphasis))
    }

    fn begin(&mut self) {
        self.tokens.clear();
        self.hits.clear();
        self.valences.clear();
        (self.but, self.before_but) = (None, None);
        (self.count, self.exclamations, self.questions) = (0, 0, 0);
    }

    /// Finds the valences of the hits whose neighbours are all read, and forgets the tokens that bear on no other.
    /// `read` is a part of `text`, perhaps put into words, of so many bytes; where it ends is the second number.
    fn weigh(
        &mut self,
        read: &str,
        text: &str,
        (bytes, end): (usize, usize),
        mixes_capitals: &mut Option<bool>,
    ) {
        let is_last = end == text.len();
        let all = if bytes == text.len() { None } else { Some(text) };
        let ready = if is_last { self.tokens.len() } else { self.tokens.len().saturating_sub(AFTER) };
        let mut rules = Rules { text: read, all, lexicon: &WORDS, tokens: &self.tokens, mixes_capitals };
        let done = self.hits.partition_point(|at| *at < ready);
        for at in self.hits.drain(..done) {
            if self.but.is_some_and(|but| but < at) {
                self.before_but = Some(self.valences.len());
                self.but = None;
            }
            let valence = rules.valence(at);
            if valence != 0.0 {
                self.valences.push(valence);
            }
        }
        if self.but.is_some_and(|but| but < ready) {
            self.before_but = Some(self.valences.len());
            self.but = None;
        }
        if is_last {
            return;
        }
        let from = ready.saturating_sub(BEFORE);
        let kept =
            |at| Kept { is_upper: rules.is_upper(at), has_contracted_not: rules.has_contracted_not(at) };
        let kept: Vec<Kept> = (from..self.tokens.len()).map(kept).collect();
        self.tokens.drain(..from);
        self.tokens.iter_mut().zip(kept).for_each(|(token, kept)| token.kept = Some(kept));
        self.hits.iter_mut().for_each(|at| *at -= from);
        self.but = self.but.map(|but| but - from);
    }

    /// Reads the tokens of a part; whether with its emoji put into words.
    fn read(&mut self, text: &str) -> bool {
        let lexicon = &*WORDS;
        let (tokens, hits, but) = (self.tokens.len(), self.hits.len(), self.but);
        let is_described = self.read_plain(text, lexicon).is_err();
        if is_described {
            self.tokens.truncate(tokens);
            self.hits.truncate(hits);
            self.but = but;
            let mut described = std::mem::take(&mut self.described);
            describe(text, &mut described);
            // No description has an emoji.
            let _ = self.read_plain(&described, lexicon);
            self.described = described;
        }
        self.count += self.tokens.len() - tokens;
        is_described
    }

    /// Reads the tokens, and counts exclamation and question marks, unless there are emoji.
    fn read_plain(&mut self, text: &str, lexicon: &Lexicon) -> Result<(), HasEmoji> {
        let bytes = text.as_bytes();
        let (mut exclamations, mut questions) = (0, 0);
        // Where the token starts, and whether it is not ASCII so far.
        let (mut start, mut is_wide) = (0, false);
        for at in (0..bytes.len()).step_by(masks::BLOCK) {
            let (block, size) = masks::block(bytes, at);
            let marks = masks::bits(&block, |byte| (byte == b'!') | (byte == b'?'));
            if marks != 0 {
                let exclaimed = masks::bits(&block, |byte| byte == b'!');
                exclamations += exclaimed.count_ones() as usize;
                questions += (marks & !exclaimed).count_ones() as usize;
            }
            let mut wide = masks::bits(&block, |byte| byte >= 0x80);
            if wide != 0 && has_emoji(text, at, masks::bits(&block, may_be_emoji)) {
                return Err(HasEmoji);
            }
            let mut blanks = masks::bits(&block, is_blank);
            // One blank after the text's end will do.
            blanks &= u64::MAX >> (masks::BLOCK - 1 - size.min(masks::BLOCK - 1));
            // Which tokens may be known: looked up after the loop, so that it has little to branch on.
            let (mut maybe, mut maybes) = ([0; masks::BLOCK], 0);
            while blanks != 0 {
                let place = blanks.trailing_zeros();
                let end = at + place as usize;
                let wide_before = wide & ((1 << place) - 1);
                if is_wide | (wide_before != 0) {
                    self.find(bytes, &maybe[..maybes], lexicon);
                    maybes = 0;
                    self.add_wide(text, start, end, lexicon);
                } else if start < end {
                    let (start, len) = strip(bytes, start, end);
                    maybe[maybes % masks::BLOCK] = self.tokens.len();
                    maybes += usize::from(lexicon.may_know(bytes, start, len));
                    self.tokens.push(Token { start, len: len as u32, id: UNKNOWN, kept: None });
                }
                (start, is_wide) = (end + 1, false);
                wide ^= wide_before;
                blanks &= blanks - 1;
            }
            self.find(bytes, &maybe[..maybes], lexicon);
            is_wide |= wide != 0;
        }
        if start < bytes.len() {
            self.add_wide(text, start, bytes.len(), lexicon);
        }
        self.exclamations += exclamations;
        self.questions += questions;
        Ok(())
    }

    /// Finds the tokens in the lexicon, all ASCII.
    #[inline(always)]
    fn find(&mut self, bytes: &[u8], tokens: &[usize], lexicon: &Lexicon) {
        for &at in tokens {
            let token = &mut self.tokens[at];
            token.id = lexicon.find(bytes, token.start, token.len as usize);
            let id = token.id;
            self.note(at, id, lexicon);
        }
    }

    /// Adds what stands between ASCII blanks.
    #[inline(never)]
    fn add_wide(&mut self, text: &str, start: usize, end: usize, lexicon: &Lexicon) {
        let all = &text[start..end];
        for token in all.split(char::is_whitespace).filter(|token| !token.is_empty()) {
            let stripped = token.trim_matches(|c: char| c.is_ascii_punctuation());
            let token = if stripped.chars().nth(2).is_some() { stripped } else { token };
            let id = if token.is_ascii() {
                lexicon.find(token.as_bytes(), 0, token.len())
            } else if token.contains('\u{212A}') {
                // The Kelvin sign, the one character whose lower case is ASCII.
                let token = token.replace('\u{212A}', "k");
                if token.is_ascii() { lexicon.find(token.as_bytes(), 0, token.len()) } else { UNKNOWN }
            } else {
                UNKNOWN
            };
            let offset = token.as_ptr() as usize - all.as_ptr() as usize;
            self.note(self.tokens.len(), id, lexicon);
            self.tokens.push(Token { start: start + offset, len: token.len() as u32, id, kept: None });
        }
    }

    /// Notes the token if it matters.
    #[inline(always)]
    fn note(&mut self, at: usize, id: Id, lexicon: &Lexicon) {
        let word = lexicon.word(id);
        if word.valence.is_some() {
            self.hits.push(at);
        } else if word.role == Role::But && self.but.is_none() && self.before_but.is_none() {
            self.but = Some(at);
        }
    }
}

/// Parts of a text that have the same tokens as the whole, whatever stands on their other side: they end after a blank
/// or before an emoji, which is put into words of its own.
fn parts(text: &str, bytes: usize) -> impl Iterator<Item = (usize, usize)> {
    let mut at = 0_usize;
    std::iter::from_fn(move || {
        let start = at;
        let end = place_of_character(text, start.saturating_add(bytes));
        let after = |(at, c): (usize, char)| match u8::try_from(c) {
            Ok(byte) if is_blank(byte) => Some(end + at + 1),
            _ => description(c).map(|_| end + at),
        };
        at = text[end..].char_indices().find_map(after).unwrap_or(text.len());
        (start < at).then_some((start, at))
    })
}

/// Start and length of an ASCII token without the punctuation around it, unless that makes it an emoticon.
#[inline(always)]
fn strip(bytes: &[u8], start: usize, end: usize) -> (usize, usize) {
    let is_mark = |at: usize| MARKS[usize::from(bytes[at])];
    let (mut from, mut to) = (start + usize::from(is_mark(start)), end - usize::from(is_mark(end - 1)));
    // Most have at most one mark on each side.
    if from < to && (is_mark(from) | is_mark(to - 1)) {
        while from < to && is_mark(from) {
            from += 1;
        }
        while from < to && is_mark(to - 1) {
            to -= 1;
        }
    }
    if to > from + 2 { (from, to - from) } else { (start, end - start) }
}

/// Which bytes are ASCII punctuation.
const MARKS: [bool; 256] = {
    let mut marks = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        marks[byte] = (byte as u8).is_ascii_punctuation();
        byte += 1;
    }
    marks
};

/// What `str.split` splits at in Python, if ASCII.
#[inline(always)]
fn is_blank(byte: u8) -> bool {
    (byte == b' ') | (byte.wrapping_sub(b'\t') <= b'\r' - b'\t') | (byte.wrapping_sub(0x1C) <= 0x1F - 0x1C)
}

/// The text has emoji, and is to be read with these put into words.
struct HasEmoji;

/// Whether an emoji starts at one of the places, counted from `at`.
#[inline(never)]
fn has_emoji(text: &str, at: usize, mut places: u64) -> bool {
    while places != 0 {
        let place = at + places.trailing_zeros() as usize;
        if text[place..].chars().next().and_then(description).is_some() {
            return true;
        }
        places &= places - 1;
    }
    false
}

/// Puts emoji into words, into `described`.
fn describe(text: &str, described: &mut String) {
    described.clear();
    let mut after_space = true;
    for c in text.chars() {
        if let Some(description) = description(c) {
            if !after_space {
                described.push(' ');
            }
            described.push_str(description);
            after_space = false;
        } else {
            described.push(c);
            after_space = c == ' ';
        }
    }
}

/// What exclamation and question marks add.
fn emphasis(exclamations: usize, questions: usize) -> f64 {
    let exclaimed = exclamations.min(4) as f64 * 0.292;
    let asked = match questions {
        0 | 1 => 0.0,
        2 | 3 => questions as f64 * 0.18,
        _ => 0.96,
    };
    exclaimed + asked
}

/// The rules for one word of the lexicon. The words before it are numbered by how far back they are.
struct Rules<'a> {
    /// The part that the tokens are of.
    text: &'a str,
    /// The whole text, if it has more parts.
    all: Option<&'a str>,
    lexicon: &'a Lexicon,
    tokens: &'a [Token],
    /// Whether some tokens of the whole text are in capitals and others are not, once known.
    mixes_capitals: &'a mut Option<bool>,
}

impl Rules<'_> {
    fn word(&self, at: usize) -> Word {
        self.tokens.get(at).map_or_else(Word::default, |token| self.lexicon.word(token.id))
    }

    /// The valence of the token, which the lexicon has.
    fn valence(&mut self, at: usize) -> f64 {
        let word = self.word(at);
        let before =
            [1, 2, 3].map(|back| at.checked_sub(back).map_or_else(Word::default, |at| self.word(at)));
        let after = [at + 1, at + 2].map(|at| self.word(at));
        let roles = before.map(|word| word.role);
        if word.boost != 0.0 || word.role == Role::Kind && after[0].role == Role::Of {
            return 0.0;
        }
        let mut valence = word.valence.unwrap_or_default();
        if word.role == Role::No && after[0].valence.is_some() {
            valence = 0.0;
        }
        if let [Role::No, ..] | [_, Role::No, _] | [Role::Or | Role::Nor, _, Role::No] = roles {
            valence = word.valence.unwrap_or_default() * NEGATED;
        }
        if self.is_loud(at) {
            valence += if valence > 0.0 { CAPITALS } else { -CAPITALS };
        }
        for (i, before) in before.iter().enumerate().take(at) {
            if before.valence.is_some() {
                continue;
            }
            let negates = before.negates || self.has_contracted_not(at - i - 1);
            valence += self.boost(at - i - 1, before.boost, valence) * [1.0, 0.95, 0.9][i];
            valence = match i {
                0 => after_one(valence, negates),
                1 => after_two(valence, negates, roles),
                _ => idioms(
                    after_three(valence, negates, roles),
                    word.role,
                    roles,
                    after.map(|word| word.role),
                ),
            };
        }
        match roles {
            [Role::Least, Role::At | Role::Very, _] => valence,
            [Role::Least, ..] => valence * NEGATED,
            _ => valence,
        }
    }

    /// What the token adds to the valence of one after it.
    fn boost(&mut self, at: usize, boost: f64, valence: f64) -> f64 {
        if boost == 0.0 {
            return 0.0;
        }
        let boost = if valence < 0.0 { -boost } else { boost };
        match (self.is_loud(at), valence > 0.0) {
            (false, _) => boost,
            (true, true) => boost + CAPITALS,
            (true, false) => boost - CAPITALS,
        }
    }

    fn token(&self, at: usize) -> &str {
        let Some(token) = self.tokens.get(at) else { return "" };
        self.text.get(token.start..token.start + token.len as usize).unwrap_or_default()
    }

    /// Whether the token is in capitals and others are not.
    fn is_loud(&mut self, at: usize) -> bool {
        if !self.is_upper(at) {
            return false;
        }
        let has_others = || match self.all {
            Some(text) => !is_all_upper(text),
            None => (0..self.tokens.len()).any(|at| !self.is_upper(at)),
        };
        let mixes_capitals = self.mixes_capitals.unwrap_or_else(has_others);
        *self.mixes_capitals = Some(mixes_capitals);
        mixes_capitals
    }

    fn is_upper(&self, at: usize) -> bool {
        match self.tokens[at].kept {
            Some(kept) => kept.is_upper,
            None => is_upper(self.token(at)),
        }
    }

    /// Whether the token has "n't" in it. (If it is known, it is known whether it negates, too.)
    fn has_contracted_not(&self, at: usize) -> bool {
        if let Some(kept) = self.tokens[at].kept {
            return kept.has_contracted_not;
        }
        let token = self.token(at).as_bytes();
        let is_not = |three: &[u8]| three.eq_ignore_ascii_case(b"n't");
        self.tokens[at].id == UNKNOWN && token.contains(&b'\'') && token.windows(3).any(is_not)
    }
}

/// Whether all tokens of a text are in capitals.
fn is_all_upper(text: &str) -> bool {
    let mut reader = Vader::new();
    parts(text, PART).all(|(start, end)| {
        reader.begin();
        let part = &text[start..end];
        let read = if reader.read(part) { &reader.described } else { part };
        reader.tokens.iter().all(|token| is_upper(&read[token.start..token.start + token.len as usize]))
    })
}

/// The word before, which the lexicon does not have, may negate.
fn after_one(valence: f64, negates: bool) -> f64 {
    if negates { valence * NEGATED } else { valence }
}

/// So may the one before that.
fn after_two(valence: f64, negates: bool, before: [Role; 3]) -> f64 {
    match before {
        [Role::So | Role::This, Role::Never, _] => valence * 1.25,
        [Role::Doubt, Role::Without, _] => valence,
        _ => after_one(valence, negates),
    }
}

/// So may the third. "So" and "this" intensify without "never", too, as in the package.
fn after_three(valence: f64, negates: bool, before: [Role; 3]) -> f64 {
    match before {
        [_, Role::So | Role::This, Role::Never] | [Role::So | Role::This, ..] => valence * 1.25,
        [_, Role::Doubt, Role::Without] | [Role::Doubt, _, Role::Without] => valence,
        _ => after_one(valence, negates),
    }
}

/// The valence of a word in phrases that have their own.
fn idioms(mut valence: f64, word: Role, [one, two, three]: [Role; 3], after: [Role; 2]) -> f64 {
    let before = pair(one, word)
        .or_else(|| triple(two, one, word))
        .or_else(|| pair(two, one))
        .or_else(|| triple(three, two, one))
        .or_else(|| pair(three, two));
    let phrases = [before, pair(word, after[0]), triple(word, after[0], after[1])];
    if let Some(own) = phrases.into_iter().flatten().last() {
        valence = own;
    }
    for pair in [(three, two), (two, one)] {
        if let (Role::Just, Role::Enough) | (Role::Kind | Role::Sort, Role::Of) = pair {
            valence -= BOOST;
        }
    }
    valence
}

/// The valence of a phrase of two words.
fn pair(first: Role, second: Role) -> Option<f64> {
    match (first, second) {
        (Role::The, Role::Shit | Role::Bomb) => Some(3.0),
        (Role::Bad, Role::Ass) => Some(1.5),
        (Role::Bus, Role::Stop) => Some(0.0),
        (Role::Yeah, Role::Right) => Some(-2.0),
        (Role::Beating, Role::Heart) => Some(3.5),
        _ => None,
    }
}

/// The valence of a phrase of three words.
fn triple(first: Role, second: Role, third: Role) -> Option<f64> {
    match (first, second, third) {
        (Role::Kiss, Role::Of, Role::Death) => Some(-1.5),
        (Role::To, Role::Die, Role::For) => Some(3.0),
        _ => None,
    }
}

/// Python's `str.isupper`: some character is upper case, none is lower or title case.
fn is_upper(token: &str) -> bool {
    const LOWER: u8 = 1;
    const UPPER: u8 = 2;
    static CASES: LazyLock<ClassTable> =
        LazyLock::new(|| ClassTable::new(&[(r"[\p{Lowercase}\p{Lt}]", LOWER), (r"\p{Uppercase}", UPPER)]));
    if token.bytes().any(|byte| byte.is_ascii_lowercase()) {
        return false;
    }
    if token.is_ascii() {
        return token.bytes().any(|byte| byte.is_ascii_uppercase());
    }
    token.chars().any(|c| CASES.get(c) == UPPER) && !token.chars().any(|c| CASES.get(c) == LOWER)
}

/// Lessens the valences before "but", which are so many, and strengthens those after it.
///
/// As in the package, what changes for each valence in turn is the first that equals it then.
fn weigh_but(valences: &mut [f64], before: usize) {
    if valences.len() > 256 {
        return weigh_but_of_many(valences, before);
    }
    for i in 0..valences.len() {
        let valence = valences[i];
        let first = valences[..i].iter().position(|&other| other == valence).unwrap_or(i);
        weigh_one(valences, first, before);
    }
}

/// The same, with the places of each valence at hand.
fn weigh_but_of_many(valences: &mut [f64], before: usize) {
    let mut places: HashMap<u64, BinaryHeap<Reverse<u32>>> = HashMap::new();
    for i in 0..valences.len() {
        let equal = places.entry(valences[i].to_bits()).or_default();
        equal.push(Reverse(i as u32));
        if let Some(Reverse(first)) = equal.pop() {
            weigh_one(valences, first as usize, before);
            places.entry(valences[first as usize].to_bits()).or_default().push(Reverse(first));
        }
    }
}

fn weigh_one(valences: &mut [f64], at: usize, before: usize) {
    valences[at] *= if at < before { 0.5 } else { 1.5 };
}

/// The sentiment of a text from the valences of its words, those that are not 0, in order.
fn sentiment(valences: impl Iterator<Item = f64> + Clone, neutral: usize, emphasis: f64) -> Sentiment {
    let mut sum: f64 = valences.clone().fold(0.0, |sum, valence| sum + valence);
    sum += if sum > 0.0 {
        emphasis
    } else if sum < 0.0 {
        -emphasis
    } else {
        0.0
    };
    // Neutral words count as 1, and so these do, too.
    let (mut positive, mut negative) = (0.0, 0.0);
    for valence in valences {
        if valence > 0.0 {
            positive += valence + 1.0;
        } else {
            negative += valence - 1.0;
        }
    }
    if positive > -negative {
        positive += emphasis;
    } else if positive < -negative {
        negative -= emphasis;
    }
    let neutral = neutral as f64;
    let total = positive + f64::abs(negative) + neutral;
    Sentiment {
        negative: f64::abs(negative / total),
        neutral: neutral / total,
        positive: positive / total,
        compound: (sum / (sum * sum + 15.0).sqrt()).clamp(-1.0, 1.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn parts_do_not_matter(
            words in prop::collection::vec(
                "(not|never|very|VERY|good|GREAT|bad|but|BUT|the|bomb|kiss|of|death|so|this|least|at|no|or|kind|yeah|right|it's|isn't|ISN'T|GOODN'T)[ .!?\t]{1,2}|[😀🎉é\u{3000}]|[a-z]{1,9} ",
                0..400,
            ),
            bytes in 1_usize..60,
        ) {
            let text = words.concat();
            let (mut whole, mut parted) = (Vader::new(), Vader::new());
            (whole.part, parted.part) = (usize::MAX, bytes);
            prop_assert_eq!(whole.scores(&text), parted.scores(&text), "{:?}", text);
        }
    }

    #[test]
    fn capitals_are_of_the_whole_text() {
        let shout = "GREAT ".repeat(PART / 3);
        let mut vader = Vader::new();
        let all = vader.scores(&shout);
        let mixed = vader.scores(&format!("{shout}so"));
        assert!(mixed.compound > all.compound, "{all:?} {mixed:?}");
        assert_eq!(vader.scores(&shout), all);
    }
}
