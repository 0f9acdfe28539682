//! Every default feature: its name, definition, unit, range, languages, scale and bins, in one place.

use super::bins::Bins;

/// Which features belong together, and are computed together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Group {
    /// How long the response, its sentences, lines and paragraphs are.
    Length,
    /// Lists, headings, code, links: what a response is laid out with.
    Structure,
    /// Which words, and how varied.
    Lexical,
    /// Words of closed classes: pronouns, modals, particles.
    Function,
    /// Marks.
    Punctuation,
    /// Case, digits, scripts.
    Orthography,
    /// Readability formulas and what goes into them.
    Readability,
    /// Sentiment by a lexicon.
    Sentiment,
    /// How the response relates to what came before it.
    Interaction,
}

impl Group {
    /// All groups, in the order of their features.
    pub const ALL: [Self; 9] = [
        Self::Length,
        Self::Structure,
        Self::Lexical,
        Self::Function,
        Self::Punctuation,
        Self::Orthography,
        Self::Readability,
        Self::Sentiment,
        Self::Interaction,
    ];

    /// The name users write.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Length => "length",
            Self::Structure => "structure",
            Self::Lexical => "lexical",
            Self::Function => "function",
            Self::Punctuation => "punctuation",
            Self::Orthography => "orthography",
            Self::Readability => "readability",
            Self::Sentiment => "sentiment",
            Self::Interaction => "interaction",
        }
    }

    /// The group of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|group| group.name() == name)
    }
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

/// A number that says something about a response.
#[derive(Clone, Copy, Debug)]
pub struct Feature {
    /// Its name, in lower case.
    pub name: &'static str,
    /// What it is computed with.
    pub group: Group,
    /// What it is, in a line.
    pub definition: &'static str,
    /// What it is counted in.
    pub unit: &'static str,
    /// In which languages it is defined.
    pub languages: Languages,
    /// What counts as one step (s_f): a support distance is measured in no smaller unit.
    pub scale: f32,
    /// Where a reference cuts its values.
    pub bins: Bins,
}

/// The version of the registry: raised whenever a value, a scale or an edge changes.
pub const VERSION: u32 = 1;

// Units: what they are called, their scale, their bins.
macro_rules! unit {
    (characters) => {
        ("characters", 1.0, Bins::Count { max_log2: 20 })
    };
    (words) => {
        ("words", 1.0, Bins::Count { max_log2: 18 })
    };
    (lines) => {
        ("lines", 1.0, Bins::Count { max_log2: 14 })
    };
    (count) => {
        ("count", 1.0, Bins::Count { max_log2: 12 })
    };
    (mean_characters) => {
        ("characters", 1.0, Bins::Positive { min_log2: 0, max_log2: 12 })
    };
    (mean_words) => {
        ("words", 1.0, Bins::Positive { min_log2: -1, max_log2: 10 })
    };
    (letters) => {
        ("characters", 0.25, Bins::Positive { min_log2: -2, max_log2: 6 })
    };
    (per_sentence) => {
        ("per sentence", 0.25, Bins::Positive { min_log2: -5, max_log2: 7 })
    };
    (syllables) => {
        ("syllables", 0.05, Bins::Positive { min_log2: -1, max_log2: 4 })
    };
    (share) => {
        ("share", 0.05, Bins::Share { min_log2: -8 })
    };
    (yes) => {
        ("0 or 1", 1.0, Bins::Count { max_log2: 7 })
    };
    (ratio) => {
        ("ratio", 0.25, Bins::Positive { min_log2: -8, max_log2: 8 })
    };
    (root) => {
        ("words / √words", 0.25, Bins::Positive { min_log2: -1, max_log2: 7 })
    };
    (bits) => {
        ("bits", 0.25, Bins::Positive { min_log2: -4, max_log2: 5 })
    };
    (yule) => {
        ("10⁻⁴", 10.0, Bins::Positive { min_log2: -1, max_log2: 14 })
    };
    (grade) => {
        ("school years", 1.0, Bins::Signed { min_log2: -3, max_log2: 8 })
    };
    (ease) => {
        ("points", 5.0, Bins::Signed { min_log2: -1, max_log2: 10 })
    };
    (index) => {
        ("points", 1.0, Bins::Positive { min_log2: -3, max_log2: 8 })
    };
    (compound) => {
        ("-1 to 1", 0.1, Bins::Signed { min_log2: -6, max_log2: 0 })
    };
}

