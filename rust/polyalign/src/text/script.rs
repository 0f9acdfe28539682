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
        let classes = &*CLASSES;
        let mut rest = text;
        while !rest.is_empty() {
            let (ascii, tail) = rest.split_at(ascii_prefix(rest.as_bytes()));
            self.classes[Script::Latin as usize + 1] += ascii_letters(ascii.as_bytes());
            let mut chars = tail.chars();
            rest = tail;
            for c in chars.by_ref() {
                // A lone ASCII character between others is not worth a new run.
                self.classes[usize::from(classes.get(c))] += 1;
                rest = &rest[c.len_utf8()..];
                if rest.as_bytes().get(..2).is_none_or(|two| two.is_ascii()) {
                    break;
                }
            }
        }
        self.classes[0] = 0;
    }
}

/// Length of the longest prefix of ASCII bytes, in whole blocks as long as there are some.
fn ascii_prefix(bytes: &[u8]) -> usize {
    const BLOCK: usize = 32;
    let blocks = bytes.chunks_exact(BLOCK).take_while(|block| block.is_ascii()).count() * BLOCK;
    blocks + bytes[blocks..].iter().take_while(|byte| byte.is_ascii()).count()
}

fn ascii_letters(bytes: &[u8]) -> u32 {
    // Sums of at most 255 in a byte each, so that the compiler makes vectors of it.
    let sum = |block: &[u8]| block.iter().map(|byte| u8::from(byte.is_ascii_alphabetic())).sum::<u8>();
    bytes.chunks(128).map(|block| u32::from(sum(block))).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!(fast.get(Script::Han), 10);
        assert_eq!(fast.get(Script::Kana), 45);
        assert_eq!(fast.get(Script::Latin), 25 + 14 * 20 + 1);
    }
}
