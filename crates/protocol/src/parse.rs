//! Reads one text frame of a client.
//!
//! The frame is walked once: every known field is kept as a slice of the frame, everything else is
//! skipped. Then only the fields of the named action are read, by `field`. Nothing here recurses,
//! so depth costs nothing; a string without escapes is borrowed from the frame.

use std::borrow::Cow;

use serde::Deserialize;

use crate::{
    Action, Anchor, ConversationId, ErrorCode, Refusal,
    field::{self, Fault, Given},
    limits,
};

/// Parses one text frame of a client.
///
/// `conversation` is the one in the URL, `content_bytes` the configured limit.
///
/// # Errors
/// A [`Refusal`] that says what is wrong with which value. The connection lives.
pub fn parse_action<'a>(
    text: &'a str,
    conversation: &ConversationId,
    content_bytes: usize,
) -> Result<Action<'a>, Refusal<'a>> {
    let fields = Fields::read(text).map_err(|fault| refuse(fault, None))?;
    let name = fields.name().map_err(|fault| refuse(fault, None))?;
    fields
        .action(&name, conversation, content_bytes)
        .map_err(|fault| Refusal {
            local_id: field::local_id(fields.local_id).ok().flatten(),
            ..refuse(fault, Some(name))
        })
}

fn refuse(fault: Fault, name: Option<Cow<'_, str>>) -> Refusal<'_> {
    let echoed = name.filter(|name| name.len() <= limits::ACTION_NAME_BYTES);
    Refusal::new(echoed, fault.code, fault.error)
}

/// Every field that some action has. A field given twice is an error of the derived reader.
#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(borrow)]
    action: Given<'a>,
    #[serde(borrow)]
    conversation_id: Given<'a>,
    #[serde(borrow)]
    content: Given<'a>,
    #[serde(borrow)]
    local_id: Given<'a>,
    #[serde(borrow)]
    retry: Given<'a>,
    #[serde(borrow)]
    is_typing: Given<'a>,
    #[serde(borrow)]
    message_id: Given<'a>,
    #[serde(borrow)]
    message_ids: Given<'a>,
    #[serde(borrow)]
    before_id: Given<'a>,
    #[serde(borrow)]
    after_id: Given<'a>,
    #[serde(borrow)]
    around_id: Given<'a>,
    #[serde(borrow)]
    limit: Given<'a>,
    #[serde(borrow)]
    request_id: Given<'a>,
    #[serde(borrow)]
    token: Given<'a>,
    #[serde(borrow)]
    traceparent: Given<'a>,
}

impl<'a> Fields<'a> {
    fn read(text: &'a str) -> Result<Self, Fault> {
        // The derived reader would take a list of values too.
        let start = text.trim_start_matches([' ', '\t', '\n', '\r']);
        if !start.starts_with('{') {
            let error = format!(
                "the frame is no JSON object but begins with {:?}; give one, such as {{\"action\":\"heartbeat\"}}",
                field::shown(text)
            );
            return Err(Fault::new(ErrorCode::InvalidJson, error));
        }
        serde_json::from_str(text).map_err(|error| {
            let error = format!("the frame is no JSON object with each field once: {error}");
            Fault::new(ErrorCode::InvalidJson, error)
        })
    }

