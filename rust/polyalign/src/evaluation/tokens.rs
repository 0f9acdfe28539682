//! What an answer is cut into.

use crate::Result;
use crate::error::unless_stopped;
use crate::features::{Cutter, Language};
use rayon::prelude::*;
use std::sync::atomic::AtomicBool;
use twox_hash::XxHash3_64;

/// How answers are cut; both without punctuation, in lower case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rules {
    /// Words as UAX #29 has them, each character of Chinese and Japanese one; in English without articles.
    Words,
    /// What stands between blanks once ASCII punctuation is deleted; without English articles in any language.
    Paper,
}

/// An answer and whether it is in English.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    /// What it says.
    pub text: &'a str,
    /// Whether articles are English ones.
    pub english: bool,
}

/// Cuts answers; holds the memory that takes.
#[derive(Default)]
pub struct AnswerCutter {
    cutter: Cutter,
    lower: String,
}

impl AnswerCutter {
    /// Hands over the tokens of an answer, one by one.
    ///
    /// ```
    /// # use polyalign::evaluation::tokens::{Answer, AnswerCutter, Rules};
    /// let mut tokens = Vec::new();
    /// let answer = Answer { text: "The 3 cats, 猫とネコ!", english: true };
    /// AnswerCutter::default().cut(answer, Rules::Words, |token| tokens.push(token.to_owned()));
    /// assert_eq!(tokens, ["3", "cats", "猫", "と", "ネ", "コ"]);
    /// ```
    pub fn cut(&mut self, answer: Answer<'_>, rules: Rules, mut each: impl FnMut(&str)) {
        if rules == Rules::Paper {
            return self.cut_paper(answer.text, each);
        }
        for word in self.cutter.words(answer.text, Language::English) {
            let lower = lowered(word, &mut self.lower);
            if lower.chars().any(is_katakana) {
                lower.chars().for_each(|c| each(c.encode_utf8(&mut [0; 4])));
            } else if !(answer.english && is_article(lower)) {
                each(lower);
            }
        }
    }

    fn cut_paper(&mut self, text: &str, mut each: impl FnMut(&str)) {
        self.lower = text.to_lowercase();
        self.lower.retain(|c| !c.is_ascii_punctuation());
        let blank = |c: char| c.is_whitespace() || ('\x1c'..='\x1f').contains(&c);
        self.lower.split(blank).filter(|word| !word.is_empty() && !is_article(word)).for_each(&mut each);
    }
}

/// A word in lower case, with a straight apostrophe.
pub(super) fn lowered<'a>(word: &'a str, buffer: &'a mut String) -> &'a str {
    if word.is_ascii() && !word.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return word;
    }
    *buffer = word.to_lowercase();
    if buffer.contains('’') {
        *buffer = buffer.replace('’', "'");
    }
    buffer
}

fn is_article(word: &str) -> bool {
    matches!(word, "a" | "an" | "the")
}

const fn is_katakana(c: char) -> bool {
    matches!(c, '\u{30a1}'..='\u{30ff}' | '\u{31f0}'..='\u{31ff}' | '\u{ff66}'..='\u{ff9f}')
}

/// What stands for a token.
pub(super) fn id(token: &str) -> u64 {
    XxHash3_64::oneshot(token.as_bytes())
}

/// What stands for tokens in a row.
#[inline]
pub(super) fn key(ids: &[u64]) -> u64 {
    const MIX: u64 = 0x9E37_79B9_7F4A_7C15;
    let hash = ids.iter().fold(ids.len() as u64, |hash, id| (hash.rotate_left(29) ^ id).wrapping_mul(MIX));
    let hash = (hash ^ hash >> 32).wrapping_mul(0xD6E8_FEB8_6659_FD93);
    hash ^ hash >> 32
}

/// The tokens of each answer, as 64-bit hashes.
pub fn ids(answers: &[Answer<'_>], rules: Rules, stop: &AtomicBool) -> Result<Vec<Vec<u64>>> {
    let cut = |cutter: &mut AnswerCutter, answer: &Answer<'_>| {
        unless_stopped(stop)?;
        let mut found = Vec::new();
        cutter.cut(*answer, rules, |token| found.push(id(token)));
        Ok(found)
    };
    answers.par_iter().map_init(AnswerCutter::default, cut).collect()
}

/// A hash of each answer's tokens in their order.
pub fn keys(answers: &[Answer<'_>], rules: Rules, stop: &AtomicBool) -> Result<Vec<u64>> {
    Ok(ids(answers, rules, stop)?.iter().map(|ids| key(ids)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(text: &str, english: bool, rules: Rules) -> Vec<String> {
        let mut found = Vec::new();
        AnswerCutter::default().cut(Answer { text, english }, rules, |token| found.push(token.to_owned()));
        found
    }

    #[test]
    fn both_rules() {
        let text = "The cat’s AN\u{1f}the A-1, 我们 ok。";
        assert_eq!(cut(text, true, Rules::Words), ["cat's", "1", "我", "们", "ok"]);
        assert_eq!(cut(text, false, Rules::Words), ["the", "cat's", "an", "the", "a", "1", "我", "们", "ok"]);
        assert_eq!(cut(text, false, Rules::Paper), ["cat’s", "a1", "我们", "ok。"]);
        assert_eq!(cut("?!", true, Rules::Words), [""; 0]);
    }
}
