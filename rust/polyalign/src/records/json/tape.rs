//! The validator: checks every byte of a record, and notes where the values that will be read are.
//!
//! What it notes is a tape of eight-byte tokens in the order of the text: no tree, no copies. Of
//! values that nobody reads it notes only their ends. Where `id` and `prompt` are read:
//!
//! ```text
//! text       {"id":7,"prompt":"Hi","x":[1,2]}
//! offset     0         1         2         3
//!
//! token      start  rest
//!     0          1     4    "id"       to its closing quote
//!     1          6     7    7          to its end
//!     2          8    15    "prompt"
//!     3         17    20    "Hi"
//!     4         22    24    "x"
//!     5         26     6    [          its closing token; what is within is not noted
//!     6         30          ]
//!
//! slots      1, 3           by name: the tokens of the values of `id` and `prompt`
//! key_slots  0, 1, none     by key: the slots of `id`, `prompt` and `x`
//! ```

use super::scan::string_stop;
use super::unescape::key_bytes;
use crate::error::shown;
use crate::records::fields::{Names, bit, mark, same};
use std::borrow::Cow;
use std::collections::HashSet;

/// Objects and arrays within each other, the record itself counted.
pub(crate) const MAX_DEPTH: u32 = 128;
/// Records above this many bytes are rejected: tokens hold 31-bit offsets.
pub(crate) const MAX_BYTES: usize = i32::MAX as usize;

/// The set bit of [`Token::rest`] that says a string holds escapes.
const ESCAPED: u32 = 1 << 31;
/// No token.
pub(super) const NONE: u32 = u32::MAX;
/// No slot; there are fewer.
pub(super) const NO_SLOT: u8 = u8::MAX;

/// A place in the record where a value (or a key) starts, or a container ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Token {
    /// Offset of the first byte; of a container's end, of its bracket.
    pub start: u32,
    /// Strings: offset of the closing quote, and [`ESCAPED`]. Numbers and literals: offset of their
    /// end. Containers: index of their closing token. Closing tokens: unused.
    rest: u32,
}

impl Token {
    pub fn rest(self) -> u32 {
        self.rest & !ESCAPED
    }
    pub fn escaped(self) -> bool {
        self.rest & ESCAPED != 0
    }
}

/// What is wrong with a record's JSON, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Broken {
    pub offset: usize,
    pub what: Cow<'static, str>,
}

/// The working memory of a validation, and its result.
#[derive(Default)]
pub(super) struct Tape {
    /// Top level: key, value, key, value, …; a read container's content lies within it.
    pub tokens: Vec<Token>,
    /// By slot: the token of the key's value, or [`NONE`].
    pub slots: Vec<u32>,
    /// By top-level key: its slot, or [`NO_SLOT`].
    pub key_slots: Vec<u8>,
    /// The slots that there is a value of, a bit each.
    pub present: u128,
    /// The key slots that this was worked out for.
    present_of: Vec<u8>,
    /// Marks of the top-level keys so far.
    marks: Vec<u64>,
    /// Of the keys before, by their place in the record: mark and slot. Records of a corpus mostly
    /// have the same keys in the same order.
    guesses: Vec<(u64, Option<usize>)>,
    /// The names that the guesses are about.
    guessed: u64,
}

impl Tape {
    /// Validates `text` as one JSON object and notes the values of `names`.
    pub fn read(&mut self, text: &str, names: &Names) -> Result<(), Broken> {
        self.tokens.clear();
        self.marks.clear();
        self.key_slots.clear();
        self.slots.clear();
        self.slots.resize(names.len(), NONE);
        if self.guessed != names.id() {
            self.guesses.clear();
            self.guessed = names.id();
        }
        Reader { text, bytes: text.as_bytes(), at: 0, tape: self }.record(names)?;
        if self.key_slots != self.present_of {
            self.present_of.clone_from(&self.key_slots);
            let slots = self.key_slots.iter().filter(|&&slot| slot != NO_SLOT);
            self.present = slots.fold(0, |present, &slot| present | bit(usize::from(slot)));
        }
        Ok(())
    }

    /// Validates `text` as one value and notes all of it.
    pub fn read_value(&mut self, text: &str) -> Result<(), Broken> {
        self.tokens.clear();
        let mut reader = Reader { text, bytes: text.as_bytes(), at: 0, tape: self };
        reader.skip_space();
        reader.value::<true>()?;
        reader.end("more text after the value")
    }

    /// Gives back memory that a rare, huge record needed.
    pub fn shrink(&mut self) {
        const KEPT: usize = 1 << 16;
        self.tokens.clear();
        self.tokens.shrink_to(KEPT);
        self.marks.clear();
        self.marks.shrink_to(KEPT);
        self.key_slots.clear();
        self.key_slots.shrink_to(KEPT);
        self.present_of.clear();
        self.present_of.shrink_to(KEPT);
        self.present = 0;
    }
}

