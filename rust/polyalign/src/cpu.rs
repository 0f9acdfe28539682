//! Which of the processor's instructions may be used: all that it has, unless `POLYALIGN_SIMD` says fewer.
//!
//! Every path gives the same bits; the variable is there to test each of them in one build on one machine, and to
//! leave out instructions that a machine emulates or throttles.

use crate::{Error, Result};
use std::sync::OnceLock;

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
}

/// Whether instructions of this level may be used, if the processor has them. A value of the variable that is none
/// bounds nothing here: who reads the environment for a user says so ([`Level::most`]).
#[inline]
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
pub(crate) fn allows(level: Level) -> bool {
    static MOST: OnceLock<Level> = OnceLock::new();
    level <= *MOST.get_or_init(|| Level::most().unwrap_or(Level::Avx512))
}
