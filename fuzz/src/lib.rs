//! Fuzz bodies: ordinary functions that panic when something is wrong with what they are given, so
//! that any fuzzer can drive them. The binaries drive them with [`mutate`] on a stable compiler:
//!
//! ```text
//! cargo run --release --manifest-path fuzz/Cargo.toml --bin json -- 1000000 [SEED]
//! ```

pub mod json;
pub mod mutate;
