//! The floors: `raw`, built with this program.

use std::process::Command;

use parlance_protocol::{ChatMessage, MessageId, Position, ServerFrame, Status, UnixMicros};

use super::{Owned, Server, beside_this, watched};
use crate::compare::{dialects::Floor, workloads};

/// Starts one that sends in this way.
pub(super) fn start(when: &str) -> anyhow::Result<Server> {
    let mut command = Command::new(beside_this("raw")?);
    let frame_bytes = frame_bytes().to_string();
    command.args([when, "--frame-bytes", &frame_bytes]);
    let (child, address) = Owned::start(&mut command)?;
    Ok(Server {
        addresses: vec![address],
        dialect: Box::new(Floor),
        processes: vec![watched("server", child.pid())],
        alive: vec![Box::new(child)],
    })
}

/// How long a frame of the gateway is for the messages of the workloads, its head included.
pub(crate) fn frame_bytes() -> usize {
    // An id as they are in the first epoch of an empty Redis.
    let id = MessageId::parse("79000000001234").unwrap_or_default();
    let frame = ServerFrame::ChatMessage {
        message: ChatMessage {
            id,
            local_id: Some("bench-1234".into()),
            sender_id: "user-12-3".into(),
            content: workloads::content().into(),
            timestamp: UnixMicros::default(),
            status: Status::Sent,
        },
        position: Position::of(id),
    };
    frame.encode().len() + 4
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_frame_is_about_as_long_as_ever() {
        let bytes = super::frame_bytes();
        assert!((200..300).contains(&bytes), "{bytes}");
    }
}
