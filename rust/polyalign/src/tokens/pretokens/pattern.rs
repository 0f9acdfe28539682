//! Regular expressions of pre-tokenizers, matched in linear time as Oniguruma matches them.
//!
//! An expression is parsed into alternatives. Which characters an atom of it matches, a class or a letter, Oniguruma
//! itself is asked once, character by character: no difference of Unicode versions or of syntax can change a match. What
//! holds the atoms together, one after the other, or, so many times, `regex-automata` makes an automaton of, which prefers
//! matches as Oniguruma does. It knows no look-around, so that of the usual ending `\s+(?!\S)|\s+` is done by hand: `\s+`
//! is matched, and unless the text ends there gives back its last character, if it has others.

use regex_automata::meta::{Config, Regex};
use regex_automata::util::syntax;
use regex_automata::{Anchored, Input};
use regex_syntax::ast::{self, Ast, ClassSetItem, RepetitionKind, RepetitionRange};
use regex_syntax::hir::{self, ClassUnicode, ClassUnicodeRange, Hir};
use std::collections::HashMap;
use std::ops::Range;
use std::sync::{LazyLock, Mutex};

/// A regular expression.
pub(super) struct Pattern {
    /// One pattern for each alternative.
    regex: Regex,
    /// The alternative that stands for `\s+(?!\S)|\s+`.
    blanks: Option<usize>,
}

impl Pattern {
    /// An expression, or why it can't be matched here.
    pub(super) fn new(pattern: &str) -> Result<Self, String> {
        let (mut alternatives, mut blanks) = (Vec::new(), None);
        let mut parts = alternatives_of(pattern).into_iter().peekable();
        while let Some(part) = parts.next() {
            if part == r"\s+(?!\S)" && matches!(parts.peek(), Some(&(r"\s+" | r"\s"))) {
                parts.next();
                blanks = Some(alternatives.len());
                alternatives.push(parse(r"\s+")?);
            } else {
                alternatives.push(parse(part)?);
            }
        }
        Self::of(&alternatives, blanks)
    }

    /// A text that stands for itself.
    pub(super) fn literal(text: &str) -> Result<Self, String> {
        Self::of(&[Hir::literal(text.as_bytes())], None)
    }

    fn of(alternatives: &[Hir], blanks: Option<usize>) -> Result<Self, String> {
        if alternatives.iter().any(|hir| hir.properties().minimum_len().is_none_or(|len| len == 0)) {
            return Err("a pattern that may match nothing".into());
        }
        let regex = Regex::builder()
            .configure(Config::new().utf8_empty(false))
            .syntax(syntax::Config::new())
            .build_many_from_hir(alternatives)
            .map_err(|_| "a pattern that is too large")?;
        Ok(Self { regex, blanks })
    }

    /// The first match from `at` on.
    pub(super) fn find(&self, text: &[u8], at: usize) -> Option<Range<usize>> {
        let input = Input::new(text).range(at..);
        // Nearly always there is one right here, for which the text needs to be read but once.
        let here = self.regex.search(&input.clone().anchored(Anchored::Yes));
        let found = here.or_else(|| self.regex.search(&input))?;
        let mut range = found.range();
        if self.blanks == Some(found.pattern().as_usize()) && range.end < text.len() {
            let last =
                text[range.clone()].iter().rposition(|&byte| !super::super::unicode::is_continuation(byte));
            range.end = last.filter(|&last| last > 0).map_or(range.end, |last| range.start + last);
        }
        Some(range)
    }
}

