//! Responses under the counts of their buckets' humans.

use super::counter::levels;
use super::cut::{Cutter, views};
use super::keys::{END, History, Levels, Longer, Longest, View, gram};
use super::own::LeftOut;
use super::surprisal::{MOST, interpolate, nats, of_unseen, spelling};
use super::table::{Counts, Following, Index};
use super::{Lexical, keys};
use crate::Result;
use crate::buckets::join_parts;
use crate::error::unless_stopped;
use crate::features::Language;
use crate::records::record::Record;
use crate::reference::meter::response_language;
use std::collections::HashMap;
use std::sync::atomic::AtomicBool;

/// The score of an answer that says nothing; none is above.
pub const FURTHEST: f64 = MOST;

/// The names of [`Lexical::features`]; docs/critics.md says what each is.
pub const FEATURES: [&str; 16] = [
    "word_surprisal",
    "word_surprisal_alone",
    "word_surprisal_gain",
    "word_surprisal_std",
    "word_surprisal_worst",
    "word_end_surprisal",
    "word_unseen_share",
    "word_pair_unseen_share",
    "word_triple_unseen_share",
    "character_surprisal",
    "character_surprisal_alone",
    "character_surprisal_gain",
    "character_surprisal_worst",
    "character_end_surprisal",
    "character_pair_unseen_share",
    "character_triple_unseen_share",
];

/// Tokens of a window, the worst of which is told.
const WINDOW: usize = 8;

/// Words whose spelling is remembered.
const REMEMBERED: usize = 1 << 16;

/// What a response is measured against: a bucket and its ancestors.
#[derive(Debug)]
pub struct Target {
    /// By number, the bucket itself first and its language last.
    ids: Vec<String>,
    levels: Levels,
    language: Language,
    has_humans: bool,
}

impl Target {
    /// Whether there are humans of the language.
    pub fn has_humans(&self) -> bool {
        self.has_humans
    }
}

/// A token, and what it costs.
#[derive(Clone, Copy, Debug)]
pub struct Step<'a> {
    /// Its bytes in the text; both the text's length: the end.
    pub start: usize,
    /// Where it ends.
    pub end: usize,
    /// Whether it is a character (of the text as a row of characters) rather than a word or a mark.
    pub is_character: bool,
    /// Nats.
    pub surprisal: f64,
    /// The level where it was counted in the longest n-gram, the nearest of them; `None`: it was never seen.
    pub level: Option<&'a str>,
    /// How many tokens that n-gram has; 0 if it was never seen.
    pub order: usize,
}

/// Memory that scoring takes, to be used again on one thread.
#[derive(Default)]
pub struct Scratch {
    cutter: Cutter,
    /// The first steps: a context a level, with what follows it.
    alone: Vec<(u64, Following)>,
    spelled: Spelled,
}

/// The spellings of words of one index.
#[derive(Default)]
struct Spelled {
    serial: u64,
    /// By language and word.
    known: HashMap<(u64, u64), (f64, u32)>,
}

/// A token under the counts.
struct Found {
    surprisal: f64,
    /// By itself in its language, bucket and their like.
    alone: f64,
    /// Of the language: how often the n-grams of one to four tokens occur; `None` where there is no telling.
    seen: [Option<u32>; keys::LONGEST],
    /// Where it was found: the number of the level from the bucket on, and the order.
    level: usize,
    order: usize,
}

/// Sums over a response's tokens.
#[derive(Clone, Debug, Default)]
struct Sums {
    tokens: u32,
    surprisal: f64,
    squares: f64,
    alone: f64,
    worst: f64,
    end: f64,
    /// By order: tokens that were not seen, of those of which it is known.
    unseen: [(u32, u32); keys::LONGEST],
    /// The last of them.
    window: [f64; WINDOW],
}

impl Sums {
    fn add(&mut self, found: &Found) {
        let Found { surprisal, alone, seen, .. } = found;
        self.window[self.tokens as usize % WINDOW] = *surprisal;
        self.tokens += 1;
        self.surprisal += surprisal;
        self.squares += surprisal * surprisal;
        self.alone += alone;
        self.end = *surprisal;
        if self.tokens as usize >= WINDOW {
            self.worst = self.worst.max(self.window.iter().sum::<f64>() / WINDOW as f64);
        }
        for (unseen, seen) in self.unseen.iter_mut().zip(seen) {
            if let Some(count) = seen {
                unseen.0 += u32::from(*count == 0);
                unseen.1 += 1;
            }
        }
    }

    /// Without the end there is nothing.
    fn is_empty(&self) -> bool {
        self.tokens <= 1
    }

    fn mean(&self, sum: f64) -> f64 {
        if self.is_empty() { f64::NAN } else { sum / f64::from(self.tokens) }
    }

