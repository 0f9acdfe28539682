use super::{Response, Values, matches};
use polyalign::features::Language;
use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

type Classes = HashMap<&'static str, HashSet<&'static str>>;

/// By language, the classes of each word.
static LISTS: LazyLock<HashMap<&str, Classes>> = LazyLock::new(|| {
    let mut lists: HashMap<&str, Classes> = HashMap::new();
    for line in include_str!("../../../polyalign/src/features/function_words.txt")
        .lines()
        .filter(|line| !line.starts_with('#'))
    {
        let mut fields = line.split_whitespace();
        let (language, class) = (fields.next().unwrap(), fields.next().unwrap());
        for word in fields {
            lists.entry(language).or_default().entry(word).or_default().insert(class);
        }
    }
    lists
});

const CLASSES: &[(&str, &str)] = &[
    ("article", "article_share"),
    ("first_person", "first_person_share"),
    ("second_person", "second_person_share"),
    ("third_person", "third_person_share"),
    ("demonstrative", "demonstrative_share"),
    ("question_word", "question_word_share"),
    ("preposition", "preposition_share"),
    ("conjunction", "conjunction_share"),
    ("connective", "connective_share"),
    ("auxiliary", "auxiliary_share"),
    ("modal", "modal_share"),
    ("negation", "negation_share"),
    ("intensifier", "intensifier_share"),
    ("hedge", "hedge_share"),
    ("interjection", "interjection_share"),
    ("politeness", "politeness_share"),
    ("particle", "particle_share"),
];

const FUNCTION: &[&str] = &[
    "article",
    "first_person",
    "second_person",
    "third_person",
    "demonstrative",
    "question_word",
    "preposition",
    "conjunction",
    "auxiliary",
    "modal",
    "negation",
    "particle",
    "other",
];

pub fn fill(response: &Response<'_>, values: &mut Values) {
    let types = &response.types;
    let classes: Vec<HashSet<&str>> = types.iter().map(|word| classes(word, response.language)).collect();
    let of = |class: &str| classes.iter().filter(|classes| classes.contains(class)).count();
    for (class, feature) in CLASSES {
        values.share(feature, of(class), types.len());
    }
    let is_function = |classes: &HashSet<&str>| FUNCTION.iter().any(|class| classes.contains(class));
    values.share(
        "stopword_share",
        classes.iter().filter(|classes| is_function(classes)).count(),
        types.len(),
    );
    let content =
        response.counts.keys().filter(|word| !is_function(&self::classes(word, response.language))).count();
    values.share("content_type_share", content, response.counts.len());
    let contractions = types.iter().filter(|word| matches("['’](?:s|t|re|ve|ll|d|m)$", word)).count();
    values.share("contraction_share", contractions, types.len());
    let number = |(word, classes): &(&String, &HashSet<&str>)| {
        let numerals = matches("^[〇零一二三四五六七八九十百千万萬亿億两兩第]+$", word);
        classes.contains("number_word")
            || matches(r"^\p{N}", word)
            || numerals && response.language == Language::Chinese
    };
    values.share("number_word_share", types.iter().zip(&classes).filter(number).count(), types.len());
}

fn classes(word: &str, language: Language) -> HashSet<&'static str> {
    match language {
        Language::English => english(&word.replace('’', "'")),
        Language::Chinese => LISTS["zh"].get(word).cloned().unwrap_or_default(),
        _ => HashSet::new(),
    }
}

/// The word's classes, and those of the parts of a contraction.
fn english(word: &str) -> HashSet<&'static str> {
    let listed = |word: &str| LISTS["en"].get(word).cloned().unwrap_or_default();
    let mut classes = listed(word);
    let Some((base, ending)) = word.rsplit_once('\'') else { return classes };
    let base = listed(if ending == "t" { base.strip_suffix('n').unwrap_or(base) } else { base });
    let is_pronoun = ["first_person", "second_person", "third_person", "demonstrative", "question_word"];
    match ending {
        "t" => classes.insert("negation"),
        "m" | "re" | "ve" => classes.insert("auxiliary"),
        "ll" | "d" => classes.insert("modal"),
        "s" if is_pronoun.iter().any(|class| base.contains(class)) => classes.insert("auxiliary"),
        "s" => false,
        _ => return classes,
    };
    &classes | &base
}
