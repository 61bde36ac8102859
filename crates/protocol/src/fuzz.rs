//! What has to hold for any bytes, called by the targets in `fuzz/` and, with their committed corpus, by
//! the test below. Not part of a build.

use crate::{
    ConversationId, LocalId, MessageId, Position, ServerFrame, UnixMicros, UserId, limits,
    parse_action,
};

/// Longest words of a refusal: a sentence, in which 64 bytes of a value are shown, a control character by
/// up to six.
const ERROR_BYTES: usize = 64 * 6 + 256;

/// A text frame is parsed into an action that can be encoded again, or refused in a sentence that
/// can be sent.
pub fn actions(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    let conversation = ConversationId::new("123").expect("it is a valid id");
    match parse_action(text, &conversation, limits::CONTENT_BYTES) {
        Ok(action) => {
            let again = action.encode();
            let parsed = parse_action(&again, &conversation, limits::CONTENT_BYTES);
            assert_eq!(parsed.as_ref(), Ok(&action), "{again}");
        }
        Err(refusal) => {
            let length = refusal.error.len();
            assert!((1..=ERROR_BYTES).contains(&length), "{}", refusal.error);
            let answer = refusal.to_frame().encode();
            assert!(ServerFrame::decode(&answer).is_some(), "{answer:?}");
        }
    }
}

/// An id, a position or a timestamp is shown as it was read, or is none.
pub fn names(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    if let Some(position) = Position::parse(text) {
        assert_eq!(position.to_string(), text);
        assert!(position.id.get() < limits::ID_BOUND);
    }
    if let Some(id) = MessageId::parse(text) {
        assert_eq!(id.to_string(), text);
        assert_eq!(Position::parse(text), Some(Position::of(id)));
        let in_words = serde_json::to_string(&id).expect("an id is a string");
        assert_eq!(serde_json::from_str(&in_words).ok(), Some(id));
    }
    if let Some(instant) = UnixMicros::parse(text) {
        assert_eq!(instant.to_string(), text);
    }
    if let Ok(conversation) = ConversationId::new(text) {
        assert_eq!(conversation.as_str(), text);
        assert!(text.is_ascii() && (1..=128).contains(&text.len()));
    }
    if let Ok(user) = UserId::new(text) {
        assert_eq!(user.as_str(), text);
        assert!((1..=128).contains(&text.len()) && !text.contains(char::is_control));
    }
    if let Ok(local_id) = LocalId::new(text) {
        assert_eq!(local_id.as_str(), text);
        assert!((1..=128).contains(&text.len()));
    }
}

/// A frame of the server, read by a client, is written as one that is read the same.
pub fn server_frames(data: &[u8]) {
    let Some(frame) = ServerFrame::decode(data) else {
        return;
    };
    let again = frame.encode();
    assert_eq!(
        ServerFrame::decode(&again).as_ref(),
        Some(&frame),
        "{again:?}"
    );
}

#[cfg(test)]
mod tests {
    use parlance_testkit::corpus::replay;

    #[test]
    fn what_fuzzing_began_with_holds() {
        replay("actions", super::actions);
        replay("names", super::names);
        replay("server_frames", super::server_frames);
    }
}
