//! Once through everything.

use parlance_core::{
    entry::{Draft, Event},
    ports::{Appended, Backend, Bus, Feed, Heard, History, Log},
};
use parlance_embedded::{Embedded, Options};
use parlance_protocol::{Anchor, ConversationId, LocalId, MessageId, Position, UnixMicros, UserId};

#[expect(clippy::unwrap_used, reason = "a test's own ids")]
fn draft(local: &str, event: Event) -> Draft {
    Draft {
        sender: UserId::new("ann").unwrap(),
        local_id: Some(LocalId::new(local).unwrap()),
        retry: false,
        event,
        at: UnixMicros(5),
    }
}

#[tokio::test]
async fn a_message_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let room = ConversationId::new("room").unwrap();
    let one = MessageId::new(1).unwrap();
    let hello = || Event::Message {
        content: "hello".into(),
    };
    let edit = Event::Edit {
        message_id: one,
        content: "hi".into(),
    };
    {
        let backend = Embedded::open(dir.path(), Options::default()).unwrap();
        let (a, _feed) = backend.attach();
        let (b, mut heard) = backend.attach();
        b.subscribe(&room).await.unwrap();
        assert!(matches!(
            a.append(&room, draft("1", hello())).await.unwrap(),
            Appended::New(_)
        ));
        assert!(matches!(heard.next().await.unwrap().1, Heard::Entry(_)));
        assert!(matches!(
            a.append(&room, draft("2", edit)).await.unwrap(),
            Appended::New(_)
        ));
    }
    let backend = Embedded::open(dir.path(), Options::default()).unwrap();
    let (a, _feed) = backend.attach();
    let page = a.page(&room, Anchor::Newest, 10).await.unwrap();
    assert_eq!(&*page.rows[0].content, "hi");
    assert!(!page.has_more);
    assert_eq!(
        a.append(&room, draft("1", hello())).await.unwrap(),
        Appended::Duplicate(Position::of(one))
    );
    let replay = a.replay(&room, Position::ZERO, 10).await.unwrap();
    assert_eq!((replay.events.len(), replay.remaining), (2, 0));
    assert_eq!(
        a.head(&room).await.unwrap().lineage.head(),
        Position { id: one, k: 1 }
    );
}
