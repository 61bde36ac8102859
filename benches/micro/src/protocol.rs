//! From JSON text to an action, and from an event to JSON text.

use std::hint::black_box;

use parlance_protocol::{
    ChatMessage, ConversationId, HistoryRow, MessageId, Position, ServerFrame, Status, UnixMicros,
    limits, parse_action,
};

use crate::{CONTENT, LOCAL_ID, NOW_SECS, Piece, send, warm};

/// One text frame of a client.
struct Parse {
    text: String,
    conversation: ConversationId,
}

impl Piece for Parse {
    fn run(&mut self) {
        let text = black_box(self.text.as_str());
        let _ = black_box(parse_action(
            text,
            &self.conversation,
            limits::CONTENT_BYTES,
        ));
    }
}

fn parse(text: String, is_fine: bool) -> Box<dyn Piece> {
    let conversation = ConversationId::new("team-1").expect("it has no other characters");
    let parsed = parse_action(&text, &conversation, limits::CONTENT_BYTES);
    assert_eq!(parsed.is_ok(), is_fine, "{parsed:?}");
    warm(Parse { text, conversation })
}

/// The usual action.
#[must_use]
pub fn parse_a_send() -> Box<dyn Piece> {
    parse(send(), true)
}

/// An edit, with an escape in its content.
#[must_use]
pub fn parse_an_edit() -> Box<dyn Piece> {
    let text = format!(
        r#"{{"action":"edit_message","message_id":"10000000460","content":"\"{CONTENT}\""}}"#
    );
    parse(text, true)
}

/// The legal frame that costs most: as long as a frame may be, and all of it escapes.
#[must_use]
pub fn parse_the_longest_send() -> Box<dyn Piece> {
    const ESCAPE: &str = r"\u0021";
    let mut text = String::from(r#"{"action":"send_message","content":""#);
    while text.len() + ESCAPE.len() + r#""}"#.len() <= limits::FRAME_BYTES {
        text.push_str(ESCAPE);
    }
    text.push_str(r#""}"#);
    parse(text, true)
}

/// What is refused, with the sentence that says why.
#[must_use]
pub fn parse_a_refused_action() -> Box<dyn Piece> {
    parse(
        r#"{"action":"delete_message","message_id":"four"}"#.into(),
        false,
    )
}

/// A frame of the server.
struct Encode(ServerFrame<'static>);

impl Piece for Encode {
    fn run(&mut self) {
        black_box(black_box(&self.0).encode());
    }
}

/// What every member is told of a message.
#[must_use]
pub fn encode_a_message() -> Box<dyn Piece> {
    let position = position(460);
    let message = ChatMessage {
        id: position.id,
        local_id: Some(LOCAL_ID.into()),
        sender_id: "user-0001".into(),
        content: CONTENT.into(),
        timestamp: UnixMicros(NOW_SECS * 1_000_000),
        status: Status::Sent,
    };
    warm(Encode(ServerFrame::ChatMessage { message, position }))
}

/// What every member is told of an edit.
#[must_use]
pub fn encode_an_edit() -> Box<dyn Piece> {
    let position = Position {
        k: 1,
        ..position(460)
    };
    warm(Encode(ServerFrame::MessageEdited {
        message_id: position.id,
        content: CONTENT.into(),
        edited_by: "user-0001".into(),
        timestamp: UnixMicros(NOW_SECS * 1_000_000),
        position,
        local_id: None,
    }))
}

/// The largest page of history.
#[must_use]
pub fn encode_a_page() -> Box<dyn Piece> {
    let rows = (0..u64::from(limits::PAGE_MAX)).rev().map(|n| {
        let position = position(460 + n);
        HistoryRow {
            id: position.id,
            sender_id: format!("user-{:04}", n % 10).into(),
            content: CONTENT.into(),
            sent_at: UnixMicros(NOW_SECS * 1_000_000 + n),
            is_edited: false,
            is_deleted: false,
            status: Status::Delivered,
            position,
            edited_by: None,
            local_id: None,
        }
    });
    warm(Encode(ServerFrame::MessagesFetched {
        conversation_id: "team-1".into(),
        messages: rows.collect(),
        has_more: true,
        has_more_after: None,
        request_id: None,
    }))
}

fn position(n: u64) -> Position {
    Position::of(MessageId::of_epoch(1, n).expect("the epoch has more numbers"))
}