    fn name(&self) -> Result<Cow<'a, str>, Fault> {
        const RIGHT: &str = "give a string such as \"send_message\"";
        let Some(raw) = self.action else {
            let error = format!("action is missing; {RIGHT}");
            return Err(Fault::new(ErrorCode::UnknownAction, error));
        };
        field::text(raw)?.ok_or_else(|| {
            let error = format!("action is {}; {RIGHT}", field::shown(raw.get()));
            Fault::new(ErrorCode::UnknownAction, error)
        })
    }

    fn action(
        &self,
        name: &str,
        conversation: &ConversationId,
        content_bytes: usize,
    ) -> Result<Action<'a>, Fault> {
        match name {
            "heartbeat" | "heartbeat_ack" => Ok(Action::Heartbeat),
            "send_message" => self.of(conversation)?.send_message(content_bytes),
            "edit_message" => self.of(conversation)?.edit_message(content_bytes),
            "delete_message" => self.of(conversation)?.delete_message(),
            "typing" => self.of(conversation)?.typing(),
            "read" => self.of(conversation)?.read_messages(),
            "fetch_messages" => self.of(conversation)?.fetch_messages(),
            "auth" => self.of(conversation)?.auth(),
            _ => Err(Fault::new(
                ErrorCode::UnknownAction,
                format!(
                    "action is {:?}; give one of send_message, edit_message, delete_message, \
                     typing, read, fetch_messages, heartbeat, heartbeat_ack, auth",
                    field::shown(name)
                ),
            )),
        }
    }

    /// These fields, unless they speak of another conversation.
    fn of(&self, conversation: &ConversationId) -> Result<&Self, Fault> {
        let Some(raw) = self.conversation_id else {
            return Ok(self);
        };
        let right = || format!("give {:?} or leave it out", conversation.as_str());
        let Some(given) = field::text(raw)? else {
            let value = field::shown(raw.get());
            let error = format!("conversation_id is {value}, no string; {}", right());
            return Err(Fault::field(error));
        };
        if given == conversation.as_str() {
            return Ok(self);
        }
        let value = field::shown(raw.get());
        let error = format!("conversation_id is {value}; {}", right());
        Err(Fault::new(ErrorCode::WrongConversation, error))
    }

    fn send_message(&self, content_bytes: usize) -> Result<Action<'a>, Fault> {
        Ok(Action::SendMessage {
            local_id: field::local_id(self.local_id)?,
            content: field::content(self.content, content_bytes)?,
            retry: field::flag("retry", self.retry)?.unwrap_or(false),
            traceparent: field::traceparent(self.traceparent),
        })
    }

    fn edit_message(&self, content_bytes: usize) -> Result<Action<'a>, Fault> {
        Ok(Action::EditMessage {
            local_id: field::local_id(self.local_id)?,
            message_id: field::message_id("message_id", self.message_id)?,
            content: field::content(self.content, content_bytes)?,
            traceparent: field::traceparent(self.traceparent),
        })
    }

    fn delete_message(&self) -> Result<Action<'a>, Fault> {
        Ok(Action::DeleteMessage {
            local_id: field::local_id(self.local_id)?,
            message_id: field::message_id("message_id", self.message_id)?,
            traceparent: field::traceparent(self.traceparent),
        })
    }

    fn typing(&self) -> Result<Action<'a>, Fault> {
        let is_typing = field::flag("is_typing", self.is_typing)?
            .ok_or_else(|| Fault::field("is_typing is missing; give true or false"))?;
        Ok(Action::Typing { is_typing })
    }

    fn read_messages(&self) -> Result<Action<'a>, Fault> {
        Ok(Action::Read {
            message_ids: field::message_ids(self.message_ids)?,
        })
    }

    fn fetch_messages(&self) -> Result<Action<'a>, Fault> {
        Ok(Action::FetchMessages {
            anchor: self.anchor()?,
            limit: field::limit(self.limit)?,
            request_id: field::request_id(self.request_id)?,
        })
    }

    fn anchor(&self) -> Result<Anchor, Fault> {
        match (self.before_id, self.after_id, self.around_id) {
            (None, None, None) => Ok(Anchor::Newest),
            (Some(raw), None, None) => field::id("before_id", raw).map(Anchor::Before),
            (None, Some(raw), None) => field::id("after_id", raw).map(Anchor::After),
            (None, None, Some(raw)) => field::id("around_id", raw).map(Anchor::Around),
            (Some(_), Some(_), _) | (Some(_), _, Some(_)) | (_, Some(_), Some(_)) => {
                Err(Fault::field(
                    "more than one anchor is given; give one of before_id, after_id, around_id, or none",
                ))
            }
        }
    }

    fn auth(&self) -> Result<Action<'a>, Fault> {
        Ok(Action::Auth {
            token: field::token(self.token)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{LocalId, MessageId, RequestId, TraceParent};

    fn parse(text: &str) -> Result<Action<'_>, Refusal<'_>> {
        let conversation = ConversationId::new("123").unwrap();
        parse_action(text, &conversation, limits::CONTENT_BYTES)
    }

    #[test]
    fn a_string_without_escapes_is_borrowed_from_the_frame() {
        let parsed = parse(r#"{"action":"send_message","content":"hällo"}"#).unwrap();
        let Action::SendMessage { content, .. } = parsed else {
            panic!("a send was parsed as {parsed:?}");
        };
        assert!(matches!(content, Cow::Borrowed("hällo")));
    }

    #[test]
    fn an_error_repeats_at_most_64_bytes_of_a_value_and_nothing_of_a_token() {
        let long = "ä".repeat(1_000);
        let frame = format!(r#"{{"action":"delete_message","message_id":"{long}"}}"#);
        let error = parse(&frame).unwrap_err().error;
        assert!(error.contains("äää…") && error.len() < 200, "{error}");

        let frame = r#"{"action":"auth","token":["secret"]}"#;
        let error = parse(frame).unwrap_err().error;
        assert!(
            error.contains("a list") && !error.contains("secret"),
            "{error}"
        );
    }

    #[test]
    fn no_action_is_refused_for_its_trace() {
        for odd in [
            "7",
            "null",
            "{}",
            "\"\"",
            "\"\\ud800\"",
            "\"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331\"",
        ] {
            let frame = format!(r#"{{"action":"send_message","content":"a","traceparent":{odd}}}"#);
            let Ok(Action::SendMessage { traceparent, .. }) = parse(&frame) else {
                panic!("{frame} was refused");
            };
            assert_eq!(traceparent, None, "{frame}");
        }
    }

    #[test]
    fn depth_costs_no_stack() {
        let deep = "[".repeat(200_000) + &"]".repeat(200_000);
        for field in ["other", "content", "message_ids", "limit"] {
            let frame = format!(r#"{{"action":"heartbeat","{field}":{deep}}}"#);
            assert_eq!(parse(&frame).unwrap(), Action::Heartbeat, "{field}");
        }
        let frame = format!(r#"{{"action":"read","message_ids":{deep}}}"#);
        assert_eq!(parse(&frame).unwrap_err().code, ErrorCode::InvalidField);
        assert_eq!(parse(&deep).unwrap_err().code, ErrorCode::InvalidJson);
    }

    fn any_id() -> impl Strategy<Value = MessageId> {
        (0..limits::ID_BOUND).prop_map(|id| MessageId::new(id).unwrap())
    }

    fn any_local_id() -> impl Strategy<Value = Option<LocalId>> {
        let text = any::<String>().prop_filter_map("1 to 128 bytes", |t| LocalId::new(&t).ok());
        prop::option::of(text)
    }

    fn any_content() -> impl Strategy<Value = Cow<'static, str>> {
        prop::collection::vec(any::<char>(), 1..200)
            .prop_map(|chars| Cow::Owned(chars.into_iter().collect()))
    }

    fn any_anchor() -> impl Strategy<Value = Anchor> {
        prop_oneof![
            Just(Anchor::Newest),
            any_id().prop_map(Anchor::Before),
            any_id().prop_map(Anchor::After),
            any_id().prop_map(Anchor::Around),
        ]
    }

    fn any_request_id() -> impl Strategy<Value = Option<RequestId>> {
        prop::option::of(prop_oneof![
            any::<u64>().prop_map(RequestId::from),
            "\\PC{0,30}".prop_map(|text| RequestId::from(text.as_str())),
        ])
    }

    fn any_trace() -> impl Strategy<Value = Option<TraceParent>> {
        any::<([u8; 16], [u8; 8], bool)>()
            .prop_map(|(trace, span, is_sampled)| TraceParent::new(trace, span, is_sampled))
    }

    fn any_action() -> impl Strategy<Value = Action<'static>> {
        prop_oneof![
            (any_content(), any_local_id(), any::<bool>(), any_trace()).prop_map(
                |(content, local_id, retry, traceparent)| Action::SendMessage {
                    content,
                    local_id,
                    retry,
                    traceparent,
                }
            ),
            (any_id(), any_content(), any_local_id(), any_trace()).prop_map(
                |(message_id, content, local_id, traceparent)| Action::EditMessage {
                    message_id,
                    content,
                    local_id,
                    traceparent,
                }
            ),
            (any_id(), any_local_id(), any_trace()).prop_map(
                |(message_id, local_id, traceparent)| Action::DeleteMessage {
                    message_id,
                    local_id,
                    traceparent,
                }
            ),
            any::<bool>().prop_map(|is_typing| Action::Typing { is_typing }),
            prop::collection::vec(any_id(), 1..20)
                .prop_map(|message_ids| Action::Read { message_ids }),
            (any_anchor(), 1_u8..=100, any_request_id()).prop_map(|(anchor, limit, request_id)| {
                Action::FetchMessages {
                    anchor,
                    limit,
                    request_id,
                }
            }),
            Just(Action::Heartbeat),
            any_content().prop_map(|token| Action::Auth { token }),
        ]
    }

    proptest! {
        #[test]
        fn what_a_client_encodes_is_what_the_server_parses(action in any_action()) {
            let text = action.encode();
            let begins = format!(r#"{{"action":"{}""#, action.name());
            prop_assert!(text.starts_with(&begins));
            prop_assert_eq!(parse(&text).unwrap(), action);
        }

        #[test]
        fn any_bytes_are_parsed_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse(&String::from_utf8_lossy(&bytes));
        }

        #[test]
        fn a_damaged_action_is_parsed_or_refused_in_a_sentence(
            action in any_action(),
            at: prop::sample::Index,
            cut in 0_usize..4,
            put in "[\\PC\"{}\\[\\]:,\\\\0-9-]{0,3}",
        ) {
            let mut chars: Vec<char> = action.encode().chars().collect();
            let from = at.index(chars.len());
            let to = (from + cut).min(chars.len());
            chars.splice(from..to, put.chars());
            let text: String = chars.into_iter().collect();
            if let Err(refusal) = parse(&text) {
                prop_assert!(!refusal.error.is_empty());
                let answer = refusal.to_frame().encode();
                prop_assert!(serde_json::from_slice::<crate::ServerFrame<'_>>(&answer).is_ok());
            }
        }
    }
}
