use super::punctuation::{GREEK_QUESTION, QUESTION};
use super::{Response, Values, characters, lower, matches, mean};
use polyalign::records::record::Message;
use std::collections::HashSet;
use unicode_segmentation::UnicodeSegmentation;

pub fn fill(response: &Response<'_>, prompt: &[Message<'_>], values: &mut Values) {
    let last = prompt.iter().rposition(|message| message.role == "user");
    let user = last.map(|last| prompt[last].content.trim());
    let earlier: Vec<&Message<'_>> =
        prompt[..last.unwrap_or(prompt.len())].iter().filter(|message| message.role != "system").collect();
    values.count("earlier_turn_count", earlier.len());
    let answers: Vec<usize> = (earlier.iter())
        .filter(|message| message.role == "assistant")
        .map(|message| characters(message.content.trim()))
        .collect();
    let usual = mean(&answers);
    values.put(
        "history_chars_ratio",
        if usual > 0.0 { characters(response.text) as f64 / usual } else { f64::NAN },
    );

    let own: HashSet<String> = types(response.text).into_iter().collect();
    let past: HashSet<String> = earlier.iter().flat_map(|message| types(message.content)).collect();
    let known: HashSet<String> = prompt.iter().flat_map(|message| types(message.content)).collect();
    if let Some(user) = user {
        let asked: HashSet<String> = types(user).into_iter().collect();
        values.share("user_chars_ratio", characters(response.text), characters(user));
        values.share("user_overlap_share", own.intersection(&asked).count(), own.len());
        values.share("user_coverage_share", own.intersection(&asked).count(), asked.len());
        let asks = |text: &str| matches(QUESTION, text) || matches(GREEK_QUESTION, text);
        values.yes("asks_back", Some(asks(response.text) && asks(user)));
    }
    if !earlier.is_empty() {
        values.share("history_overlap_share", own.intersection(&past).count(), own.len());
    }
    if prompt.is_empty() {
        return;
    }
    values.share("new_type_share", own.difference(&known).count(), own.len());

    let pairs = |text: &str| types(text).windows(2).map(<[String]>::to_vec).collect::<HashSet<_>>();
    let own_pairs = pairs(response.text);
    let known_pairs: HashSet<Vec<String>> =
        prompt.iter().flat_map(|message| pairs(message.content)).collect();
    values.share("copied_pair_share", own_pairs.intersection(&known_pairs).count(), own_pairs.len());
}

/// In order, in whatever language.
fn types(text: &str) -> Vec<String> {
    text.unicode_words().map(lower).collect()
}
