//! What a persister counts, as a scrape sees it.

use std::{sync::Arc, time::Duration};

use crate::scripted::{E, Fate, Scripted, Watched, at, mark, message};
use crate::support::{Running, options, until};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use parlance_core::{ingest::Piece, store::Partition};
use tokio::{task::LocalSet, time::sleep};

const HERE: Partition = Partition(0);

/// Runs a test with a recorder of its own, on a clock that goes on by itself.
fn run<F: Future<Output = ()>>(test: impl FnOnce(PrometheusHandle) -> F) {
    let recorder = PrometheusBuilder::new().build_recorder();
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).build().unwrap();
    metrics::with_local_recorder(&recorder, || {
        LocalSet::new().block_on(&runtime, test(recorder.handle()));
    });
}

/// A series' value; labels belong to its name.
fn value(scrape: &PrometheusHandle, series: &str) -> f64 {
    let text = scrape.render();
    let mut lines = text.lines();
    let found = lines.find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    let found = found.unwrap_or_else(|| panic!("no {series} in:\n{text}"));
    found.parse().unwrap()
}

#[test]
fn what_was_committed_and_what_was_laid_aside_is_counted_once() {
    run(async |scrape| {
        let (log, store) = (Scripted::default(), Arc::new(Watched::default()));
        store.kept.refuse("poison");
        for id in 1..=20 {
            let content = if id == 7 { "poison" } else { "fine" };
            log.append(HERE, message("a", "ann", id, content));
        }
        log.append(HERE, mark("b", 1, at(0)));
        log.append(HERE, message("b", "bob", E + 1, "fine"));
        log.append(
            HERE,
            Piece::Garbled {
                conversation: "a".into(),
                text: "garbage".into(),
                reason: "too short".into(),
            },
        );
        log.fate(Fate::OtherEpoch);
        log.fate(Fate::Unanswered);

        let running = Running::start(log.clone(), Arc::clone(&store), options("p"));
        until("it is committed", || log.commits().len() == 2).await;
        running.stop().await;

        for (series, expected) in [
            ("parlance_persister_events_total", 21.0),
            ("parlance_persister_batches_total", 1.0),
            ("parlance_persister_batch_events_sum", 21.0),
            ("parlance_persister_stored_duration_seconds_count", 2.0),
            (
                r#"parlance_persister_dead_letters_total{kind="event"}"#,
                1.0,
            ),
            (
                r#"parlance_persister_dead_letters_total{kind="garbled"}"#,
                1.0,
            ),
            (r#"parlance_persister_dead_letters_total{kind="name"}"#, 0.0),
            (r#"parlance_persister_retries_total{step="commit"}"#, 1.0),
            ("parlance_persister_take_overs_total", 256.0),
            ("parlance_persister_partitions", 0.0),
            ("parlance_persister_backlog", 0.0),
        ] {
            assert_eq!(value(&scrape, series), expected, "{series}");
        }
    });
}

#[test]
fn while_the_store_is_down_backlog_and_lag_are_seen_to_grow() {
    run(async |scrape| {
        let (log, store) = (Scripted::default(), Arc::new(Watched::default()));
        store.kept.set_down(true);
        log.append(HERE, message("a", "ann", 1, "one"));
        let running = Running::start(log.clone(), Arc::clone(&store), options("p"));
        until("it is tried", || !store.writes().is_empty()).await;

        for id in 2..=10 {
            log.append(HERE, message("a", "ann", id, "more"));
        }
        sleep(Duration::from_secs(5)).await;

        assert_eq!(value(&scrape, "parlance_persister_backlog"), 10.0);
        let lag = value(&scrape, "parlance_persister_lag_seconds");
        // It was a second old when it was read.
        assert!((5.5..6.5).contains(&lag), "{lag} s");
        assert_eq!(value(&scrape, "parlance_persister_partitions"), 256.0);

        store.kept.set_down(false);
        until("it is committed", || log.is_empty()).await;
        sleep(Duration::from_secs(1)).await;
        assert_eq!(value(&scrape, "parlance_persister_backlog"), 0.0);
        assert_eq!(value(&scrape, "parlance_persister_lag_seconds"), 0.0);
        running.stop().await;
    });
}
