//! Sliced Wasserstein distance: the mean over directions of a one-dimensional one.

use super::gemm::{View, product_f64_parallel};
use super::{Matrix, invalid, same_dimension, unless_stopped};
use crate::Result;
use crate::distance::samples::quantile_distance;
use rayon::prelude::*;
use std::sync::atomic::AtomicBool;

/// Directions projected on at a time: memory does not grow with their number.
const BLOCK: usize = 32;

/// Directions `[count, columns]`, uniform on the sphere; the same for the same seed.
pub fn directions(count: usize, columns: usize, seed: u64) -> Vec<f64> {
    let mut state = seed;
    let mut all = Vec::with_capacity(count * columns);
    for _ in 0..count {
        let direction: Vec<f64> = (0..columns).map(|_| gaussian(&mut state)).collect();
        let norm = super::dot(&direction, &direction).sqrt();
        all.extend(direction.iter().map(|value| value / norm));
    }
    all
}

/// (mean over the directions of W_p^p of the projections)^(1/p), p = 1 or 2.
///
/// `directions` is `[count, columns]`.
pub fn sliced_wasserstein(
    x: Matrix<'_>,
    y: Matrix<'_>,
    directions: &[f64],
    p: u32,
    stop: &AtomicBool,
) -> Result<f64> {
    same_dimension(x, y)?;
    if !matches!(p, 1 | 2) {
        return Err(invalid(format!("p is {p}: it must be 1 or 2")));
    }
    if directions.is_empty() || !directions.len().is_multiple_of(x.columns) {
        return Err(invalid(format!(
            "{} numbers are not directions of {} each",
            directions.len(),
            x.columns
        )));
    }
    if directions.iter().any(|value| !value.is_finite()) {
        return Err(invalid("the directions must be finite".into()));
    }
    let centre = y.mean();
    let sides = [x.centred(&centre), y.centred(&centre)];
    let mut total = 0.0;
    for directions in directions.chunks(BLOCK * x.columns) {
        let distances = along(&sides, View::new(directions, x.columns), p, stop)?;
        total += distances.iter().sum::<f64>();
    }
    let mean = total / (directions.len() / x.columns) as f64;
    Ok(if p == 1 { mean } else { mean.sqrt() })
}

/// W_p^p of the projections on each direction.
fn along(sides: &[Vec<f64>; 2], directions: View<'_, f64>, p: u32, stop: &AtomicBool) -> Result<Vec<f64>> {
    let project = |side: &Vec<f64>| -> Result<Vec<f64>> {
        let side = View::new(side, directions.columns);
        let mut projected = vec![0.0; side.rows * directions.rows];
        product_f64_parallel(side, directions.transposed(), &mut projected, stop)?;
        Ok(projected)
    };
    let (x, y) = (project(&sides[0])?, project(&sides[1])?);
    let distance = |line: usize| {
        unless_stopped(stop)?;
        let [x, y] = [&x, &y].map(|side| sorted(side.iter().skip(line).step_by(directions.rows)));
        Ok(match p {
            1 => quantile_distance(&x, &y, f64::abs),
            _ => quantile_distance(&x, &y, |difference| difference * difference),
        })
    };
    (0..directions.rows).into_par_iter().map(distance).collect()
}

fn sorted<'a>(values: impl Iterator<Item = &'a f64>) -> Vec<f64> {
    let mut sorted: Vec<f64> = values.copied().collect();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted
}

/// A standard normal number, by Marsaglia's polar method.
fn gaussian(state: &mut u64) -> f64 {
    loop {
        let [u, v] = [uniform(state), uniform(state)];
        let squared = u * u + v * v;
        if squared > 0.0 && squared < 1.0 {
            return u * (-2.0 * libm::log(squared) / squared).sqrt();
        }
    }
}

/// −1 to 1, by SplitMix64.
fn uniform(state: &mut u64) -> f64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
}

#[cfg(test)]
mod tests {
    use super::super::tests::{GO_ON, STOP, two_sets};
    use super::*;
    use proptest::prelude::*;

    /// Each side's values repeated as often as the other side has rows, then matched in order.
    fn oracle(x: Matrix<'_>, y: Matrix<'_>, directions: &[f64], p: u32) -> f64 {
        let lines = directions.chunks_exact(x.columns());
        let count = lines.len() as f64;
        let along = |set: Matrix<'_>, line: &[f64], times: usize| {
            let value =
                |row: usize| set.row(row).iter().zip(line).map(|(&v, d)| f64::from(v) * d).sum::<f64>();
            let mut values: Vec<f64> =
                (0..set.rows()).flat_map(|row| std::iter::repeat_n(value(row), times)).collect();
            values.sort_by(f64::total_cmp);
            values
        };
        let total: f64 = lines
            .map(|line| {
                let (x, y) = (along(x, line, y.rows()), along(y, line, x.rows()));
                x.iter().zip(&y).map(|(x, y)| (x - y).abs().powi(p as i32)).sum::<f64>() / x.len() as f64
            })
            .sum();
        (total / count).powf(1.0 / f64::from(p))
    }

    proptest! {
        #[test]
        fn distances_are_their_definition((columns, x, y) in two_sets(20, 6), seed in any::<u64>(), p in 1_u32..3) {
            let [x, y] = [&x, &y].map(|values| Matrix::new("x", values, columns).unwrap());
            let lines = directions(BLOCK + 7, columns, seed);
            let found = sliced_wasserstein(x, y, &lines, p, &GO_ON).unwrap();
            let expected = oracle(x, y, &lines, p);
            prop_assert!((found - expected).abs() < 1e-11, "{found} {expected}");
            prop_assert_eq!(sliced_wasserstein(x, x, &lines, p, &GO_ON).unwrap(), 0.0);
        }
    }

    #[test]
    fn directions_are_unit_vectors_of_no_preference() {
        let all = directions(4000, 3, 0);
        assert_eq!(all, directions(4000, 3, 0));
        for direction in all.chunks_exact(3) {
            assert!((direction.iter().map(|v| v * v).sum::<f64>() - 1.0).abs() < 1e-12);
        }
        for axis in 0..3 {
            let values = || all.iter().skip(axis).step_by(3);
            assert!((values().sum::<f64>() / 4000.0).abs() < 0.03);
            assert!((values().map(|v| v * v).sum::<f64>() / 4000.0 - 1.0 / 3.0).abs() < 0.03);
        }
    }

    #[test]
    fn what_can_not_be_used_is_an_error() {
        let x = Matrix::new("x", &[1.0, 2.0], 2).unwrap();
        assert!(sliced_wasserstein(x, x, &[1.0, 0.0], 3, &GO_ON).unwrap_err().to_string().contains("p is 3"));
        let stopped = sliced_wasserstein(x, x, &[1.0, 0.0], 1, &STOP);
        assert_eq!(stopped.unwrap_err().to_string(), "interrupted");
        assert!(sliced_wasserstein(x, x, &[1.0], 1, &GO_ON).unwrap_err().to_string().contains("1 numbers"));
    }
}
