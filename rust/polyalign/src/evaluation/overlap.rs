//! What an answer has in common with the human's: exact match, F1, and ROUGE-L by the longest common subsequence.

use super::tokens::{Answer, AnswerCutter, Rules, id};
use crate::Result;
use crate::error::unless_stopped;
use rayon::prelude::*;
use std::sync::atomic::AtomicBool;

/// How much of the human's answer an answer has, each of 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Overlap {
    /// Whether both have the same tokens.
    pub equal: bool,
    /// F1 of tokens as multisets.
    pub f1: f64,
    /// F1 of the longest common subsequence.
    pub rouge_l: f64,
}

/// Compares pairs of answers.
pub fn overlaps(pairs: &[(Answer<'_>, Answer<'_>)], rules: Rules, stop: &AtomicBool) -> Result<Vec<Overlap>> {
    let compare = |cutter: &mut AnswerCutter, &(said, wanted): &(Answer<'_>, Answer<'_>)| {
        let mut ids = |answer| {
            let mut found = Vec::new();
            cutter.cut(answer, rules, |token| found.push(id(token)));
            found
        };
        overlap(&ids(said), &ids(wanted), stop)
    };
    pairs.par_iter().map_init(AnswerCutter::default, compare).collect()
}

fn overlap(said: &[u64], wanted: &[u64], stop: &AtomicBool) -> Result<Overlap> {
    unless_stopped(stop)?;
    let f1 = |common: usize| match said.is_empty() || wanted.is_empty() {
        true => f64::from(said.is_empty() && wanted.is_empty()),
        false => 2.0 * common as f64 / (said.len() + wanted.len()) as f64,
    };
    if said == wanted {
        return Ok(Overlap { equal: true, f1: 1.0, rouge_l: 1.0 });
    }
    Ok(Overlap {
        equal: false,
        f1: f1(shared(said, wanted)),
        rouge_l: f1(longest_common_subsequence(said, wanted, stop)?),
    })
}

/// How many tokens both have, each as often as both do.
fn shared(a: &[u64], b: &[u64]) -> usize {
    let [mut a, mut b] = [a, b].map(<[u64]>::to_vec);
    a.sort_unstable();
    b.sort_unstable();
    let (mut a, mut b, mut found) = (&a[..], &b[..], 0);
    while let ([x, rest_of_a @ ..], [y, rest_of_b @ ..]) = (a, b) {
        found += usize::from(x == y);
        if x <= y {
            a = rest_of_a;
        }
        if y <= x {
            b = rest_of_b;
        }
    }
    found
}

/// The length of the longest common subsequence, 64 tokens at a time (Hyyrö, "Bit-parallel LCS-length computation
/// revisited", 2004).
fn longest_common_subsequence(a: &[u64], b: &[u64], stop: &AtomicBool) -> Result<usize> {
    let mut places: Vec<(u64, u32)> = a.iter().copied().zip(0..).collect();
    places.sort_unstable();
    let mut row = vec![u64::MAX; a.len().div_ceil(64)];
    for (number, token) in b.iter().enumerate() {
        if number.is_multiple_of(1024) {
            unless_stopped(stop)?;
        }
        let from = places.partition_point(|(of, _)| of < token);
        let mut here = places[from..].iter().take_while(|(of, _)| of == token).map(|&(_, at)| at as usize);
        let Some(first) = here.next() else { continue };
        let (mut next, mut carry) = (Some(first), false);
        // Before the first place nothing changes.
        for (word, bits) in row.iter_mut().enumerate().skip(first / 64) {
            let mut matches = 0;
            while let Some(at) = next.filter(|at| at / 64 == word) {
                matches |= 1 << (at % 64);
                next = here.next();
            }
            if matches == 0 && !carry {
                if next.is_none() {
                    break;
                }
                continue;
            }
            let hits = *bits & matches;
            let (sum, first_over) = bits.overflowing_add(hits);
            let (sum, second_over) = sum.overflowing_add(u64::from(carry));
            carry = first_over || second_over;
            *bits = sum | (*bits & !matches);
        }
    }
    let last = a.len() % 64;
    let zeros = row.iter().enumerate().map(|(word, bits)| {
        let past = word + 1 == row.len() && last != 0;
        (if past { !bits & ((1 << last) - 1) } else { !bits }).count_ones() as usize
    });
    Ok(zeros.sum())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    static GO_ON: AtomicBool = AtomicBool::new(false);

    /// By the table of all prefixes.
    fn slow(a: &[u64], b: &[u64]) -> usize {
        let mut table = vec![vec![0; b.len() + 1]; a.len() + 1];
        for (i, x) in a.iter().enumerate() {
            for (j, y) in b.iter().enumerate() {
                table[i + 1][j + 1] =
                    if x == y { table[i][j] + 1 } else { table[i + 1][j].max(table[i][j + 1]) };
            }
        }
        table[a.len()][b.len()]
    }

    proptest! {
        #[test]
        fn as_the_table_has_it(
            a in prop::collection::vec(0_u64..6, 0..200),
            b in prop::collection::vec(0_u64..6, 0..200),
        ) {
            prop_assert_eq!(longest_common_subsequence(&a, &b, &GO_ON).unwrap(), slow(&a, &b));
            let mut counts: HashMap<u64, (usize, usize)> = HashMap::new();
            a.iter().for_each(|x| counts.entry(*x).or_default().0 += 1);
            b.iter().for_each(|x| counts.entry(*x).or_default().1 += 1);
            prop_assert_eq!(shared(&a, &b), counts.values().map(|&(x, y)| x.min(y)).sum::<usize>());
        }

        #[test]
        fn many_kinds_of_tokens(
            a in prop::collection::vec(0_u64..300, 0..300),
            b in prop::collection::vec(0_u64..300, 0..300),
        ) {
            prop_assert_eq!(longest_common_subsequence(&a, &b, &GO_ON).unwrap(), slow(&a, &b));
        }
    }

    #[test]
    fn empty_ones() {
        let of = |a: &[u64], b: &[u64]| overlap(a, b, &GO_ON).unwrap();
        assert_eq!(of(&[], &[]), Overlap { equal: true, f1: 1.0, rouge_l: 1.0 });
        assert_eq!(of(&[], &[1]), Overlap { equal: false, f1: 0.0, rouge_l: 0.0 });
        assert_eq!(of(&[1, 2], &[2, 1]), Overlap { equal: false, f1: 1.0, rouge_l: 0.5 });
    }
}
