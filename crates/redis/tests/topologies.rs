//! Every form of a deployment: several masters, sentinels, a cluster whose slots move and whose
//! masters die.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where"
)]

mod support;

use std::{collections::HashSet, time::Duration};

use parlance_core::{
    entry::{Draft, Event},
    ports::{Appended, Backend, Bus, Feed, Heard, History, Log},
    store::NoStore,
};
use parlance_feed::Feed as InboxFeed;
use parlance_protocol::{Anchor, ConversationId, LocalId, UnixMicros, UserId};
use parlance_redis::{Durability, Handle, Options, Redis, StartError, Topology};
use parlance_testkit::redis;
use support::{connect, options};

const ROOMS: usize = 24;

fn rooms() -> Vec<ConversationId> {
    let names = (0..ROOMS).map(|n| format!("room-{n}"));
    names
        .map(|name| ConversationId::new(&name).unwrap())
        .collect()
}

fn draft(name: &str) -> Draft {
    Draft {
        sender: UserId::new("ann").unwrap(),
        local_id: Some(LocalId::new(name).unwrap()),
        retry: false,
        event: Event::Message {
            content: name.into(),
        },
        at: UnixMicros(1_000_000),
        restores: None,
        trace: None,
    }
}

/// Two gateways of a deployment, of which the second listens to every room.
struct Two {
    sender: (Redis<NoStore>, Handle<NoStore>),
    listener: (Redis<NoStore>, Handle<NoStore>),
    feed: InboxFeed,
}

impl Two {
    async fn at(url: &str) -> Self {
        let sender = connect::<NoStore>(url, None);
        let (sends, _) = sender.attach();
        let listener = connect::<NoStore>(url, None);
        let (listens, feed) = listener.attach();
        for room in rooms() {
            listens.subscribe(&room).await.unwrap();
        }
        Self {
            sender: (sender, sends),
            listener: (listener, listens),
            feed,
        }
    }

    /// Sends one message to every room, as clients do: again until it is acknowledged.
    async fn send_everywhere(&self, name: &str) {
        for room in rooms() {
            let ends = tokio::time::Instant::now() + Duration::from_secs(60);
            while let Err(error) = self.sender.1.append(&room, draft(name)).await {
                assert!(tokio::time::Instant::now() < ends, "{room}: {error}");
            }
        }
    }

    /// Waits until the listener was told of something in every room: an entry, or a doubt by which
    /// it reads.
    async fn hear_everywhere(&mut self) {
        let mut silent: HashSet<ConversationId> = rooms().into_iter().collect();
        while !silent.is_empty() {
            let next = tokio::time::timeout(Duration::from_secs(60), self.feed.next()).await;
            let (room, heard) = next
                .unwrap_or_else(|_| panic!("silent: {silent:?}"))
                .unwrap();
            if matches!(heard, Heard::Entry(_) | Heard::Doubt) {
                silent.remove(&room);
            }
        }
    }

    /// Whatever was said in any room, in its order.
    async fn contents(&self) -> Vec<Vec<String>> {
        let mut all = Vec::new();
        for room in rooms() {
            all.push(self.contents_of(&room).await);
        }
        all
    }

    /// Sends until everything is heard as it is said: the subscriptions stand. What comes while one
    /// is made anew is told as a doubt, by which it has to be readable. Returns what was said.
    async fn check_live(&mut self, name: &str) -> Vec<String> {
        let mut said = Vec::new();
        loop {
            while self.feed.try_next().is_some() {}
            let word = format!("{name}-{}", said.len());
            self.send_everywhere(&word).await;
            said.push(word.clone());
            assert!(said.len() < 100, "the subscriptions do not come back");
            if self.hears_everywhere(&word).await {
                return said;
            }
        }
    }

    /// Whether no room had a doubt.
    async fn hears_everywhere(&mut self, word: &str) -> bool {
        let mut silent: HashSet<ConversationId> = rooms().into_iter().collect();
        let mut has_doubt = false;
        while !silent.is_empty() {
            let next = tokio::time::timeout(Duration::from_secs(30), self.feed.next()).await;
            let (room, heard) = next
                .unwrap_or_else(|_| panic!("not heard: {silent:?}"))
                .unwrap();
            let is_told = match &heard {
                Heard::Entry(entry) => entry.local_id == draft(word).local_id,
                Heard::Doubt => {
                    has_doubt = true;
                    self.contents_of(&room).await.iter().any(|one| one == word)
                }
                Heard::Stored { .. } | Heard::Ephemeral(_) => false,
            };
            if is_told {
                silent.remove(&room);
            }
        }
        !has_doubt
    }

