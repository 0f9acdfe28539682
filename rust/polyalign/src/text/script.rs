//! Which scripts the letters of a text are in.

use super::class::ClassTable;
use std::sync::LazyLock;

macro_rules! scripts {
    ($($name:ident $pattern:literal,)*) => {
        /// A script, as far as it tells languages apart.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        #[allow(missing_docs, reason = "the names of the scripts")]
        pub enum Script { $($name,)* }

        impl Script {
            /// All scripts.
            pub const ALL: [Self; 0 $(+ { let _ = Self::$name; 1 })*] = [$(Self::$name,)*];
        }

        const PATTERNS: &[(&str, u8)] = &[$((concat!(r"[\p{L}&&", $pattern, "]"), Script::$name as u8 + 1),)*];
    };
}

scripts! {
    Latin r"\p{sc=Latin}",
    Han r"\p{sc=Han}",
    Kana r"[\p{sc=Hiragana}\p{sc=Katakana}ー]",
    Hangul r"\p{sc=Hangul}",
    Cyrillic r"\p{sc=Cyrillic}",
    Arabic r"\p{sc=Arabic}",
    Hebrew r"\p{sc=Hebrew}",
    Greek r"\p{sc=Greek}",
    Thai r"\p{sc=Thai}",
    Devanagari r"\p{sc=Devanagari}",
    Bengali r"\p{sc=Bengali}",
    Gurmukhi r"\p{sc=Gurmukhi}",
    Gujarati r"\p{sc=Gujarati}",
    Oriya r"\p{sc=Oriya}",
    Tamil r"\p{sc=Tamil}",
    Telugu r"\p{sc=Telugu}",
    Kannada r"\p{sc=Kannada}",
    Malayalam r"\p{sc=Malayalam}",
    Sinhala r"\p{sc=Sinhala}",
    Lao r"\p{sc=Lao}",
    Khmer r"\p{sc=Khmer}",
    Myanmar r"\p{sc=Myanmar}",
    Tibetan r"\p{sc=Tibetan}",
    Georgian r"\p{sc=Georgian}",
    Armenian r"\p{sc=Armenian}",
    Ethiopic r"\p{sc=Ethiopic}",
    Bopomofo r"\p{sc=Bopomofo}",
    Thaana r"\p{sc=Thaana}",
    Mongolian r"\p{sc=Mongolian}",
    OlChiki r"\p{sc=Ol_Chiki}",
    Syriac r"\p{sc=Syriac}",
    Tifinagh r"\p{sc=Tifinagh}",
    Cherokee r"\p{sc=Cherokee}",
    Yi r"\p{sc=Yi}",
    Inuktitut r"\p{sc=Canadian_Aboriginal}",
}

static CLASSES: LazyLock<ClassTable> = LazyLock::new(|| ClassTable::new(PATTERNS));

/// The letters of a text, by script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScriptCounts {
    // One more than scripts: class 0 is what is no letter of a known script.
    classes: [u32; Script::ALL.len() + 1],
}

impl Default for ScriptCounts {
    fn default() -> Self {
        Self { classes: [0; Script::ALL.len() + 1] }
    }
}

impl ScriptCounts {
    /// Letters in the script.
    pub fn get(&self, script: Script) -> u32 {
        self.classes[script as usize + 1]
    }

    /// Letters in any known script.
    pub fn letters(&self) -> u32 {
        self.classes[1..].iter().sum()
    }

    /// Counts the letters of a text.
    ///
    /// ```
    /// # use polyalign::text::script::{Script, ScriptCounts};
    /// let mut counts = ScriptCounts::default();
    /// counts.add("用 GPU 跑，ok?");
    /// assert_eq!((counts.get(Script::Han), counts.get(Script::Latin)), (2, 5));
    /// ```
    pub fn add(&mut self, text: &str) {
        #[cfg(target_arch = "x86_64")]
        if let Some(machine) = crate::cpu::Avx2::get() {
            // With the instruction that counts bits.
            return machine.run(
                #[inline(always)]
                || self.add_blocks(text),
            );
        }
        self.add_blocks(text);
    }

    #[inline(always)]
    fn add_blocks(&mut self, text: &str) {
        let bytes = text.as_bytes();
        let (mut latin, mut han) = (0, 0);
        let mut at = 0;
        while at < bytes.len() {
            let (masks, start) = match (bytes[at..].first_chunk(), bytes.last_chunk()) {
                (Some(block), _) => (Masks::of(block), at),
                // The last bytes again, but for what was counted of them.
                (None, Some(block)) => {
                    let start = bytes.len() - BLOCK;
                    (Masks::of(block).without_first(at - start), start)
                }
                (None, None) => (Masks::portable(bytes), 0),
            };
            latin += masks.latin.count_ones();
            han += masks.han.count_ones();
            if masks.others != 0 {
                self.add_others(masks.others, text, start);
            }
            at = start + BLOCK;
        }
        self.classes[Script::Latin as usize + 1] += latin;
        self.classes[Script::Han as usize + 1] += han;
        self.classes[0] = 0;
    }