struct Reader<'r> {
    text: &'r str,
    bytes: &'r [u8],
    at: usize,
    tape: &'r mut Tape,
}

impl<'r> Reader<'r> {
    #[cold]
    fn broken<T>(&self, offset: usize, what: &'static str) -> Result<T, Broken> {
        let what = if offset >= self.bytes.len() { "the record ends too early" } else { what };
        Err(Broken { offset, what: what.into() })
    }

    /// The byte here; 0, which fits nowhere, at the end.
    #[inline(always)]
    fn peek(&self) -> u8 {
        self.bytes.get(self.at).copied().unwrap_or(0)
    }

    #[inline(always)]
    fn skip_space(&mut self) {
        while matches!(self.peek(), b' ' | b'\n' | b'\t' | b'\r') {
            self.at += 1;
        }
    }

    fn record(&mut self, names: &Names) -> Result<(), Broken> {
        self.skip_space();
        if self.peek() != b'{' {
            return self.broken(self.at, "not a JSON object");
        }
        self.at += 1;
        self.skip_space();
        if self.peek() == b'}' {
            self.at += 1;
        } else {
            self.members(names)?;
        }
        self.end("more text after the object")
    }

    fn end(&mut self, more: &'static str) -> Result<(), Broken> {
        self.skip_space();
        if self.at < self.bytes.len() { self.broken(self.at, more) } else { Ok(()) }
    }

    fn members(&mut self, names: &Names) -> Result<(), Broken> {
        let mut wide = None;
        loop {
            let key = self.string("expected a key in double quotes")?;
            self.tape.tokens.push(key);
            let slot = self.enter_key(key, names, &mut wide)?;
            self.colon()?;
            let value = self.tape.tokens.len() as u32;
            match slot {
                Some(slot) => {
                    self.tape.slots[slot] = value;
                    if names.is_read(slot) { self.value::<true>()? } else { self.value::<false>()? }
                }
                None => self.value::<false>()?,
            }
            self.skip_space();
            match self.peek() {
                b',' => self.at += 1,
                b'}' => {
                    self.at += 1;
                    return Ok(());
                }
                _ => return self.broken(self.at, "expected `,` or `}`"),
            }
            self.skip_space();
        }
    }

    /// Refuses a key that was there before; else its slot.
    fn enter_key(
        &mut self,
        token: Token,
        names: &Names,
        wide: &mut Option<HashSet<Cow<'r, [u8]>>>,
    ) -> Result<Option<usize>, Broken> {
        let key = self.key(token);
        let key_mark = mark(&key);
        let slot = self.slot(&key, key_mark, names);
        // Few keys: compare marks one by one. Many: a set, so that it never gets quadratic.
        const FEW: usize = 64;
        let again = if self.tape.marks.len() < FEW {
            self.tape.marks.contains(&key_mark) && self.seen(&key)
        } else {
            let wide = wide.get_or_insert_with(|| {
                let mut earlier = Vec::with_capacity(FEW + 1);
                self.top_keys(|key| earlier.push(key));
                earlier.pop(); // the key itself
                earlier.into_iter().collect()
            });
            !wide.insert(key.clone())
        };
        if again {
            let what = format!("duplicate key `{}`", shown(&String::from_utf8_lossy(&key))).into();
            return Err(Broken { offset: token.start as usize, what });
        }
        self.tape.marks.push(key_mark);
        self.tape.key_slots.push(slot.map_or(NO_SLOT, |slot| slot as u8));
        Ok(slot)
    }

    #[inline(always)]
    fn slot(&mut self, key: &[u8], key_mark: u64, names: &Names) -> Option<usize> {
        let place = self.tape.marks.len();
        let guess = self.tape.guesses.get(place).filter(|guess| guess.0 == key_mark);
        match guess {
            // No name has this mark.
            Some((_, None)) => None,
            Some(&(_, Some(slot))) if same(names.name(slot).as_bytes(), key) => Some(slot),
            _ => self.search_slot(key, key_mark, names),
        }
    }

    #[inline(never)]
    fn search_slot(&mut self, key: &[u8], key_mark: u64, names: &Names) -> Option<usize> {
        const REMEMBERED: usize = 64;
        let (slot, place) = (names.slot(key, key_mark), self.tape.marks.len());
        if slot.is_some() || !names.has_mark(key_mark) {
            if place == self.tape.guesses.len() && place < REMEMBERED {
                self.tape.guesses.push((key_mark, slot));
            } else if let Some(guess) = self.tape.guesses.get_mut(place) {
                *guess = (key_mark, slot);
            }
        }
        slot
    }

