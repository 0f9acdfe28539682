//! Where pre-tokens end, character by character, for any text: each known regular expression matched by hand,
//! alternative by alternative, in one pass.

use super::super::unicode::{
    LOWER, MARK, NEWLINE, NUMBER, PUNCTUATION, Table, UNCASED, UPPER, decode, is_letter, is_space,
};

/// The pre-tokenizers with a fast path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Family {
    Gpt2,
    Gpt2Digits,
    Cl100k,
    Qwen2,
    Qwen35,
    O200k,
    Tekken,
    Kimi,
    DeepSeek,
}

impl Family {
    /// The name that users see.
    pub(in super::super) fn name(self) -> &'static str {
        match self {
            Self::Gpt2 => "gpt2",
            Self::Gpt2Digits => "gpt2-digits",
            Self::Cl100k => "cl100k",
            Self::Qwen2 => "qwen2",
            Self::Qwen35 => "qwen3.5",
            Self::O200k => "o200k",
            Self::Tekken => "tekken",
            Self::Kimi => "kimi",
            Self::DeepSeek => "deepseek",
        }
    }

    /// End of the pre-token that starts at `at`, found character by character.
    #[inline(always)]
    pub(in super::super) fn next(self, text: &[u8], table: &Table, at: usize) -> usize {
        let scan = Scan::<ANY> { text, table };
        match self {
            Self::Gpt2 => scan.gpt2(at),
            Self::Gpt2Digits => scan.gpt2_digits(at),
            Self::Cl100k => scan.cl100k(at, 3, is_letter),
            Self::Qwen2 => scan.cl100k(at, 1, is_letter),
            Self::Qwen35 => scan.cl100k(at, 1, |class| is_letter(class) || class == MARK),
            Self::O200k => scan.o200k(at, true),
            Self::Tekken => scan.o200k(at, false),
            Self::Kimi => scan.kimi(at),
            Self::DeepSeek => scan.deepseek(at),
        }
    }
}

/// A text with its character classes. Seen through a `FRAGMENT` it ends where the fragment does.
#[derive(Clone, Copy)]
struct Scan<'a, const FRAGMENT: u8> {
    text: &'a [u8],
    table: &'a Table,
}

// The fragments that DeepSeek's first two splits leave, and what digits and Han leave.
const ANY: u8 = 0;
const NUMBERS: u8 = 1;
const HAN_KANA: u8 = 2;
const REST: u8 = 3;
const NO_DIGITS: u8 = 4;
const NO_HAN: u8 = 5;

/// Class of no character: the end of the text.
const END: u8 = 0xff;

