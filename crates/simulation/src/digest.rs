//! Digests of names and contents, as an adapter makes them.

use parlance_core::{
    entry::{Draft, Event},
    store::{ContentDigest, NameDigest},
};

/// What an event is known by: its sender's name for it, or the place that it was lost from.
pub(crate) fn name_of(draft: &Draft) -> Option<NameDigest> {
    let text = match (&draft.local_id, draft.restores) {
        (Some(local_id), _) => format!("l{local_id}"),
        (None, Some(place)) => format!("r{place}"),
        (None, None) => return None,
    };
    let hash = blake3::hash(text.as_bytes());
    let first = hash.as_bytes().first_chunk();
    Some(NameDigest(*first.expect("a hash is longer")))
}

/// Of the kind of event and all that it says.
pub(crate) fn content_of(event: &Event) -> ContentDigest {
    let text = match event {
        Event::Message { content } => format!("m{content}"),
        Event::Edit {
            message_id,
            content,
        } => format!("e{message_id} {content}"),
        Event::Delete { message_id } => format!("d{message_id}"),
    };
    let hash = blake3::hash(text.as_bytes());
    let first = hash.as_bytes().first_chunk();
    ContentDigest(*first.expect("a hash is longer"))
}
