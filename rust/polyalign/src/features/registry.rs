//! Every default feature: its name, definition, unit, range, languages, scale and bins, in one place.

use super::bins::Bins;
use super::language::Languages;

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
    /// How likely a language model finds the response. No text says it: values come from whoever has the model.
    Lm,
}

impl Group {
    /// All groups that are computed of texts, in the order of their features.
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
            Self::Lm => "lm",
        }
    }

    /// The group of that name, of those that are computed.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|group| group.name() == name)
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

impl Feature {
    /// The least and the greatest value it can have.
    ///
    /// ```
    /// use polyalign::features::registry::{FEATURES, Id};
    /// assert_eq!(FEATURES[Id::word_count as usize].range(), (0.0, f64::INFINITY));
    /// assert_eq!(FEATURES[Id::vader_compound as usize].range(), (-1.0, 1.0));
    /// ```
    pub fn range(&self) -> (f64, f64) {
        match (self.unit, self.bins) {
            ("0 or 1", _) | (_, Bins::Share { .. }) => (0.0, 1.0),
            ("-1 to 1", _) => (-1.0, 1.0),
            (_, Bins::Count { .. } | Bins::Positive { .. }) => (0.0, f64::INFINITY),
            (_, Bins::Signed { .. } | Bins::Exact) => (f64::NEG_INFINITY, f64::INFINITY),
        }
    }
}

/// The version of the registry: raised whenever a value, a scale or an edge changes.
pub const VERSION: u32 = 2;

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
    (sentences) => {
        ("sentences", 1.0, Bins::Count { max_log2: 14 })
    };
    (paragraphs) => {
        ("paragraphs", 1.0, Bins::Count { max_log2: 14 })
    };
    (count) => {
        ("count", 1.0, Bins::Count { max_log2: 12 })
    };
    (mean_characters) => {
        ("characters", 1.0, Bins::Positive { min_log2: 0, max_log2: 15 })
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
        ("ratio", 0.25, Bins::Positive { min_log2: -8, max_log2: 12 })
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
    (nats) => {
        ("nats", 0.2, Bins::Positive { min_log2: -3, max_log2: 6 })
    };
    (gain) => {
        ("nats", 0.1, Bins::Signed { min_log2: -3, max_log2: 6 })
    };
}