    async fn contents_of(&self, room: &ConversationId) -> Vec<String> {
        let page = self.listener.1.page(room, Anchor::Newest, 100).await;
        let page = page.unwrap_or_else(|error| panic!("{room}: {error}"));
        let rows = page.rows.iter().rev();
        rows.map(|row| row.content.to_string()).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn several_masters_share_the_conversations() {
    let servers = [redis::Redis::start(), redis::Redis::start()];
    let urls: Vec<String> = servers.iter().map(redis::Redis::url).collect();
    let of = |urls: &[String]| Options {
        topology: Topology::parse(urls).unwrap(),
        ..options(&urls[0])
    };
    let backend: Redis<NoStore> = Redis::connect(of(&urls), None).unwrap();
    let (log, _feed) = backend.attach();
    for room in rooms() {
        assert!(matches!(
            log.append(&room, draft("a")).await,
            Ok(Appended::New(_))
        ));
    }

    for server in &servers {
        let keys = server.cmd(&["DBSIZE"]).integer();
        assert!(keys > 10, "{keys} keys: both should have a share");
    }
    let swapped: Vec<String> = urls.iter().rev().cloned().collect();
    let refused = Redis::<NoStore>::connect(of(&swapped), None);
    assert!(matches!(refused, Err(StartError::Layout { .. })));
    let fewer = Redis::<NoStore>::connect(of(&urls[..1]), None);
    assert!(matches!(fewer, Err(StartError::Layout { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failover_by_sentinels_is_followed() {
    let mut pair = redis::Pair::start();
    let mut two = Two::at(&pair.url()).await;
    two.check_live("before").await;

    pair.kill_primary();
    two.send_everywhere("after").await;
    two.hear_everywhere().await;

    let mut said = vec!["after".to_owned()];
    said.extend(two.check_live("live").await);
    for contents in two.contents().await {
        assert!(contents.ends_with(&said), "{contents:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn moved_slots_are_followed_without_losing_a_subscription() {
    let cluster = redis::Cluster::start();
    let mut two = Two::at(&cluster.url()).await;
    let mut said = two.check_live("before").await;

    let mut moved = 0;
    for partition in 0..redis::PARTITIONS {
        let slot = cluster.slot_of(&redis::tag(partition));
        let (from, masters) = (cluster.master_of(slot), cluster.masters());
        if from == masters[0] && moved < 20 {
            cluster.migrate_slot(slot, masters[1]);
            moved += 1;
        }
    }
    two.send_everywhere("after").await;
    two.hear_everywhere().await;

    said.push("after".to_owned());
    said.extend(two.check_live("live").await);
    for contents in two.contents().await {
        assert_eq!(contents, said);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_of_a_cluster_that_dies_is_replaced() {
    let mut cluster = redis::Cluster::start();
    let mut two = Two::at(&cluster.url()).await;
    two.check_live("before").await;

    let victim = cluster.masters()[0];
    cluster.kill_master(victim);
    two.send_everywhere("after").await;
    cluster.revive(victim);

    let mut said = vec!["after".to_owned()];
    said.extend(two.check_live("live").await);
    for contents in two.contents().await {
        assert!(contents.ends_with(&said), "{contents:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn replicated_appends_work_in_a_cluster() {
    let cluster = redis::Cluster::start();
    let mut replicated = options(&cluster.url());
    replicated.durability = Durability::Replicated;
    let backend: Redis<NoStore> = Redis::connect(replicated, None).unwrap();
    let (log, mut feed) = backend.attach();
    for room in rooms() {
        log.subscribe(&room).await.unwrap();
        let appended = log.append(&room, draft("a")).await;
        assert!(matches!(appended, Ok(Appended::New(_))), "{appended:?}");
        // Where a mark was set first, that is told as a doubt.
        while !matches!(feed.next().await, Some((_, Heard::Entry(_)))) {}
    }
}
