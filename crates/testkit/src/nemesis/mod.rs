//! Breaks a whole deployment under load, one fault after the other, as a plan says, and judges what is
//! left: three gateways, two persisters, a watched pair of Redis servers, a store, and relays between
//! all of them.
//!
//! Used by `make chaos`. What is promised is the same for the whole
//! plan: sends are acknowledged when two servers have them, so nothing acknowledged is lost or gets
//! another id. Whether a fault bit is counted by the relays, since the clients themselves are judged
//! by what they were told and not by what was done to them.

mod plan;
mod stage;

use std::{collections::BTreeSet, time::Duration};

use parlance_checker::Violation;
use serde_json::{Value, json};

pub use self::plan::{Fault, Lasting, Step, draw, two_at_once};
use self::stage::Stage;
use crate::traffic::{
    Plan, Traffic,
    recording::{Promise, Recording},
};

/// What must hold when all is well again.
const FLOWS_WITHIN: Duration = Duration::from_secs(5);
const READY_WITHIN: Duration = Duration::from_secs(10);
const DRAINED_WITHIN: Duration = Duration::from_secs(60);

/// How a run is to be.
#[derive(Debug, Clone)]
pub struct Run {
    /// Names the conversations, and stands in the report.
    pub seed: u64,
    /// Done one after the other.
    pub steps: Vec<Step>,
    /// No fault begins after this, whatever is left of the steps.
    pub at_most: Duration,
    /// Six members each.
    pub conversations: usize,
    /// New messages in all of them together.
    pub sends_per_second: u32,
    /// Acknowledged in all, at least: after the last fault it is talked on until then.
    pub acknowledged: u64,
}

/// What a run was.
#[derive(Debug)]
pub struct Outcome {
    /// For `report.json`.
    pub report: Value,
    /// What clients saw.
    pub recording: Recording,
    /// What must not be. Empty, if all is well.
    pub violations: Vec<Violation>,
}

/// What is known of a run that is under way.
#[derive(Debug, Default)]
struct Diary {
    events: Vec<Value>,
    done: BTreeSet<Fault>,
    struck: BTreeSet<Fault>,
    kills: usize,
    slowest: Duration,
}

impl Run {
    /// Does it. Panics when something does not end in time, or says what must not be said after the
    /// clients were judged.
    pub async fn perform(&self, mut say: impl FnMut(&str)) -> Outcome {
        let mut stage = Stage::start().await;
        let plan = Plan {
            name: format!("chaos-{}-", self.seed),
            conversations: self.conversations,
            sends_per_second: self.sends_per_second,
            changes: false,
            lively: true,
        };
        let mut traffic = Traffic::start(&plan, &stage.directory).await;
        traffic
            .until_acknowledged(u64::from(self.sends_per_second) * 2)
            .await;
        stage.sample(&mut traffic);
        let mut diary = Diary::default();
        for step in &self.steps {
            if Duration::from_micros(traffic.now_us()) > self.at_most {
                break;
            }
            tokio::time::sleep(Duration::from_millis(step.after_ms)).await;
            self.step(step, &mut stage, &mut traffic, &mut diary, &mut say)
                .await;
        }
        // In small steps: each of them may take only so long.
        let step = u64::from(self.sends_per_second) * 2;
        while traffic.acknowledged() < self.acknowledged {
            traffic.until_acknowledged(step).await;
        }
        self.probe(&stage, &mut traffic).await;
        stage.sample(&mut traffic);
        self.judge(&stage, traffic, diary, &mut say).await
    }

    async fn step(
        &self,
        step: &Step,
        stage: &mut Stage,
        traffic: &mut Traffic,
        diary: &mut Diary,
        say: &mut impl FnMut(&str),
    ) {
        let at_ms = traffic.now_us() / 1000;
        let Step {
            fault,
            target,
            lasts_ms,
            beside,
            ..
        } = step;
        let what = match beside {
            Some(beside) => format!("{fault} beside {beside}"),
            None => fault.to_string(),
        };
        say(&format!(
            "{at_ms:>7} ms {what} at {target} for {lasts_ms} ms"
        ));
        let number = traffic.fault_begins(&what);
        let bite = stage.inflict(step).await;
        let recovery = traffic.flows_again().await;
        traffic.fault_ends(number);
        stage.sample(traffic);
        let seconds = recovery.as_secs_f64();
        say(&format!(
            "           {bite}; talk flows {seconds:.1} s after"
        ));
        if bite["struck"] != 0 {
            diary.struck.insert(*fault);
        }
        diary.done.insert(*fault);
        diary.kills += usize::from(fault.kills());
        diary.slowest = diary.slowest.max(recovery);
        let recovery_ms = recovery.as_millis() as u64;
        diary.events.push(
            json!({"at_ms": at_ms, "fault": fault.to_string(), "target": target,
                "beside": beside.map(|beside| beside.to_string()), "lasts_ms": lasts_ms, "bite": bite,
                "recovery_ms": recovery_ms}),
        );
    }

    /// All is well again: everything works soon.
    async fn probe(&self, stage: &Stage, traffic: &mut Traffic) {
        let began_us = traffic.now_us();
        traffic.flows_again().await;
        traffic.probe("a new send of every client", began_us, FLOWS_WITHIN);
        let began_us = traffic.now_us();
        stage.until_ready().await;
        traffic.probe("every gateway to be ready", began_us, READY_WITHIN);
        let began_us = traffic.now_us();
        stage.until_caught_up().await;
        traffic.probe("what waited to be stored", began_us, DRAINED_WITHIN);
    }

    async fn judge(
        &self,
        stage: &Stage,
        traffic: Traffic,
        diary: Diary,
        say: &mut impl FnMut(&str),
    ) -> Outcome {
        let patience = Duration::from_secs(20);
        let (figures, recording, violations) = traffic.judge(Promise::EpochMayRise, patience).await;
        let readings = match violations.is_empty() {
            true => stage.check(&recording).await,
            false => 0,
        };
        let Diary {
            events,
            kills,
            slowest,
            done,
            struck,
        } = diary;
        let idle: Vec<&Fault> = done.difference(&struck).collect();
        assert!(idle.is_empty(), "these struck nothing at all: {idle:?}");
        let seconds = slowest.as_secs_f64();
        say(&format!(
            "{kills} kills, {figures}; slowest recovery {seconds:.1} s; the same in {readings} readings \
             and in the store; {} violations",
            violations.len()
        ));
        let report = json!({"seed": self.seed, "kills": kills, "acknowledged": figures.acknowledged,
            "messages": figures.messages, "put_off": figures.put_off, "closed": figures.closed,
            "cut": figures.cut, "resyncs": figures.resyncs, "seconds": figures.seconds,
            "healed_seconds": figures.healed_seconds, "readings": readings,
            "slowest_recovery_ms": slowest.as_millis() as u64, "events": events,
            "violations": violations.len()});
        Outcome {
            report,
            recording,
            violations,
        }
    }
}
