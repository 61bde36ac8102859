//! Memory of Redis: what conversations, messages, names and people take.

use std::{collections::BTreeMap, io::Write as _};

use parlance_testkit::redis::{PARTITIONS, Redis, tag};

use super::{
    appends::{Adapter, Behind, Load, LocalIds},
    cpu::CONTENT_BYTES,
    start,
};
use crate::say;

const CONVERSATIONS: u64 = 20_000;

/// Something that takes memory.
struct Case {
    name: &'static str,
    behind: Behind,
    what: What,
    /// What one of is asked for.
    units: u64,
}

enum What {
    Messages {
        load: Load,
        rounds: u64,
        is_stored: bool,
    },
    People {
        conversations: u64,
        users: u64,
    },
}

fn cases() -> [Case; 8] {
    let messages = |name, behind, (conversations, rounds, senders), content_bytes, local_ids| {
        let load = Load {
            conversations,
            tasks: conversations.min(128),
            senders,
            content_bytes,
            local_ids,
        };
        let what = What::Messages {
            load,
            rounds,
            is_stored: false,
        };
        let units = conversations * rounds;
        Case {
            name,
            behind,
            what,
            units,
        }
    };
    let (given, left) = (LocalIds::Given, LocalIds::Left);
    let idle = (CONVERSATIONS, 1, 1);
    let stored = messages("idle conversation, stored", Behind::Store, idle, 100, given).stored();
    [
        messages(
            "idle conversation, no store",
            Behind::Nothing,
            idle,
            100,
            given,
        ),
        stored,
        messages(
            "message in a log of 100",
            Behind::Nothing,
            (200, 100, 1),
            100,
            left,
        ),
        messages(
            "message in a log of 10,000",
            Behind::Nothing,
            (8, 10_000, 1),
            100,
            left,
        ),
        messages(
            "unstored message",
            Behind::Store,
            (1_000, 100, 10),
            CONTENT_BYTES,
            given,
        ),
        messages(
            "message, 100 names each",
            Behind::Nothing,
            (200, 100, 1),
            100,
            given,
        ),
        messages(
            "message, 1,000 names each",
            Behind::Nothing,
            (20, 1_000, 1),
            100,
            given,
        ),
        Case {
            name: "user, present, with cursors",
            behind: Behind::Nothing,
            what: What::People {
                conversations: 100,
                users: 100,
            },
            units: 10_000,
        },
    ]
}

impl Case {
    /// What waited to be stored is gone.
    fn stored(mut self) -> Self {
        if let What::Messages { is_stored, .. } = &mut self.what {
            *is_stored = true;
        }
        self
    }

    fn fill(&self, server: &Redis, adapter: &Adapter) -> anyhow::Result<()> {
        match &self.what {
            What::Messages {
                load,
                rounds,
                is_stored,
            } => {
                adapter.append(*load, 0..*rounds)?;
                if *is_stored {
                    let mut connection = server.connection();
                    for partition in 0..PARTITIONS {
                        let ingest = format!("{}:in", tag(partition));
                        connection.cmd(&["XTRIM", &ingest, "MAXLEN", "0"]);
                    }
                }
                Ok(())
            }
            What::People {
                conversations,
                users,
            } => adapter.people(*conversations, *users),
        }
    }
}

/// Fills a fresh server for each case and prints what one unit took.
pub(crate) fn measure_memory() -> anyhow::Result<()> {
    let mut lines = Vec::new();
    for case in cases() {
        say(&format!("memory of Redis: {}", case.name))?;
        let server = start(Redis::setup().no_persistence())?;
        let adapter = Adapter::open(&server, case.behind)?;
        let before = server.memory_used();
        case.fill(&server, &adapter)?;
        let taken = server.memory_used().saturating_sub(before) as f64;
        let units = case.units as f64;
        let (parts, rest) = parts(&server, taken);
        let parts = parts.into_iter().chain([("streams".to_owned(), rest)]);
        let parts = parts.filter_map(|(kind, bytes)| {
            let bytes = bytes / units;
            (bytes >= 0.5).then(|| format!("{kind} {bytes:.0}"))
        });
        let parts: Vec<String> = parts.collect();
        lines.push(format!(
            "{:<28} {:>8.0}   {}",
            case.name,
            taken / units,
            parts.join(" · ")
        ));
    }
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "\nmemory of Redis, bytes of used_memory each · by kind of key: MEMORY USAGE, and what is left for streams"
    )?;
    for line in lines {
        writeln!(out, "{line}")?;
    }
    Ok(())
}

/// Bytes of all keys of each kind (what stands behind the tag), but for streams, and what is left of
/// `taken` for these: MEMORY USAGE only estimates them, much too high when they are short.
fn parts(server: &Redis, taken: f64) -> (BTreeMap<String, f64>, f64) {
    let mut connection = server.connection();
    let mut parts = BTreeMap::new();
    let mut rest = taken;
    for key in connection.cmd(&["KEYS", "*"]).list() {
        let key = key.text();
        let kind = key.split(':').nth(1).unwrap_or_default();
        if matches!(kind, "l" | "in") {
            continue;
        }
        let usage = connection.cmd(&["MEMORY", "USAGE", &key, "SAMPLES", "0"]);
        let bytes = usage.integer() as f64;
        *parts.entry(kind.to_owned()).or_default() += bytes;
        rest -= bytes;
    }
    (parts, rest)
}
