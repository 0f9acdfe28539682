//! Characters by kind: how often each occurs, and what follows from that alone.

use super::row::n_log2_n;
use crate::Result;
use crate::error::unless_stopped;
use crate::text::class::ClassTable;
use crate::text::place_of_character;
use std::collections::HashMap;
use std::sync::LazyLock;
use std::sync::atomic::AtomicBool;

macro_rules! kinds {
    ($($name:ident $pattern:literal,)*) => {
        /// What a character is.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub(super) enum Kind { None, $($name,)* }

        /// Later ones win.
        const PATTERNS: &[(&str, u8)] = &[$(($pattern, Kind::$name as u8),)*];
        const KINDS: &[Kind] = &[Kind::None, $(Kind::$name,)*];
    };
}

kinds! {
    Space r"\p{White_Space}",
    Number r"\p{N}",
    Digit r"\p{Nd}",
    Punctuation r"\p{P}",
    WidePunctuation r"[\p{P}&&[\u3000-\u303F\uFF00-\uFFEF]]",
    Symbol r"\p{S}",
    WideSymbol r"[\p{S}&&[\u3000-\u303F\uFF00-\uFFEF]]",
    Emoji r"\p{Emoji_Presentation}",
    EmojiModifier r"\p{Emoji_Modifier}",
    Letter r"\p{L}",
    Lower r"\p{Ll}",
    Upper r"\p{Lu}",
    HanLetter r"[\p{L}&&\p{sc=Han}]",
    LatinLetter r"[\p{L}&&\p{sc=Latin}]",
    LatinLower r"[\p{Ll}&&\p{sc=Latin}]",
    LatinUpper r"[\p{Lu}&&\p{sc=Latin}]",
}

static CLASSES: LazyLock<ClassTable> = LazyLock::new(|| ClassTable::new(PATTERNS));

const ASCII: [Kind; 128] = {
    let mut kinds = [Kind::None; 128];
    let mut byte = 0;
    while byte < 128 {
        kinds[byte] = match byte as u8 {
            b'\t'..=b'\r' | b' ' => Kind::Space,
            b'0'..=b'9' => Kind::Digit,
            b'a'..=b'z' => Kind::LatinLower,
            b'A'..=b'Z' => Kind::LatinUpper,
            b'$' | b'+' | b'<' | b'=' | b'>' | b'^' | b'`' | b'|' | b'~' => Kind::Symbol,
            b'!'..=b'~' => Kind::Punctuation,
            _ => Kind::None,
        };
        byte += 1;
    }
    kinds
};

impl Kind {
    /// Of a character.
    #[inline]
    pub fn of(c: char) -> Self {
        match ASCII.get(c as usize) {
            Some(kind) => *kind,
            None => KINDS[usize::from(CLASSES.get(c))],
        }
    }

    pub const fn is_letter(self) -> bool {
        self as u8 >= Self::Letter as u8
    }

    pub const fn is_upper(self) -> bool {
        matches!(self, Self::Upper | Self::LatinUpper)
    }

    pub const fn is_lower(self) -> bool {
        matches!(self, Self::Lower | Self::LatinLower)
    }

    pub const fn is_latin(self) -> bool {
        matches!(self, Self::LatinLetter | Self::LatinLower | Self::LatinUpper)
    }

    /// A letter or digit, as sentences and words have one.
    pub const fn is_alphanumeric(self) -> bool {
        self.is_letter() || matches!(self, Self::Digit | Self::Number)
    }

    /// Of Unicode's category P or S.
    pub const fn is_mark(self) -> bool {
        matches!(
            self,
            Self::Punctuation
                | Self::WidePunctuation
                | Self::Symbol
                | Self::WideSymbol
                | Self::Emoji
                | Self::EmojiModifier
        )
    }
}

/// Sums over the characters of a text.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Totals {
    /// Characters by kind.
    kinds: [u32; KINDS.len()],
    /// All but white space.
    pub visible: u32,
    /// Different ones of these.
    pub visible_types: u32,
    /// Σ n log₂ n of how often each of these occurs.
    pub visible_logs: f64,
    /// Those beyond ASCII of these.
    pub beyond_ascii: u32,
}

impl Totals {
    /// Characters of these kinds.
    pub fn of(&self, is: fn(Kind) -> bool) -> u32 {
        KINDS.iter().zip(self.kinds).filter(|(kind, _)| is(**kind)).map(|(_, count)| count).sum()
    }
}

