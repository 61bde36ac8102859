//! A span, and the names of everything that is said about one.
//!
//! Those that begin with `messaging.` are the semantic conventions of OpenTelemetry for messaging,
//! which are still in development: they are here and nowhere else.

use opentelemetry::{
    Key, KeyValue,
    trace::{Span as _, SpanContext, SpanId, Status, TraceFlags, TraceId, TraceState},
};
use parlance_protocol::{ConversationId, Position, TraceParent};

const SYSTEM: Key = Key::from_static_str("messaging.system");
const OPERATION_NAME: Key = Key::from_static_str("messaging.operation.name");
const OPERATION_TYPE: Key = Key::from_static_str("messaging.operation.type");
const DESTINATION: Key = Key::from_static_str("messaging.destination.name");
const MESSAGE_ID: Key = Key::from_static_str("messaging.message.id");
const OUTCOME: Key = Key::from_static_str("parlance.outcome");
const MEMBERS: Key = Key::from_static_str("parlance.members");
const BATCH_EVENTS: Key = Key::from_static_str("parlance.batch.events");

/// Something that is under way for one event. Dropping it ends it.
#[derive(Debug)]
pub struct Span(opentelemetry_sdk::trace::Span);

impl Span {
    pub(crate) const fn new(span: opentelemetry_sdk::trace::Span) -> Self {
        Self(span)
    }

    /// What others continue it by.
    #[must_use]
    pub fn context(&self) -> Option<TraceParent> {
        let context = self.0.span_context();
        let (trace_id, span_id) = (context.trace_id(), context.span_id());
        TraceParent::new(
            trace_id.to_bytes(),
            span_id.to_bytes(),
            context.is_sampled(),
        )
    }

    /// The event stands here.
    pub fn set_position(&mut self, position: Position) {
        let id = position.to_string();
        self.0.set_attribute(KeyValue::new(MESSAGE_ID, id));
    }

    /// What became of it, in one word.
    pub fn set_outcome(&mut self, outcome: &'static str) {
        self.0.set_attribute(KeyValue::new(OUTCOME, outcome));
    }

    /// How many events went the same way at once.
    pub fn set_batch(&mut self, events: usize) {
        self.0
            .set_attribute(KeyValue::new(BATCH_EVENTS, number(events)));
    }

    /// It did not work, or nobody knows.
    pub fn fail(&mut self, reason: impl ToString) {
        self.0.set_status(Status::error(reason.to_string()));
    }

    pub(crate) fn set_members(&mut self, members: usize) {
        self.0
            .set_attribute(KeyValue::new(MEMBERS, number(members)));
    }
}

fn number(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

pub(crate) fn attributes(
    name: &'static str,
    operation: &'static str,
    conversation: &ConversationId,
) -> [KeyValue; 4] {
    [
        KeyValue::new(SYSTEM, "parlance"),
        KeyValue::new(OPERATION_NAME, name),
        KeyValue::new(OPERATION_TYPE, operation),
        KeyValue::new(DESTINATION, conversation.as_str().to_owned()),
    ]
}

pub(crate) fn context(parent: TraceParent) -> SpanContext {
    let flags = TraceFlags::default().with_sampled(parent.is_sampled());
    SpanContext::new(
        TraceId::from_bytes(parent.trace_id()),
        SpanId::from_bytes(parent.span_id()),
        flags,
        true,
        TraceState::default(),
    )
}
