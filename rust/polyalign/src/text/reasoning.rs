//! Which part of a response is its answer: the one rule that buckets, references, scores, critics and rewards share.

use memchr::memmem::Finder;
use std::sync::LazyLock;

const OPEN: &str = "<think>";
const CLOSE: &str = "</think>";

/// Where reasoning ends. To make what searches costs more than to search a short response.
static CLOSES: LazyLock<Finder<'_>> = LazyLock::new(|| Finder::new(CLOSE));

/// Bytes of a response that are leading reasoning and the white space around it.
///
/// Reasoning is a leading `<think>…</think>`; without `</think>`, all of it: a response that was cut while it reasoned
/// answers nothing. `</think>` alone ends reasoning too, as of models whose template puts `<think>` into the prompt,
/// unless it stands in quotes, where the response speaks of it. What is left begins with no reasoning.
///
/// ```
/// # use polyalign::text::{answer, reasoning};
/// assert_eq!(answer("<think>It is over there.</think>\n\nThere."), "There.");
/// assert_eq!(answer("It is over there.\n</think>\n\nThere."), "There.");
/// assert_eq!(answer("<think>It is over"), "");
/// assert_eq!(answer("Close it with `</think>`."), "Close it with `</think>`.");
/// assert_eq!(reasoning("There."), 0);
/// ```
pub fn reasoning(response: &str) -> usize {
    // Nearly all responses end here.
    if !response.trim_start().starts_with(OPEN) && CLOSES.find(response.as_bytes()).is_none() {
        return 0;
    }
    let mut start = 0;
    loop {
        match leading(&response[start..]) {
            0 => return start,
            bytes => start += bytes,
        }
    }
}

/// What follows the reasoning of a response.
pub fn answer(response: &str) -> &str {
    &response[reasoning(response)..]
}

/// Bytes up to the end of the first reasoning.
fn leading(rest: &str) -> usize {
    let opens = rest.trim_start().starts_with(OPEN);
    let Some(close) = CLOSES.find(rest.as_bytes()) else {
        return if opens { rest.len() } else { 0 };
    };
    let before = &rest[..close];
    let spoken_of = before.ends_with(['`', '"', '\'', '“', '‘', '「']) || before.contains(OPEN);
    if !opens && spoken_of {
        return 0;
    }
    rest.len() - rest[close + CLOSE.len()..].trim_start().len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn answers_begin_where_reasoning_ends() {
        for (response, expected) in [
            ("There.", "There."),
            ("  There. ", "  There. "),
            ("", ""),
            ("<think></think>There.", "There."),
            (" <think>\nWhere?\n</think> \n There. ", "There. "),
            ("Where?</think>There.", "There."),
            ("</think>There.", "There."),
            ("<think>Where?", ""),
            ("<think>Where?</think>", ""),
            ("Where?</think>", ""),
            ("<think>a</think>\n<think>b</think>There.", "There."),
            ("It says </thinking>.", "It says </thinking>."),
            ("Write <think>, then </think>.", "Write <think>, then </think>."),
            ("The tag '</think>' ends it.", "The tag '</think>' ends it."),
            ("先想。</think>\n\n在那边。", "在那边。"),
        ] {
            assert_eq!(answer(response), expected, "{response:?}");
        }
    }

    proptest! {
        #[test]
        fn an_answer_is_its_own(parts in prop::collection::vec("<think>|</think>|`| |\n|a|想", 0..12)) {
            let response = parts.concat();
            let once = answer(&response);
            prop_assert!(response.ends_with(once));
            prop_assert_eq!(answer(once), once);
        }
    }
}
