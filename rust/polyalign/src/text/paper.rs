//! Words by the paper's rule.

use super::class::ClassTable;
use std::sync::LazyLock;

const LETTER: u8 = 1;
const DIGIT: u8 = 2;
const HAN: u8 = 3;
const SKIPPED: u8 = 4;
// 0, the rest, are marks: a word each.

/// Python's `\w` is `str.isalnum` or `_`, its `\s` `str.isspace`.
static CLASSES: LazyLock<ClassTable> = LazyLock::new(|| {
    ClassTable::new(&[
        (r"[\p{L}\p{N}_]", SKIPPED),
        (r"[\p{White_Space}\x1C-\x1F]", SKIPPED),
        (r"\p{Nd}", DIGIT),
        (r"[\u3400-\u4DBF\u4E00-\u9FFF\uF900-\uFAFF]", HAN),
        (r"[A-Za-z]", LETTER),
    ])
});

/// Number of words by the paper's rule: matches of
/// `[A-Za-z]+(?:'[A-Za-z]+)?|\d+|[㐀-䶿一-鿿豈-﫿]|[^\w\s]` as Python's `re` finds them.
///
/// The paper normalises white space first; that neither joins nor parts words, so it is not done
/// here. Letters outside ASCII and Han belong to no word, as in the paper.
///
/// ```
/// # use polyalign::text::count_words_paper;
/// assert_eq!(count_words_paper("Don't  panic: 42"), 4);
/// assert_eq!(count_words_paper("1997年。"), 3);
/// ```
pub fn count_words_paper(text: &str) -> u32 {
    let classes = &*CLASSES;
    let mut words = 0u32;
    let mut last = SKIPPED;
    // Whether the run of letters at hand may still take an apostrophe and more letters.
    let mut may_join = false;
    // Whether the last character is an apostrophe that does so if a letter follows.
    let mut joining = false;
    for c in text.chars() {
        let class = classes.get(c);
        let starts = match class {
            SKIPPED => false,
            LETTER | DIGIT => class != last,
            _ => true,
        };
        words += u32::from(starts);
        if class == LETTER {
            // The apostrophe was counted as a mark and these letters as a run: neither is one.
            words -= 2 * u32::from(joining);
            may_join = may_join_after(starts, joining, may_join);
        }
        joining = c == '\'' && last == LETTER && may_join;
        last = class;
    }
    words
}

/// A new run may join once; the run that joined may not.
fn may_join_after(starts: bool, joining: bool, may_join: bool) -> bool {
    if starts { !joining } else { may_join }
}
