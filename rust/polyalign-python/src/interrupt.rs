//! Long work on a thread of its own, with the GIL released and an eye on Ctrl-C.

use crate::errors;
use polyalign::stream::Progress;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use rayon::ThreadPool;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

const TICK: Duration = Duration::from_millis(50);

/// How long cancelled work may take to stop before it is left behind (it may be blocked on a read).
const GRACE: Duration = Duration::from_secs(1);

/// Runs `work`; every tick calls `tick`, then looks for signals. When either raises, calls `cancel`,
/// gives the work a moment to stop, and raises.
pub fn run<T: Send + 'static>(
    py: Python<'_>,
    work: impl FnOnce() -> T + Send + 'static,
    mut tick: impl FnMut() -> PyResult<()>,
    cancel: impl FnOnce(),
) -> PyResult<T> {
    let (sender, receiver) = channel();
    let receiver = Mutex::new(receiver);
    let wait =
        |time| py.detach(|| receiver.lock().unwrap_or_else(PoisonError::into_inner).recv_timeout(time));
    let worker = thread::Builder::new()
        .name("polyalign".into())
        // The receiver is gone only if the work was left behind.
        .spawn(move || drop(sender.send(work())))
        .map_err(|error| PyRuntimeError::new_err(format!("can't start a thread: {error}")))?;
    let raised = loop {
        match wait(TICK) {
            Ok(value) => return Ok(value),
            Err(RecvTimeoutError::Disconnected) => return Err(panic_message(worker)),
            Err(RecvTimeoutError::Timeout) => {}
        }
        if let Err(error) = py.check_signals().and_then(|()| tick()) {
            break error;
        }
    };
    cancel();
    let deadline = Instant::now() + GRACE;
    while !worker.is_finished() && Instant::now() < deadline {
        // What the work came to no longer matters.
        let _ = wait(TICK);
    }
    Err(raised)
}

/// Runs a job of the engine's; tells Python how far it is: `on_progress(bytes_read, bytes_total, rows)`.
pub fn run_job<T: Send + 'static>(
    py: Python<'_>,
    on_progress: Option<&Py<PyAny>>,
    job: impl FnOnce(&Progress) -> polyalign::Result<T> + Send + 'static,
) -> PyResult<T> {
    let progress = Arc::new(Progress::default());
    let work = {
        let progress = Arc::clone(&progress);
        move || job(&progress)
    };
    let tick = || {
        let Some(on_progress) = on_progress else { return Ok(()) };
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let seen = (load(&progress.bytes_read), load(&progress.bytes_total), load(&progress.rows));
        on_progress.call1(py, seen).map(drop)
    };
    run(py, work, tick, || progress.cancel.store(true, Ordering::Relaxed))?.map_err(errors::to_py)
}

/// Runs `work`, which may borrow from the caller, in a pool. A signal sets the flag that the work is
/// given, and is raised once the work has stopped.
pub fn run_in<T: Send>(
    py: Python<'_>,
    pool: &ThreadPool,
    work: impl FnOnce(&AtomicBool) -> T + Send,
) -> PyResult<T> {
    let stop = AtomicBool::new(false);
    run_until(py, pool, &stop, || work(&stop))
}

/// The same, with a flag of the caller's.
pub fn run_until<T: Send>(
    py: Python<'_>,
    pool: &ThreadPool,
    stop: &AtomicBool,
    work: impl FnOnce() -> T + Send,
) -> PyResult<T> {
    let (sender, receiver) = channel();
    let receiver = Mutex::new(receiver);
    let wait = || py.detach(|| receiver.lock().unwrap_or_else(PoisonError::into_inner).recv_timeout(TICK));
    pool.in_place_scope(|scope| {
        scope.spawn(move |_| drop(sender.send(catch_unwind(AssertUnwindSafe(work)))));
        let mut raised = None;
        loop {
            match wait() {
                Ok(Ok(value)) => return raised.map_or(Ok(value), Err),
                Ok(Err(panic)) => return Err(raised.unwrap_or_else(|| panic_error(&*panic))),
                Err(_) if raised.is_some() => {}
                Err(_) => {
                    raised = py.check_signals().err();
                    stop.store(raised.is_some(), Ordering::Relaxed);
                }
            }
        }
    })
}

fn panic_message(worker: thread::JoinHandle<()>) -> PyErr {
    panic_error(&*worker.join().expect_err("the work sends its result unless it panics"))
}

fn panic_error(panic: &(dyn Any + Send)) -> PyErr {
    let message = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("unknown panic");
    PyRuntimeError::new_err(format!("internal error, please report it: {message}"))
}
