//! Whether an exchange precedes the last user turn.

use super::unassigned::Unassigned;
use crate::error::quoted;
use crate::records::record::{Message, Record, RejectKind};

/// `single` or `multi`: what the record says, else whether an earlier exchange precedes its last
/// user turn. The error is the reason to reject the record.
pub fn track(record: &Record<'_>) -> Result<&'static str, Unassigned> {
    let said = record.track.map(str::trim).unwrap_or_default();
    if said.is_empty() {
        return Ok(if is_multi_turn(record.prompt) { "multi" } else { "single" });
    }
    let is = |names: [&str; 4]| names.iter().any(|name| said.eq_ignore_ascii_case(name));
    if is(["single", "single-turn", "single_turn", "singleturn"]) {
        return Ok("single");
    }
    if is(["multi", "multi-turn", "multi_turn", "multiturn"]) {
        return Ok("multi");
    }
    let reason = format!("track {} is neither `single` nor `multi`; is it another column?", quoted(said));
    Err(Unassigned { kind: RejectKind::Track, reason })
}

/// Whether an earlier exchange precedes the last user turn: a user's message and, after it, an
/// assistant's.
///
/// So a greeting by the assistant alone makes no exchange, and neither do consecutive user messages
/// or tool calls within the last turn.
pub fn is_multi_turn(prompt: &[Message<'_>]) -> bool {
    let Some(last_user) = prompt.iter().rposition(|message| message.role == "user") else { return false };
    let mut earlier = prompt[..last_user].iter();
    earlier.any(|message| message.role == "user") && earlier.any(|message| message.role == "assistant")
}
