//! Where a message spent its time: spans of its way through the system, given to an OpenTelemetry
//! collector by OTLP over HTTP.
//!
//! A gateway begins a span for an action that is traced ([`Traces::append`]) and hands its context on
//! with the event; whoever hears of the event delivers it in the same trace ([`Traces::deliver`]), and
//! the persister stores it there ([`Traces::store`]). The binary makes the one [`Traces`] of a process:
//! without a collector it does nothing, and costs a look at an empty option.
//!
//! Spans are values here and no scopes of a thread: one begins with an action and ends with an answer
//! that comes much later, between those of others. So they are made by the API of OpenTelemetry itself,
//! and `tracing`, which logs, knows nothing of them.

#![warn(missing_docs)]

mod budget;
mod collector;
mod span;

use std::sync::Arc;

use opentelemetry::trace::{SpanKind, TraceContextExt, Tracer};
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use parlance_protocol::{ConversationId, TraceParent};

use crate::budget::Budget;
pub use crate::{collector::StartError, span::Span};

/// Which actions are traced, and where to.
#[derive(Debug, Clone)]
pub struct Options {
    /// The collector's URL for traces, `http` or `https`, with its path.
    pub endpoint: String,
    /// Of the actions that do not say to which trace they belong, one in so many is traced. `0`: none.
    pub one_in: u32,
    /// Traces that begin here in a second, at most, whatever clients ask for.
    pub per_second: u32,
    /// The kind of process, as `service.name`. `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` say
    /// more, or otherwise.
    pub service: &'static str,
}

/// Begins the spans of a process. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Traces(Option<Arc<Recording>>);

#[derive(Debug)]
struct Recording {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
    one_in: u64,
    budget: Budget,
}

impl Traces {
    /// Records nothing.
    #[must_use]
    pub const fn off() -> Self {
        Self(None)
    }

    /// Sends what is recorded to a collector, in batches and from a thread of its own. One that is away
    /// costs spans and a line in the log, and nothing else.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn start(options: &Options) -> Result<Self, StartError> {
        let provider = collector::provider(&options.endpoint, options.service)?;
        let tracer = collector::tracer(&provider);
        Ok(Self(Some(Arc::new(Recording {
            provider,
            tracer,
            one_in: options.one_in.into(),
            budget: Budget::new(options.per_second),
        }))))
    }

    /// An action of a member goes to the log. `None` if that is not traced: then the event belongs to
    /// no trace, whatever `parent` says.
    #[must_use]
    pub fn append(
        &self,
        action: &'static str,
        conversation: &ConversationId,
        parent: Option<TraceParent>,
    ) -> Option<Span> {
        let recording = self.0.as_deref()?;
        if !recording.takes(parent) {
            return None;
        }
        Some(recording.begin(action, SpanKind::Producer, "send", conversation, parent))
    }

    /// An event that is traced is given to `members` connections of this process.
    #[must_use]
    pub fn deliver(
        &self,
        conversation: &ConversationId,
        cause: TraceParent,
        members: usize,
    ) -> Option<Span> {
        let mut span = self.consume("deliver", conversation, cause)?;
        span.set_members(members);
        Some(span)
    }

    /// An event that is traced was read from the log, together with others, to be stored.
    #[must_use]
    pub fn store(&self, conversation: &ConversationId, cause: TraceParent) -> Option<Span> {
        self.consume("store", conversation, cause)
    }

    /// Sends what is left, for at most two seconds. Nothing is recorded after that. Blocks.
    pub fn finish(&self) {
        if let Some(recording) = &self.0 {
            collector::finish(&recording.provider);
        }
    }

    fn consume(
        &self,
        name: &'static str,
        conversation: &ConversationId,
        cause: TraceParent,
    ) -> Option<Span> {
        let recording = self.0.as_deref()?;
        let parent = Some(cause);
        Some(recording.begin(name, SpanKind::Consumer, "process", conversation, parent))
    }
}

impl Recording {
    /// As the caller decided, where it did; else by chance.
    fn takes(&self, parent: Option<TraceParent>) -> bool {
        let is_wanted = match parent {
            Some(parent) => parent.is_sampled(),
            None => self.one_in > 0 && random().is_multiple_of(self.one_in),
        };
        is_wanted && self.budget.take()
    }

    fn begin(
        &self,
        name: &'static str,
        kind: SpanKind,
        operation: &'static str,
        conversation: &ConversationId,
        parent: Option<TraceParent>,
    ) -> Span {
        let attributes = span::attributes(name, operation, conversation);
        let builder = self.tracer.span_builder(name);
        let builder = builder.with_kind(kind).with_attributes(attributes);
        let context = match parent {
            Some(parent) => {
                opentelemetry::Context::new().with_remote_span_context(span::context(parent))
            }
            None => opentelemetry::Context::new(),
        };
        Span::new(self.tracer.build_with_context(builder, &context))
    }
}

fn random() -> u64 {
    getrandom::u64().expect("the system has a source of random numbers")
}
