//! A conversation as several records: one a reply.

use super::assemble::check_response;
use super::record::{Record, Reject, RejectKind};
use super::shape::FieldSpec;
use serde::{Deserialize, Serialize};

/// Which replies of a conversation are responses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Turns {
    /// The last; those before it are part of the prompt.
    #[default]
    Last,
    /// Each, with what comes before it as its prompt.
    All,
}

/// The replies of a conversation in order, each as a record; the last is the record itself.
///
/// What the record says of its track is true of the last, so that of the others is found from their own history.
pub(crate) fn replies<'a>(
    record: &Record<'a>,
    spec: &FieldSpec,
) -> impl Iterator<Item = Result<Record<'a>, Reject>> {
    let record = *record;
    let earlier = record.prompt.iter().enumerate().filter(|(_, message)| message.role == "assistant");
    let earlier = earlier.map(move |(at, &response)| {
        let thinking = check_response(response.content, spec).map_err(|reason| Reject {
            kind: RejectKind::NoResponse,
            reason: reason.to_owned(),
            offset: 0,
            id: record.id.map(Into::into),
        })?;
        Ok(Record { prompt: &record.prompt[..at], response, thinking, track: None, ..record })
    });
    earlier.chain([Ok(record)])
}