/// Bytes that are counted at a time.
const PIECE: usize = 1 << 20;

/// How often each character of a text occurs, and runs of one character.
#[derive(Debug)]
pub(super) struct Characters {
    /// By code point below 2¹⁶.
    counts: Box<[u32]>,
    /// The characters that occur, by first occurrence.
    distinct: Vec<char>,
    /// Those beyond.
    beyond: HashMap<char, u32>,
    /// Characters in all.
    pub all: u32,
    pub totals: Totals,
    /// Runs of three or more of the same letter.
    pub elongations: u32,
    /// Runs of three or more periods, and runs of `…`.
    pub ellipses: u32,
}

impl Characters {
    pub fn new() -> Self {
        Self {
            counts: vec![0; 1 << 16].into_boxed_slice(),
            distinct: Vec::new(),
            beyond: HashMap::new(),
            all: 0,
            totals: Totals::default(),
            elongations: 0,
            ellipses: 0,
        }
    }

    /// Counts the characters of a text.
    ///
    /// # Errors
    /// [`Interrupted`](crate::Error::Interrupted) soon after `stop` is set.
    pub fn fill(&mut self, text: &str, stop: &AtomicBool) -> Result<()> {
        for c in self.distinct.drain(..) {
            if let Some(count) = self.counts.get_mut(c as usize) {
                *count = 0;
            }
        }
        self.beyond.clear();
        (self.all, self.elongations, self.ellipses) = (0, 0, 0);
        let (mut previous, mut run) = ('\0', 0_u32);
        let mut rest = text;
        while !rest.is_empty() {
            unless_stopped(stop)?;
            let piece;
            (piece, rest) = rest.split_at(place_of_character(rest, PIECE));
            (previous, run) = self.add(piece, previous, run);
        }
        self.totals = self.sum();
        Ok(())
    }

    /// Adds characters after a run of one.
    fn add(&mut self, text: &str, mut previous: char, mut run: u32) -> (char, u32) {
        for c in text.chars() {
            self.all += 1;
            match self.counts.get_mut(c as usize) {
                Some(count) => {
                    if *count == 0 {
                        self.distinct.push(c);
                    }
                    *count += 1;
                }
                None => self.add_beyond(c),
            }
            run = if c == previous { run + 1 } else { 1 };
            previous = c;
            if run == 3 {
                self.elongations += u32::from(Kind::of(c).is_letter());
                self.ellipses += u32::from(c == '.');
            }
            self.ellipses += u32::from(c == '…' && run == 1);
        }
        (previous, run)
    }

    fn sum(&self) -> Totals {
        let mut totals = Totals::default();
        for (c, count) in self.each() {
            let kind = Kind::of(c);
            totals.kinds[kind as usize] += count;
            if kind != Kind::Space {
                totals.visible += count;
                totals.visible_types += 1;
                totals.visible_logs += n_log2_n(count);
                totals.beyond_ascii += if c.is_ascii() { 0 } else { count };
            }
        }
        totals
    }

    #[cold]
    fn add_beyond(&mut self, c: char) {
        let count = self.beyond.entry(c).or_default();
        if *count == 0 {
            self.distinct.push(c);
        }
        *count += 1;
    }

    /// How often a character occurs.
    #[inline]
    pub fn count(&self, c: char) -> u32 {
        match self.counts.get(c as usize) {
            Some(count) => *count,
            None => self.beyond.get(&c).copied().unwrap_or(0),
        }
    }

    /// How often any of these occurs.
    #[inline]
    pub fn any<const N: usize>(&self, characters: [char; N]) -> u32 {
        characters.into_iter().map(|c| self.count(c)).sum()
    }

    /// How often any of these occurs, all of them beyond ASCII.
    #[inline]
    pub fn beyond_ascii(&self, characters: &[char]) -> u32 {
        if self.totals.beyond_ascii == 0 { 0 } else { characters.iter().map(|&c| self.count(c)).sum() }
    }

    /// The characters that occur with how often, by first occurrence.
    pub fn each(&self) -> impl Iterator<Item = (char, u32)> {
        self.distinct.iter().map(|&c| (c, self.count(c)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ascii_is_as_in_the_table() {
        for byte in 0..128_u8 {
            let c = char::from(byte);
            assert_eq!(Kind::of(c), KINDS[usize::from(CLASSES.get(c))], "{c:?}");
        }
    }
}
