//! Responses of a target as a set: a bounded sample of them, drawn evenly, beside its humans.

use crate::Result;
use crate::records::record::Record;
use crate::reference::meter::prompt_key;
use crate::reference::{Energy, Set, Term};
use crate::stream::Place;
use std::sync::atomic::AtomicBool;
use twox_hash::XxHash3_64;

/// How many are kept.
const SIZE: usize = 256;

/// Those with the smallest keys, whatever the order they come in.
#[derive(Default)]
pub(crate) struct Together {
    kept: Vec<Kept>,
    /// Keys that are not below it are not wanted any more.
    bound: Option<(u64, u64)>,
}

struct Kept {
    /// A hash of its place, and its place, so that no two are the same.
    key: (u64, u64),
    /// A number of its prompt; `None`: it has none.
    prompt: Option<i64>,
    row: Box<[f32]>,
}

impl Together {
    /// Adds a response with its feature values.
    pub fn add(&mut self, place: Place, record: &Record<'_>, row: &[f32]) {
        let number = u64::from(place.file) << 40 | place.row;
        let key = (XxHash3_64::oneshot(&number.to_le_bytes()), number);
        if self.bound.is_some_and(|bound| key >= bound) {
            return;
        }
        let prompt = (!record.prompt.is_empty()).then(|| prompt_key(record) as i64);
        self.kept.push(Kept { key, prompt, row: row.into() });
        if self.kept.len() >= 2 * SIZE {
            self.cut();
        }
    }

    /// Adds those of another.
    pub fn merge(&mut self, other: Self) {
        self.kept.extend(other.kept);
        self.cut();
    }

    fn cut(&mut self) {
        self.kept.sort_unstable_by_key(|kept| kept.key);
        self.kept.truncate(SIZE);
        self.bound = self.kept.get(SIZE - 1).map(|kept| kept.key);
    }

    /// How far they are from the humans of a target; `None` where there are too few of either.
    ///
    /// # Errors
    /// [`Error::Interrupted`](crate::Error::Interrupted) soon after `stop` is set.
    pub fn energy(&self, term: &Term, target: &str, stop: &AtomicBool) -> Result<Option<Energy>> {
        let kept = &self.kept[..self.kept.len().min(SIZE)];
        let with_prompts = kept.iter().any(|kept| kept.prompt.is_some());
        let rows: Vec<f32> = kept.iter().flat_map(|kept| kept.row.iter().copied()).collect();
        // Responses without a prompt are each to another one.
        let prompts: Vec<i64> = kept.iter().zip(0..).map(|(kept, at)| kept.prompt.unwrap_or(at)).collect();
        let targets = vec![target; kept.len()];
        let own = Set { rows: &rows, targets: &targets, prompts: &prompts };
        let pool = Set { rows: &[], targets: &[], prompts: &[] };
        let mut found = term.compare(own, pool, with_prompts, stop)?.buckets;
        Ok(found.pop().filter(|energy| !energy.energy.is_nan()))
    }
}
