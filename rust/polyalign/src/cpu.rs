//! Which of the processor's instructions may be used: all that it has, unless `POLYALIGN_SIMD` says fewer. The only
//! place that asks the processor.
//!
//! Every path gives the same bits; the variable is there to test each of them in one build on one machine, and to
//! leave out instructions that a machine emulates or throttles.
//!
//! A set of instructions is a type without size, and a value of it the proof that they are there. `Avx2::get()` reads
//! one number and gives the proof or nothing; code that takes an `Avx2` needs no further check:
//!
//! ```ignore
//! match Avx2::get() {
//!     Some(avx2) => avx2.run(|| sum(values)), // compiled for AVX2
//!     None => sum(values),                    // for any processor
//! }
//! ```

use crate::{Error, Result};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, PoisonError};

/// The variable that names the widest instructions to use.
pub const VARIABLE: &str = "POLYALIGN_SIMD";

/// Sets of instructions, each wider than the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// What every processor of the architecture has.
    Portable,
    /// AVX2 and what came with it.
    Avx2,
    /// AVX-512.
    Avx512,
}

impl Level {
    /// Reads the variable's value; unset or empty: no bound.
    ///
    /// # Errors
    /// Another word than `portable`, `avx2` and `avx512`.
    ///
    /// ```
    /// use polyalign::cpu::Level;
    /// assert_eq!(Level::parse(Some("avx2")).unwrap(), Level::Avx2);
    /// assert_eq!(Level::parse(None).unwrap(), Level::Avx512);
    /// assert!(Level::parse(Some("sse")).is_err());
    /// ```
    pub fn parse(value: Option<&str>) -> Result<Self> {
        match value {
            Some("portable") => Ok(Self::Portable),
            Some("avx2") => Ok(Self::Avx2),
            None | Some("" | "avx512") => Ok(Self::Avx512),
            Some(other) => {
                Err(Error::Input(format!("{VARIABLE} is {other:?}: it must be portable, avx2 or avx512")))
            }
        }
    }

    /// The widest that may be used, as the environment says; read once.
    ///
    /// # Errors
    /// A value of the variable that is none.
    pub fn most() -> Result<Self> {
        let value = std::env::var_os(VARIABLE);
        Self::parse(value.as_ref().map(|value| value.to_string_lossy()).as_deref())
    }

    /// The widest set of this level, see [`WIDEST`].
    fn width(self) -> u8 {
        match self {
            Self::Portable => PORTABLE,
            Self::Avx2 => AVX2,
            Self::Avx512 => AVX512_VBMI2,
        }
    }
}

// The sets of instructions, each with all of those before it.
const PORTABLE: u8 = 1;
const AVX2: u8 = 2;
#[cfg(target_arch = "x86_64")]
const AVX512: u8 = 3;
const AVX512_VBMI2: u8 = 4;

/// The widest set that the processor has and the environment allows; 0 until someone asks.
static WIDEST: AtomicU8 = AtomicU8::new(0);

#[inline(always)]
fn widest() -> u8 {
    match WIDEST.load(Ordering::Relaxed) {
        0 => find_widest(),
        known => known,
    }
}

/// Asks the processor and the environment. A value of the variable that is none bounds nothing here: who reads the
/// environment for a user says so ([`Level::most`]).
#[cold]
fn find_widest() -> u8 {
    let most = Level::most().unwrap_or(Level::Avx512).width();
    let widest = widest_of_processor().min(most);
    // Who was first may have bounded it since.
    let known = WIDEST.compare_exchange(0, widest, Ordering::Relaxed, Ordering::Relaxed);
    known.map_or_else(|known| known, |_| widest)
}

#[cfg(not(target_arch = "x86_64"))]
fn widest_of_processor() -> u8 {
    PORTABLE
}