impl<const FRAGMENT: u8> Scan<'_, FRAGMENT> {
    /// Class and length of the character at `at`; [`END`] and 0 at the end.
    #[inline(always)]
    fn class(&self, at: usize) -> (u8, usize) {
        if at >= self.text.len() {
            return (END, 0);
        }
        let (c, len) = decode(self.text, at);
        let class = self.table.class(c);
        if FRAGMENT == NO_DIGITS {
            return if is_digit(c) { (END, 0) } else { (class, len) };
        }
        if FRAGMENT == NO_HAN {
            return if self.table.is_han(c) { (END, 0) } else { (class, len) };
        }
        if FRAGMENT != ANY && fragment(c, class) != FRAGMENT {
            return (END, 0);
        }
        (class, len)
    }

    /// End of the run of characters whose class satisfies `belongs`, from `at`.
    #[inline(always)]
    fn run(&self, mut at: usize, belongs: impl Fn(u8) -> bool) -> usize {
        loop {
            // U+5000 to U+8FFF are all letters without case, and most of Chinese.
            while FRAGMENT != REST
                && FRAGMENT != NO_HAN
                && matches!(self.text.get(at), Some(0xe5..=0xe8))
                && belongs(UNCASED)
            {
                at += 3;
            }
            let (class, len) = self.class(at);
            if class == END || !belongs(class) {
                return at;
            }
            at += len;
        }
    }

    #[inline(always)]
    fn letters(&self, at: usize) -> usize {
        self.run(at, is_letter)
    }

    /// `[\r\n]*`, or with the slash `[\r\n/]*`.
    #[inline(always)]
    fn newlines(&self, mut at: usize, slash: bool) -> usize {
        while let Some(b'\r' | b'\n' | b'/') = self.text.get(at).filter(|&&b| b != b'/' || slash) {
            if FRAGMENT == HAN_KANA {
                break;
            }
            at += 1;
        }
        at
    }

    /// `\p{N}{1,most}`.
    #[inline(always)]
    fn numbers(&self, mut at: usize, most: usize) -> usize {
        for _ in 0..most {
            let (class, len) = self.class(at);
            if class != NUMBER {
                break;
            }
            at += len;
        }
        at
    }

    /// `'s|'t|'re|'ve|'m|'ll|'d`, any case if `fold`; `at` if there is none.
    #[inline(always)]
    fn contraction(&self, at: usize, fold: bool) -> usize {
        let rest = &self.text[at..];
        if rest.len() < 2 || rest[0] != b'\'' {
            return at;
        }
        let lower = |b: u8| if fold { b.to_ascii_lowercase() } else { b };
        match lower(rest[1]) {
            b's' | b't' | b'm' | b'd' => at + 2,
            first if rest.len() > 2 => match (first, lower(rest[2])) {
                (b'r' | b'v', b'e') | (b'l', b'l') => at + 3,
                // The long s folds to s.
                _ if fold && rest[1..].starts_with("ſ".as_bytes()) => at + 3,
                _ => at,
            },
            _ => at,
        }
    }

    /// `\s+(?!\S)|\s+`, after `\s*[\r\n]+` if `newlines`, at a blank.
    #[inline(always)]
    fn blanks(&self, at: usize, newlines: bool) -> usize {
        let (mut to, mut last, mut after_newline) = (at, at, at);
        let at_end = loop {
            let (class, len) = self.class(to);
            if class == END || !is_space(class) {
                break class == END;
            }
            last = to;
            to += len;
            if class == NEWLINE {
                after_newline = to;
            }
        };
        if newlines && after_newline > at {
            after_newline
        } else if at_end || last == at {
            to
        } else {
            last
        }
    }

    #[inline(always)]
    fn gpt2(&self, at: usize) -> usize {
        let contraction = self.contraction(at, false);
        if contraction > at {
            return contraction;
        }
        let from = at + (self.text[at] == b' ') as usize;
        let (class, len) = self.class(from);
        match class {
            END => from,
            _ if is_letter(class) => self.letters(from + len),
            NUMBER => self.run(from + len, |c| c == NUMBER),
            _ if is_space(class) => self.blanks(at, false),
            _ => self.run(from + len, |c| !is_space(c) && !is_letter(c) && c != NUMBER),
        }
    }

    /// GPT-2's within what is left when every digit is cut out.
    #[inline(always)]
    fn gpt2_digits(&self, at: usize) -> usize {
        let (c, len) = decode(self.text, at);
        if is_digit(c) {
            return at + len;
        }
        Scan::<NO_DIGITS> { text: self.text, table: self.table }.gpt2(at)
    }

    /// cl100k with up to `digits` digits in a piece, and words of what is `letter`.
    #[inline(always)]
    fn cl100k(&self, at: usize, digits: usize, letter: impl Fn(u8) -> bool + Copy) -> usize {
        let contraction = self.contraction(at, true);
        if contraction > at {
            return contraction;
        }
        let (class, len) = self.class(at);
        let letter = |class: u8| class != END && letter(class);
        if letter(class) {
            return self.run(at + len, letter);
        }
        match class {
            NUMBER => return self.numbers(at, digits),
            NEWLINE => return self.blanks(at, true),
            _ => {}
        }
        let (next, next_len) = self.class(at + len);
        if letter(next) {
            return self.run(at + len + next_len, letter);
        }
        self.punctuation_or_blanks(at, class, len, next, false, letter)
    }

    /// ` ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`, at a character neither letter nor number.
    #[inline(always)]
    fn punctuation_or_blanks(
        &self,
        at: usize,
        class: u8,
        len: usize,
        next: u8,
        slash: bool,
        letter: impl Fn(u8) -> bool,
    ) -> usize {
        let other = |c: u8| c != END && !is_space(c) && !letter(c) && c != NUMBER;
        if other(class) || (self.text[at] == b' ' && other(next)) {
            self.newlines(self.run(at + len, other), slash)
        } else {
            self.blanks(at, true)
        }
    }

    #[inline(always)]
    fn o200k(&self, at: usize, contractions: bool) -> usize {
        let (class, len) = self.class(at);
        if class == NUMBER {
            return self.numbers(at, if contractions { 3 } else { 1 });
        }
        match self.cased_word(at, class, len) {
            Some(to) if contractions => self.contraction(to, true),
            Some(to) => to,
            None => {
                let (next, _) = self.class(at + len);
                self.punctuation_or_blanks(at, class, len, next, true, is_letter)
            }
        }
    }

    /// Han, then o200k of what is not Han.
    #[inline(always)]
    fn kimi(&self, at: usize) -> usize {
        let (class, len) = self.class(at);
        let han = self.han(at);
        if han > at {
            return han;
        }
        if class == NUMBER {
            return self.numbers(at, 3);
        }
        let without_han = Scan::<NO_HAN> { text: self.text, table: self.table };
        match without_han.cased_word(at, class, len) {
            Some(to) => self.contraction(to, true),
            None => {
                let (next, _) = self.class(at + len);
                self.punctuation_or_blanks(at, class, len, next, false, is_letter)
            }
        }
    }

    /// `\p{Han}*`.
    #[inline(always)]
    fn han(&self, mut at: usize) -> usize {
        while at < self.text.len() {
            let (c, len) = decode(self.text, at);
            if !self.table.is_han(c) {
                break;
            }
            at += len;
        }
        at
    }

    /// A word in o200k's sense, with the one character before it, at a character that is no number.
    #[inline(always)]
    fn cased_word(&self, at: usize, class: u8, len: usize) -> Option<usize> {
        // The optional character before a word: anything but a newline, letter or number.
        let prefix = if is_letter(class) || class == NEWLINE { 0 } else { len };
        self.lower_word(at + prefix)
            .or_else(|| if prefix > 0 { self.lower_word(at) } else { None })
            .or_else(|| self.upper_word(at + prefix))
            .or_else(|| if prefix > 0 { self.upper_word(at) } else { None })
    }

    /// `[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+`.
    #[inline(always)]
    fn lower_word(&self, at: usize) -> Option<usize> {
        // Where the last character of both sets ends: what the first part gives back to the second.
        let (mut to, mut give_back) = (at, None);
        loop {
            let (class, len) = self.class(to);
            match class {
                UPPER => {}
                UNCASED | MARK => give_back = Some(to + len),
                LOWER => return Some(self.run(to + len, |c| matches!(c, LOWER | UNCASED | MARK))),
                _ => return give_back,
            }
            to += len;
        }
    }

    /// `[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*`, where `lower_word` has failed.
    #[inline(always)]
    fn upper_word(&self, at: usize) -> Option<usize> {
        let to = self.run(at, |c| matches!(c, UPPER | UNCASED | MARK));
        (to > at).then(|| self.run(to, |c| matches!(c, LOWER | UNCASED | MARK)))
    }

    /// DeepSeek's three splits: numbers, then Han and kana, then words within what is left.
    fn deepseek(&self, at: usize) -> usize {
        let (c, _) = decode(self.text, at);
        match fragment(c, self.table.class(c)) {
            NUMBERS => self.numbers(at, 3),
            HAN_KANA => Scan::<HAN_KANA> { text: self.text, table: self.table }.deepseek_piece(at),
            _ => Scan::<REST> { text: self.text, table: self.table }.deepseek_piece(at),
        }
    }

    /// The third split within one fragment; what it does not match comes out in pieces of its own.
    fn deepseek_piece(&self, at: usize) -> usize {
        let mut to = at;
        loop {
            match self.deepseek_match(to) {
                Some(end) if to == at => return end,
                Some(_) => return to,
                None => to += decode(self.text, to).1,
            }
            if self.class(to).0 == END {
                return to;
            }
        }
    }

    fn deepseek_match(&self, at: usize) -> Option<usize> {
        let (class, len) = self.class(at);
        let word = |c: u8| c != END && (is_letter(c) || c == MARK);
        if self.text[at].is_ascii_punctuation() {
            let letters = self.text[at + 1..].iter().take_while(|b| b.is_ascii_alphabetic()).count();
            if letters > 0 {
                return Some(at + 1 + letters);
            }
        }
        let (next, next_len) = self.class(at + len);
        if is_letter(class) || (class != PUNCTUATION && class != NEWLINE && word(next)) || class == MARK {
            return Some(self.run(at + len, word));
        }
        if class == PUNCTUATION {
            return Some(self.newlines(self.run(at + len, |c| c == PUNCTUATION), false));
        }
        if self.text[at] == b' ' && next == PUNCTUATION {
            return Some(self.newlines(self.run(at + len + next_len, |c| c == PUNCTUATION), false));
        }
        is_space(class).then(|| self.blanks(at, true))
    }
}

/// `Digits` goes by Rust's own table of numbers.
#[inline(always)]
fn is_digit(c: u32) -> bool {
    char::from_u32(c).is_some_and(char::is_numeric)
}

/// The fragment that a character belongs to.
#[inline(always)]
fn fragment(c: u32, class: u8) -> u8 {
    match c {
        _ if class == NUMBER => NUMBERS,
        0x4e00..=0x9fa5 | 0x3040..=0x30ff => HAN_KANA,
        _ => REST,
    }
}
