//! Which words, and how varied.

use super::analysis::Analysis;
use super::registry::Id;
use super::row::{Row, entropy, n_log2_n};
use super::sequence::{Numbering, Sequence};
use super::words::Lengths;
use crate::Result;
use std::sync::atomic::AtomicBool;

/// Words of a window of the moving-average type-token ratio.
const WINDOW: usize = 50;

/// Working memory.
#[derive(Default)]
pub(super) struct LexicalScratch {
    triples: Numbering,
    window: Vec<u8>,
}

pub(super) fn fill(
    of: &Analysis,
    scratch: &mut LexicalScratch,
    row: &mut Row<'_>,
    stop: &AtomicBool,
) -> Result<()> {
    characters(of, row);
    if of.words.all == 0 {
        row.count(Id::type_count, 0);
        row.count(Id::adjacent_repeat_count, 0);
        return Ok(());
    }
    word_lengths(&of.words.lengths, row);
    types(&of.sequence, row);
    diversity(of, scratch, row, stop)
}

fn characters(of: &Analysis, row: &mut Row<'_>) {
    let totals = &of.characters.totals;
    row.ratio(Id::char_type_share, totals.visible_types, totals.visible);
    if totals.visible > 0 {
        row.set(Id::char_entropy, entropy(totals.visible_logs, totals.visible));
    }
}

fn word_lengths(lengths: &Lengths, row: &mut Row<'_>) {
    let Lengths { all, short, long, very_long } = *lengths;
    row.set(Id::word_length_mean, all.mean());
    row.set(Id::word_length_std, all.std());
    row.set(Id::word_length_max, all.greatest());
    row.ratio(Id::short_word_share, short, all.n);
    row.ratio(Id::long_word_share, long, all.n);
    row.ratio(Id::very_long_word_share, very_long, all.n);
}

fn types(sequence: &Sequence, row: &mut Row<'_>) {
    let (n, types) = (sequence.len() as u32, sequence.counts.len() as u32);
    let [words, kinds] = [n, types].map(f64::from);
    row.count(Id::type_count, types);
    row.ratio(Id::type_token_ratio, types, n);
    row.set(Id::root_ttr, kinds / words.sqrt());
    let share_of_log = |value: f64| if n > 1 { value / libm::log2(words) } else { 1.0 };
    row.set(Id::log_ttr, share_of_log(libm::log2(kinds)));
    let (mut once, mut twice, mut most, mut squares, mut logs) = (0, 0, 0, 0_u64, 0.0);
    for &count in &sequence.counts {
        once += u32::from(count == 1);
        twice += u32::from(count == 2);
        most = most.max(count);
        squares += u64::from(count) * u64::from(count);
        logs += n_log2_n(count);
    }
    row.ratio(Id::hapax_share, once, n);
    row.ratio(Id::dislegomena_share, twice, n);
    row.ratio(Id::max_word_share, most, n);
    let entropy = entropy(logs, n);
    row.set(Id::word_entropy, entropy);
    row.set(Id::word_entropy_share, share_of_log(entropy));
    row.set(Id::yule_k, 1e4 * (squares - u64::from(n)) as f64 / (words * words));
}

fn diversity(
    of: &Analysis,
    scratch: &mut LexicalScratch,
    row: &mut Row<'_>,
    stop: &AtomicBool,
) -> Result<()> {
    let sequence = &of.sequence;
    let n = sequence.len() as u32;
    row.set(Id::mattr_50, moving_average(sequence, &mut scratch.window));
    row.ratio(Id::distinct_2, sequence.pairs.len(), n - 1);
    row.ratio(Id::distinct_3, sequence.triples(&mut scratch.triples, stop)?, n.saturating_sub(2));
    let repeats = sequence.types.windows(2).filter(|pair| pair[0] == pair[1]).count();
    row.count(Id::adjacent_repeat_count, repeats as u32);
    row.ratio(Id::sentence_start_repeat_share, of.sentences.repeated, of.sentences.worded);
    Ok(())
}

/// Types a word, averaged over all windows; of the whole if there is no full window.
fn moving_average(sequence: &Sequence, window: &mut Vec<u8>) -> f64 {
    let words = &sequence.types;
    if words.len() <= WINDOW {
        return sequence.counts.len() as f64 / words.len() as f64;
    }
    window.clear();
    window.resize(sequence.counts.len(), 0);
    let (mut types, mut total) = (0_u64, 0_u64);
    for (at, &word) in words.iter().enumerate() {
        if at >= WINDOW {
            let count = &mut window[words[at - WINDOW] as usize];
            *count -= 1;
            types -= u64::from(*count == 0);
        }
        let count = &mut window[word as usize];
        types += u64::from(*count == 0);
        *count += 1;
        if at + 1 >= WINDOW {
            total += types;
        }
    }
    total as f64 / (WINDOW * (words.len() - WINDOW + 1)) as f64
}
