//! From a JSON string's raw text (already validated) to what it says.

use bumpalo::collections::String as ArenaString;

/// A stretch of a string.
enum Piece<'a> {
    Run(&'a str),
    Char(char),
    /// Half a surrogate pair: not Unicode text.
    Lone(u16),
}

/// Calls `each` with the pieces of `raw` and where they start, until it says to stop.
fn pieces<'a>(
    raw: &'a str,
    mut each: impl FnMut(Piece<'a>, usize) -> Result<(), usize>,
) -> Result<(), usize> {
    let bytes = raw.as_bytes();
    let mut at = 0;
    while let Some(run) = memchr::memchr(b'\\', &bytes[at..]) {
        if run > 0 {
            each(Piece::Run(&raw[at..at + run]), at)?;
        }
        at += run;
        let (piece, length) = escape(&bytes[at..]);
        each(piece, at)?;
        at += length;
    }
    if at < bytes.len() { each(Piece::Run(&raw[at..]), at) } else { Ok(()) }
}

/// The escape that `bytes` start with, and its length in bytes.
fn escape<'a>(bytes: &[u8]) -> (Piece<'a>, usize) {
    let char = match bytes.get(1) {
        Some(b'n') => '\n',
        Some(b't') => '\t',
        Some(b'r') => '\r',
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(b'u') => return unicode_escape(bytes),
        Some(&byte) => char::from(byte),
        None => return (Piece::Lone(0xd800), 1),
    };
    (Piece::Char(char), 2)
}

fn unicode_escape<'a>(bytes: &[u8]) -> (Piece<'a>, usize) {
    let unit = hex(bytes.get(2..6));
    if let Some(char) = char::from_u32(u32::from(unit)) {
        return (Piece::Char(char), 6);
    }
    let next = if bytes.get(6..8) == Some(b"\\u") { hex(bytes.get(8..12)) } else { 0 };
    if (0xd800..0xdc00).contains(&unit) && (0xdc00..0xe000).contains(&next) {
        let code = 0x10000 + ((u32::from(unit) & 0x3ff) << 10 | u32::from(next) & 0x3ff);
        if let Some(char) = char::from_u32(code) {
            return (Piece::Char(char), 12);
        }
    }
    (Piece::Lone(unit), 6)
}

fn hex(digits: Option<&[u8]>) -> u16 {
    let digit = |byte: u8| (byte as char).to_digit(16).unwrap_or(0) as u16;
    digits.unwrap_or_default().iter().fold(0, |value, &byte| value << 4 | digit(byte))
}

/// Appends what `raw` says to `text`; the error is where in `raw` a lone surrogate stands.
pub(super) fn unescape(raw: &str, text: &mut ArenaString<'_>) -> Result<(), usize> {
    pieces(raw, |piece, at| {
        match piece {
            Piece::Run(run) => text.push_str(run),
            Piece::Char(char) => text.push(char),
            Piece::Lone(_) => return Err(at),
        }
        Ok(())
    })
}

/// What a key says, for comparing keys: lone surrogates become their generalised UTF-8 bytes, so
/// that equal keys are equal bytes, whatever they hold.
pub(super) fn key_bytes(raw: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(raw.len());
    let all = pieces(raw, |piece, _| {
        match piece {
            Piece::Run(run) => key.extend_from_slice(run.as_bytes()),
            Piece::Char(char) => key.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes()),
            Piece::Lone(unit) => {
                let low = |shift: u16| 0x80 | ((unit >> shift) & 0x3f) as u8;
                key.extend_from_slice(&[0xe0 | (unit >> 12) as u8, low(6), low(0)]);
            }
        }
        Ok(())
    });
    debug_assert!(all.is_ok());
    key
}

#[cfg(test)]
mod tests {
    use super::*;
    use bumpalo::Bump;

    fn text(raw: &str) -> Result<String, usize> {
        let arena = Bump::new();
        let mut text = ArenaString::new_in(&arena);
        unescape(raw, &mut text).map(|()| text.as_str().to_owned())
    }

    #[test]
    fn escapes() {
        assert_eq!(text(r#"a\"\\\/\b\f\n\r\t\u0041z"#).unwrap(), "a\"\\/\u{8}\u{c}\n\r\tAz");
        assert_eq!(text(r"\u4f60\u597D你").unwrap(), "你好你");
        assert_eq!(text(r"\ud83d\ude00\uD83D\uDE00").unwrap(), "😀😀");
        assert_eq!(text(r"\u0000").unwrap(), "\0");
        assert_eq!(text("").unwrap(), "");
    }

    #[test]
    fn lone_surrogates() {
        assert_eq!(text(r"ab\ud800"), Err(2));
        assert_eq!(text(r"\udc00"), Err(0));
        assert_eq!(text(r"\ud800\ud800\udc00"), Err(0));
        assert_eq!(text(r"\ud800\n"), Err(0));
        assert_eq!(text(r"\ud800A"), Err(0));
    }

    #[test]
    fn keys_compare_by_what_they_say() {
        assert_eq!(key_bytes(r"\u0061b"), b"ab");
        assert_eq!(key_bytes(r"\ud83d\ude00"), "😀".as_bytes());
        assert_eq!(key_bytes(r"\ud800x"), [0xed, 0xa0, 0x80, b'x']);
        assert_ne!(key_bytes(r"\ud800"), key_bytes(r"\ud801"));
    }
}
