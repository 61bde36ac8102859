//! The judge of recordings, judged: bugs on purpose under real load, each of which it must name.
//!
//! The clients, the gateways and Redis are real. A proxy before each gateway lies, or a test breaks
//! Redis in a way that no promise covers. Whether the judge is quiet when nothing is wrong, the fault
//! suites say, and one test here of the proxies.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where"
)]

mod liar;
mod lies;
mod sabotage;

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::{Duration, Instant},
};

use parlance_checker::{Invariant, Violation};
use parlance_testkit::{
    fleet::{Fleet, turn, unlimited},
    redis::Redis,
    report,
    traffic::{Plan, Traffic, recording::Promise},
};

use self::liar::{Liars, Lie};

const GATEWAYS: usize = 2;
/// Acknowledgements in a run that is not lively.
const TALK: u64 = 400;
/// In a lively one, which talks slowly.
const LIVELY_TALK: u64 = 60;
/// What a gateway brings back may take so long. A bug stays.
const PATIENCE: Duration = Duration::from_secs(2);

/// Gateways that have nothing wrong, for all tests that lie.
struct Stage {
    fleet: Fleet,
    _redis: Redis,
}

fn stage() -> Arc<Stage> {
    static STAGE: Mutex<Weak<Stage>> = Mutex::new(Weak::new());
    let mut shared = STAGE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(stage) = shared.upgrade() {
        return stage;
    }
    let redis = Redis::start();
    redis.seed_first_epochs();
    let stage = Arc::new(Stage {
        fleet: Fleet::of(GATEWAYS, &unlimited(), &redis.url()),
        _redis: redis,
    });
    *shared = Arc::downgrade(&stage);
    stage
}

/// Little talk, in conversations that are named after the bug.
fn plan(bug: &str) -> Plan {
    Plan {
        name: format!("{}-", bug.replace(' ', "-")),
        conversations: 2,
        sends_per_second: 200,
        changes: false,
        lively: false,
    }
}

fn lively(bug: &str) -> Plan {
    Plan {
        conversations: 1,
        sends_per_second: 20,
        lively: true,
        ..plan(bug)
    }
}

/// Talks through a lie, and finds what it breaks.
async fn expose(bug: &str, plan: Plan, lie: Lie, expected: &[Invariant]) {
    let talk = if plan.lively { LIVELY_TALK } else { TALK };
    expose_in(bug, plan, talk, lie, expected).await;
}

async fn expose_in(bug: &str, plan: Plan, talk: u64, lie: Lie, expected: &[Invariant]) {
    // Those that are lively wait more than they talk.
    let _turn = (!plan.lively).then(turn);
    let stage = stage();
    let began = Instant::now();
    let liars = Liars::before(&stage.fleet.directory, lie).await;
    let mut traffic = Traffic::start(&plan, &liars.directory).await;
    traffic.until_acknowledged(talk).await;
    judge(bug, traffic, Promise::NothingLost, began, expected).await;
}

/// Panics unless all of these are found; prints a line of a table.
async fn judge(
    bug: &str,
    traffic: Traffic,
    promise: Promise,
    began: Instant,
    expected: &[Invariant],
) {
    let (_, _, violations) = traffic.judge(promise, PATIENCE).await;
    let seconds = began.elapsed().as_secs_f64();
    let found: BTreeSet<Invariant> = violations.iter().map(|found| found.invariant).collect();
    for invariant in expected {
        let first = violations
            .iter()
            .find(|found| found.invariant == *invariant);
        let first = first.unwrap_or_else(|| panic!("{bug}: no {invariant}, but {found:?}"));
        let Violation { at_us, what, .. } = first;
        let seen = at_us.map_or(seconds, |at_us| at_us as f64 / 1e6);
        let what: String = what.chars().take(100).collect();
        report(&format!(
            "| {bug} | {invariant} | seen at {seen:.1} s | judged at {seconds:.1} s | {what} |"
        ));
    }
    report(&format!("  {bug}: {found:?}"));
}

/// A test for each bug.
macro_rules! bugs {
    ($($name:ident: $plan:ident, $lie:expr, [$($invariant:ident),+];)+) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let bug = stringify!($name).replace('_', " ");
                expose(&bug, $plan(&bug), $lie, &[$(Invariant::$invariant),+]).await;
            }
        )+
    };
}

