use super::{Response, Values, count, find, matches, visible};

pub fn fill(response: &Response<'_>, values: &mut Values) {
    let (text, sentences) = (response.text, &response.sentences);
    let marks = count(r"[\p{P}\p{S}]", text);
    values.count("punctuation_count", marks);
    values.share("punctuation_share", marks, visible(text).len());
    let commas = count("[,，、]", text);
    values.count("question_mark_count", count("[?？]", text));
    values.count("exclamation_mark_count", count("[!！]", text));
    values.count("comma_count", commas);
    values.count("period_count", count("[.。]", text));
    values.count("semicolon_count", count("[;；]", text));
    values.count("colon_count", count("[:：]", text));
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
    let ending = |pattern| sentences.iter().filter(|sentence| matches(pattern, tail(sentence))).count();
    values.share("question_sentence_share", ending("[?？]"), sentences.len());
    values.share("exclamation_sentence_share", ending("[!！]"), sentences.len());
    let last = text.trim_end_matches(|c: char| "\"'”’»」』)）]】》".contains(c)).chars().last();
    values.yes("ends_with_mark", (!text.is_empty()).then(|| last.is_some_and(|c| ".!?…。！？".contains(c))));
    values.count("repeated_mark_count", count("[!?！？]{2,}", text));
}

/// What follows the last alphanumeric character.
fn tail(sentence: &str) -> &str {
    find(r"[^\p{L}\p{N}]*$", sentence)[0]
}
