//! `docs/benchmarks.md`, made from result files. No figure in it is typed by hand.

use std::{collections::BTreeMap, fmt::Write as _};

use super::{
    Table,
    judge::{Verdict, judge, median},
    machine::Machine,
    print::{cells, heads, rounded},
    results::Results,
    rows::{Measure, Row},
    servers::frame_bytes,
    workloads::content,
};

const INTRODUCTION: &str = "\
# Benchmarks

What a delivery, a send and a connection cost, beside the least that the kernel takes for them and
beside what else one might use. This page is made by `make bench-page` from the results of
`make bench` and `make bench-peers`; how to measure a deployment of your own is in
[bench.md](bench.md).

**How.** The server and its Redis are pinned to one core, the generator to another, all at real-time
priority where that is allowed, so that what else the machine does takes little from either. Servers
take turns, round by round, each time with a fresh process and a fresh Redis on loopback. Figures are
medians of the rounds, and a ratio is that of two medians; the last column has the least and the most
of the rounds taken by themselves. A run counts only if every member got every message once, and all
members of a room in the same order.

**What is compared.** `parlance` is one gateway with one shard on Redis, without a store, as a user has
it: tokens are verified, names of messages are remembered, metrics are counted, and a message is in the
log before it is acknowledged. Only limits of rate are out of the way. `raw-send` calls `send()` once
per delivery and does nothing else; `raw-coalesce` joins all that a turn of its loop brings into one
`send()` per member, and does nothing else. Neither has tokens, JSON, a log or more than one process.

**Workloads.** Contents are {content_bytes} bytes, {frame_bytes} as a delivered frame. *Fan-out* keeps
two messages per room under way, as fast as the server goes; *backlog* keeps twenty. At *10,000/s* there
are 1,000 messages per second to 100 rooms of ten, and latency counts from when a message was due. *Sends*
go to 100 rooms of two, one under way per connection, or 1,000 per second to 500 of them. *Connects* are
10,000, 256 at a time, two to a room. *Resumes* are 5,000 in the same way: their members were cut off while
somebody stayed in each room and said ten messages, which they get on return.

Loopback has no network card, and on a virtual machine waking a process is dear. Compare ratios, not
figures, and those only between machines of one kind.
";

/// The page; a part whose results are missing is left out.
pub(crate) fn page(
    floors: Option<(&Results, &[Row])>,
    peers: Option<(&Results, &[Row])>,
    not_here: &[(&str, &str)],
) -> String {
    let mut page = INTRODUCTION
        .replace("{content_bytes}", &content().len().to_string())
        .replace("{frame_bytes}", &frame_bytes().to_string());
    if let Some((results, rows)) = floors {
        page.push_str("\n## Beside the floors\n\n");
        part(&mut page, Table::Floors, results, rows);
    }
    if let Some((results, rows)) = peers {
        page.push_str("\n## Beside other servers\n\n");
        page.push_str(PEERS);
        for (name, reason) in not_here {
            write(
                &mut page,
                &format!("{name} is not among them: {reason}.\n\n"),
            );
        }
        part(&mut page, Table::Peers, results, rows);
    }
    page
}

const PEERS: &str = "\
Each is written or configured as its users would do it (`benches/peers`), verifies the same kind of
token, and runs on one core with its Redis. *ws + Redis* acknowledges when Redis has published a message,
and keeps nothing. *Socket.IO* acknowledges when it has emitted one. *Centrifugo* acknowledges when a
message is in the history that it keeps in Redis.

";

fn part(page: &mut String, table: Table, results: &Results, rows: &[Row]) {
    let samples = results.samples();
    let verdicts = rows.iter().filter_map(|row| judge(row.clone(), &samples));
    let verdicts: Vec<Verdict> = verdicts.collect();
    conditions(page, results);
    line(page, heads(table.other()));
    line(
        page,
        std::array::from_fn::<_, 8, _>(|index| alignment(index).to_owned()),
    );
    for verdict in &verdicts {
        line(page, cells(verdict));
    }
    for skipped in &results.skipped {
        write(
            page,
            &format!(
                "\nNot measured: {}: {}.\n",
                skipped.server.name(),
                skipped.reason
            ),
        );
    }
    for failed in &results.failed {
        let (server, workload) = (failed.server.name(), failed.workload.name());
        let (round, reason) = (failed.round, &failed.reason);
        write(
            page,
            &format!("\nRound {round} of {server}, {workload}, does not count: {reason}.\n"),
        );
    }
    figures(page, results);
}

fn conditions(page: &mut String, results: &Results) {
    let Results {
        machine,
        command,
        began,
        rounds,
        seconds,
        ..
    } = results;
    let versions: Vec<String> = machine
        .versions
        .iter()
        .map(|(name, version)| format!("{name} {version}"))
        .collect();
    let rounds = match rounds {
        1 => "1 round".to_owned(),
        several => format!("{several} rounds"),
    };
    let Machine {
        processor,
        cores,
        memory_mib,
        kernel,
        commit,
        ..
    } = machine;
    let versions = versions.join(", ");
    let lines = [
        format!("- `{command}` on {began}, commit {commit}"),
        format!("- {rounds}, {seconds} s counted of each run that has no end of its own"),
        format!("- {processor}, {cores} cores, {memory_mib} MiB, Linux {kernel}"),
        format!("- {versions}"),
    ];
    write(page, &format!("{}\n\n", lines.join("\n")));
    for remark in &results.remarks {
        write(page, &format!("{remark}.\n\n"));
    }
}

