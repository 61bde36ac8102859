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

use std::time::Duration;

use serde_json::{Value, json};

pub use self::plan::{Fault, Step, draw};
use self::stage::Stage;
use crate::traffic::{Plan, Traffic, checker::Promise};

/// How a run is to be.
#[derive(Debug, Clone)]
pub struct Run {
    /// Names the conversations, and stands in the report.
    pub seed: u64,
    /// Done one after the other.
    pub steps: Vec<Step>,
    /// Six members each.
    pub conversations: usize,
    /// New messages in all of them together.
    pub sends_per_second: u32,
    /// Acknowledged in all, at least: after the last fault it is talked on until then.
    pub acknowledged: u64,
}

impl Run {
    /// Does it; gives the report. Panics at the first thing that must not be.
    pub async fn perform(&self, mut say: impl FnMut(&str)) -> Value {
        let mut stage = Stage::start().await;
        let plan = Plan {
            name: format!("chaos-{}-", self.seed),
            conversations: self.conversations,
            sends_per_second: self.sends_per_second,
            changes: false,
        };
        let began = std::time::Instant::now();
        let mut traffic = Traffic::start(&plan, &stage.directory).await;
        traffic
            .until_acknowledged(u64::from(self.sends_per_second))
            .await;
        let memory_before = stage.memory();
        let (mut events, mut slowest) = (Vec::new(), Duration::ZERO);
        for step in &self.steps {
            tokio::time::sleep(Duration::from_millis(step.after_ms)).await;
            let at_ms = began.elapsed().as_millis() as u64;
            say(&format!(
                "{at_ms:>7} ms {} at {} for {} ms",
                step.fault, step.target, step.lasts_ms
            ));
            let bite = stage.inflict(step).await;
            let recovery = traffic.flows_again().await;
            slowest = slowest.max(recovery);
            say(&format!(
                "           {bite}; talk flows {:.1} s after",
                recovery.as_secs_f64()
            ));
            assert!(bite["struck"] != 0, "{} did nothing: {bite}", step.fault);
            events.push(
                json!({"at_ms": at_ms, "fault": step.fault.to_string(), "target": step.target,
                "lasts_ms": step.lasts_ms, "bite": bite,
                "recovery_ms": recovery.as_millis() as u64}),
            );
        }
        let memory_after = stage.memory();
        while stage.delivered() < self.acknowledged * stage::DELIVERIES {
            traffic
                .until_acknowledged(u64::from(self.sends_per_second))
                .await;
        }
        let (figures, recording) = traffic.finish_recorded(Promise::EpochMayRise).await;
        let readings = stage.check(&recording).await;
        let kills = self.steps.iter().filter(|step| step.fault.kills()).count();
        say(&format!(
            "{kills} kills, {figures}; slowest recovery {:.1} s; the same in {readings} readings and in the store",
            slowest.as_secs_f64()
        ));
        json!({"seed": self.seed, "kills": kills, "acknowledged": figures.acknowledged,
            "messages": figures.messages, "put_off": figures.put_off, "closed": figures.closed,
            "cut": figures.cut, "resyncs": figures.resyncs, "seconds": figures.seconds,
            "healed_seconds": figures.healed_seconds, "readings": readings,
            "slowest_recovery_ms": slowest.as_millis() as u64, "events": events,
            "memory": {"before": memory_before, "after": memory_after}})
    }
}
