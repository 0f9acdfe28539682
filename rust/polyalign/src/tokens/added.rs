//! Added tokens: found in the text before anything else is done to it.

use super::config::AddedToken;
use aho_corasick::{AhoCorasick, AhoCorasickKind, Anchored, Input, Match, MatchKind, StartKind};
use regex::Regex;
use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::LazyLock;

/// The added tokens that are looked for in one form of the text: raw, or normalised.
#[derive(Default)]
pub(super) struct Matcher {
    tokens: Vec<AddedToken>,
    automaton: Option<AhoCorasick>,
    /// By token, whether it is passed over: a special one that is to be encoded as text.
    skipped: Vec<bool>,
    /// Which bytes start a token, and which may come second.
    first: Vec<u8>,
    is_first: Vec<bool>,
    second: Vec<bool>,
    /// Whether tokens start with what is common in texts, so that looking for their starts gains nothing.
    common: bool,
    /// Whether blanks stand for `▁`, which no token takes along.
    blanks_stay: bool,
}

/// Bytes of patterns in all, beyond which no table of every state's every move is made: making it is quadratic for a
/// token of one repeated letter, and no real vocabulary of added tokens that is searched for often has so many.
const MOST_IN_TABLE: usize = 8 << 10;

/// `\w` as the matching of whole words in `tokenizers` has it.
static WORD: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"^\w$").expect("a constant pattern"));

fn is_word(c: char) -> bool {
    if c.is_ascii() {
        c.is_ascii_alphanumeric() || c == '_'
    } else {
        WORD.is_match(c.encode_utf8(&mut [0; 4]))
    }
}

impl Matcher {
    /// A matcher of `(pattern, token)`; an error names what is wrong with them.
    fn new(patterns: Vec<(String, AddedToken)>, skipped: &HashSet<String>) -> Result<Self, String> {
        if patterns.is_empty() {
            return Ok(Self::default());
        }
        let mut seen = HashSet::new();
        if let Some((twice, _)) = patterns.iter().find(|(p, _)| !seen.insert(p.as_str())) {
            return Err(format!("two added tokens match the same text {twice:?}"));
        }
        if let Some((_, token)) = patterns.iter().find(|(p, _)| p.is_empty()) {
            return Err(format!("the normalizer leaves nothing of the added token {:?}", token.content));
        }
        let bytes: usize = patterns.iter().map(|(pattern, _)| pattern.len()).sum();
        let automaton = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .start_kind(StartKind::Both)
            .kind((bytes > MOST_IN_TABLE).then_some(AhoCorasickKind::ContiguousNFA))
            .build(patterns.iter().map(|(p, _)| p))
            .map_err(|e| format!("added tokens: {e}"))?;
        let (mut first, mut second) = (Vec::new(), vec![false; 256]);
        for pattern in patterns.iter().map(|(p, _)| p.as_bytes()) {
            if !first.contains(&pattern[0]) {
                first.push(pattern[0]);
            }
            match pattern.get(1) {
                Some(&b) => second[b as usize] = true,
                None => second.fill(true),
            }
        }
        let mut is_first = vec![false; 256];
        first.iter().for_each(|&byte| is_first[byte as usize] = true);
        let common = first.iter().any(|byte| matches!(byte, b' ' | b'a'..=b'z' | 0xc0..));
        let tokens: Vec<AddedToken> = patterns.into_iter().map(|(_, token)| token).collect();
        let skipped = tokens.iter().map(|token| skipped.contains(&token.content)).collect();
        Ok(Self {
            tokens,
            automaton: Some(automaton),
            skipped,
            first,
            is_first,
            second,
            common,
            blanks_stay: false,
        })
    }

    /// Has blanks stand for `▁`.
    pub(super) fn keep_blanks(&mut self) {
        self.blanks_stay = true;
    }

    /// Whether there are no tokens.
    pub(super) fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// Where the first token at or after `from` could start; `None` if there is none in the text.
    fn candidate(&self, text: &[u8], from: usize) -> Option<usize> {
        let rest = &text[from..];
        let plausible = |&at: &usize| rest.get(at + 1).is_none_or(|&b| self.second[b as usize]);
        let found = match *self.first.as_slice() {
            [] => None,
            [a] => memchr::memchr_iter(a, rest).find(plausible),
            [a, b] => memchr::memchr2_iter(a, b, rest).find(plausible),
            [a, b, c] => memchr::memchr3_iter(a, b, c, rest).find(plausible),
            _ => (0..rest.len()).filter(|&at| self.is_first[rest[at] as usize]).find(plausible),
        };
        found.map(|at| from + at)
    }

