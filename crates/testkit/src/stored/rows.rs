//! What the rows of the store say, read by the rules and without the adapter.

use std::collections::{BTreeMap, BTreeSet};

use parlance_protocol::{MessageId, Position};

use crate::{
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
pub fn check(cql: &Cql, keyspace: &str, conversation: &Conversation) {
    let name = &conversation.name;
    let stretches = visible(&epochs(cql, keyspace, name));
    let mut rows = BTreeMap::new();
    for bucket in buckets(&stretches) {
        rows.extend(revisions(cql, keyspace, name, bucket));
    }
    let told: Vec<Shown> = told(rows, &stretches).collect();
    let history = conversation.history.iter();
    let history: Vec<Shown> = history.map(shown).collect();
    assert_eq!(told, history, "the rows of {name}");
    check_changes(cql, keyspace, name, &stretches);
}

/// A message: its place, its sender, and what it shows.
pub(super) type Shown = (Position, String, String);

pub(super) fn shown(told: &Told) -> Shown {
    (told.position, told.sender.clone(), told.shows.clone())
}

/// The visible messages, each as its newest visible revision makes it.
fn told(
    rows: BTreeMap<(Position, Position), Revision>,
    stretches: &[Stretch],
) -> impl Iterator<Item = Shown> {
    let mut messages: BTreeMap<Position, Shown> = BTreeMap::new();
    for ((message, position), revision) in rows {
        if !is_visible(stretches, position) {
            continue;
        }
        match revision.kind {
            Kind::Message => {
                let shown = (message, revision.sender, revision.content);
                assert_eq!(
                    messages.insert(message, shown),
                    None,
                    "{message} stands twice"
                );
            }
            Kind::Edit | Kind::Delete => {
                let (_, _, content) = messages
                    .get_mut(&message)
                    .expect("the store has what it wrote");
                // An edit that follows a deletion changes nothing.
                if !content.is_empty() {
                    *content = revision.content;
                }
            }
        }
    }
    messages.into_values()
}

fn is_visible(stretches: &[Stretch], position: Position) -> bool {
    let within = |(after, up_to): &Stretch| *after < position && position <= *up_to;
    stretches.iter().any(within)
}

/// Panics unless each change has one visible row in the order of the log, too.
fn check_changes(cql: &Cql, keyspace: &str, conversation: &str, stretches: &[Stretch]) {
    let mut names = BTreeSet::new();
    for bucket in buckets(stretches) {
        let rows = cql.query(&format!(
            "SELECT {}, local_id FROM {keyspace}.events \
             WHERE conversation_id = '{conversation}' AND bucket = {bucket}",
            texts(&["id", "k"])
        ));
        for row in rows
            .iter()
            .filter(|row| is_visible(stretches, place(row, 0)))
        {
            let name = row[2].clone().expect("the store has what it wrote");
            assert!(names.insert(name.clone()), "{name} stands twice");
        }
    }
}

fn buckets(stretches: &[Stretch]) -> BTreeSet<u64> {
    let of = |(after, up_to): &Stretch| after.id.get() / PER_BUCKET..=up_to.id.get() / PER_BUCKET;
    stretches.iter().flat_map(of).collect()
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
            row[0]
                .as_ref()
                .expect("the store has what it wrote")
                .parse()
                .expect("the store has what it wrote"),
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
        let mark = MessageId::of_epoch(epoch, 0).expect("the store has what it wrote");
        stretches.push((Position::of(mark), last));
        next = epochs.get(&epoch).and_then(|epoch| epoch.broke);
    }
    stretches
}

/// A row: a message, or what was made of it.
struct Revision {
    kind: Kind,
    sender: String,
    content: String,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Message,
    Edit,
    Delete,
}

/// Rows of a bucket, by their message and their own place.
fn revisions(
    cql: &Cql,
    keyspace: &str,
    conversation: &str,
    bucket: u64,
) -> BTreeMap<(Position, Position), Revision> {
    let rows = cql.query(&format!(
        "SELECT {}, sender, content FROM {keyspace}.messages \
         WHERE conversation_id = '{conversation}' AND bucket = {bucket}",
        texts(&["id", "rev_id", "rev_k", "kind"])
    ));
    let revision = |row: &Row| {
        let text = |column: usize| row[column].clone().unwrap_or_default();
        let message = Position::parse(&text(0)).expect("the store has what it wrote");
        let revision = Revision {
            kind: match &*text(3) {
                "0" => Kind::Message,
                "1" => Kind::Edit,
                "2" => Kind::Delete,
                other => panic!("{message} of {conversation} has a row of kind {other}"),
            },
            sender: text(4),
            content: text(5),
        };
        ((message, place(row, 1)), revision)
    };
    rows.iter().map(revision).collect()
}

fn texts(columns: &[&str]) -> String {
    let casts = columns
        .iter()
        .map(|column| format!("CAST({column} AS text)"));
    casts.collect::<Vec<_>>().join(", ")
}

fn place(row: &Row, column: usize) -> Position {
    let text = |column: usize| row[column].as_deref().expect("the store has what it wrote");
    Position::parse(&format!("{}-{}", text(column), text(column + 1)))
        .or_else(|| Position::parse(text(column)))
        .expect("the store has what it wrote")
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
