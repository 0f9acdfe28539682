//! What a language lets be computed.

/// How a language is written, as far as features depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// English.
    English,
    /// Chinese (Mandarin), in simplified or traditional characters.
    Chinese,
    /// Any other language that puts spaces between words.
    Spaced,
    /// All others, and unknown ones: where words begin is not known.
    Other,
}

/// In which languages a feature is defined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Languages {
    /// In all, unknown ones too.
    All,
    /// Where words can be told: written with spaces between words, or Chinese.
    Words,
    /// Where words are written with spaces between them.
    Spaced,
    /// English and Chinese.
    EnglishChinese,
    /// English.
    English,
    /// Chinese.
    Chinese,
}

impl Languages {
    /// In words, for tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Words => "with known words",
            Self::Spaced => "written with spaces",
            Self::EnglishChinese => "en, zh",
            Self::English => "en",
            Self::Chinese => "zh",
        }
    }
}

/// Primary subtags of languages that are written without spaces between words, or whose words our
/// dictionary does not know.
const UNSPACED: &[&str] = &[
    "blt", "bo", "cdo", "cjy", "cpx", "czh", "czo", "dz", "gan", "hak", "hsn", "ii", "ja", "khb", "kht",
    "km", "lo", "lzh", "mnp", "mnw", "my", "nan", "nod", "shn", "tdd", "th", "tts", "und", "wuu", "yue",
];

impl Language {
    /// Of a BCP 47 primary subtag.
    ///
    /// ```
    /// # use polyalign::features::Language;
    /// assert_eq!(["en", "zh", "fr", "th", "und"].map(Language::of), {
    ///     use Language::*;
    ///     [English, Chinese, Spaced, Other, Other]
    /// });
    /// ```
    pub fn of(subtag: &str) -> Self {
        match subtag {
            "en" => Self::English,
            "zh" => Self::Chinese,
            _ if UNSPACED.binary_search(&subtag).is_ok() => Self::Other,
            _ => Self::Spaced,
        }
    }

    /// Whether a feature of these languages is defined.
    pub const fn is_among(self, languages: Languages) -> bool {
        match languages {
            Languages::All => true,
            Languages::Words => !matches!(self, Self::Other),
            Languages::Spaced => matches!(self, Self::English | Self::Spaced),
            Languages::EnglishChinese => matches!(self, Self::English | Self::Chinese),
            Languages::English => matches!(self, Self::English),
            Languages::Chinese => matches!(self, Self::Chinese),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unspaced_languages_can_be_searched() {
        assert!(UNSPACED.is_sorted());
    }
}
