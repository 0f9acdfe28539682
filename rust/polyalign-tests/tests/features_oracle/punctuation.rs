use super::{Response, Values, count, find, matches, visible};

pub fn fill(response: &Response<'_>, values: &mut Values) {
    let (text, sentences) = (response.text, &response.sentences);
    let marks = count(r"[\p{P}\p{S}]", text);
    values.count("punctuation_count", marks);
    values.share("punctuation_share", marks, visible(text).len());
    let commas = count("[,，、،՝፣᠂﹐﹑､߸]", text);
    let greek = count(GREEK_QUESTION, text);
    values.count("question_mark_count", count(QUESTION, text) + greek);
    values.count("exclamation_mark_count", count(EXCLAMATION, text));
    values.count("comma_count", commas);
    values.count("period_count", count(PERIOD, text));
    values.count("semicolon_count", count("[;；؛፤﹔]", text) - greek);
    values.count("colon_count", count("[:：፥﹕︓]", text));
    values.count("ellipsis_count", count(r"\.{3,}|…+", text));
    values.count("quote_count", count("[\"“”„«»「」『』＂]", text));
    values.count("apostrophe_count", count("['’]", text));
    values.count("hyphen_count", count("[-‐]", text));
    values.count("dash_count", count("[–—―]", text));
    values.count("slash_count", count("[/／]", text));
    values.count("parenthesis_count", count("[()（）]", text));
    values.count("bracket_count", count(r"[\[\]{}【】［］｛｝《》〈〉]", text));
    values.count("symbol_count", count(r"[\p{S}--\p{Emoji_Presentation}]", text));
    values.share("commas_per_sentence", commas, sentences.len());
    let share = |asks: fn(&str) -> bool| sentences.iter().filter(|sentence| asks(sentence)).count();
    let asks = |sentence: &str| {
        matches(QUESTION, tail(sentence))
            || sentence.contains('՞')
            || matches(r"[[\x{370}-\x{3FF}\x{1F00}-\x{1FFF}]&&\p{Alphabetic}];[^\p{L}\p{N}]*$", sentence)
    };
    values.share("question_sentence_share", share(asks), sentences.len());
    values.share(
        "exclamation_sentence_share",
        share(|sentence| matches(EXCLAMATION, tail(sentence))),
        sentences.len(),
    );
    let end = text.trim_end_matches(|c: char| "\"'”’»」』)）]】》".contains(c));
    let marks = [
        r"[…]$",
        QUESTION_END,
        EXCLAMATION_END,
        PERIOD_END,
        r"[[\x{370}-\x{3FF}\x{1F00}-\x{1FFF}]&&\p{Alphabetic}];$",
    ];
    let ends = marks.into_iter().any(|pattern| matches(pattern, end));
    values.yes("ends_with_mark", (!text.is_empty()).then_some(ends));
    values.count("repeated_mark_count", count("[?？؟\u{37E}՞፧⁇⁈⁉‽⸮﹖︖꘏!！՜߹‼⁈﹗︕]{2,}", text));
}

pub const QUESTION: &str = "[?？؟\u{37E}՞፧⁇⁈⁉‽⸮﹖︖꘏]";
const QUESTION_END: &str = "[?？؟\u{37E}՞፧⁇⁈⁉‽⸮﹖︖꘏]$";
pub const GREEK_QUESTION: &str = r"[[\x{370}-\x{3FF}\x{1F00}-\x{1FFF}]&&\p{Alphabetic}];";
const EXCLAMATION: &str = "[!！՜߹‼⁈﹗︕]";
const EXCLAMATION_END: &str = "[!！՜߹‼⁈﹗︕]$";
const PERIOD: &str = "[.。۔।॥։።။។᠃།．｡]";
const PERIOD_END: &str = "[.。۔।॥։።။។᠃།．｡]$";

/// What follows the last alphanumeric character.
fn tail(sentence: &str) -> &str {
    find(r"[^\p{L}\p{N}]*$", sentence)[0]
}
