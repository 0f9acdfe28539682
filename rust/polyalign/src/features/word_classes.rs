//! The closed classes that a word is in: pronouns, modals, negations.

use super::characters::Kind;
use super::language::Language;
use std::collections::HashMap;
use std::sync::LazyLock;

macro_rules! classes {
    ($($name:ident = $bit:literal $text:literal,)*) => {
        /// The classes a word is in, a bit each.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub(super) struct Classes(pub u32);

        #[allow(missing_docs, reason = "named as the features")]
        impl Classes {
            $(pub const $name: Self = Self(1 << $bit);)*
            /// How many there are.
            pub const COUNT: usize = [$($bit),*].len();

            fn named(name: &str) -> Option<Self> {
                match name {
                    $($text => Some(Self::$name),)*
                    _ => None,
                }
            }
        }
    };
}

classes! {
    ARTICLE = 0 "article",
    FIRST_PERSON = 1 "first_person",
    SECOND_PERSON = 2 "second_person",
    THIRD_PERSON = 3 "third_person",
    DEMONSTRATIVE = 4 "demonstrative",
    QUESTION_WORD = 5 "question_word",
    PREPOSITION = 6 "preposition",
    CONJUNCTION = 7 "conjunction",
    CONNECTIVE = 8 "connective",
    AUXILIARY = 9 "auxiliary",
    MODAL = 10 "modal",
    NEGATION = 11 "negation",
    INTENSIFIER = 12 "intensifier",
    HEDGE = 13 "hedge",
    INTERJECTION = 14 "interjection",
    POLITENESS = 15 "politeness",
    PARTICLE = 16 "particle",
    NUMBER_WORD = 17 "number_word",
    CONTRACTION = 18 "contraction",
    STOPWORD = 19 "other",
}

/// The classes whose words are function words; those of the others are counted as content.
const FUNCTION: u32 = Classes::ARTICLE.0
    | Classes::FIRST_PERSON.0
    | Classes::SECOND_PERSON.0
    | Classes::THIRD_PERSON.0
    | Classes::DEMONSTRATIVE.0
    | Classes::QUESTION_WORD.0
    | Classes::PREPOSITION.0
    | Classes::CONJUNCTION.0
    | Classes::AUXILIARY.0
    | Classes::MODAL.0
    | Classes::NEGATION.0
    | Classes::PARTICLE.0
    | Classes::STOPWORD.0;

impl Classes {
    fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

type Lexicon = HashMap<&'static str, Classes>;

const LISTS: &str = include_str!("function_words.txt");

static ENGLISH: LazyLock<Lexicon> = LazyLock::new(|| lexicon("en"));
static CHINESE: LazyLock<Lexicon> = LazyLock::new(|| lexicon("zh"));

fn lexicon(language: &str) -> Lexicon {
    let mut lexicon = Lexicon::new();
    for line in LISTS.lines() {
        let mut words = line.split(' ');
        if words.next() != Some(language) {
            continue;
        }
        let Some(class) = words.next().and_then(Classes::named) else { continue };
        for word in words {
            let classes = lexicon.entry(word).or_default();
            *classes = classes.with(class);
        }
    }
    lexicon
}

/// Words of nothing else are numbers, and too many to list.
const HAN_NUMERALS: &str = "〇零一二三四五六七八九十百千万萬亿億两兩第";

/// The classes of a word in lower case.
pub(super) fn classes(word: &str, language: Language) -> Classes {
    let mut classes = match language {
        Language::English => english(word),
        Language::Chinese => CHINESE.get(word).copied().unwrap_or_default(),
        Language::Spaced | Language::Other => return Classes::default(),
    };
    let numerals = language == Language::Chinese && word.chars().all(|c| HAN_NUMERALS.contains(c));
    if numerals || word.starts_with(|c| matches!(Kind::of(c), Kind::Digit | Kind::Number)) {
        classes = classes.with(Classes::NUMBER_WORD);
    }
    if classes.0 & FUNCTION != 0 { classes.with(Classes::STOPWORD) } else { classes }
}

/// The classes of a word, and if it is contracted also those of its parts.
fn english(word: &str) -> Classes {
    let known = |word: &str| ENGLISH.get(word).copied().unwrap_or_default();
    let Some((base, ending)) = word.rsplit_once(['\'', '’']) else { return known(word) };
    // The lists have straight apostrophes.
    let whole = if word.contains('’') { known(&word.replace('’', "'")) } else { known(word) };
    let base = match ending {
        "t" => known(base.strip_suffix('n').unwrap_or(base)),
        "m" | "re" | "ve" | "ll" | "d" | "s" => known(base),
        _ => return whole,
    };
    let ending = match ending {
        "t" => Classes::NEGATION,
        "m" | "re" | "ve" => Classes::AUXILIARY,
        "ll" | "d" => Classes::MODAL,
        // Of a possessive and of "is" after a noun alike: only after a pronoun is it certainly the verb.
        _ if base.0 & PRONOUN != 0 => Classes::AUXILIARY,
        _ => Classes::default(),
    };
    whole.with(base).with(ending).with(Classes::CONTRACTION)
}

/// The classes after whose words 's is a verb.
const PRONOUN: u32 = Classes::FIRST_PERSON.0
    | Classes::SECOND_PERSON.0
    | Classes::THIRD_PERSON.0
    | Classes::DEMONSTRATIVE.0
    | Classes::QUESTION_WORD.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_names_a_class() {
        for line in LISTS.lines().filter(|line| !line.starts_with('#')) {
            let class = line.split(' ').nth(1).unwrap();
            assert!(Classes::named(class).is_some(), "{class}");
        }
    }

    #[test]
    fn contractions_have_the_classes_of_their_parts() {
        let has = |word, class: Classes| english(word).0 & class.0 != 0;
        assert!(has("don't", Classes::NEGATION) && has("don't", Classes::AUXILIARY));
        assert!(has("can’t", Classes::MODAL) && has("can't", Classes::NEGATION));
        assert!(has("i'm", Classes::FIRST_PERSON) && has("i'm", Classes::AUXILIARY));
        assert!(has("it's", Classes::AUXILIARY) && !has("john's", Classes::AUXILIARY));
        assert!(has("we'd", Classes::MODAL) && has("john's", Classes::CONTRACTION));
        assert!(!has("o'clock", Classes::CONTRACTION) && !has("hello", Classes::CONTRACTION));
    }

    #[test]
    fn lists_have_no_word_twice() {
        for line in LISTS.lines().filter(|line| !line.starts_with('#')) {
            let mut words: Vec<&str> = line.split(' ').skip(2).collect();
            words.sort_unstable();
            assert!(words.is_sorted_by(|a, b| a < b), "twice: {line}");
        }
    }

    #[test]
    fn chinese_numerals_are_number_words() {
        let is_number = |word| classes(word, Language::Chinese).0 & Classes::NUMBER_WORD.0 != 0;
        assert!(["二十三", "第三", "两个", "三百", "5", "半"].into_iter().all(is_number));
        assert!(!["一样", "十分", "分", "一起"].into_iter().any(is_number));
    }

    #[test]
    fn function_words_are_stopwords() {
        let stop = |word, language| classes(word, language).0 & Classes::STOPWORD.0 != 0;
        assert!(stop("the", Language::English) && stop("的", Language::Chinese));
        assert!(!stop("maybe", Language::English) && !stop("谢谢", Language::Chinese));
        assert!(classes("1,000", Language::English).0 & Classes::NUMBER_WORD.0 != 0);
    }
}