/// What each run showed, whatever row it is in.
fn figures(page: &mut String, results: &Results) {
    let mut measures: BTreeMap<Measure, ()> = BTreeMap::new();
    for measured in &results.measured {
        let keys = measured.rounds.iter().flat_map(|sample| sample.keys());
        measures.extend(keys.map(|measure| (*measure, ())));
    }
    let measures: Vec<Measure> = measures.into_keys().collect();
    page.push_str("\nAll figures, as median (least .. most) of the rounds:\n\n");
    let heads = ["workload".to_owned(), "server".to_owned()].into_iter();
    let columns = measures.iter().map(|measure| measure.head().to_owned());
    line(page, heads.chain(columns));
    line(
        page,
        (0..measures.len() + 2).map(|index| alignment(usize::from(index > 1)).to_owned()),
    );
    let mut runs: Vec<_> = results.measured.iter().collect();
    runs.sort_by_key(|measured| (measured.run.workload, measured.run.server));
    for measured in runs {
        let run = measured.run;
        let names = [run.workload.name().to_owned(), run.server.name().to_owned()].into_iter();
        let spreads = measures.iter().map(|measure| {
            let values = measured
                .rounds
                .iter()
                .filter_map(|sample| sample.get(measure).copied());
            spread(&values.collect::<Vec<f64>>())
        });
        line(page, names.chain(spreads));
    }
}

fn spread(values: &[f64]) -> String {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    match values {
        [] => String::new(),
        [only] => rounded(*only),
        several => {
            let (median, least, most) = (rounded(median(several)), rounded(least), rounded(most));
            format!("{median} ({least} .. {most})")
        }
    }
}

fn alignment(column: usize) -> &'static str {
    match column {
        0 | 6 => "---",
        _ => "---:",
    }
}

fn line(page: &mut String, cells: impl IntoIterator<Item = String>) {
    let cells: Vec<String> = cells.into_iter().collect();
    write(page, &format!("| {} |\n", cells.join(" | ")));
}

fn write(page: &mut String, text: &str) {
    // Writing to a String does not fail.
    let _ = page.write_str(text);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::{
        judge::Sample,
        results::{Failed, Measured, Skipped},
        rows::{Run, beside_floors},
        servers::Kind,
        workloads::Workload,
    };

    fn results() -> Results {
        let measured = |server, deliveries: [f64; 3]| Measured {
            run: Run {
                server,
                workload: Workload::Rooms10,
            },
            rounds: deliveries
                .map(|rate| Sample::from([(Measure::PerSecond, rate)]))
                .to_vec(),
        };
        Results {
            machine: Machine {
                processor: "A Processor".to_owned(),
                cores: 2,
                memory_mib: 24_000,
                kernel: "6.1".to_owned(),
                commit: "0123456789ab".to_owned(),
                versions: vec![("Redis".to_owned(), "7.0.15".to_owned())],
            },
            command: "make bench".to_owned(),
            began: "2026-01-02T03:04:05.000Z".to_owned(),
            rounds: 3,
            seconds: 2,
            remarks: vec!["Something was otherwise".to_owned()],
            measured: vec![
                measured(Kind::Gateway, [150_000.0, 120_000.0, 130_000.0]),
                measured(Kind::RawSend, [100_000.0, 100_000.0, 90_000.0]),
            ],
            skipped: vec![Skipped {
                server: Kind::Centrifugo,
                reason: "it is not here".to_owned(),
            }],
            failed: vec![Failed {
                server: Kind::SocketIo,
                workload: Workload::Send,
                round: 2,
                reason: "3 missing".to_owned(),
            }],
        }
    }

    #[test]
    fn a_page_has_the_rows_that_were_measured_and_says_what_was_not() {
        let page = page(Some((&results(), &beside_floors())), None, &[]);
        let row = "| fan-out 100 x 10 over raw-send | 130,000 /s | 100,000 /s | 1.30 | >= 1 | \
                   >= 1.3 | stretch | 1.20 .. 1.50 |";
        assert!(page.contains(row), "{page}");
        for part in [
            "- `make bench` on 2026-01-02T03:04:05.000Z, commit 0123456789ab\n- 3 rounds, 2 s counted",
            "- A Processor, 2 cores, 24000 MiB, Linux 6.1\n- Redis 7.0.15\n",
            "Something was otherwise.",
            "Not measured: Centrifugo + history: it is not here.",
            "Round 2 of Socket.IO + streams, acked sends, does not count: 3 missing.",
            "| fan-out 100 x 10 | parlance | 130,000 (120,000 .. 150,000) |",
        ] {
            assert!(page.contains(part), "{part} is not in {page}");
        }
        assert!(!page.contains("10 x 100 over raw-send"), "{page}");
        assert!(!page.contains("## Beside other servers"), "{page}");
    }

    #[test]
    fn a_file_of_results_is_read_as_it_was_written() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("made").join("results.json");
        assert_eq!(Results::load(&path).expect("nothing is no error"), None);
        results().save(&path).expect("it can be written");
        let loaded = Results::load(&path).expect("it can be read");
        assert_eq!(loaded, Some(results()));
    }
}