/// The alternatives at the top of an expression.
fn alternatives_of(pattern: &str) -> Vec<&str> {
    let (mut depth, mut classes, mut escaped, mut from) = (0_usize, 0_usize, false, 0);
    let mut parts = Vec::new();
    for (at, c) in pattern.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '[' => classes += 1,
            ']' => classes = classes.saturating_sub(1),
            '(' if classes == 0 => depth += 1,
            ')' if classes == 0 => depth = depth.saturating_sub(1),
            '|' if classes == 0 && depth == 0 => {
                parts.push(&pattern[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&pattern[from..]);
    parts
}

fn parse(pattern: &str) -> Result<Hir, String> {
    let ast = ast::parse::Parser::new().parse(pattern).map_err(|e| format!("a pattern with {}", e.kind()))?;
    Build { pattern }.hir(&ast, false)
}

/// Makes an automaton's expression of a parsed one.
struct Build<'p> {
    pattern: &'p str,
}

impl Build<'_> {
    /// `fold`: within `(?i:…)`.
    fn hir(&self, ast: &Ast, fold: bool) -> Result<Hir, String> {
        match ast {
            Ast::Empty(_) => Ok(Hir::empty()),
            Ast::Literal(_) | Ast::ClassUnicode(_) | Ast::ClassPerl(_) => self.atom(ast.span(), fold),
            Ast::ClassBracketed(class) => match &class.kind {
                // Of a first `]` and of these operations others have other notions.
                ast::ClassSet::Item(item) if !ends_early(item) => self.atom(ast.span(), fold),
                ast::ClassSet::BinaryOp(op) if op.kind == ast::ClassSetBinaryOpKind::Intersection => {
                    self.atom(ast.span(), fold)
                }
                _ => Err("a pattern with a class that is not one of the usual".into()),
            },
            Ast::Group(group) => {
                let fold = match &group.kind {
                    ast::GroupKind::NonCapturing(flags) if !flags.items.is_empty() => {
                        if &self.pattern[flags.span.start.offset..flags.span.end.offset] != "i" {
                            return Err("a pattern with flags other than (?i:…)".into());
                        }
                        true
                    }
                    ast::GroupKind::NonCapturing(_) | ast::GroupKind::CaptureIndex(_) => fold,
                    ast::GroupKind::CaptureName { .. } => {
                        return Err("a pattern with named groups".into());
                    }
                };
                if fold && folds_together(&self.pattern[group.span.start.offset..group.span.end.offset]) {
                    return Err("a pattern with letters that are one letter in another case".into());
                }
                self.hir(&group.ast, fold)
            }
            Ast::Repetition(repetition) => {
                // A possessive one: what it would give back others must not have.
                if matches!(*repetition.ast, Ast::Repetition(_)) {
                    return Err("a possessive pattern".into());
                }
                let (min, max) = match repetition.op.kind {
                    RepetitionKind::ZeroOrOne => (0, Some(1)),
                    RepetitionKind::ZeroOrMore => (0, None),
                    RepetitionKind::OneOrMore => (1, None),
                    RepetitionKind::Range(_) if !repetition.greedy => {
                        return Err("a pattern with {…}?".into());
                    }
                    RepetitionKind::Range(RepetitionRange::Exactly(n)) => (n, Some(n)),
                    RepetitionKind::Range(RepetitionRange::AtLeast(n)) => (n, None),
                    RepetitionKind::Range(RepetitionRange::Bounded(m, n)) => (m, Some(n)),
                };
                let sub = self.hir(&repetition.ast, fold)?;
                if sub.properties().minimum_len().is_none_or(|len| len == 0) {
                    return Err("a pattern that repeats what may be nothing".into());
                }
                let sub = Box::new(sub);
                Ok(Hir::repetition(hir::Repetition { min, max, greedy: repetition.greedy, sub }))
            }
            Ast::Alternation(of) => self.all(&of.asts, fold).map(Hir::alternation),
            Ast::Concat(of) => self.all(&of.asts, fold).map(Hir::concat),
            Ast::Flags(_) | Ast::Dot(_) | Ast::Assertion(_) => {
                Err("a pattern with flags, dots or assertions".into())
            }
        }
    }

    fn all(&self, asts: &[Ast], fold: bool) -> Result<Vec<Hir>, String> {
        asts.iter().map(|ast| self.hir(ast, fold)).collect()
    }

    /// What matches one character.
    fn atom(&self, span: &ast::Span, fold: bool) -> Result<Hir, String> {
        let atom = &self.pattern[span.start.offset..span.end.offset];
        let ranges = if fold { characters(&format!("(?i:{atom})"))? } else { characters(atom)? };
        let ranges = ranges.into_iter().map(|(first, last)| ClassUnicodeRange::new(first, last));
        Ok(Hir::class(hir::Class::Unicode(ClassUnicode::new(ranges))))
    }
}

/// Whether `[]…]` or `[^]…]` stands in a class.
fn ends_early(item: &ClassSetItem) -> bool {
    match item {
        ClassSetItem::Empty(_) => true,
        ClassSetItem::Literal(literal) => literal.c == ']' && literal.kind == ast::LiteralKind::Verbatim,
        ClassSetItem::Bracketed(class) => match &class.kind {
            ast::ClassSet::Item(item) => ends_early(item),
            ast::ClassSet::BinaryOp(_) => false,
        },
        ClassSetItem::Union(union) => union.items.iter().any(ends_early),
        _ => false,
    }
}

