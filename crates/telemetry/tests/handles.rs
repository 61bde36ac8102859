//! What the handles count arrives in the exporter under the documented names and labels.

use metrics_exporter_prometheus::PrometheusBuilder;
use parlance_telemetry::{
    Build, Kind, Metric, Metrics, PersisterMetrics, ProcessMetrics, RedisMetrics, StoreMetrics,
    labels::{Accept, Action, Code, DeadLetterKind, Initiator, Outcome, PersisterStep, RedisDoubt},
};

/// Runs `count` under a recorder of its own and returns what a scrape then sees.
fn scrape_after(count: impl FnOnce(&Metrics)) -> String {
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    metrics::with_local_recorder(&recorder, || {
        Metrics::describe(Build {
            version: "1.2.3",
            revision: "abc",
        });
        count(&Metrics::register());
    });
    handle.render()
}

#[track_caller]
fn assert_line(scrape: &str, line: &str) {
    assert!(
        scrape.lines().any(|l| l == line),
        "no line {line} in:\n{scrape}"
    );
}

#[test]
fn a_labelled_count_arrives_at_its_labels_and_no_others() {
    let scrape = scrape_after(|metrics| {
        metrics.accepts.of(Accept::Unauthorized).increment(2);
        metrics
            .actions
            .of(Action::Read, Outcome::UnknownMessage)
            .increment(3);
        metrics
            .closes
            .of(Code::of(4003), Initiator::Server)
            .increment(5);
    });

    assert_line(
        &scrape,
        r#"parlance_accepts_total{outcome="unauthorized"} 2"#,
    );
    assert_line(&scrape, r#"parlance_accepts_total{outcome="joined"} 0"#);
    let action = r#"parlance_actions_total{action="read",outcome="unknown_message"} 3"#;
    assert_line(&scrape, action);
    let close = r#"parlance_closes_total{code="4003",initiator="server"} 5"#;
    assert_line(&scrape, close);
    assert_line(
        &scrape,
        r#"parlance_closes_total{code="4003",initiator="client"} 0"#,
    );
    assert_line(
        &scrape,
        r#"parlance_build_info{version="1.2.3",revision="abc"} 1"#,
    );
}

#[test]
fn two_registrations_count_into_the_same_series() {
    let scrape = scrape_after(|first| {
        let second = Metrics::register();
        first.frames_sent.increment(1);
        second.frames_sent.increment(1);
    });

    assert_line(&scrape, "parlance_frames_sent_total 2");
}

#[test]
fn a_node_without_redis_exports_nothing_of_it() {
    let without = scrape_after(|_| {});
    assert!(
        !without
            .lines()
            .any(|line| line.starts_with("parlance_redis_"))
    );

    let with = scrape_after(|_| {
        let redis = RedisMetrics::register();
        redis.nodes.set(2.0);
        redis.doubts.of(RedisDoubt::ProbeMissed).increment(1);
    });
    assert_line(&with, "parlance_redis_nodes 2");
    let doubt = r#"parlance_redis_doubts_total{reason="probe_missed"} 1"#;
    assert_line(&with, doubt);
    assert_line(&with, r#"parlance_redis_doubts_total{reason="new_run"} 0"#);
    assert_line(&with, "parlance_redis_epochs_opened_total 0");
}

#[test]
fn a_node_without_a_persister_exports_nothing_of_it() {
    let without = scrape_after(|_| {});
    assert!(
        !without
            .lines()
            .any(|line| line.starts_with("parlance_persister_"))
    );

    let with = scrape_after(|_| {
        let persister = PersisterMetrics::register();
        persister.partitions.set(128.0);
        persister.retries.of(PersisterStep::Commit).increment(2);
        let garbled = persister.dead_letters.of(DeadLetterKind::Garbled);
        garbled.increment(1);
    });
    assert_line(&with, "parlance_persister_partitions 128");
    let retries = r#"parlance_persister_retries_total{step="commit"} 2"#;
    assert_line(&with, retries);
    let garbled = r#"parlance_persister_dead_letters_total{kind="garbled"} 1"#;
    assert_line(&with, garbled);
    let events = r#"parlance_persister_dead_letters_total{kind="event"} 0"#;
    assert_line(&with, events);
}

#[test]
fn every_metric_of_the_project_is_registered_with_its_kind_and_help() {
    let scrape = scrape_after(|metrics| {
        metrics.append_duration.record(0.001);
        ProcessMetrics::register().ready.set(1.0);
        RedisMetrics::register().probe_duration.record(0.001);
        let persister = PersisterMetrics::register();
        persister.batch_events.record(20.0);
        persister.stored_duration.record(0.01);
        let store = StoreMetrics::register();
        store.read_duration.record(0.001);
        store.write_duration.record(0.001);
    });

    let ours = Metric::ALL.iter().map(|metric| metric.spec());
    for spec in ours.filter(|spec| spec.name.starts_with("parlance_")) {
        let kind = match spec.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            // Buckets are the installer's; without them it is a summary.
            Kind::Histogram(_) => "summary",
        };
        assert_line(&scrape, &format!("# TYPE {} {kind}", spec.name));
        let help = format!("# HELP {} ", spec.name);
        assert!(scrape.contains(&help), "no help of {}", spec.name);
    }
}