    fn score(&self) -> f64 {
        if self.is_empty() {
            return FURTHEST;
        }
        let share = if self.alone > 0.0 { self.surprisal / self.alone } else { 1.0 };
        (self.mean(self.surprisal) * share * share).min(FURTHEST)
    }

    fn std(&self) -> f64 {
        if self.is_empty() {
            return f64::NAN;
        }
        let mean = self.mean(self.surprisal);
        (self.mean(self.squares) - mean * mean).max(0.0).sqrt()
    }

    fn worst(&self) -> f64 {
        if (self.tokens as usize) < WINDOW { self.mean(self.surprisal) } else { self.worst }
    }

    fn unseen(&self, order: usize) -> f64 {
        let (unseen, of) = self.unseen[order - 1];
        if self.is_empty() || of == 0 { f64::NAN } else { f64::from(unseen) / f64::from(of) }
    }
}

impl Lexical {
    /// What responses of a bucket are measured against; `*` stands for all values of an axis.
    ///
    /// # Errors
    /// A target that is none under the schema.
    pub fn target(&self, id: &str) -> Result<Target> {
        let schema = &self.settings.schema;
        let parts = schema.parse_target(id)?;
        let ids = schema.levels(parts.clone()).iter().map(|parts| join_parts(parts)).collect();
        let levels = levels(schema, &parts);
        let language = Language::of(response_language(schema, &parts, &Record::default()));
        let has_humans = views(language).iter().any(|&view| {
            levels.alone(view).next().is_some_and(|context| self.index().following(context).count > 0)
        });
        Ok(Target { ids, levels, language, has_humans })
    }

    /// How far a response is from what humans say, in nats a token: its mean surprisal, times the square of the share that
    /// it is of what the same tokens cost each by itself. Of words and marks; of characters where words can't be told; in Chinese
    /// the mean of both. NaN where there are no humans of the language, [`FURTHEST`] where nothing is said.
    ///
    /// The share is what tells order: words that are rare but stand where they belong cost little of what they cost alone.
    ///
    /// `leave_one_out`: the response is one of those counted, and its own counts are left out.
    ///
    /// # Errors
    /// [`Interrupted`](crate::Error::Interrupted) soon after `stop` is set.
    pub fn score(
        &self,
        target: &Target,
        text: &str,
        leave_one_out: bool,
        scratch: &mut Scratch,
        stop: &AtomicBool,
    ) -> Result<f64> {
        if !target.has_humans {
            return Ok(f64::NAN);
        }
        Ok(score_of(self.sums(target, text, leave_one_out, scratch, stop)?))
    }

    /// The [`FEATURES`] of a response: NaN where one is not defined.
    ///
    /// # Errors
    /// [`Interrupted`](crate::Error::Interrupted) soon after `stop` is set.
    pub fn features(
        &self,
        target: &Target,
        text: &str,
        leave_one_out: bool,
        scratch: &mut Scratch,
        stop: &AtomicBool,
    ) -> Result<[f64; FEATURES.len()]> {
        self.measure(target, text, leave_one_out, scratch, stop).map(|(_, features)| features)
    }

    /// The score of a response, as [`score`](Self::score) has it, and its [`FEATURES`].
    ///
    /// # Errors
    /// [`Interrupted`](crate::Error::Interrupted) soon after `stop` is set.
    pub fn measure(
        &self,
        target: &Target,
        text: &str,
        leave_one_out: bool,
        scratch: &mut Scratch,
        stop: &AtomicBool,
    ) -> Result<(f64, [f64; FEATURES.len()])> {
        let mut values = [f64::NAN; FEATURES.len()];
        if !target.has_humans {
            return Ok((f64::NAN, values));
        }
        let found = self.sums(target, text, leave_one_out, scratch, stop)?;
        let score = score_of(found.clone());
        for (view, sums) in found {
            if sums.is_empty() {
                continue;
            }
            let [all, alone] = [sums.surprisal, sums.alone].map(|sum| sums.mean(sum));
            let [first, second, third] = [1, 2, 3].map(|order| sums.unseen(order));
            let (worst, end) = (sums.worst(), sums.end);
            if view == View::Words {
                let words = [all, alone, alone - all, sums.std(), worst, end, first, second, third];
                values[..9].copy_from_slice(&words);
            } else {
                values[9..].copy_from_slice(&[all, alone, alone - all, worst, end, second, third]);
            }
        }
        if !views(target.language).contains(&View::Characters) {
            values[9] = self.spelled(target, text, leave_one_out, scratch, stop)?;
        }
        Ok((score, values))
    }