    /// The first token at or after `from`, the longest there.
    fn find(&self, automaton: &AhoCorasick, text: &str, mut from: usize) -> Option<Match> {
        if self.common {
            return automaton.find(Input::new(text).range(from..));
        }
        while let Some(at) = self.candidate(text.as_bytes(), from) {
            let found = automaton.find(Input::new(text).range(at..).anchored(Anchored::Yes));
            if found.is_some() {
                return found;
            }
            from = at + 1;
        }
        None
    }

    /// Whether a text has no token in it.
    pub(super) fn is_absent(&self, text: &str) -> bool {
        match (self.candidate(text.as_bytes(), 0), &self.automaton) {
            (Some(from), Some(automaton)) => self.find(automaton, text, from).is_none(),
            _ => true,
        }
    }

    /// The number of tokens of a text, and of what `count` finds in each stretch between them, in order.
    pub(super) fn count<E>(
        &self,
        text: &str,
        mut count: impl FnMut(&str) -> Result<u32, E>,
    ) -> Result<u32, E> {
        let (Some(mut from), Some(automaton)) = (self.candidate(text.as_bytes(), 0), &self.automaton) else {
            return if text.is_empty() { Ok(0) } else { count(text) };
        };
        let mut found = 0;
        let mut done = 0;
        while let Some(m) = self.find(automaton, text, from) {
            from = m.end();
            if self.skipped[m.pattern().as_usize()] {
                continue;
            }
            let token = &self.tokens[m.pattern().as_usize()];
            let Some(range) = extend(token, text, m.range(), done, self.blanks_stay) else { continue };
            if done < range.start {
                found += count(&text[done..range.start])?;
            }
            found += !range.is_empty() as u32;
            done = range.end;
        }
        if done < text.len() {
            found += count(&text[done..])?;
        }
        Ok(found)
    }
}

/// The match with the blanks it takes along, or `None` if it is not a whole word where it must be.
/// `done` is where the previous token ended.
fn extend(
    token: &AddedToken,
    text: &str,
    Range { mut start, mut end }: Range<usize>,
    done: usize,
    blanks_stay: bool,
) -> Option<Range<usize>> {
    let is_blank = |c: char| c.is_whitespace() && !(blanks_stay && c == ' ');
    if token.single_word {
        let joined = text[..start].chars().next_back().is_some_and(is_word)
            || text[end..].chars().next().is_some_and(is_word);
        if joined {
            return None;
        }
    }
    if token.lstrip {
        start = text[..start].trim_end_matches(is_blank).len().max(done);
    }
    if token.rstrip {
        end = text.len() - text[end..].trim_start_matches(is_blank).len();
    }
    Some(start..end)
}

/// Both matchers, from the `added_tokens` member.
///
/// `id_of` gives the model's id of a token, `vocab_size` its number of tokens, `normalise` its normaliser: as in
/// `tokenizers`, of two tokens with one id only the later is looked for. With `encode_special` special ones are text.
pub(super) fn matchers(
    added: Vec<AddedToken>,
    id_of: impl Fn(&str) -> Option<u32>,
    vocab_size: usize,
    normalise: impl Fn(&str) -> Result<String, String>,
    encode_special: bool,
) -> Result<(Matcher, Matcher), String> {
    let special = added.iter().filter(|token| encode_special && token.special);
    let skipped: HashSet<String> = special.map(|token| token.content.clone()).collect();
    let mut next_id = vocab_size as u32;
    let mut ids: HashMap<String, u32> = HashMap::new();
    let mut by_id: HashMap<u32, AddedToken> = HashMap::new();
    for token in added.into_iter().filter(|t| !t.content.is_empty()) {
        let known = ids.get(&token.content).copied().or_else(|| id_of(&token.content));
        let id = known.unwrap_or_else(|| {
            next_id += 1;
            next_id - 1
        });
        ids.insert(token.content.clone(), id);
        by_id.insert(id, token);
    }
    let (normalised, raw): (Vec<_>, Vec<_>) = by_id.into_values().partition(|t| t.normalized);
    let raw = raw.into_iter().map(|t| (t.content.clone(), t)).collect();
    let normalised = normalised.into_iter().map(|t| Ok((normalise(&t.content)?, t)));
    let normalised = normalised.collect::<Result<_, String>>()?;
    Ok((Matcher::new(raw, &skipped)?, Matcher::new(normalised, &skipped)?))
}