#[cfg(target_arch = "x86_64")]
fn widest_of_processor() -> u8 {
    match (Avx2::is_there(), Avx512::is_there(), Avx512Vbmi2::is_there()) {
        (false, ..) => PORTABLE,
        (_, false, _) => AVX2,
        (_, _, false) => AVX512,
        _ => AVX512_VBMI2,
    }
}

/// Runs something with no wider instructions than a level's: for tests, benches and fuzzers, which compare the levels
/// in one process. Calls wait for one another. Whatever else runs meanwhile is bounded too, and gives the same.
#[doc(hidden)]
pub fn at_most<R>(level: Level, run: impl FnOnce() -> R) -> R {
    struct Restore(u8);
    impl Drop for Restore {
        fn drop(&mut self) {
            WIDEST.store(self.0, Ordering::Relaxed);
        }
    }
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let _restore = Restore(widest());
    WIDEST.store(widest().min(level.width()), Ordering::Relaxed);
    run()
}

/// Defines the proof of a set of instructions.
#[cfg(target_arch = "x86_64")]
macro_rules! proof {
    ($(#[$doc:meta])* $name:ident, $width:ident: $($feature:tt),+) => {
        $(#[$doc])*
        #[derive(Clone, Copy)]
        pub(crate) struct $name(());

        impl $name {
            fn is_there() -> bool {
                $(is_x86_feature_detected!($feature))&&+
            }

            /// The proof, if these instructions may be used.
            #[inline(always)]
            pub(crate) fn get() -> Option<Self> {
                (widest() >= $width).then_some(Self(()))
            }

            /// Runs code that is compiled for these instructions, as far as it is inlined.
            #[inline(always)]
            pub(crate) fn run<R>(self, code: impl FnOnce() -> R) -> R {
                $(#[target_feature(enable = $feature)])+
                fn compiled<R>(code: impl FnOnce() -> R) -> R {
                    code()
                }
                // SAFETY: `self` proves that the processor has them.
                unsafe { compiled(code) }
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
proof! {
    /// AVX2 and what came with it: processors since Haswell and Zen.
    Avx2, AVX2: "avx2", "bmi1", "bmi2", "lzcnt", "popcnt"
}

#[cfg(target_arch = "x86_64")]
proof! {
    /// AVX-512 for numbers: since Skylake-X and Zen 4.
    Avx512, AVX512:
    "avx512f", "avx512bw", "avx512dq", "avx512vl", "avx2", "bmi1", "bmi2", "lzcnt", "popcnt"
}

#[cfg(target_arch = "x86_64")]
proof! {
    /// AVX-512 for bytes too: since Ice Lake and Zen 4.
    Avx512Vbmi2, AVX512_VBMI2:
    "avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512vbmi", "avx512vbmi2", "avx2", "bmi1", "bmi2", "lzcnt", "popcnt"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_bounds_what_may_be_used_while_it_is_set() {
        let before = at_most(Level::Avx512, widest);
        for level in [Level::Portable, Level::Avx2, Level::Avx512] {
            at_most(level, || assert_eq!(widest(), before.min(level.width())));
        }
        let caught = std::panic::catch_unwind(|| at_most(Level::Portable, || panic!("on purpose")));
        assert!(caught.is_err());
        assert_eq!(at_most(Level::Avx512, widest), before);
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn a_proof_is_given_where_its_instructions_may_be_used() {
        at_most(Level::Portable, || {
            assert!(Avx2::get().is_none() && Avx512::get().is_none() && Avx512Vbmi2::get().is_none());
        });
        at_most(Level::Avx2, || {
            let allowed = Level::most().unwrap_or(Level::Avx512) >= Level::Avx2;
            assert_eq!(Avx2::get().is_some(), allowed && Avx2::is_there());
            assert!(Avx512::get().is_none() && Avx512Vbmi2::get().is_none());
        });
        assert!(Avx512Vbmi2::get().is_none_or(|machine| machine.run(|| Avx512::get().is_some())));
    }
}
