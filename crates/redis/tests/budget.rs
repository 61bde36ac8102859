//! What gateways on one Redis know of each other, and the budget that they share.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where"
)]

mod support;

use std::time::{Duration, Instant};

use parlance_core::{
    peers::{Grant, Load, Peers, Standing, View},
    store::NoStore,
};
use parlance_redis::Redis;
use parlance_testkit::redis;
use support::connect;
use tokio::time::sleep;

/// Far more than any of these has.
const ALL: u32 = 1_000_000;
/// What the bucket holds, of a second's worth.
const BURST: f64 = 0.25;
const DEADLINE: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(20);

fn gateway(server: &redis::Redis) -> Redis<NoStore> {
    connect(&server.url(), None)
}

fn load(members: u32, accepts_per_second: u32, standing: Standing) -> Load {
    Load {
        members,
        accepts_per_second,
        standing,
    }
}

/// Tells it so that the others see it at once.
async fn stands(gateway: &Redis<NoStore>, load: Load) {
    gateway.tell(load);
    gateway.take(0).await.unwrap();
}

async fn per_second(gateway: &Redis<NoStore>) -> u32 {
    gateway.take(0).await.unwrap().per_second
}

/// The first view for which this holds.
async fn until(gateway: &Redis<NoStore>, holds: impl Fn(&View) -> bool) -> View {
    let give_up = Instant::now() + DEADLINE;
    loop {
        let view = gateway.view();
        match view {
            Some(view) if holds(&view) => return view,
            Some(_) | None => assert!(Instant::now() < give_up, "never: {view:?}"),
        }
        sleep(POLL).await;
    }
}

#[tokio::test]
async fn the_others_are_seen_as_they_stand() {
    let server = redis::Redis::start();
    let (one, two) = (gateway(&server), gateway(&server));
    let view = until(&one, |_| true).await;
    assert_eq!(view.others, [], "who says nothing of itself does not count");

    let ready = load(7, 250, Standing::Ready);
    two.tell(ready);
    let view = until(&one, |view| !view.others.is_empty()).await;
    assert_eq!(view.others, [ready], "itself is none of the others");
    let later = until(&one, |later| later.look > view.look).await;
    assert_eq!(later.others, [ready]);

    let leaving = load(6, 250, Standing::Leaving);
    stands(&two, leaving).await;
    until(&one, |view| view.others == [leaving]).await;
}

#[tokio::test]
async fn the_rate_is_what_all_others_take_that_are_ready() {
    let server = redis::Redis::start();
    let asker = gateway(&server);
    stands(&asker, load(0, 1_000, Standing::Ready)).await;
    assert_eq!(per_second(&asker).await, 0, "nobody else");
    assert_eq!(
        asker.take(ALL).await.unwrap(),
        Grant {
            members: 0,
            per_second: 0
        }
    );

    let (one, two) = (gateway(&server), gateway(&server));
    assert_eq!(per_second(&asker).await, 0, "they say nothing yet");
    stands(&one, load(0, 30, Standing::Ready)).await;
    stands(&two, load(0, 50, Standing::Ready)).await;
    assert_eq!(per_second(&asker).await, 80);
    assert_eq!(per_second(&one).await, 1_050);
    for standing in [Standing::Unready, Standing::Shedding, Standing::Leaving] {
        stands(&two, load(0, 50, standing)).await;
        assert_eq!(per_second(&asker).await, 30, "{standing:?}");
    }
    stands(&two, load(0, 70, Standing::Ready)).await;
    assert_eq!(per_second(&asker).await, 100);
}

#[tokio::test]
async fn who_died_takes_nobody_and_is_forgotten() {
    let server = redis::Redis::start();
    let asker = gateway(&server);
    server.cmd(&["HSET", "{p00}:ld", "gone", "9 40 ready"]);
    assert_eq!(per_second(&asker).await, 0, "there is no lease");
    server.cmd(&["HSET", "{p00}:gw", "gone", "9999999999999"]);
    assert_eq!(per_second(&asker).await, 40);
    until(&asker, |view| view.others.len() == 1).await;
    server.cmd(&["HSET", "{p00}:gw", "gone", "1000"]);
    assert_eq!(per_second(&asker).await, 0);
    until(&asker, |view| view.others.is_empty()).await;
    assert!(server.cmd(&["HGETALL", "{p00}:ld"]).list().is_empty());
}

#[tokio::test]
async fn all_who_ask_get_together_what_the_others_take() {
    const RATE: u32 = 200;
    let server = redis::Redis::start();
    let (one, two, other) = (gateway(&server), gateway(&server), gateway(&server));
    for leaving in [&one, &two] {
        stands(leaving, load(500, 250, Standing::Leaving)).await;
    }
    stands(&other, load(0, RATE, Standing::Ready)).await;
    // From here on the bucket fills by this rate.
    assert_eq!(per_second(&one).await, RATE);
    let began = Instant::now();
    let (mut of_one, mut of_two) = (0, 0);
    while of_one + of_two < 2 * RATE {
        of_one += one.take(ALL).await.unwrap().members;
        sleep(POLL).await;
        of_two += two.take(ALL).await.unwrap().members;
        sleep(POLL).await;
    }
    let most = f64::from(RATE) * (began.elapsed().as_secs_f64() + BURST) + 1.0;
    assert!(f64::from(of_one + of_two) <= most, "{of_one} and {of_two}");
    assert!(of_one > 0 && of_two > 0, "{of_one} and {of_two}");
}

#[tokio::test]
async fn no_more_is_given_than_wanted_and_what_is_saved_up_is_bounded() {
    const RATE: u32 = 100_000;
    let server = redis::Redis::start();
    let (asker, other) = (gateway(&server), gateway(&server));
    stands(&asker, load(500, 250, Standing::Leaving)).await;
    stands(&other, load(0, RATE, Standing::Ready)).await;
    server.cmd(&["DEL", "{p00}:bg"]);
    assert_eq!(asker.take(3).await.unwrap().members, 3);
    // As if nobody had asked for a minute.
    server.cmd(&["SET", "{p00}:bg", "1000 0"]);
    let burst = f64::from(RATE) * BURST;
    assert_eq!(f64::from(asker.take(ALL).await.unwrap().members), burst);
    // As if the clock had gone back.
    server.cmd(&["SET", "{p00}:bg", "99999999999999 7000"]);
    assert_eq!(asker.take(ALL).await.unwrap().members, 7);

    stands(&other, load(0, 1, Standing::Ready)).await;
    server.cmd(&["DEL", "{p00}:bg"]);
    let members = asker.take(ALL).await.unwrap().members;
    assert_eq!(members, 1, "a small rate gives some, too");
}

#[tokio::test]
async fn a_redis_that_is_away_cannot_be_asked_and_says_so_at_once() {
    let mut server = redis::Redis::start();
    let asker = gateway(&server);
    assert_eq!(per_second(&asker).await, 0);
    server.kill();
    assert!(asker.take(1).await.is_err());
    server.restart();
    let give_up = Instant::now() + DEADLINE;
    while asker.take(1).await.is_err() {
        assert!(Instant::now() < give_up, "it is back");
        sleep(POLL).await;
    }
}
