//! The words on the wire: ids, positions, actions, frames, close and error codes.
//!
//! Everything that knows the JSON of the protocol is here and nowhere else. The crate does no I/O,
//! reads no clock and keeps no state: text in, values out, and back.

#![warn(missing_docs)]

mod action;
mod advice;
mod codes;
mod field;
mod frame;
#[cfg(any(fuzzing, test))]
pub mod fuzz;
mod ids;
mod json;
pub mod limits;
mod message;
mod parse;
mod position;
mod refusal;
mod request_id;
pub mod schema;
mod timestamp;
mod traceparent;
mod wire;

pub use action::{Action, Anchor};
pub use advice::{Advice, backoff};
pub use codes::{CloseCode, ErrorCode};
pub use frame::ServerFrame;
pub use ids::{ConversationId, InvalidId, LocalId, MessageId, UserId};
pub use message::{ChatMessage, HistoryRow, Limits, PresenceStatus, ReconnectReason, Status};
pub use parse::parse_action;
pub use position::Position;
pub use refusal::Refusal;
pub use request_id::RequestId;
pub use timestamp::UnixMicros;
pub use traceparent::TraceParent;
