//! Scripts of letters.
