//! The words on the wire: ids, positions, actions, frames, close and error codes.
//!
//! Everything that knows the JSON of the protocol is here and nowhere else. The crate does no I/O,
//! reads no clock and keeps no state: text in, values out, and back.

mod action;
mod codes;
mod frame;
mod ids;
pub mod limits;
mod position;
mod timestamp;
mod wire;

pub use action::{Action, Anchor, Refusal, parse_action};
pub use codes::{CloseCode, ErrorCode};
pub use frame::{
    ChatMessage, HistoryRow, Limits, PresenceStatus, ReconnectReason, ServerFrame, Status,
};
pub use ids::{ConversationId, InvalidId, LocalId, MessageId, UserId};
pub use position::Position;
pub use timestamp::UnixMicros;