macro_rules! features {
    ($(#[$about:meta])* $all:ident $(#[$places:meta])* $id:ident $($group:ident { $($name:ident $unit:ident $languages:ident $definition:literal,)* })*) => {
        $(#[$places])*
        #[allow(non_camel_case_types, missing_docs, reason = "the names of the features, described in the table")]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(usize)]
        pub enum $id { $($($name,)*)* }

        $(#[$about])*
        pub const $all: &[Feature] = &[$($(
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

/// What the definitions take for granted, a sentence or a few each.
pub const CONVENTIONS: &[&str] = &[
    "Features are of the response without the white space at its ends. Nothing else is normalised.",
    "A character is a Unicode scalar value; white space has the property White_Space. A letter is of category L, an uppercase \
     one of Lu, a lower-case one of Ll, a digit of Nd; a Han or Latin letter is one of that script. Alphanumeric is what is of \
     category L or N, and a mark what is of category P or S.",
    "A line is what `\\n` or `\\r\\n` parts; one that is blank (nothing but white space) is no line. A paragraph is a run of lines \
     without a blank one in between.",
    "A sentence is one of UAX #29 that has an alphanumeric character, without the white space at its ends. Every line end \
     ends it. The words that begin in it are its words.",
    "A word is a UAX #29 word: a segment with an alphabetic or numeric character. In Chinese it is a word that jieba-rs 0.11 \
     cuts (jieba's default dictionary and hidden Markov model), if it has an alphanumeric character. Beside Latin letters and \
     digits jieba itself cuts otherwise now and then: in addresses, or numbers with a point.",
    "Question marks are ? ？ ؟ U+037E ՞ ፧ ⁇ ⁈ ⁉ ‽ ⸮ ﹖ ︖ ꘏, and a ; right after a Greek letter; exclamation marks ! ！ ՜ ߹ ‼ ⁈ ﹗ ︕; \
     commas , ， 、 ، ՝ ፣ ᠂ ﹐ ﹑ ､ ߸; periods . 。 ۔ । ॥ ։ ። ။ ។ ᠃ ། ． ｡; semicolons ; ； ؛ ፤ ﹔ but Greek's; colons : ： ፥ ﹕ ︓.",
    "A type is a word in lower case, each character for itself (so there is no final sigma). The characters, letters, \
     syllables and classes of a word are those of its type.",
    "The classes of words are those of `function_words.txt`. An English word that ends in an apostrophe (`'` or `’`) and t, m, \
     re, ve, ll, d or s has, beside its own, those of what stands before the apostrophe (before t without the n, if there is \
     one) and that of the ending: negation for t, auxiliary for m, re and ve, modal for ll and d, and auxiliary for s if a \
     pronoun, demonstrative or question word stands before it.",
    "Function words are those of the classes article, persons, demonstrative, question word, preposition, conjunction, \
     auxiliary, modal, negation, particle and other; the remaining classes say how something is said, and count as content.",
    "The last user message is the last of role `user`; if there is none, all messages are before it. In the group \
     interaction, words are UAX #29 words in every language: in Chinese, single characters.",
    "Standard deviations are the population's. A share, ratio, mean or extreme of nothing is not defined. Values are rounded \
     to 2⁻²⁰, a tie to even, then to single precision. Categories and scripts are those of Unicode 16, words and sentences \
     those of Unicode 17.",
];

features! {
    /// Every feature that is computed of texts, in the order of their values.
    FEATURES
    /// The features' places in a row of values.
    Id
    Length {
        char_count characters All "Characters.",
        char_no_space_count characters All "Characters that are not white space.",
        newline_count lines All "Line ends: `\\n`.",
        line_count lines All "Lines.",
        line_chars_mean mean_characters All "Mean characters of a line, blanks at its ends included.",
        line_chars_max characters All "Characters of the longest line.",
        paragraph_count paragraphs All "Paragraphs.",
        paragraph_chars_mean mean_characters All "Mean characters of a paragraph, line ends between its lines included.",
        paragraph_sentences_mean per_sentence All "Sentences a paragraph.",
        sentence_count sentences All "Sentences.",
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
        bullet_line_count lines All "Lines that begin with -, * or • and white space after it (here and below, after any indentation).",
        enumerated_line_count lines All "Lines that begin with ( or （ or neither, up to three digits 0 to 9, one letter A to Z or a to z, or up to three of 一 to 十, one of . ) 、 ． ）, and white space or a Han letter.",
        list_line_share share All "Bulleted and enumerated lines among the lines.",
        heading_line_count lines All "Lines that begin with one to six # and white space.",
        quoted_line_count lines All "Lines that begin with >.",
        table_line_count lines All "Lines that begin and end with |, and have more than one.",
        code_fence_count count All "Lines that begin with three backticks or tildes.",
        code_line_share share All "Lines within code fences, fences included, among the lines; a fence opens what the next one closes, or the end.",
        backtick_count count All "Backticks.",
        bold_count count All "Half of the `**`, rounded down.",
        markdown_link_count count All "Links: `](`.",
        url_count count All "http:// and https:// before what is no white space, and www. before an alphanumeric character and not after one or a slash; in any case.",
        email_count count All "@ after one of A to Z, a to z, 0 to 9, _ . + - and before parts, with a dot between them, of A to Z, a to z, 0 to 9 and -, if one after the first begins with a letter.",
        emoji_count count All "Emoji: characters with Emoji_Presentation but no modifiers of the skin, and others with Emoji that U+FE0F follows.",
        emoticon_count count All "Emoticons, after white space or at the start: one of : ; =, perhaps one of - ^ ', one of ) ( D P p O o 3 / \\ | ] [, and then no alphanumeric character or slash.",
        math_count count All "Dollar signs before a letter A to Z or a to z or a backslash, \\( and \\[.",
    }
    Lexical {
        word_length_mean letters Words "Mean characters of a word.",
        word_length_std letters Words "Standard deviation of the characters of a word.",
        word_length_max count Words "Characters of the longest word.",
        short_word_share share Words "Words of at most 3 characters (in Chinese 1).",
        long_word_share share Words "Words of at least 7 characters (in Chinese 3).",
        very_long_word_share share Words "Words of at least 11 characters (in Chinese 4).",
        type_count words Words "Types.",
        type_token_ratio share Words "Types a word.",
        root_ttr root Words "Types over the square root of words.",
        log_ttr share Words "Logarithm of types over that of words (Herdan's C); 1 for one word.",
        mattr_50 share Words "Mean types a word over all windows of 50 words; of the whole below 50.",
        hapax_share share Words "Types that occur once, a word.",
        dislegomena_share share Words "Types that occur twice, a word.",
        distinct_2 share Words "Different pairs of types in a row among all pairs.",
        distinct_3 share Words "Different triples of types in a row among all triples.",
        word_entropy bits Words "Shannon entropy of the types.",
        word_entropy_share share Words "Shannon entropy of the types over the logarithm of words; 1 for one word.",
        max_word_share share Words "The most frequent type among the words.",
        yule_k yule Words "Yule's K: 10⁴ (Σ c² − n) / n², c the count of a type, n words.",
        adjacent_repeat_count count Words "Words of the same type as the word before.",
        sentence_start_repeat_share share Words "Sentences that begin with the type another one before began with, among those with words.",
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
        particle_share share Chinese "Structural, aspect and final particles, 的, 了, 着, 吗, 呢 and the like, among the words.",
        contraction_share share English "Words that end in an apostrophe and s, t, re, ve, ll, d or m (possessives too), among the words.",
        number_word_share share EnglishChinese "Number words, words that begin with a character of category N and, in Chinese, words of nothing but 〇零一二三四五六七八九十百千万萬亿億两兩第, among the words.",
    }
    Punctuation {
        punctuation_count characters All "Marks.",
        punctuation_share share All "Marks among the characters that are not white space.",
        question_mark_count count All "Question marks.",
        exclamation_mark_count count All "Exclamation marks.",
        comma_count count All "Commas.",
        period_count count All "Periods.",
        semicolon_count count All "Semicolons.",
        colon_count count All "Colons.",
        ellipsis_count count All "Runs of three or more periods, and runs of ….",
        quote_count count All "\" “ ” „ « » 「 」 『 』 and ＂.",
        apostrophe_count count All "' and ’.",
        hyphen_count count All "- and ‐.",
        dash_count count All "– and — and ―.",
        slash_count count All "/ and ／.",
        parenthesis_count count All "( ) （ ）.",
        bracket_count count All "[ ] { } 【 】 ［ ］ ｛ ｝ 《 》 〈 〉.",
        symbol_count count All "Characters of category S without Emoji_Presentation.",
        commas_per_sentence per_sentence All "Commas a sentence.",
        question_sentence_share share All "Sentences with a question mark after their last alphanumeric character, or ՞ anywhere.",
        exclamation_sentence_share share All "Sentences with an exclamation mark after their last alphanumeric character.",
        ends_with_mark yes All "Whether the last character is a question mark, an exclamation mark, a period or …, when these are left out at the end: \" ' ” ’ » 」 』 ) ） ] 】 》.",
        repeated_mark_count count All "Runs of two or more question marks (but ;) and exclamation marks.",
    }
    Orthography {
        letter_share share All "Letters among the characters that are not white space.",
        uppercase_share share All "Uppercase letters among the letters.",
        digit_share share All "Decimal digits among the characters that are not white space.",
        number_count count All "Numbers: runs of digits, with single . and , between digits.",
        year_count count All "Numbers from 1500 to 2100 of four digits 0 to 9.",
        ordinal_count count English "Numbers with st, nd, rd or th right after them, in any case, and no alphanumeric character after that.",
        non_ascii_share share All "Characters beyond ASCII among the characters that are not white space.",
        han_share share All "Han letters among the letters.",
        latin_share share All "Latin letters among the letters.",
        full_width_share share All "Marks from U+3000 to U+303F and from U+FF00 to U+FFEF among the marks.",
        all_caps_word_count count Spaced "Words of two or more letters, all of them uppercase.",
        title_case_share share Spaced "Words that begin with an uppercase letter and have no other uppercase one, among the words.",
        sentence_capital_share share Spaced "Sentences whose first letter is uppercase, among those whose first letter is uppercase or lower case.",
        begins_lower_case yes Spaced "Whether the first letter is lower case.",
        elongation_count count All "Runs of three or more of the same letter in the same case.",
    }
    Readability {
        syllables_per_word syllables English "Mean syllables of a word. Of its letters a to z: groups of aeiouy, less one for an e at the end that is not le or ye, if another is left; 1 for up to three letters; at least 1.",
        polysyllable_share share English "Words of three or more syllables among the words.",
        flesch_reading_ease ease English "206.835 − 1.015 words/sentences − 84.6 syllables/words.",
        flesch_kincaid_grade grade English "0.39 words/sentences + 11.8 syllables/words − 15.59.",
        gunning_fog grade English "0.4 (words/sentences + 100 polysyllables/words).",
        smog_index grade English "1.043 √(30 polysyllables/sentences) + 3.1291.",
        coleman_liau_index grade English "5.88 letters of words/words − 29.6 sentences/words − 15.8.",
        automated_readability_index grade English "4.71 characters of words/words + 0.5 words/sentences − 21.43.",
        lix index Spaced "words/sentences + 100 words longer than 6 characters / words.",
        rix per_sentence Spaced "Words longer than 6 characters a sentence.",
        clause_chars_mean mean_characters Chinese "Mean characters of a clause: what ， ； ： 。 ！ ？ … , ; : ! ? and `\\n` part, without the white space at its ends, if it has an alphanumeric character.",
        clauses_per_sentence per_sentence Chinese "Clauses a sentence.",
        common_character_share share Chinese "Characters of GB 2312's first level (3,755) among the Han letters.",
        four_character_word_share share Chinese "Words of four Han letters among the words.",
    }
    Sentiment {
        vader_negative share English "VADER: share of negative valence.",
        vader_neutral share English "VADER: share of neutral words.",
        vader_positive share English "VADER: share of positive valence.",
        vader_compound compound English "VADER: normalised sum of valences.",
    }
    Interaction {
        earlier_turn_count count All "Messages before the last user message, but for the system's.",
        user_chars_ratio ratio All "Characters over those of the last user message without the white space at its ends.",
        history_chars_ratio ratio All "Characters over the mean of the assistant's messages before the last user message, without the white space at their ends.",
        user_overlap_share share All "Types that the last user message has too, among the types.",
        user_coverage_share share All "Types of the last user message that the response has too, among its types.",
        history_overlap_share share All "Types that messages before the last user message (but for the system's) have too, among the types; not defined without such messages.",
        new_type_share share All "Types that no message of the prompt has, among the types; not defined without messages.",
        copied_pair_share share All "Different pairs of types in a row that a message of the prompt has in a row too, among the different pairs; not defined without messages.",
        asks_back yes All "Whether both the response and the last user message have a question mark.",
    }
}

features! {
    /// The features of a language model, in the order of their values: what `polyalign.lm` computes. In a reference that
    /// has them they come after [`FEATURES`].
    LM_FEATURES
    /// Their places.
    LmId
    Lm {
        unconditional_nll_mean nats All "Mean surprisal of a token without the prompt.",
        unconditional_surprisal_std nats All "Standard deviation of the tokens' surprisals without the prompt.",
        unconditional_surprisal_max nats All "The largest surprisal of a token without the prompt.",
        conditional_nll_mean nats All "Mean surprisal of a token after the prompt.",
        conditional_surprisal_std nats All "Standard deviation of the tokens' surprisals after the prompt.",
        conditional_surprisal_max nats All "The largest surprisal of a token after the prompt.",
        gain_per_token gain All "How much less a token surprises after the prompt than without, on average.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn names_are_unique_and_every_feature_is_described() {
        let all = || FEATURES.iter().chain(LM_FEATURES);
        let names: HashSet<_> = all().map(|feature| feature.name).collect();
        assert_eq!(names.len(), FEATURES.len() + LM_FEATURES.len());
        assert!(FEATURES.len() >= 110);
        for feature in all() {
            assert!(feature.definition.ends_with('.') && feature.scale > 0.0, "{}", feature.name);
        }
        assert!(FEATURES.is_sorted_by_key(|feature| feature.group as u8), "groups in order");
    }
}
