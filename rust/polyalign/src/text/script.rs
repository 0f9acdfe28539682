//! Which scripts the letters of a text are in.

use super::class::ClassTable;
use super::swar::{self, Block};
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
        let bytes = text.as_bytes();
        let (mut latin, mut han) = (0, 0);
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            if byte.is_ascii() {
                let Some(block) = Block::at(bytes, at) else {
                    latin += u32::from(byte.is_ascii_alphabetic());
                    at += 1;
                    continue;
                };
                let ascii = block.ascii();
                let letters = if ascii == 8 { block.letters() } else { block.letters() & swar::first(ascii) };
                latin += swar::size(letters);
                at += ascii;
            } else if matches!(byte, 0xE5..=0xE9) {
                // U+5000 to U+9FFF: all Han, and most of it.
                han += 1;
                at += 3;
            } else {
                let Some(c) = text[at..].chars().next() else { break };
                self.classes[usize::from(classes.get(c))] += 1;
                at += c.len_utf8();
            }
        }
        self.classes[Script::Latin as usize + 1] += latin;
        self.classes[Script::Han as usize + 1] += han;
        self.classes[0] = 0;
    }
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
        ('\u{5000}'..='\u{9FFF}').for_each(|c| assert_eq!(CLASSES.get(c), Script::Han as u8 + 1, "{c}"));
        assert_eq!(fast.get(Script::Han), 10);
        assert_eq!(fast.get(Script::Kana), 45);
        assert_eq!(fast.get(Script::Latin), 25 + 14 * 20 + 1);
    }
}