macro_rules! features {
    ($($group:ident { $($name:ident $unit:ident $languages:ident $definition:literal,)* })*) => {
        /// The features' places in a row of values.
        #[allow(non_camel_case_types, missing_docs, reason = "the names of the features, described in the table")]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(usize)]
        pub enum Id { $($($name,)*)* }

        /// Every feature, in the order of their values.
        pub const FEATURES: &[Feature] = &[$($(
            Feature {
                name: stringify!($name),
                group: Group::$group,
                definition: $definition,
                unit: unit!($unit).0,
                languages: Languages::$languages,
                scale: unit!($unit).1,
                bins: unit!($unit).2,
            },
        )*)*];
    };
}

// All are of the response without the white space at its ends. A word is a UAX #29 word; in Chinese a word of the dictionary
// segmentation with a letter or digit. Types are words in lower case. A character is a Unicode scalar value, a letter one
// of category L, a digit one of category Nd. A line is what \n parts, and is counted if it is not blank. Standard deviations
// are the population's. A share or mean of nothing is not defined.
features! {
    Length {
        char_count characters All "Characters.",
        char_no_space_count characters All "Characters that are not white space.",
        newline_count lines All "Line ends.",
        line_count lines All "Lines that are not blank.",
        line_chars_mean mean_characters All "Mean characters of a line that is not blank.",
        line_chars_max characters All "Characters of the longest line.",
        paragraph_count lines All "Paragraphs: runs of lines that are not blank.",
        paragraph_chars_mean mean_characters All "Mean characters of a paragraph, line ends included.",
        paragraph_sentences_mean per_sentence All "Sentences a paragraph.",
        sentence_count lines All "Sentences (UAX #29) with a letter or digit; line ends also end them.",
        sentence_chars_mean mean_characters All "Mean characters of a sentence.",
        sentence_chars_std mean_characters All "Standard deviation of the characters of a sentence.",
        sentence_chars_min characters All "Characters of the shortest sentence.",
        sentence_chars_max characters All "Characters of the longest sentence.",
        word_count words Words "Words.",
        sentence_words_mean mean_words Words "Mean words of a sentence.",
        sentence_words_std mean_words Words "Standard deviation of the words of a sentence.",
        sentence_words_min words Words "Words of the shortest sentence.",
        sentence_words_max words Words "Words of the longest sentence.",
        first_sentence_words words Words "Words of the first sentence.",
        last_sentence_words words Words "Words of the last sentence.",
    }
    Structure {
        bullet_line_count lines All "Lines that begin with -, * or • and a blank.",
        enumerated_line_count lines All "Lines that begin with a number of up to three digits or a single letter, . ) or 、 and a blank or a Han character.",
        list_line_share share All "Bulleted and enumerated lines among the lines.",
        heading_line_count lines All "Lines that begin with one to six # and a blank.",
        quoted_line_count lines All "Lines that begin with >.",
        table_line_count lines All "Lines that begin and end with |.",
        code_fence_count count All "Lines that begin with three backticks or tildes.",
        code_line_share share All "Lines within code fences, fences included, among the lines.",
        backtick_count count All "Backticks.",
        bold_count count All "Pairs of **.",
        markdown_link_count count All "]( pairs.",
        url_count count All "http://, https:// and www. addresses, in any case.",
        email_count count All "E-mail addresses.",
        emoji_count count All "Emoji: characters that are pictures by default (modifiers aside), and those that U+FE0F makes one.",
        emoticon_count count All "Emoticons such as :) and ;-P, after white space or at the start.",
        math_count count All "Dollar signs before an ASCII letter or backslash, \\( and \\[.",
    }
    Lexical {
        word_length_mean letters Words "Mean characters of a word.",
        word_length_std letters Words "Standard deviation of the characters of a word.",
        word_length_max count Words "Characters of the longest word.",
        short_word_share share Words "Words of at most 3 characters (in Chinese 1).",
        long_word_share share Words "Words of at least 7 characters (in Chinese 3).",
        very_long_word_share share Words "Words of at least 11 characters (in Chinese 4).",
        type_count words Words "Different words, lower-cased.",
        type_token_ratio share Words "Types a word.",
        root_ttr root Words "Types over the square root of words.",
        log_ttr share Words "Logarithm of types over that of words (Herdan's C); 1 for one word.",
        mattr_50 share Words "Mean types a word over all windows of 50 words; of the whole below 50.",
        hapax_share share Words "Types that occur once, a word.",
        dislegomena_share share Words "Types that occur twice, a word.",
        distinct_2 share Words "Different pairs of words in a row among all pairs.",
        distinct_3 share Words "Different triples of words in a row among all triples.",
        word_entropy bits Words "Shannon entropy of the words.",
        word_entropy_share share Words "Shannon entropy over the logarithm of words; 1 for one word.",
        max_word_share share Words "The most frequent type among the words.",
        yule_k yule Words "Yule's K: 10⁴ (Σ c² − n) / n², c the count of a type, n words.",
        adjacent_repeat_count count Words "Words of the same type as the word before.",
        sentence_start_repeat_share share Words "Sentences that begin with the word another one before began with.",
        char_type_share share All "Different characters among the characters that are not white space.",
        char_entropy bits All "Shannon entropy of the characters that are not white space.",
    }
    Function {
        stopword_share share EnglishChinese "Function words among the words.",
        content_type_share share EnglishChinese "Types that are no function words among the types.",
        article_share share English "a, an, the.",
        first_person_share share EnglishChinese "Pronouns of the first person among the words.",
        second_person_share share EnglishChinese "Pronouns of the second person among the words.",
        third_person_share share EnglishChinese "Pronouns of the third person among the words.",
        demonstrative_share share EnglishChinese "this, that, 这, 那 and the like among the words.",
        question_word_share share EnglishChinese "who, what, 谁, 什么 and the like among the words.",
        preposition_share share EnglishChinese "Prepositions among the words.",
        conjunction_share share EnglishChinese "Conjunctions among the words.",
        connective_share share EnglishChinese "however, therefore, 因此, 此外 and the like among the words.",
        auxiliary_share share EnglishChinese "be, have, do, 是, 有 in their forms among the words.",
        modal_share share EnglishChinese "can, should, 能, 应该 and the like among the words.",
        negation_share share EnglishChinese "not, never, 不, 没 and the like among the words.",
        intensifier_share share EnglishChinese "very, really, 很, 非常 and the like among the words.",
        hedge_share share EnglishChinese "maybe, perhaps, 可能, 也许 and the like among the words.",
        interjection_share share EnglishChinese "oh, yeah, 嗯, 哦 and the like among the words.",
        politeness_share share EnglishChinese "please, thanks, 请, 谢谢 and the like among the words.",
        particle_share share Chinese "Final and aspect particles, 吗, 呢, 了, 着 and the like, among the words.",
        contraction_share share English "Words that end in an apostrophe and s, t, re, ve, ll, d or m, among the words.",
        number_word_share share EnglishChinese "Number words, and words that begin with a digit, among the words.",
    }
    Punctuation {
        punctuation_count characters All "Marks: characters of Unicode's category P or S, and emoji.",
        punctuation_share share All "Marks among the characters that are not white space.",
        question_mark_count count All "? and ？.",
        exclamation_mark_count count All "! and ！.",
        comma_count count All ", ， and 、.",
        period_count count All ". and 。.",
        semicolon_count count All "; and ；.",
        colon_count count All ": and ：.",
        ellipsis_count count All "Runs of three or more periods, and runs of ….",
        quote_count count All "\" “ ” „ « » 「 」 『 』 and ＂.",
        apostrophe_count count All "' and ’.",
        hyphen_count count All "- and ‐.",
        dash_count count All "– and — and ―.",
        slash_count count All "/ and ／.",
        parenthesis_count count All "( ) （ ）.",
        bracket_count count All "[ ] { } 【 】 ［ ］ ｛ ｝ 《 》 〈 〉.",
        symbol_count count All "Characters of Unicode's category S that are no emoji.",
        commas_per_sentence per_sentence All "Commas a sentence.",
        question_sentence_share share All "Sentences with a question mark after their last letter or digit.",
        exclamation_sentence_share share All "Sentences with an exclamation mark after their last letter or digit.",
        ends_with_mark yes All "Whether the last character is one of . ! ? … 。 ！ ？, closing quotes and brackets aside.",
        repeated_mark_count count All "Runs of two or more ! ? ！ ？.",
    }
    Orthography {
        letter_share share All "Letters among the characters that are not white space.",
        uppercase_share share All "Uppercase letters among the letters.",
        digit_share share All "Decimal digits among the characters that are not white space.",
        number_count count All "Numbers: runs of digits, with . and , between digits.",
        year_count count All "Numbers from 1500 to 2100 of four digits.",
        ordinal_count count English "1st, 2nd, 3rd and the like.",
        non_ascii_share share All "Characters beyond ASCII among the characters that are not white space.",
        han_share share All "Han characters among the letters.",
        latin_share share All "Latin letters among the letters.",
        full_width_share share All "Full-width forms and CJK marks among the marks.",
        all_caps_word_count count Spaced "Words of two or more letters, all uppercase.",
        title_case_share share Spaced "Words that begin with an uppercase letter and have no other, among the words.",
        sentence_capital_share share Spaced "Sentences whose first letter is uppercase, among those whose first letter has case.",
        begins_lower_case yes Spaced "Whether the first letter is lower case.",
        elongation_count count All "Runs of three or more of the same letter.",
    }
    Readability {
        syllables_per_word syllables English "Mean syllables of a word: groups of the letters aeiouy, less a silent e; at least 1.",
        polysyllable_share share English "Words of three or more syllables among the words.",
        flesch_reading_ease ease English "206.835 − 1.015 words/sentences − 84.6 syllables/words.",
        flesch_kincaid_grade grade English "0.39 words/sentences + 11.8 syllables/words − 15.59.",
        gunning_fog grade English "0.4 (words/sentences + 100 polysyllables/words).",
        smog_index grade English "1.043 √(30 polysyllables/sentences) + 3.1291.",
        coleman_liau_index grade English "5.88 letters/words − 29.6 sentences/words − 15.8.",
        automated_readability_index grade English "4.71 characters of words/words + 0.5 words/sentences − 21.43.",
        lix index Spaced "words/sentences + 100 words longer than 6 characters / words.",
        rix per_sentence Spaced "Words longer than 6 characters a sentence.",
        clause_chars_mean mean_characters Chinese "Mean characters of a clause: what ， ； ： 。 ！ ？ … , ; : ! ? and line ends part, if it has a letter or digit.",
        clauses_per_sentence per_sentence Chinese "Clauses a sentence.",
        common_character_share share Chinese "Characters of GB 2312's first level (3,755) among the Han characters.",
        four_character_word_share share Chinese "Words of four Han characters among the words.",
    }
    Sentiment {
        vader_negative share English "VADER: share of negative valence.",
        vader_neutral share English "VADER: share of neutral words.",
        vader_positive share English "VADER: share of positive valence.",
        vader_compound compound English "VADER: normalised sum of valences.",
    }
    Interaction {
        earlier_turn_count count All "Messages before the last user's, but for the system's.",
        user_chars_ratio ratio All "Characters over those of the last user message, without the white space at its ends.",
        history_chars_ratio ratio All "Characters over the mean of the assistant's messages before the last user's.",
        user_overlap_share share All "Types (here UAX #29 words, in Chinese characters) that the last user message has too, among the types.",
        user_coverage_share share All "Types of the last user message that the response has too, among its types.",
        history_overlap_share share All "Types that messages before the last user's (but for the system's) have too, among the types.",
        new_type_share share All "Types that no message before has, among the types.",
        copied_pair_share share All "Different pairs of types in a row that a message before has in a row too, among the different pairs.",
        asks_back yes All "Whether both the response and the last user message have a question mark.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn names_are_unique_and_every_feature_is_described() {
        let names: HashSet<_> = FEATURES.iter().map(|feature| feature.name).collect();
        assert_eq!(names.len(), FEATURES.len());
        assert!(FEATURES.len() >= 110);
        for feature in FEATURES {
            assert!(feature.definition.ends_with('.') && feature.scale > 0.0, "{}", feature.name);
        }
        assert!(FEATURES.is_sorted_by_key(|feature| feature.group as u8), "groups in order");
    }
}