    /// Whether `key` is among the top-level keys before the last.
    fn seen(&self, key: &[u8]) -> bool {
        let mut count = 0;
        self.top_keys(|other| count += usize::from(other == key));
        count > 1
    }

    /// Calls `each` with the top-level keys so far; the last has no value yet.
    fn top_keys(&self, mut each: impl FnMut(Cow<'r, [u8]>)) {
        let tokens = &self.tape.tokens;
        let mut at = 0;
        while at + 1 < tokens.len() {
            each(self.key(tokens[at]));
            at = next(tokens, self.bytes, at + 1);
        }
        each(self.key(tokens[at]));
    }

    fn key(&self, token: Token) -> Cow<'r, [u8]> {
        let raw = &self.text[token.start as usize + 1..token.rest() as usize];
        if token.escaped() { key_bytes(raw).into() } else { raw.as_bytes().into() }
    }

    #[inline(always)]
    fn colon(&mut self) -> Result<(), Broken> {
        self.skip_space();
        if self.peek() != b':' {
            return self.broken(self.at, "expected `:`");
        }
        self.at += 1;
        self.skip_space();
        Ok(())
    }

    /// One value, which starts here. `READ`: its content goes on the tape.
    #[inline(always)]
    fn value<const READ: bool>(&mut self) -> Result<(), Broken> {
        match self.peek() {
            b'{' | b'[' => self.container::<READ>(),
            _ => {
                let token = self.scalar()?;
                self.tape.tokens.push(token);
                Ok(())
            }
        }
    }

    /// An object or array and all within it, without recursion.
    fn container<const READ: bool>(&mut self) -> Result<(), Broken> {
        let first = self.tape.tokens.len();
        let outer = 1; // the record
        let mut depth = outer;
        // One bit a container that is open: an object, not an array.
        let mut objects: u128 = 0;
        // The innermost open container's token; while open, its `rest` is the one around it.
        let mut open = NONE;
        loop {
            let byte = self.peek();
            if byte == b'{' || byte == b'[' {
                if depth == MAX_DEPTH {
                    return self.broken(self.at, "nested more than 128 deep");
                }
                depth += 1;
                let object = byte == b'{';
                objects = objects << 1 | u128::from(object);
                if READ || depth == outer + 1 {
                    let token = Token { start: self.at as u32, rest: open };
                    open = self.tape.tokens.len() as u32;
                    self.tape.tokens.push(token);
                }
                self.at += 1;
                self.skip_space();
                // `]` and `}` are two after `[` and `{`.
                if self.peek() != byte + 2 {
                    if object {
                        self.inner_key::<READ>()?;
                    }
                    continue;
                }
            } else {
                let token = self.scalar()?;
                if READ {
                    self.tape.tokens.push(token);
                }
            }
            loop {
                if depth == outer {
                    debug_assert!(open == NONE && first < self.tape.tokens.len());
                    return Ok(());
                }
                self.skip_space();
                let object = objects & 1 == 1;
                match (self.peek(), object) {
                    (b',', _) => {
                        self.at += 1;
                        self.skip_space();
                        if object {
                            self.inner_key::<READ>()?;
                        }
                        break;
                    }
                    (b'}', true) | (b']', false) => {
                        if READ || depth == outer + 1 {
                            let close = self.tape.tokens.len() as u32;
                            self.tape.tokens.push(Token { start: self.at as u32, rest: 0 });
                            let opened = &mut self.tape.tokens[open as usize];
                            open = std::mem::replace(&mut opened.rest, close);
                        }
                        self.at += 1;
                        depth -= 1;
                        objects >>= 1;
                    }
                    (_, true) => return self.broken(self.at, "expected `,` or `}`"),
                    (_, false) => return self.broken(self.at, "expected `,` or `]`"),
                }
            }
        }
    }

    #[inline(always)]
    fn inner_key<const READ: bool>(&mut self) -> Result<(), Broken> {
        let key = self.string("expected a key in double quotes")?;
        if READ {
            self.tape.tokens.push(key);
        }
        self.colon()
    }

    #[inline(always)]
    fn scalar(&mut self) -> Result<Token, Broken> {
        match self.peek() {
            b'"' => self.string("expected a value"),
            b'-' | b'0'..=b'9' => self.number(),
            b't' => self.literal(b"true"),
            b'f' => self.literal(b"false"),
            b'n' => self.literal(b"null"),
            _ => self.broken(self.at, self.no_value(self.at)),
        }
    }