/// Whether letters of what is matched in any case may stand for one: `ss` for `ß`, `st` and `f…` for ligatures.
fn folds_together(pattern: &str) -> bool {
    !pattern.is_ascii()
        || ["ss", "st", "ff", "fi", "fl"].iter().any(|s| pattern.to_ascii_lowercase().contains(s))
}

/// The characters that an atom matches, by Oniguruma.
fn characters(atom: &str) -> Result<Ranges, String> {
    static KNOWN: LazyLock<Mutex<HashMap<String, Ranges>>> = LazyLock::new(Mutex::default);
    let mut known = KNOWN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    if let Some(ranges) = known.get(atom) {
        return Ok(ranges.clone());
    }
    let run = onig::Regex::new(&format!("(?:{atom})+")).map_err(|_| format!("a pattern with {atom:?}"))?;
    let first = |text: &str| text.chars().next().expect("a match is not empty");
    let last = |text: &str| text.chars().next_back().expect("a match is not empty");
    let all: String = ('\0'..=char::MAX).collect();
    let ranges: Ranges = run
        .find_iter(&all)
        .filter(|(start, end)| start < end)
        .map(|(start, end)| (first(&all[start..end]), last(&all[start..end])))
        .collect();
    if known.len() < MOST_KNOWN {
        known.insert(atom.to_owned(), ranges.clone());
    }
    Ok(ranges)
}

/// First and last characters.
type Ranges = Vec<(char, char)>;

/// Atoms whose characters are remembered.
const MOST_KNOWN: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What is cut by both, in every text.
    fn agree(patterns: &[&str], cases: u32) {
        let both: Vec<_> =
            patterns.iter().map(|p| (Pattern::new(p).unwrap(), onig::Regex::new(p).unwrap(), *p)).collect();
        let any = proptest::collection::vec(
            prop_oneof![
                4 => proptest::sample::select("aAsSzZtTdlL09 '’.,!?-/(|)[]\t\n\r\u{b}\u{85}\u{a0}ſKÅßéǅª²½ΩжЖא٣\u{301}\u{3000}、。，一你好龥あア가😀٫।۔،"
                    .chars().collect::<Vec<_>>()).prop_map(String::from),
                2 => proptest::sample::select(vec!["'ll", "'RE", " the", "HELLO", "12345", "   ", "\r\n", " \n ", "...", "ĠĊ"])
                    .prop_map(String::from),
                1 => any::<char>().prop_map(String::from),
            ],
            0..20,
        );
        let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
        proptest::test_runner::TestRunner::new(config)
            .run(&any, |parts| {
                let text = parts.concat();
                for (ours, theirs, pattern) in &both {
                    let expected: Vec<_> = theirs.find_iter(&text).map(|(start, end)| start..end).collect();
                    let mut found = Vec::new();
                    let mut at = 0;
                    while let Some(range) = ours.find(text.as_bytes(), at) {
                        at = range.end;
                        found.push(range);
                    }
                    prop_assert_eq!(found, expected, "{:?} of {:?}", pattern, text);
                }
                Ok(())
            })
            .unwrap();
    }

    #[test]
    fn patterns_match_as_oniguruma_matches_them() {
        agree(
            &[
                r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
                r"[\p{Han}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
                r" ?[^(\s|[.,!?…。，、।۔،])]+",
                r"\s?\p{L}+",
                r"[一-龥ࠀ-一가-퟿]+",
                r"[0-9][0-9][0-9]",
                r"\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-Ρ]+",
                r"(?:a|ab)(?:c|bcd|d)?|s+?l|\d+|\w+",
                r"\p{Ps}|\p{Nd}{2,}|[[:alpha:]&&[^a-m]]+|\p{^L}",
            ],
            3000,
        );
    }

    #[test]
    fn other_patterns_are_refused() {
        for pattern in [
            "a*",
            "",
            "a|",
            "(?=a)a",
            r"\s+(?!\S)",
            r"\ba",
            "^a",
            "a$",
            ".",
            "a++b",
            "(a?)+",
            "(?i:ss)",
            "(?i:é)",
            "(?m:a)",
            r"(a)\1",
            r"\X",
            "[a",
            "(",
            "[]a]",
            "[a--b]",
            r"\p{Nonsense}",
            "a{1,3}?",
            "(?<n>a)",
        ] {
            assert!(Pattern::new(pattern).is_err(), "{pattern:?}");
        }
    }
}
