//! Thread pools of chosen sizes, one of each size per process.
//!
//! Whatever the engine computes on rayon's threads runs in one of them, never in rayon's global pool: that one's
//! threads do not survive a fork, and it takes no notice of the number of threads asked for.

use crate::{errors, interrupt};
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};
use std::collections::HashMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// Pools by (process id, size): a pool's threads do not survive a fork, so a forked worker
/// (`datasets` with `num_proc`, `multiprocessing`) gets its own.
///
/// Locked only while the GIL is held, so no other thread can hold it while this one forks.
type Pools = HashMap<(u32, usize), Arc<ThreadPool>>;

static POOLS: Mutex<Option<Pools>> = Mutex::new(None);

/// Asking the system takes longer than counting a sentence.
static CORES: OnceLock<usize> = OnceLock::new();

/// The number of threads to use: `requested`, else `POLYALIGN_NUM_THREADS`, else every core.
pub fn resolve(requested: Option<usize>) -> PyResult<usize> {
    if let Some(threads) = requested.filter(|&threads| threads > 0) {
        return Ok(threads);
    }
    match std::env::var("POLYALIGN_NUM_THREADS") {
        Ok(text) if !text.trim().is_empty() => {
            text.trim().parse().ok().filter(|&threads| threads > 0).ok_or_else(|| {
                PyValueError::new_err(format!(
                    "POLYALIGN_NUM_THREADS is {text:?}: it must be a whole number of at least 1"
                ))
            })
        }
        _ => Ok(*CORES.get_or_init(|| std::thread::available_parallelism().map_or(1, usize::from))),
    }
}

/// Runs work in a pool of `threads` threads ([`resolve`]), with the GIL released and an eye on Ctrl-C, which sets the
/// flag that the work is given.
pub fn run<T: Send>(
    py: Python<'_>,
    threads: Option<usize>,
    work: impl FnOnce(&AtomicBool) -> polyalign::Result<T> + Send,
) -> PyResult<T> {
    let pool = pool(py, resolve(threads)?)?;
    interrupt::run_in(py, &pool, work)?.map_err(errors::to_py)
}

/// A pool of `threads` threads, made on first use.
pub fn pool(_py: Python<'_>, threads: usize) -> PyResult<Arc<ThreadPool>> {
    let mut pools = POOLS.lock().unwrap_or_else(PoisonError::into_inner);
    let pools = pools.get_or_insert_default();
    let key = (std::process::id(), threads);
    if let Some(pool) = pools.get(&key) {
        return Ok(pool.clone());
    }
    let pool = ThreadPoolBuilder::new()
        .num_threads(threads)
        .thread_name(|index| format!("polyalign-{index}"))
        .build()
        .map_err(|error| PyRuntimeError::new_err(format!("can't start {threads} threads: {error}")))?;
    let pool = Arc::new(pool);
    pools.insert(key, pool.clone());
    Ok(pool)
}
