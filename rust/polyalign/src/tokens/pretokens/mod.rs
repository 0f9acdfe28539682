//! Pre-tokenizers: where a text is cut before BPE.
//!
//! The rules of each family are there twice. [`scan`] goes by characters and takes any text. [`blocks`] has them as
//! operations on masks, 64 bytes at a time: for ASCII, or, where the processor has instructions for it, ASCII mixed with
//! Han and its punctuation ([`wide`]). Where the masks can't tell, `scan` goes on. What is of no known family is cut step
//! by step ([`general`]), by regular expressions ([`pattern`]).

#[cfg(target_arch = "x86_64")]
mod avx512;
mod blocks;
mod general;
mod pattern;
mod recognise;
mod scan;
mod wide;

pub(super) use blocks::{BLOCK, below, starts, stops};
pub(super) use general::{Cutting, Piece};
pub(super) use recognise::{PreTokenizer, recognise};
pub(super) use scan::Family;
pub(super) use wide::{MOST_CODED, Machine, Portable, ROOM, WINDOW, Wide};

/// The value of `$work`, compiled for the widest instructions that this processor has: `$machine` stands for them. Returns
/// from the function that it is the last expression of.
macro_rules! with_machine {
    ($machine:ident => $work:expr) => {{
        #[cfg(target_arch = "x86_64")]
        if let Some($machine) = crate::cpu::Avx512Vbmi2::get() {
            return $machine.run(
                #[inline(always)]
                || $work,
            );
        }
        #[cfg(target_arch = "x86_64")]
        if let Some($machine) = crate::cpu::Avx2::get() {
            return $machine.run(
                #[inline(always)]
                || $work,
            );
        }
        let $machine = $crate::tokens::pretokens::Portable;
        $work
    }};
}
pub(super) use with_machine;