    /// What stands where a value should.
    #[cold]
    fn no_value(&self, at: usize) -> &'static str {
        const NUMBERS: [(&[u8], &str); 3] = [
            (b"NaN", "NaN is no JSON: write null (json.dumps with allow_nan=False finds it)"),
            (b"Infinity", "Infinity is no JSON: write null (json.dumps with allow_nan=False finds it)"),
            (b"-Infinity", "-Infinity is no JSON: write null (json.dumps with allow_nan=False finds it)"),
        ];
        let found = NUMBERS.iter().find(|(word, _)| self.bytes[at..].starts_with(word));
        found.map_or("expected a value", |(_, what)| what)
    }

    #[inline(always)]
    fn string(&mut self, expected: &'static str) -> Result<Token, Broken> {
        let start = self.at;
        if self.peek() != b'"' {
            return self.broken(start, expected);
        }
        let stop = string_stop(self.bytes, start + 1);
        if self.bytes.get(stop) == Some(&b'"') {
            self.at = stop + 1;
            return Ok(Token { start: start as u32, rest: stop as u32 });
        }
        self.string_with_escapes(start, stop)
    }

    fn string_with_escapes(&mut self, start: usize, mut stop: usize) -> Result<Token, Broken> {
        loop {
            match self.bytes.get(stop) {
                Some(b'"') => {
                    self.at = stop + 1;
                    return Ok(Token { start: start as u32, rest: stop as u32 | ESCAPED });
                }
                Some(b'\\') => stop = string_stop(self.bytes, self.escape(stop)?),
                Some(_) => return self.broken(stop, "a control character in a string must be escaped"),
                None => return Err(Broken { offset: start, what: "a string does not end".into() }),
            }
        }
    }

    /// Where the escape at `at` ends.
    #[inline(always)]
    fn escape(&self, at: usize) -> Result<usize, Broken> {
        match self.bytes.get(at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(at + 2),
            Some(b'u') => match self.bytes.get(at + 2..at + 6) {
                Some(digits) if digits.iter().all(u8::is_ascii_hexdigit) => Ok(at + 6),
                _ => self.broken(at, "`\\u` needs four hexadecimal digits"),
            },
            _ => self.broken(at, "an unknown escape in a string"),
        }
    }

    fn number(&mut self) -> Result<Token, Broken> {
        let start = self.at;
        self.at += usize::from(self.peek() == b'-');
        let zero = self.peek() == b'0';
        let whole = self.digits()?;
        if zero && whole > 1 {
            return self.broken(start, "a number with a leading zero");
        }
        if self.peek() == b'.' {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), b'e' | b'E') {
            self.at += 1;
            self.at += usize::from(matches!(self.peek(), b'+' | b'-'));
            self.digits()?;
        }
        Ok(Token { start: start as u32, rest: self.at as u32 })
    }

    /// One or more digits; how many.
    #[inline(always)]
    fn digits(&mut self) -> Result<usize, Broken> {
        let start = self.at;
        while self.peek().is_ascii_digit() {
            self.at += 1;
        }
        match self.at - start {
            0 if self.bytes[..start].ends_with(b"-") && self.peek() == b'I' => {
                self.broken(start - 1, self.no_value(start - 1))
            }
            0 => self.broken(start, "expected a digit"),
            digits => Ok(digits),
        }
    }

    fn literal(&mut self, word: &'static [u8]) -> Result<Token, Broken> {
        let start = self.at;
        if !self.bytes[start..].starts_with(word) {
            return self.broken(start, "expected a value");
        }
        self.at += word.len();
        Ok(Token { start: start as u32, rest: self.at as u32 })
    }
}

/// The index of the token after the value at `at`.
#[inline(always)]
pub(super) fn next(tokens: &[Token], bytes: &[u8], at: usize) -> usize {
    let token = tokens[at];
    match bytes[token.start as usize] {
        b'{' | b'[' => token.rest() as usize + 1,
        _ => at + 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tape_is_as_the_head_of_this_file_has_it() {
        let mut tape = Tape::default();
        let names = Names::of(&["id".to_owned(), "prompt".to_owned()]);
        tape.read(r#"{"id":7,"prompt":"Hi","x":[1,2]}"#, &names).unwrap();
        let tokens: Vec<_> = tape.tokens.iter().map(|token| (token.start, token.rest)).collect();
        assert_eq!(tokens, [(1, 4), (6, 7), (8, 15), (17, 20), (22, 24), (26, 6), (30, 0)]);
        assert_eq!(
            (&tape.slots[..], &tape.key_slots[..], tape.present),
            (&[1, 3][..], &[0, 1, NO_SLOT][..], 3)
        );
        tape.read("{}", &names).unwrap();
        assert_eq!((&tape.slots[..], tape.present), (&[NONE; 2][..], 0));
    }
}
