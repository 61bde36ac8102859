//! What the server writes is what a client reads, for frames of any content.

use parlance_protocol::{
    ChatMessage, ErrorCode, HistoryRow, MessageId, Position, PresenceStatus, RequestId,
    ServerFrame, Status, UnixMicros, limits,
};
use proptest::{collection, option, prelude::*};

type Frame = ServerFrame<'static>;

fn id() -> impl Strategy<Value = MessageId> {
    (0..limits::ID_BOUND).prop_map(|id| MessageId::new(id).expect("it is below the bound"))
}

fn position() -> impl Strategy<Value = Position> {
    (id(), any::<u32>()).prop_map(|(id, k)| Position { id, k })
}

/// Whole milliseconds up to the end of the year 9999: what the wire holds.
fn instant() -> impl Strategy<Value = UnixMicros> {
    (0..=253_402_300_799_999_u64).prop_map(|millis| UnixMicros(millis * 1_000))
}

/// Any characters: quotes, escapes, control characters, every plane.
fn text() -> impl Strategy<Value = String> {
    collection::vec(any::<char>(), 0..40).prop_map(|chars| chars.into_iter().collect())
}

fn status() -> impl Strategy<Value = Status> {
    prop_oneof![
        Just(Status::Sent),
        Just(Status::Delivered),
        Just(Status::Read),
        Just(Status::Failed)
    ]
}

fn chat_message() -> impl Strategy<Value = Frame> {
    let message = (
        id(),
        option::of(text()),
        text(),
        text(),
        instant(),
        status(),
    );
    (message, position()).prop_map(
        |((id, local_id, sender, content, timestamp, status), position)| ServerFrame::ChatMessage {
            message: ChatMessage {
                id,
                local_id: local_id.map(Into::into),
                sender_id: sender.into(),
                content: content.into(),
                timestamp,
                status,
            },
            position,
        },
    )
}

fn row() -> impl Strategy<Value = HistoryRow<'static>> {
    let always = (
        id(),
        text(),
        text(),
        instant(),
        any::<(bool, bool)>(),
        status(),
        position(),
    );
    (always, option::of(text()), option::of(text())).prop_map(
        |(
            (id, sender, content, sent_at, (is_edited, is_deleted), status, position),
            by,
            local_id,
        )| {
            HistoryRow {
                id,
                sender_id: sender.into(),
                content: content.into(),
                sent_at,
                is_edited,
                is_deleted,
                status,
                position,
                edited_by: by.map(Into::into),
                local_id: local_id.map(Into::into),
            }
        },
    )
}

fn request_id() -> impl Strategy<Value = RequestId> {
    prop_oneof![
        any::<u64>().prop_map(RequestId::from),
        text().prop_map(|text| RequestId::from(&*text))
    ]
}

fn page() -> impl Strategy<Value = Frame> {
    let rows = collection::vec(row(), 0..4);
    (
        text(),
        rows,
        any::<bool>(),
        any::<Option<bool>>(),
        option::of(request_id()),
    )
        .prop_map(
            |(conversation, messages, has_more, has_more_after, request_id)| {
                ServerFrame::MessagesFetched {
                    conversation_id: conversation.into(),
                    messages,
                    has_more,
                    has_more_after,
                    request_id,
                }
            },
        )
}

fn small() -> impl Strategy<Value = Frame> {
    prop_oneof![
        (text(), any::<bool>(), text()).prop_map(|(user, is_typing, name)| ServerFrame::Typing {
            user_id: user.into(),
            username: name.into(),
            is_typing
        }),
        (text(), collection::vec(id(), 0..9)).prop_map(|(user, message_ids)| ServerFrame::Read {
            user_id: user.into(),
            message_ids
        }),
        (text(), instant()).prop_map(|(user, timestamp)| ServerFrame::UserStatus {
            user_id: user.into(),
            status: PresenceStatus::Offline,
            timestamp
        }),
        (option::of(text()), text(), any::<Option<u64>>()).prop_map(|(name, error, wait)| {
            ServerFrame::Error {
                action: name.map(Into::into),
                error: error.into(),
                code: ErrorCode::RateLimited,
                retryable: true,
                retry_after_ms: wait,
            }
        }),
        (
            collection::btree_map(text(), id(), 0..5),
            collection::btree_map(text(), id(), 0..5)
        )
            .prop_map(|(read, delivered)| ServerFrame::Receipts {
                read: read
                    .into_iter()
                    .map(|(user, id)| (user.into(), id))
                    .collect(),
                delivered: delivered
                    .into_iter()
                    .map(|(user, id)| (user.into(), id))
                    .collect(),
            }),
        (any::<u32>(), position(), id()).prop_map(|(epoch, lost_after, stored_id)| {
            ServerFrame::Resync {
                epoch,
                lost_after,
                stored_id,
            }
        }),
    ]
}

proptest! {
    #[test]
    fn a_frame_is_read_as_it_was_written(frame in prop_oneof![chat_message(), page(), small()]) {
        let encoded = frame.encode();
        let decoded: ServerFrame<'_> = serde_json::from_slice(&encoded).unwrap();
        prop_assert_eq!(decoded, frame);
    }

    #[test]
    fn a_frame_is_written_as_serde_json_does(frame in prop_oneof![chat_message(), page(), small()]) {
        let encoded = frame.encode();
        let json = serde_json::to_string(&frame).unwrap();
        prop_assert_eq!(std::str::from_utf8(&encoded).unwrap(), json);
    }
}
