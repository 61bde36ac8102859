//! `parlance inspect`: where a conversation stands.

use std::fmt::Write;

use anyhow::anyhow;
use parlance_core::{
    ports::Unavailable,
    store::{EpochRow, Store},
};
use parlance_protocol::{ConversationId, Position};
use parlance_redis::{End, Inspection, LogExtent};

use crate::{
    cli::{Global, Inspect},
    commands::{load, print},
    config::Purpose,
    deployment::{self, RedisUse},
    failure::{Exit, Failure},
    logging::{self, Speaker},
};

/// How often the store is asked; it has a second each time.
const TRIES: usize = 5;

pub(super) fn run(global: &Global, inspect: Inspect) -> Result<(), Failure> {
    let conversation = ConversationId::new(&inspect.conversation).map_err(|error| {
        let error = anyhow!("{:?} is no conversation: {error}", inspect.conversation);
        Failure::new(Exit::Usage, error)
    })?;
    let flags = [inspect.redis.setting(), inspect.store.setting()];
    let config = load(global, flags, Purpose::AskRedis)?.config;
    logging::start(global, Speaker::Command);
    deployment::install_cryptography()?;
    let store = deployment::store(&config)?;
    let redis = deployment::redis(&config, store.clone(), RedisUse::Asking)?;
    // What Redis has is shown whatever the store says.
    print(&in_redis(
        &redis.inspect(&conversation).map_err(unavailable)?,
    ))?;
    match store {
        Some(store) => print(&in_store(&epochs(&*store, &conversation)?)),
        None => print("store       none is configured\n"),
    }
}

/// A store that is slow at first, as one is that was just connected to, is asked again.
fn epochs(store: &impl Store, conversation: &ConversationId) -> Result<Vec<EpochRow>, Failure> {
    blocking(async {
        let mut answer = store.epochs(conversation).await;
        for _ in 1..TRIES {
            if answer.is_ok() {
                break;
            }
            answer = store.epochs(conversation).await;
        }
        answer.map_err(unavailable)
    })?
}

fn blocking<T>(question: impl Future<Output = T>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(|error| Failure::new(Exit::Unavailable, error))?;
    Ok(runtime.block_on(question))
}

fn unavailable(error: Unavailable) -> Failure {
    Failure::new(Exit::Unavailable, error)
}

fn in_redis(inspection: &Inspection) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        // Writing to a String does not fail.
        let _ = writeln!(text, "{name:<11} {value}");
    };
    let none = || "none".to_owned();
    line("partition", format!("p{:02x}", inspection.partition.0));
    let epoch = inspection
        .epoch
        .as_deref()
        .and_then(|e| e.rsplit(' ').next());
    line("epoch", epoch.map_or_else(none, str::to_owned));
    line("owner", inspection.owner.clone().unwrap_or_else(none));
    let begins = inspection.ingest_begins.as_deref();
    let begins = begins.map_or_else(String::new, |id| format!(", the oldest {id}"));
    line(
        "waiting",
        format!("{} to be stored{begins}", inspection.ingest_length),
    );
    line(
        "refused",
        format!("{} dead letters", inspection.dead_letters),
    );
    match &inspection.end {
        None => line("end", "Redis does not know this conversation".to_owned()),
        Some(end) => describe_end(end, &mut line),
    }
    line("log", extent(&inspection.log));
    text
}

fn describe_end(end: &End, line: &mut impl FnMut(&str, String)) {
    let End {
        head,
        messages,
        events,
        ..
    } = end;
    line(
        "end",
        format!(
            "{head} in epoch {}, {messages} messages, {events} events",
            end.epoch
        ),
    );
    line("stored", format!("{}{}", end.stored, lag(end)));
    for (epoch, at) in &end.breaks {
        line("break", format!("epoch {epoch} began behind {at}"));
    }
    if let Some(ms) = end.expires_ms {
        line("forgotten", in_time(ms));
    }
}

fn lag(end: &End) -> &'static str {
    if end.stored >= end.head {
        ", which is all"
    } else {
        ""
    }
}

fn extent(log: &LogExtent) -> String {
    let place = |position: Option<Position>| position.map_or_else(String::new, |p| p.to_string());
    if log.length == 0 {
        return "empty".to_owned();
    }
    let (first, last) = (place(log.first), place(log.last));
    let expires = log
        .expires_ms
        .map_or_else(String::new, |ms| format!(", gone {}", in_time(ms)));
    format!("{} entries, {first} to {last}{expires}", log.length)
}

fn in_time(ms: u64) -> String {
    let seconds = ms / 1_000;
    match seconds {
        0..120 => format!("in {seconds} s"),
        120..7_200 => format!("in {} min", seconds / 60),
        _ => format!("in {} h", seconds / 3_600),
    }
}

fn in_store(rows: &[EpochRow]) -> String {
    if rows.is_empty() {
        return "store       nothing of it\n".to_owned();
    }
    let lines = rows.iter().map(|row| {
        let EpochRow {
            epoch,
            head,
            ordinal,
            count,
            ..
        } = row;
        let behind = row
            .broke_at
            .map_or_else(String::new, |at| format!(" behind {at}"));
        format!(
            "store       epoch {epoch}{behind} up to {head}: {ordinal} messages, {count} events\n"
        )
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use parlance_core::store::Partition;
    use parlance_protocol::{MessageId, UnixMicros};

    use super::*;

    fn at(id: u64) -> Position {
        Position::of(MessageId::new(id).unwrap())
    }

    #[test]
    fn a_conversation_is_shown_line_by_line() {
        let inspection = Inspection {
            partition: Partition(0x9b),
            epoch: Some("0123456789abcdef 1795723119978 1".to_owned()),
            owner: Some("3 aabbccdd".to_owned()),
            ingest_length: 2,
            ingest_begins: Some("1795723119978-0".to_owned()),
            dead_letters: 0,
            end: Some(End {
                epoch: 1,
                head: at(MessageId::PER_EPOCH + 7),
                messages: 12,
                events: 14,
                stored: at(MessageId::PER_EPOCH + 5),
                breaks: vec![(1, at(5))],
                expires_ms: None,
            }),
            log: LogExtent {
                length: 9,
                first: Some(at(2)),
                last: Some(at(MessageId::PER_EPOCH + 7)),
                expires_ms: Some(90_000),
            },
        };
        let expected = "\
partition   p9b
epoch       1
owner       3 aabbccdd
waiting     2 to be stored, the oldest 1795723119978-0
refused     0 dead letters
end         10000000007 in epoch 1, 12 messages, 14 events
stored      10000000005
break       epoch 1 began behind 5
log         9 entries, 2 to 10000000007, gone in 90 s
";
        assert_eq!(in_redis(&inspection), expected);
    }

    #[test]
    fn what_the_store_has_is_shown_epoch_by_epoch() {
        let row = |epoch, broke_at, head| EpochRow {
            epoch,
            broke_at,
            head,
            t: UnixMicros(1),
            ordinal: 5,
            count: 6,
        };
        let rows = [
            row(0, None, at(5)),
            row(1, Some(at(4)), at(MessageId::PER_EPOCH)),
        ];
        assert_eq!(
            in_store(&rows),
            "store       epoch 0 up to 5: 5 messages, 6 events\n\
             store       epoch 1 behind 4 up to 10000000000: 5 messages, 6 events\n"
        );
        assert_eq!(in_store(&[]), "store       nothing of it\n");
    }
}
