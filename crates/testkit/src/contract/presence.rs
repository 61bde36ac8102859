//! Online when the first shard has a user, offline when the last has not.

use parlance_core::ports::{Backend, Bus, Ephemeral, Heard, Presence};
use parlance_protocol::UnixMicros;

use super::{Subject, conversation, heard_until_marker, marker, user};

pub async fn a_user_comes_and_goes_once_over_all_shards<S: Subject>() {
    let subject = S::fresh().await;
    let (a, mut feed_of_a) = subject.backend().attach();
    let (b, mut feed_of_b) = subject.backend().attach();
    let (room, ann) = (conversation("room"), user("ann"));
    a.subscribe(&room).await.expect("a subscription");
    b.subscribe(&room).await.expect("a subscription");

    a.join(&room, &ann, UnixMicros(1));
    assert_eq!(a.present(&room).await, Ok(vec![ann.clone()]));
    b.join(&room, &ann, UnixMicros(2));
    assert_eq!(b.present(&room).await, Ok(vec![ann.clone()]));
    a.leave(&room, &ann, UnixMicros(3));
    assert_eq!(b.present(&room).await, Ok(vec![ann.clone()]));
    b.leave(&room, &ann, UnixMicros(4));
    assert_eq!(a.present(&room).await, Ok(vec![]));
    a.publish(&room, marker());

    let told = [
        Heard::Ephemeral(Ephemeral::Online {
            user: ann.clone(),
            at: UnixMicros(1),
        }),
        Heard::Ephemeral(Ephemeral::Offline {
            user: ann,
            at: UnixMicros(4),
        }),
    ];
    assert_eq!(heard_until_marker(&mut feed_of_a).await, told);
    assert_eq!(heard_until_marker(&mut feed_of_b).await, told);
}

pub async fn who_is_present_is_told_per_conversation<S: Subject>() {
    let subject = S::fresh().await;
    let (a, _feed_of_a) = subject.backend().attach();
    let (b, _feed_of_b) = subject.backend().attach();
    let (room, other) = (conversation("room"), conversation("other"));

    a.join(&room, &user("ann"), UnixMicros(1));
    b.join(&room, &user("bob"), UnixMicros(1));
    b.join(&other, &user("cyd"), UnixMicros(1));

    let mut present = a.present(&room).await.expect("who is present");
    present.sort();
    assert_eq!(present, [user("ann"), user("bob")]);
    assert_eq!(a.present(&other).await, Ok(vec![user("cyd")]));
}

pub async fn joining_twice_is_joining_once<S: Subject>() {
    let subject = S::fresh().await;
    let (a, mut feed) = subject.backend().attach();
    let (room, ann) = (conversation("room"), user("ann"));
    a.subscribe(&room).await.expect("a subscription");

    a.leave(&room, &ann, UnixMicros(1));
    a.join(&room, &ann, UnixMicros(2));
    a.join(&room, &ann, UnixMicros(3));
    a.leave(&room, &ann, UnixMicros(4));
    a.leave(&room, &ann, UnixMicros(5));
    assert_eq!(a.present(&room).await, Ok(vec![]));
    a.publish(&room, marker());

    assert_eq!(heard_until_marker(&mut feed).await.len(), 2);
}
