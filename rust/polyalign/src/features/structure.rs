//! Lists, headings, code, links: what a response is laid out with.

use super::analysis::{self, Analysis, trim};
use super::characters::Kind;
use super::registry::Id;
use super::row::Row;
use crate::text::class::ClassTable;
use std::sync::LazyLock;

#[derive(Default)]
struct Lines {
    all: u32,
    bullets: u32,
    enumerated: u32,
    headings: u32,
    quoted: u32,
    tables: u32,
    fences: u32,
    code: u32,
}

pub(super) fn fill(text: &str, of: &Analysis, row: &mut Row<'_>) {
    let lines = lines(text);
    let all = lines.all;
    row.count(Id::bullet_line_count, lines.bullets);
    row.count(Id::enumerated_line_count, lines.enumerated);
    row.ratio(Id::list_line_share, lines.bullets + lines.enumerated, all);
    row.count(Id::heading_line_count, lines.headings);
    row.count(Id::quoted_line_count, lines.quoted);
    row.count(Id::table_line_count, lines.tables);
    row.count(Id::code_fence_count, lines.fences);
    row.ratio(Id::code_line_share, lines.code, all);
    let has = |c| of.characters.count(c) > 0;
    let count_if = |present: bool, count: &dyn Fn() -> usize| if present { count() as u32 } else { 0 };
    row.count(Id::backtick_count, of.characters.count('`'));
    row.count(Id::bold_count, count_if(has('*'), &|| text.matches("**").count() / 2));
    row.count(Id::markdown_link_count, count_if(has(']'), &|| text.matches("](").count()));
    row.count(Id::url_count, count_if(has(':') || has('.'), &|| urls(text)));
    row.count(Id::email_count, count_if(has('@'), &|| emails(text)));
    row.count(Id::emoji_count, emoji(text, of));
    row.count(Id::emoticon_count, count_if(has(':') || has(';') || has('='), &|| emoticons(text)));
    row.count(Id::math_count, count_if(has('$') || has('\\'), &|| math(text)));
}

fn lines(text: &str) -> Lines {
    let mut found = Lines::default();
    let mut in_code = false;
    for line in analysis::lines(text) {
        found.all += 1;
        let line = trim(line.text);
        let is_fence = line.starts_with("```") || line.starts_with("~~~");
        found.fences += u32::from(is_fence);
        found.code += u32::from(in_code || is_fence);
        in_code ^= is_fence;
        match line.as_bytes()[0] {
            b'#' => found.headings += u32::from(is_heading(line)),
            b'>' => found.quoted += 1,
            b'|' => found.tables += u32::from(line.len() > 1 && line.ends_with('|')),
            b'-' | b'*' | 0xE2 => found.bullets += u32::from(is_bullet(line)),
            _ => found.enumerated += u32::from(is_enumerated(line)),
        }
    }
    found
}

/// `#{1,6}\s`.
fn is_heading(line: &str) -> bool {
    let rest = line.trim_start_matches('#');
    line.len() - rest.len() <= 6 && rest.starts_with(char::is_whitespace)
}

/// `[-*•]\s`.
fn is_bullet(line: &str) -> bool {
    line.strip_prefix(['-', '*', '•']).is_some_and(|rest| rest.starts_with(char::is_whitespace))
}

/// `[(（]?(\d{1,3}|[A-Za-z]|[一二三四五六七八九十]{1,3})[.)、．）](\s|\p{Han})`.
fn is_enumerated(line: &str) -> bool {
    let line = line.strip_prefix(['(', '（']).unwrap_or(line);
    let Some(first) = line.chars().next() else { return false };
    let up_to_three = |is: fn(char) -> bool| {
        let len = line.chars().take_while(|c| is(*c)).take(4).count();
        (len <= 3).then(|| first.len_utf8() * len)
    };
    let len = match first {
        '0'..='9' => up_to_three(|c| c.is_ascii_digit()),
        'A'..='Z' | 'a'..='z' => Some(1),
        _ if is_han_digit(first) => up_to_three(is_han_digit),
        _ => None,
    };
    let Some(rest) = len.and_then(|len| line[len..].strip_prefix(['.', ')', '、', '．', '）'])) else {
        return false;
    };
    rest.starts_with(|c: char| c.is_whitespace() || Kind::of(c) == Kind::HanLetter)
}

fn is_alphanumeric(c: char) -> bool {
    Kind::of(c).is_alphanumeric()
}

