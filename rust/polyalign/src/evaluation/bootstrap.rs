//! Sums over groups of rows, drawn again and again.

use crate::error::unless_stopped;
use crate::{Error, Result};
use rayon::prelude::*;
use std::sync::atomic::AtomicBool;

/// The sums of the columns of `[groups, columns]` over as many groups, drawn with replacement: `[draws, columns]`.
///
/// A draw depends on the seed, its number and the number of groups alone. Columns are added up in the order of groups.
pub fn resampled_sums(
    sums: &[f64],
    columns: usize,
    draws: usize,
    seed: u64,
    stop: &AtomicBool,
) -> Result<Vec<f64>> {
    if columns == 0 || !sums.len().is_multiple_of(columns) {
        return Err(Error::Input(format!("{} values in rows of {columns}", sums.len())));
    }
    let groups = sums.len() / columns;
    let draw = |(number, into): (usize, &mut [f64])| -> Result<()> {
        unless_stopped(stop)?;
        let mut random = SplitMix(mixed(seed) ^ mixed(number as u64 + 1));
        let mut times = vec![0_u32; groups];
        for _ in 0..groups {
            times[random.below(groups as u64) as usize] += 1;
        }
        for (times, row) in times.iter().zip(sums.chunks_exact(columns)).filter(|(times, _)| **times > 0) {
            for (sum, value) in into.iter_mut().zip(row) {
                *sum += f64::from(*times) * value;
            }
        }
        Ok(())
    };
    let mut found = vec![0.0; draws * columns];
    found.par_chunks_exact_mut(columns).enumerate().try_for_each(draw)?;
    Ok(found)
}

/// Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014.
struct SplitMix(u64);

impl SplitMix {
    fn below(&mut self, count: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        ((u128::from(mixed(self.0)) * u128::from(count)) >> 64) as u64
    }
}

const fn mixed(number: u64) -> u64 {
    let number = (number ^ number >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let number = (number ^ number >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    number ^ number >> 31
}

#[cfg(test)]
mod tests {
    use super::*;

    static GO_ON: AtomicBool = AtomicBool::new(false);

    #[test]
    fn as_many_groups_are_drawn_as_there_are() {
        let found = resampled_sums(&[1.0, 0.0, 1.0, 5.0, 1.0, 9.0], 2, 300, 7, &GO_ON).unwrap();
        assert!(found.chunks(2).all(|row| row[0] == 3.0 && (0.0..=27.0).contains(&row[1])));
        let mean = found.chunks(2).map(|row| row[1]).sum::<f64>() / 300.0;
        assert!((mean - 14.0).abs() < 1.5, "{mean}");
    }

    #[test]
    fn draws_of_another_seed_are_others() {
        let sums: Vec<f64> = (0..50).map(f64::from).collect();
        let [a, b] = [1, 2].map(|seed| resampled_sums(&sums, 1, 40, seed, &GO_ON).unwrap());
        assert_ne!(a, b);
        // Each draw is another one, and the first ones are the same of however many.
        assert!(a.windows(2).any(|pair| pair[0] != pair[1]));
        assert_eq!(resampled_sums(&sums, 1, 10, 1, &GO_ON).unwrap(), a[..10]);
    }

    #[test]
    fn stopped_and_unfit() {
        let stop = AtomicBool::new(true);
        assert_eq!(resampled_sums(&[1.0], 1, 5, 0, &stop).unwrap_err().to_string(), "interrupted");
        assert!(resampled_sums(&[1.0], 2, 5, 0, &GO_ON).is_err());
        assert_eq!(resampled_sums(&[], 1, 2, 0, &GO_ON).unwrap(), [0.0, 0.0]);
    }
}