    /// Every token of a response with what it costs.
    ///
    /// # Errors
    /// [`Interrupted`](crate::Error::Interrupted) soon after `stop` is set.
    pub fn steps<'a>(
        &self,
        target: &'a Target,
        text: &str,
        leave_one_out: bool,
        scratch: &mut Scratch,
        stop: &AtomicBool,
        mut each: impl FnMut(Step<'a>),
    ) -> Result<()> {
        if !target.has_humans {
            return Ok(());
        }
        self.walk(target, text, leave_one_out, scratch, stop, |view, start, end, found| {
            each(Step {
                start,
                end,
                is_character: view == View::Characters,
                surprisal: found.surprisal,
                level: (found.order > 0).then(|| target.ids[found.level].as_str()),
                order: found.order,
            });
        })
    }

    fn sums(
        &self,
        target: &Target,
        text: &str,
        leave_one_out: bool,
        scratch: &mut Scratch,
        stop: &AtomicBool,
    ) -> Result<impl Iterator<Item = (View, Sums)> + Clone + use<>> {
        let mut all = [Sums::default(), Sums::default(), Sums::default()];
        self.walk(target, text, leave_one_out, scratch, stop, |view, _, _, found| {
            all[view as usize].add(&found);
        })?;
        let [_, words, characters] = all;
        let both = [(View::Words, words), (View::Characters, characters)];
        Ok(both.into_iter().filter(|(_, sums)| sums.tokens > 0))
    }

    /// Goes through the tokens of a response, first as words, then as characters, as far as its language has them.
    fn walk(
        &self,
        target: &Target,
        text: &str,
        leave_one_out: bool,
        scratch: &mut Scratch,
        stop: &AtomicBool,
        mut each: impl FnMut(View, usize, usize, Found),
    ) -> Result<()> {
        let index = self.index();
        let rest = self.rest(target, text, leave_one_out, scratch, stop)?;
        for &view in views(target.language) {
            let mut each = |start, end, found| each(view, start, end, found);
            match &rest {
                Some(rest) => walk(rest, None, target, text, view, scratch, stop, &mut each)?,
                None => walk(index, Some(index), target, text, view, scratch, stop, &mut each)?,
            }
        }
        Ok(())
    }

    /// The counts without those of a response that is one of those counted.
    fn rest(
        &self,
        target: &Target,
        text: &str,
        leave_one_out: bool,
        scratch: &mut Scratch,
        stop: &AtomicBool,
    ) -> Result<Option<LeftOut<'_>>> {
        let Target { levels, language, .. } = target;
        let rest = || LeftOut::new(self.index(), text, levels, *language, &mut scratch.cutter, stop);
        leave_one_out.then(rest).transpose()
    }

    /// The mean surprisal of the letters of a response's words.
    fn spelled(
        &self,
        target: &Target,
        text: &str,
        leave_one_out: bool,
        scratch: &mut Scratch,
        stop: &AtomicBool,
    ) -> Result<f64> {
        let (index, language) = (self.index(), target.levels.language());
        let rest = self.rest(target, text, leave_one_out, scratch, stop)?;
        let (mut at, mut sum, mut characters) = (0, 0.0, 0_u32);
        let Scratch { cutter, spelled, .. } = scratch;
        while at < text.len() {
            unless_stopped(stop)?;
            at = cutter.part(text, at, target.language, View::Words);
            for token in cutter.tokens() {
                let lower = cutter.lower(token);
                let (nats, of) = match &rest {
                    Some(rest) => spelling(rest, language, lower),
                    None => spelled.of(index, language, token.id, lower),
                };
                sum += nats;
                characters += of;
            }
        }
        Ok(if characters == 0 { f64::NAN } else { sum / f64::from(characters) })
    }
}

/// The mean of the scores of a response as words and as characters.
fn score_of(found: impl Iterator<Item = (View, Sums)>) -> f64 {
    let (mut sum, mut views) = (0.0, 0);
    for (_, sums) in found {
        sum += sums.score();
        views += 1;
    }
    sum / f64::from(views)
}

impl Spelled {
    /// The surprisal of a word's letters, and how many they are.
    fn of(&mut self, index: &Index, language: u64, id: u64, lower: &str) -> (f64, u32) {
        if self.serial != index.serial || self.known.len() >= REMEMBERED {
            self.known.clear();
            self.serial = index.serial;
        }
        *self.known.entry((language, id)).or_insert_with(|| spelling(index, language, lower))
    }
}

