//! The kind of a response, from rules that need no language.

use super::track::is_multi_turn;
use crate::records::record::Record;
use crate::text::count_words;
use crate::text::marks::{QUESTIONS, is_greek_question};

/// The families that rules tell apart.
pub const FAMILIES: [&str; 5] = ["code", "list", "qa", "dialogue", "assistant"];

/// A response of at most this many words is one that people speak.
const SPOKEN_WORDS: u32 = 60;
/// A user's turn with a passage of at least this many words above its last paragraph gives context.
const CONTEXT_WORDS: u32 = 40;
/// Fewer list items than this make no list.
const LIST_ITEMS: usize = 3;

/// The family of a record that names none and whose source has none. The first that holds:
///
/// 1. `code`: at least half of the response's non-blank lines are in fenced blocks (fences included);
/// 2. `list`: at least 3 lines, and at least half of the non-blank ones, are list items;
/// 3. `qa`: the last user turn is a passage of at least 40 words, a blank line, and something shorter;
/// 4. `dialogue`: an exchange precedes the last user turn and the response has at most 60 words;
/// 5. `qa`: no exchange precedes it, the last user turn ends in a question and the response does not;
/// 6. `dialogue`: no exchange precedes it, and turn and response have at most 60 words each;
/// 7. `assistant`: all else.
///
/// Words are UAX #29's; questions are told by their marks, in any script.
pub fn infer(record: &Record<'_>) -> &'static str {
    let answer = record.answer();
    if let Some(family) = shape(answer) {
        return family;
    }
    let last_user = record.prompt.iter().rfind(|message| message.role == "user");
    let turn = last_user.map_or("", |message| message.content);
    if has_context(turn) {
        return "qa";
    }
    let multi = is_multi_turn(record.prompt);
    if !multi && ends_in_question(turn) && !ends_in_question(answer) {
        return "qa";
    }
    let is_spoken = count_words(answer) <= SPOKEN_WORDS && (multi || count_words(turn) <= SPOKEN_WORDS);
    if is_spoken && !turn.is_empty() { "dialogue" } else { "assistant" }
}

/// `code` or `list`, if that is most of the response.
fn shape(answer: &str) -> Option<&'static str> {
    // Most responses are neither; that takes one look.
    if !answer.contains('\n') {
        return None;
    }
    let (mut lines, mut code, mut items) = (0, 0, 0);
    let mut fence = None;
    for line in answer.lines().map(str::trim).filter(|line| !line.is_empty()) {
        lines += 1;
        let mark = ["```", "~~~"].into_iter().find(|mark| line.starts_with(mark));
        match (fence, mark) {
            (None, None) => items += usize::from(is_list_item(line)),
            (None, Some(_)) => {
                fence = mark;
                code += 1;
            }
            (Some(_), _) => {
                code += 1;
                if mark == fence {
                    fence = None;
                }
            }
        }
    }
    if code > 0 && code * 2 >= lines {
        Some("code")
    } else if items >= LIST_ITEMS && items * 2 >= lines {
        Some("list")
    } else {
        None
    }
}

/// Whether a (trimmed) line starts with a bullet, or a number or letter as lists have it.
fn is_list_item(line: &str) -> bool {
    let mut chars = line.chars();
    let Some(first) = chars.next() else { return false };
    if matches!(first, '-' | '*' | '+' | '•' | '‣' | '◦' | '▪' | '●' | '○' | '·' | '–' | '—' | '・')
    {
        return chars.next().is_some_and(|c| c.is_whitespace() || matches!(first, '•' | '●' | '・'));
    }
    if matches!(first, '①'..='⑳') {
        return true;
    }
    let body = line.strip_prefix(['(', '（']).unwrap_or(line);
    let end = body.find(|c: char| !c.is_alphanumeric()).unwrap_or(body.len());
    let mut rest = body[end..].chars();
    is_item_label(&body[..end])
        && match rest.next() {
            // `1.5 litres` is no item, `1. litres` is.
            Some('.' | ')') => rest.next().is_none_or(char::is_whitespace),
            Some('、' | '．' | '）') => true,
            _ => false,
        }
}

/// A letter, or a number of up to three digits of any script, Chinese numerals or Roman ones.
fn is_item_label(label: &str) -> bool {
    let length = label.chars().count();
    let all = |numerals: &str| label.chars().all(|c| numerals.contains(c));
    match length {
        1 => true,
        2 | 3 => {
            label.chars().all(char::is_numeric) || all("一二三四五六七八九十") || all("ivx") || all("IVX")
        }
        _ => false,
    }
}

/// Whether the turn is a passage, a blank line, and something shorter about it.
fn has_context(turn: &str) -> bool {
    let turn = turn.trim_end();
    let Some((passage, request)) = turn.rsplit_once("\n\n") else { return false };
    passage.len() > request.len() && count_words(passage) >= CONTEXT_WORDS
}

/// Whether the text's last mark, before closing quotes and brackets, asks a question.
fn ends_in_question(text: &str) -> bool {
    let is_closing = |c: char| c.is_whitespace() || "\"'”’»」』)）]】*_!！~～".contains(c);
    let end = text.trim_end_matches(is_closing);
    end.ends_with('?') || end.ends_with(QUESTIONS) || end.strip_suffix(';').is_some_and(is_greek_question)
}