fn is_han_digit(c: char) -> bool {
    "一二三四五六七八九十".contains(c)
}

/// `https?://` before what is no white space, and `www.` before a letter or digit where no letter, digit or slash is before; any case.
fn urls(text: &str) -> usize {
    let bytes = text.as_bytes();
    let ends = |at: usize, pattern: &str| {
        at.checked_sub(pattern.len())
            .is_some_and(|from| bytes[from..at].eq_ignore_ascii_case(pattern.as_bytes()))
    };
    let followed = |at: usize, is: fn(char) -> bool| text[at..].starts_with(is);
    let schemes = memchr::memmem::find_iter(bytes, "://")
        .filter(|&at| (ends(at, "http") || ends(at, "https")) && followed(at + 3, |c| !c.is_whitespace()));
    let hosts = memchr::memchr_iter(b'.', bytes).filter(|&at| {
        ends(at, "www")
            && !text[..at - 3].ends_with(|c| c == '/' || is_alphanumeric(c))
            && followed(at + 1, is_alphanumeric)
    });
    schemes.count() + hosts.count()
}

/// `[A-Za-z0-9_.+-]@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*\.[A-Za-z]`, once for each `@`.
fn emails(text: &str) -> usize {
    let bytes = text.as_bytes();
    let is_host = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'-';
    let is_email = |&at: &usize| {
        let before = at.checked_sub(1).map(|before| bytes[before]);
        if !before.is_some_and(|byte| byte.is_ascii_alphanumeric() || b"_.+-".contains(&byte)) {
            return false;
        }
        let host = bytes[at + 1..].iter().take_while(|byte| is_host(byte) || **byte == b'.').count();
        let mut labels = bytes[at + 1..at + 1 + host].split(|byte| *byte == b'.');
        labels.next().is_some_and(|label| !label.is_empty())
            && labels.take_while(|label| !label.is_empty()).any(|label| label[0].is_ascii_alphabetic())
    };
    memchr::memchr_iter(b'@', bytes).filter(is_email).count()
}

/// Characters that are pictures by default, and those that U+FE0F makes one.
fn emoji(text: &str, of: &Analysis) -> u32 {
    let pictures = of.characters.each().filter(|(c, _)| Kind::of(*c) == Kind::Emoji);
    let by_default: u32 = pictures.map(|(_, count)| count).sum();
    if of.characters.count(SELECTOR) == 0 {
        return by_default;
    }
    let selected = text.match_indices(SELECTOR).filter(|(at, _)| text[..*at].ends_with(is_text_by_default));
    by_default + selected.count() as u32
}

/// Makes a picture of the character before it.
const SELECTOR: char = '\u{FE0F}';

/// Whether a character is an emoji, but not shown as a picture unless a selector says so.
fn is_text_by_default(c: char) -> bool {
    static CLASSES: LazyLock<ClassTable> =
        LazyLock::new(|| ClassTable::new(&[(r"[\p{Emoji}--\p{Emoji_Presentation}]", 1)]));
    CLASSES.get(c) == 1
}

/// `(^|\s)[:;=][-^']?[)(DPpOo3/\\|\]\[]` before what is neither letter, digit nor slash.
fn emoticons(text: &str) -> usize {
    let eyes = text.match_indices([':', ';', '=']).filter(|(at, _)| {
        let before = &text[..*at];
        before.is_empty() || before.ends_with(char::is_whitespace)
    });
    let is_face = |(at, _): &(usize, &str)| {
        let rest = &text[at + 1..];
        let rest = rest.strip_prefix(['-', '^', '\'']).unwrap_or(rest);
        let mouth = ['(', ')', 'D', 'P', 'p', 'O', 'o', '3', '/', '\\', '|', ']', '['];
        rest.strip_prefix(mouth).is_some_and(|rest| !rest.starts_with(|c| c == '/' || is_alphanumeric(c)))
    };
    eyes.filter(is_face).count()
}

/// Dollar signs before a letter or backslash, `\(` and `\[`.
fn math(text: &str) -> usize {
    let bytes = text.as_bytes();
    let starts = |at: &usize| match (bytes[*at], bytes.get(at + 1)) {
        (b'$', Some(next)) => next.is_ascii_alphabetic() || *next == b'\\',
        (_, Some(next)) => matches!(next, b'(' | b'['),
        (_, None) => false,
    };
    memchr::memchr2_iter(b'$', b'\\', bytes).filter(starts).count()
}
