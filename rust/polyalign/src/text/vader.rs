//! Sentiment by VADER.

mod lexicon;

use super::class::ClassTable;
use super::masks;
use lexicon::{BOOST, Id, Lexicon, Role, UNKNOWN, WORDS, Word, description, may_be_emoji};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::LazyLock;

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
#[derive(Debug, Default)]
pub struct Vader {
    tokens: Vec<Token>,
    /// The tokens that the lexicon has.
    hits: Vec<usize>,
    /// The first "but".
    but: Option<usize>,
    /// The tokens whose valence is not 0, and that.
    valences: Vec<(usize, f64)>,
    /// The text with emoji put into words.
    described: String,
}

/// A word or emoticon: what stands between blanks, without the punctuation around it.
#[derive(Clone, Copy, Debug)]
struct Token {
    start: usize,
    len: u32,
    id: Id,
}

impl Vader {
    /// A scorer.
    pub fn new() -> Self {
        Self::default()
    }

    /// The sentiment of a text; all 0 if it has no words.
    pub fn scores(&mut self, text: &str) -> Sentiment {
        let lexicon = &*WORDS;
        if let Ok(emphasis) = self.read(text, lexicon) {
            return self.score(text, lexicon, emphasis);
        }
        let mut described = std::mem::take(&mut self.described);
        describe(text, &mut described);
        let emphasis = self.read(&described, lexicon).unwrap_or_default();
        let sentiment = self.score(&described, lexicon, emphasis);
        self.described = described;
        sentiment
    }

    /// The sentiment of a text that was read.
    fn score(&mut self, text: &str, lexicon: &Lexicon, emphasis: f64) -> Sentiment {
        if self.tokens.is_empty() {
            return Sentiment::default();
        }
        let mut rules = Rules { text, lexicon, tokens: &self.tokens, mixes_capitals: None };
        self.valences.clear();
        for &at in &self.hits {
            let valence = rules.valence(at);
            if valence != 0.0 {
                self.valences.push((at, valence));
            }
        }
        if let Some(but) = self.but {
            weigh_but(&mut self.valences, but);
        }
        let neutral = self.tokens.len() - self.valences.len();
        sentiment(self.valences.iter().map(|&(_, valence)| valence), neutral, emphasis)
    }

    /// Reads the tokens; what exclamation and question marks add comes back, unless there are emoji.
    fn read(&mut self, text: &str, lexicon: &Lexicon) -> Result<f64, HasEmoji> {
        self.tokens.clear();
        self.hits.clear();
        self.but = None;
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
                    self.tokens.push(Token { start, len: len as u32, id: UNKNOWN });
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
        Ok(emphasis(exclamations, questions))
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
            self.tokens.push(Token { start: start + offset, len: token.len() as u32, id });
        }
    }

    /// Notes the token if it matters.
    #[inline(always)]
    fn note(&mut self, at: usize, id: Id, lexicon: &Lexicon) {
        let word = lexicon.word(id);
        if word.valence.is_some() {
            self.hits.push(at);
        } else if word.role == Role::But && self.but.is_none() {
            self.but = Some(at);
        }
    }
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
    text: &'a str,
    lexicon: &'a Lexicon,
    tokens: &'a [Token],
    /// Whether some tokens are in capitals and others are not, once known.
    mixes_capitals: Option<bool>,
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
        if !is_upper(self.token(at)) {
            return false;
        }
        if self.mixes_capitals.is_none() {
            self.mixes_capitals = Some((0..self.tokens.len()).any(|at| !is_upper(self.token(at))));
        }
        self.mixes_capitals == Some(true)
    }

    /// Whether the token has "n't" in it. (If it is known, it is known whether it negates, too.)
    fn has_contracted_not(&self, at: usize) -> bool {
        let token = self.token(at).as_bytes();
        let is_not = |three: &[u8]| three.eq_ignore_ascii_case(b"n't");
        self.tokens[at].id == UNKNOWN && token.contains(&b'\'') && token.windows(3).any(is_not)
    }
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

/// Lessens what stands before "but", strengthens what stands after it.
///
/// As in the package, what changes for each valence in turn is the first that equals it then.
fn weigh_but(valences: &mut [(usize, f64)], but: usize) {
    if valences.len() > 256 {
        return weigh_but_of_many(valences, but);
    }
    for i in 0..valences.len() {
        let valence = valences[i].1;
        let first = valences[..i].iter().position(|&(_, other)| other == valence).unwrap_or(i);
        valences[first].1 = weighed(valences[first], but);
    }
}

/// The same, with the places of each valence at hand.
fn weigh_but_of_many(valences: &mut [(usize, f64)], but: usize) {
    let mut places: HashMap<u64, BinaryHeap<Reverse<usize>>> = HashMap::new();
    for i in 0..valences.len() {
        let equal = places.entry(valences[i].1.to_bits()).or_default();
        equal.push(Reverse(i));
        if let Some(Reverse(first)) = equal.pop() {
            valences[first].1 = weighed(valences[first], but);
            places.entry(valences[first].1.to_bits()).or_default().push(Reverse(first));
        }
    }
}

fn weighed((at, valence): (usize, f64), but: usize) -> f64 {
    if at < but { valence * 0.5 } else { valence * 1.5 }
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
