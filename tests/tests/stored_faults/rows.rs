//! What the rows of the store say, read by the rules and without the adapter.

use std::collections::BTreeMap;

use parlance_protocol::{MessageId, Position};
use parlance_testkit::{
    cql::{Cql, wire::Row},
    traffic::recording::{Conversation, Told},
};

/// Ids of one partition of the tables.
const PER_BUCKET: u64 = 10_000;

/// What is visible of one epoch: above the first, up to the second.
type Stretch = (Position, Position);

/// An epoch's row: where the one before ended, and its last event.
#[derive(Debug, Clone, Copy)]
struct Epoch {
    broke: Option<Position>,
    head: Position,
}

/// Panics unless the visible rows are the conversation's history, each message once.
pub(crate) fn check(cql: &Cql, keyspace: &str, conversation: &Conversation) {
    let name = &conversation.name;
    let stretches = visible(&epochs(cql, keyspace, name));
    let mut rows = BTreeMap::new();
    for (after, up_to) in &stretches {
        for bucket in after.id.get() / PER_BUCKET..=up_to.id.get() / PER_BUCKET {
            rows.extend(messages(cql, keyspace, name, bucket));
        }
    }
    let is_visible = |position: &Position| {
        let within = |(after, up_to): &Stretch| after < position && position <= up_to;
        stretches.iter().any(within)
    };
    let told: Vec<Told> = rows
        .into_iter()
        .filter(|(position, _)| is_visible(position))
        .map(|(_, told)| told)
        .collect();
    assert_eq!(told, conversation.history, "the rows of {name}");
}

fn epochs(cql: &Cql, keyspace: &str, conversation: &str) -> BTreeMap<u32, Epoch> {
    let rows = cql.query(&format!(
        "SELECT {} FROM {keyspace}.epochs WHERE conversation_id = '{conversation}'",
        texts(&["epoch", "broke_id", "broke_k", "head_id", "head_k"])
    ));
    let epoch = |row: &Row| {
        let broke = row[1].is_some().then(|| place(row, 1));
        let head = place(row, 3);
        (
            row[0].as_ref().unwrap().parse().unwrap(),
            Epoch { broke, head },
        )
    };
    rows.iter().map(epoch).collect()
}

/// Down from the head, epoch by epoch through the breaks.
fn visible(epochs: &BTreeMap<u32, Epoch>) -> Vec<Stretch> {
    let mut stretches = Vec::new();
    let mut next = epochs.values().next_back().map(|newest| newest.head);
    while let Some(last) = next {
        let epoch = last.id.epoch();
        let mark = MessageId::of_epoch(epoch, 0).unwrap();
        stretches.push((Position::of(mark), last));
        next = epochs.get(&epoch).and_then(|epoch| epoch.broke);
    }
    stretches
}

/// Messages of a bucket, in order.
fn messages(
    cql: &Cql,
    keyspace: &str,
    conversation: &str,
    bucket: u64,
) -> BTreeMap<Position, Told> {
    let rows = cql.query(&format!(
        "SELECT {}, sender, content FROM {keyspace}.messages \
         WHERE conversation_id = '{conversation}' AND bucket = {bucket}",
        texts(&["id", "rev_id", "rev_k", "kind"])
    ));
    let message = |row: &Row| {
        let position = place(row, 1);
        let text = |column: usize| row[column].clone().unwrap_or_default();
        assert_eq!(text(3), "0", "{position} of {conversation} is a message");
        let told = Told {
            position,
            sender: text(4),
            content: text(5),
        };
        (position, told)
    };
    rows.iter().map(message).collect()
}

fn texts(columns: &[&str]) -> String {
    let casts = columns
        .iter()
        .map(|column| format!("CAST({column} AS text)"));
    casts.collect::<Vec<_>>().join(", ")
}

fn place(row: &Row, column: usize) -> Position {
    let text = |column: usize| row[column].as_deref().unwrap();
    Position::parse(&format!("{}-{}", text(column), text(column + 1)))
        .or_else(|| Position::parse(text(column)))
        .unwrap()
}

#[test]
fn what_is_visible_goes_down_through_the_breaks() {
    let place = |epoch, n| Position::of(MessageId::of_epoch(epoch, n).unwrap());
    let epoch = |broke, head| Epoch { broke, head };
    let epochs = BTreeMap::from([
        (0, epoch(None, place(0, 9))),
        (1, epoch(Some(place(0, 9)), place(1, 5))),
        (2, epoch(Some(place(1, 3)), place(2, 7))),
        // The second epoch was lost as a whole.
        (3, epoch(Some(place(1, 2)), place(3, 1))),
    ]);
    let expected = [
        (place(3, 0), place(3, 1)),
        (place(1, 0), place(1, 2)),
        (place(0, 0), place(0, 9)),
    ];
    assert_eq!(visible(&epochs), expected);
}
