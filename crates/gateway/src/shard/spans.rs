//! The spans of events: from the offer to the answer, and from the hearing to the writing.

use parlance_core::{
    entry::{Draft, Entry, Event},
    ports::{Appended, Unavailable},
};
use parlance_protocol::ConversationId;
use parlance_traces::{Span, Traces};

/// Begins the span of an offer, and has the event continue it. An event that nobody traces carries
/// nothing of what its sender said of a trace.
pub(super) fn append(
    traces: &Traces,
    conversation: &ConversationId,
    draft: &mut Draft,
) -> Option<Span> {
    let span = traces.append(action(&draft.event), conversation, draft.trace);
    draft.trace = span.as_ref().and_then(Span::context);
    span
}

/// Ends it.
pub(super) fn appended(mut span: Span, appended: &Result<Appended, Unavailable>) {
    match appended {
        Ok(Appended::New(entry)) => {
            span.set_outcome("new");
            span.set_position(entry.position);
        }
        Ok(Appended::Duplicate(position)) => {
            span.set_outcome("duplicate");
            span.set_position(*position);
        }
        Ok(Appended::Conflict) => span.set_outcome("conflict"),
        Ok(Appended::TooMany) => span.set_outcome("too_many_names"),
        Err(unavailable) => {
            span.set_outcome("unknown");
            span.fail(unavailable);
        }
    }
}

/// Begins the span of a delivery to `members` connections; it is to be ended when they were written to.
pub(super) fn deliver(
    traces: &Traces,
    conversation: &ConversationId,
    entry: &Entry,
    members: impl FnOnce() -> usize,
) -> Option<Span> {
    let cause = *entry.trace.as_deref()?;
    let mut span = traces.deliver(conversation, cause, members())?;
    span.set_position(entry.position);
    Some(span)
}

const fn action(event: &Event) -> &'static str {
    match event {
        Event::Message { .. } => "send_message",
        Event::Edit { .. } => "edit_message",
        Event::Delete { .. } => "delete_message",
    }
}
