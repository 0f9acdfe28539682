//! How fast a reference is built from made-up rows, and how much memory that takes.
//!
//! ```text
//! cargo run --release --example reference_memory -- ROWS [BUCKETS] [THREADS] [ROWS_AT_ONCE]
//! ```

mod common;

use common::say;
use polyalign::features::bins::Bins;
use polyalign::reference::{Builder, Reference, Settings, Variant, features};
use std::time::Instant;

/// Rows that are made once and used again, from another place each time.
const POOL: usize = 1 << 12;

fn main() -> polyalign::Result<()> {
    let numbers: Vec<usize> = std::env::args().skip(1).filter_map(|arg| arg.parse().ok()).collect();
    let number = |at: usize, default: usize| numbers.get(at).copied().unwrap_or(default);
    let (rows, buckets, threads) = (number(0, 1_000_000), number(1, 500), number(2, 2));
    let at_once = number(3, 64).clamp(1, POOL);
    let builder = Builder::new(Settings::default())?;
    let numbers: Vec<usize> = (0..buckets)
        .map(|at| builder.bucket(&["en", "single", &format!("family{at}"), "short"]))
        .collect::<polyalign::Result<_>>()?;
    let pool = pool();
    let width = features(Variant::Default).len();
    let started = Instant::now();
    std::thread::scope(|scope| {
        let add = |thread: usize| -> polyalign::Result<()> {
            let mut random = Random(thread as u64);
            let mut keys = vec![0; at_once];
            for _ in 0..rows.div_ceil(threads * at_once) {
                let bucket = numbers[random.below(buckets)];
                let at = random.below(POOL - at_once + 1) * width;
                keys.iter_mut().for_each(|key| *key = random.word());
                builder.add_rows(bucket, &keys, &pool[at..at + at_once * width])?;
            }
            Ok(())
        };
        let all: Vec<_> = (0..threads).map(|thread| scope.spawn(move || add(thread))).collect();
        all.into_iter()
            .try_for_each(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })?;
    let seconds = started.elapsed().as_secs_f64();
    say!("{rows} rows of {width} features, {buckets} buckets, {threads} threads, {at_once} at once:");
    say!(
        "added in {seconds:.2} s, {:.3} µs a row and thread; {}",
        1e6 * seconds * threads as f64 / rows as f64,
        memory()
    );
    let started = Instant::now();
    let reference = builder.finish()?;
    say!("finished in {:.2} s; {}", started.elapsed().as_secs_f64(), memory());
    let path = std::env::temp_dir().join(format!("reference_memory.{}.safetensors", std::process::id()));
    let started = Instant::now();
    reference.save(&path)?;
    say!("saved in {:.2} s; {}", started.elapsed().as_secs_f64(), memory());
    drop(reference);
    let started = Instant::now();
    let loaded = Reference::load(&path);
    let bytes = std::fs::metadata(&path).map_or(0, |file| file.len());
    // Whatever came of it, the file goes.
    let _ = std::fs::remove_file(&path);
    say!(
        "{} rows, {bytes} bytes, loaded in {:.2} s; {}",
        loaded?.rows(),
        started.elapsed().as_secs_f64(),
        memory()
    );
    Ok(())
}

/// Values as features have them: each a few octaves wide.
fn pool() -> Vec<f32> {
    let mut random = Random(1);
    let mut values = Vec::new();
    for _ in 0..POOL {
        for feature in features(Variant::Default) {
            let (u, v) = (random.share(), random.share());
            let wide = (8.0 * u * v).exp2();
            values.push(match feature.bins {
                Bins::Count { .. } => wide.round(),
                Bins::Share { .. } => 1.0 - (1.0 - u * v).sqrt(),
                Bins::Signed { .. } => 30.0 * (u + v - 1.0),
                Bins::Positive { .. } | Bins::Exact => wide,
            } as f32);
        }
    }
    values
}

/// Resident now and at most, where the system says.
fn memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line =
        |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or(" unknown").trim();
    format!("resident {}, at most {}", line("VmRSS:"), line("VmHWM:"))
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ word >> 31
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.word() % bound.max(1) as u64) as usize
    }

    fn share(&mut self) -> f64 {
        (self.word() >> 11) as f64 / (1_u64 << 53) as f64
    }
}