#[expect(clippy::too_many_arguments, reason = "what all steps of a walk share")]
fn walk<C: Counts>(
    counts: &C,
    index: Option<&Index>,
    target: &Target,
    text: &str,
    view: View,
    scratch: &mut Scratch,
    stop: &AtomicBool,
    each: &mut impl FnMut(usize, usize, Found),
) -> Result<()> {
    let Scratch { cutter, alone, spelled } = scratch;
    alone.clear();
    alone.extend(target.levels.alone(view).map(|context| (context, counts.following(context))));
    let (mut at, mut history, mut before) = (0, History::new(), Before::START);
    let mut of_word = |id: u64, lower: &str| match (view, index) {
        (View::Words, Some(index)) => {
            libm::exp(-spelled.of(index, target.levels.language(), id, lower).0.min(MOST))
        }
        _ => of_unseen(counts, target.levels.language(), view, lower),
    };
    let mut ahead = [Ahead::default(); GROUP];
    while at < text.len() {
        unless_stopped(stop)?;
        at = cutter.part(text, at, target.language, view);
        for group in cutter.tokens().chunks(GROUP) {
            for (token, ahead) in group.iter().zip(&mut ahead) {
                *ahead = Ahead::new(counts, alone, &target.levels, view, &mut history, token.id);
            }
            for (token, ahead) in group.iter().zip(&ahead) {
                let unseen = || of_word(token.id, if view == View::Words { cutter.lower(token) } else { "" });
                each(token.start, token.end, find(counts, alone, ahead, &mut before, unseen));
            }
        }
    }
    let end = Ahead::new(counts, alone, &target.levels, view, &mut history, END);
    each(text.len(), text.len(), find(counts, alone, &end, &mut before, || 0.0));
    Ok(())
}

/// Tokens that are looked up together.
const GROUP: usize = 16;

/// A token's contexts, and its place in them.
#[derive(Clone, Copy, Debug, Default)]
struct Ahead {
    token: u64,
    longer: Longer,
}

impl Ahead {
    /// Asks for the memory of all that will be looked up, so that it is waited for once.
    #[inline]
    fn new(
        counts: &impl Counts,
        alone: &[(u64, Following)],
        levels: &Levels,
        view: View,
        history: &mut History,
        token: u64,
    ) -> Self {
        let longer = levels.longer(view, history);
        history.push(token);
        alone.iter().for_each(|(context, _)| counts.touch(gram(*context, token)));
        for longer in longer.iter() {
            counts.touch(longer.context);
            counts.touch(gram(longer.context, token));
        }
        Self { token, longer }
    }
}

/// What is known of the tokens before: a context that never was has nothing in it.
#[derive(Clone, Copy, Debug)]
struct Before {
    /// Of the language, by how many tokens: whether they occur together.
    language: [bool; keys::LONGEST],
    /// Whether the last one occurs in the bucket.
    bucket: bool,
}

impl Before {
    /// Before the first token, which all responses have.
    const START: Self = Self { language: [true; keys::LONGEST], bucket: true };
}

/// A token after others.
///
/// What is not there in the language is not there in a bucket of it, and what is not there after a token is not there after
/// two: that is not looked up.
#[inline]
fn find(
    counts: &impl Counts,
    alone: &[(u64, Following)],
    ahead: &Ahead,
    before: &mut Before,
    unseen: impl FnOnce() -> f64,
) -> Found {
    let language = alone.len() - 1;
    let (mut level, mut order, mut seen) = (language, 0, [None; keys::LONGEST]);
    let count = counts.count(gram(alone[0].0, ahead.token));
    let is_known = count > 0;
    seen[0] = Some(count);
    let mut p = interpolate(if is_known { 0.0 } else { unseen() }, count, alone[0].1);
    let mut in_bucket = is_known;
    if is_known {
        order = 1;
    }
    for (at, &(context, following)) in alone.iter().enumerate().skip(1) {
        let count = if is_known { counts.count(gram(context, ahead.token)) } else { 0 };
        p = interpolate(p, count, following);
        in_bucket = count > 0;
        if in_bucket {
            level = language - at;
        }
    }
    let by_itself = nats(p);
    let mut now = Before { language: [is_known; keys::LONGEST], bucket: in_bucket };
    for &Longest { order: of, is_language, context } in ahead.longer.iter() {
        let is_there = if is_language { before.language[of - 2] } else { before.bucket };
        let following = if is_there { counts.following(context) } else { Following::default() };
        let shorter = if is_language { now.language[of - 2] } else { now.language[1] };
        let count = if following.count > 0 && shorter { counts.count(gram(context, ahead.token)) } else { 0 };
        p = interpolate(p, count, following);
        if is_language {
            now.language[of - 1] = count > 0;
            seen[of - 1] = counts.holds(context).then_some(count);
        }
        if count > 0 {
            (level, order) = (if is_language { language } else { 0 }, of);
        }
    }
    *before = now;
    Found { surprisal: nats(p), alone: by_itself, seen, level, order }
}