bugs! {
    a_message_is_dropped: plan, lies::drops_a_message(), [NoGap];
    a_message_is_told_twice: plan, lies::tells_twice(), [NoReorder];
    neighbours_are_swapped: plan, lies::swaps_neighbours(), [NoReorder];
    neighbours_are_swapped_after_a_reconnect: plan, lies::swaps_after_a_reconnect(), [NoReorder];
    a_connection_resumes_one_too_late: plan, lies::resumes_too_late(), [ExactResume];
    a_connection_resumes_one_too_early: plan, lies::resumes_too_early(), [ExactResume];
    a_message_has_the_content_of_another: plan, lies::shows_the_content_of_another(), [NoInvention];
    another_message_is_told_in_its_place: plan, lies::tells_another_message_in_its_place(), [OneOrder];
    a_message_is_invented: plan, lies::invents_a_message(), [NoInvention];
    a_send_is_acknowledged_before_it_is_appended:
        plan, lies::acknowledges_before_it_appends(), [NoLoss, OneOrder];
    a_retry_is_appended_again: plan, lies::renames_retries(), [ExactlyOnce];
    an_acknowledgement_names_the_next_id:
        plan, lies::acknowledges_as_the_next(), [StableAcknowledgement, OneOrder];
    an_acknowledgement_names_an_old_id: plan, lies::acknowledges_as_an_older(), [RealTimeOrder];
    what_was_appended_is_refused: plan, lies::refuses_what_it_appended(), [HonestRefusal];
    two_sends_are_appended_in_another_order: plan, lies::appends_in_another_order(), [SessionOrder];
    a_row_is_lost_between_pages_of_history: plan, lies::loses_a_row_between_pages(), [NoLoss, HistoryIsLive];
    a_good_token_is_refused: plan, lies::refuses_a_good_token(), [Access];
    a_send_is_swallowed: lively, lies::swallows_a_send(), [HonestRefusal];
    a_page_leaves_a_row_out: lively, lies::leaves_a_row_out_of_pages(), [ReadYourAcknowledgements];
    a_receipt_is_taken_back: lively, lies::takes_a_receipt_back(), [ReceiptsRise];
    who_is_online_is_not_told: lively, lies::does_not_tell_who_is_online(), [PresenceIsTrue];
    a_user_is_told_to_be_gone: lively, lies::tells_a_user_is_gone(), [PresenceIsTrue];
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn edits_are_dropped() {
    let bug = "edits are dropped";
    let changes = Plan {
        changes: true,
        ..plan(bug)
    };
    expose(
        bug,
        changes,
        lies::drops_edits(),
        &[Invariant::HistoryIsLive],
    )
    .await;
}

/// Whoever falls silent was typing before, by half a chance: twelve may.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn typing_does_not_end() {
    let bug = "typing does not end";
    let slow = Plan {
        conversations: 3,
        sends_per_second: 3,
        ..lively(bug)
    };
    let lie = lies::does_not_end_typing();
    expose_in(bug, slow, 15, lie, &[Invariant::TypingEnds]).await;
}

/// A guest's token is good for 10 s, and its connection for 30 s more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_ran_out_is_good() {
    let bug = "a token that ran out is good";
    let stage = stage();
    let secret = stage.fleet.gateway(0).secret();
    let slow = Plan {
        sends_per_second: 10,
        ..lively(bug)
    };
    let lie = lies::lets_tokens_run_on(secret);
    expose_in(bug, slow, 440, lie, &[Invariant::Access]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn proxies_that_do_not_lie_are_not_accused() {
    let stage = stage();
    let changes = Plan {
        changes: true,
        ..lively("no lie")
    };
    let liars = Liars::before(&stage.fleet.directory, lies::none()).await;
    let mut traffic = Traffic::start(&changes, &liars.directory).await;
    traffic.until_acknowledged(LIVELY_TALK).await;
    let fault = traffic.fault_begins("all connections cut");
    liars.cut();
    traffic.flows_again().await;
    traffic.fault_ends(fault);
    let figures = traffic.finish(Promise::NothingLost).await;
    report(&format!("no lie: {figures}"));
}