    /// Counts the characters that begin at these places of the block that begins at `start`.
    fn add_others(&mut self, mut others: u32, text: &str, start: usize) {
        while others != 0 {
            let at = start + others.trailing_zeros() as usize;
            let Some(c) = text[at..].chars().next() else { break };
            self.classes[usize::from(CLASSES.get(c))] += 1;
            others &= others - 1;
        }
    }
}

/// Bytes that are looked at together.
const BLOCK: usize = 16;

/// Of a block, one bit a byte: the letters that one byte tells, and where other characters begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Masks {
    /// ASCII letters.
    latin: u32,
    /// Beginnings of U+5000 to U+9FFF: all Han, and most of it.
    han: u32,
    /// Beginnings of all that is neither of that range nor ASCII.
    others: u32,
}

impl Masks {
    #[inline(always)]
    fn portable(bytes: &[u8]) -> Self {
        let mut masks = Self { latin: 0, han: 0, others: 0 };
        for (at, &byte) in bytes.iter().enumerate() {
            let is_han = matches!(byte, 0xE5..=0xE9);
            masks.latin |= u32::from(byte.is_ascii_alphabetic()) << at;
            masks.han |= u32::from(is_han) << at;
            masks.others |= u32::from(byte >= 0xC0 && !is_han) << at;
        }
        masks
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn of(block: &[u8; BLOCK]) -> Self {
        Self::portable(block)
    }

    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    fn of(block: &[u8; BLOCK]) -> Self {
        use std::arch::x86_64::*;
        // SAFETY: x86-64 has SSE2, and the load reads exactly the 16 bytes of `block`, at any alignment.
        unsafe {
            let bytes = _mm_loadu_si128(block.as_ptr().cast());
            let each = |byte: u8| _mm_set1_epi8(byte as i8);
            let within = |bytes: __m128i, first: u8, last: u8| {
                let from = _mm_sub_epi8(bytes, each(first));
                let inside = _mm_cmpeq_epi8(_mm_min_epu8(from, each(last - first)), from);
                _mm_movemask_epi8(inside) as u32
            };
            let latin = within(_mm_or_si128(bytes, each(0x20)), b'a', b'z');
            let han = within(bytes, 0xE5, 0xE9);
            Self { latin, han, others: within(bytes, 0xC0, 0xFF) & !han }
        }
    }

    fn without_first(self, bytes: usize) -> Self {
        let kept = u32::MAX << bytes;
        Self { latin: self.latin & kept, han: self.han & kept, others: self.others & kept }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn counts_like_one_character_at_a_time() {
        let text = "Hello, мир! 你好。カタカナー ひらがな 한국어 עברית ไทย हिन्दी αβγ 😀 ".repeat(5)
            + &"plain ascii text ".repeat(20)
            + "é";
        let mut fast = ScriptCounts::default();
        fast.add(&text);
        let mut slow = ScriptCounts::default();
        let mut buffer = [0; 4];
        text.chars().for_each(|c| slow.add(c.encode_utf8(&mut buffer)));
        assert_eq!(fast, slow);
        ('\u{5000}'..='\u{9FFF}').for_each(|c| assert_eq!(CLASSES.get(c), Script::Han as u8 + 1, "{c}"));
        assert_eq!(fast.get(Script::Han), 10);
        assert_eq!(fast.get(Script::Kana), 45);
        assert_eq!(fast.get(Script::Latin), 25 + 14 * 20 + 1);
    }

    #[test]
    fn masks_of_every_byte_at_every_place() {
        for place in 0..BLOCK {
            for byte in 0..=255u8 {
                let mut block = *b"aZ@[`{\x00\x7F\x80\xBF\xC0\xE4\xE5\xE9\xEA\xFF";
                block[place] = byte;
                assert_eq!(Masks::of(&block), Masks::portable(&block), "{byte} at {place}");
            }
        }
    }

    proptest! {
        #[test]
        fn random_texts_count_like_their_characters(text in r"([a-zA-Z0-9 .]|[\u{4e00}-\u{9fff}]|.){0,80}") {
            let mut fast = ScriptCounts::default();
            fast.add(&text);
            let mut portable = ScriptCounts::default();
            portable.add_blocks(&text);
            let mut slow = ScriptCounts::default();
            text.chars().for_each(|c| slow.classes[usize::from(CLASSES.get(c))] += 1);
            slow.classes[0] = 0;
            prop_assert_eq!(fast, slow);
            prop_assert_eq!(portable, slow);
        }
    }
}
