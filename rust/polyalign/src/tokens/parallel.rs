//! Work shared among threads of its own: a tokenizer is loaded outside of any pool, and the threads of rayon's own are
//! gone in a forked process.

use std::num::NonZero;
use std::panic::resume_unwind;
use std::thread::{available_parallelism, scope};

/// What `f` makes of each item, in order, where it makes something.
pub(super) fn filter_map<T: Sync, R: Send>(items: &[T], f: impl Fn(&T) -> Option<R> + Sync) -> Vec<R> {
    let threads = available_parallelism().map_or(1, NonZero::get);
    let part = items.len().div_ceil(threads).max(1);
    scope(|scope| {
        let f = &f;
        let parts = items.chunks(part);
        let parts: Vec<_> =
            parts.map(|part| scope.spawn(move || part.iter().filter_map(f).collect::<Vec<R>>())).collect();
        parts.into_iter().flat_map(|part| part.join().unwrap_or_else(|panic| resume_unwind(panic))).collect()
    })
}

/// What both make, at the same time.
pub(super) fn both<A, B: Send>(a: impl FnOnce() -> A, b: impl FnOnce() -> B + Send) -> (A, B) {
    scope(|scope| {
        let b = scope.spawn(b);
        (a(), b.join().unwrap_or_else(|panic| resume_unwind(panic)))
    })
}
