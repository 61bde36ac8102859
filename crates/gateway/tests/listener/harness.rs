//! A gateway on loopback whose shard is this test.

use std::{
    future::{Future, pending},
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use hyper::http::request::Parts;
use parlance_auth::{AuthConfig, HmacSecret, Keyring};
use parlance_core::peers::Peers;
use parlance_gateway::{
    Answer, Drained, GatewayConfig, Hooks, Listeners, Running,
    clock::Clock,
    handover::{Census, Handover, Inbox, SendAway, ShardHandle, Shards, ToShard},
};
use parlance_testkit::{
    dial::{DEADLINE, Dial, HttpAnswer, TokenPlace, exchange},
    tokens::Claims,
};
use tokio::{net::TcpListener, sync::mpsc, time::timeout};

pub(crate) const SECRET: &str = "a secret that is long enough for these tests";

pub(crate) struct Gateway {
    pub(crate) running: Running,
    pub(crate) inbox: Inbox,
}

/// What a shard was told, except connections.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Told {
    SendAway(SendAway),
    CloseAll,
    Stop,
}

pub(crate) async fn start(change: impl FnOnce(&mut GatewayConfig)) -> Gateway {
    start_with_health(change, || Ok(())).await
}

pub(crate) async fn start_with_health(
    change: impl FnOnce(&mut GatewayConfig),
    health: impl Fn() -> Result<(), String> + Send + Sync + 'static,
) -> Gateway {
    let hooks = Hooks {
        backend_health: Box::new(health),
        metrics_text: Box::new(|| "parlance_test 1\n".to_owned()),
        pages: None,
        peers: None,
        leave: None,
    };
    start_with_hooks(change, hooks).await
}

pub(crate) async fn start_with_leave(leave: impl Fn() + Send + Sync + 'static) -> Gateway {
    let hooks = Hooks {
        backend_health: Box::new(|| Ok(())),
        metrics_text: Box::new(String::new),
        pages: None,
        peers: None,
        leave: Some(Arc::new(leave)),
    };
    start_with_hooks(|_| {}, hooks).await
}

pub(crate) async fn start_with_peers(
    change: impl FnOnce(&mut GatewayConfig),
    peers: Arc<dyn Peers>,
) -> Gateway {
    let hooks = Hooks {
        backend_health: Box::new(|| Ok(())),
        metrics_text: Box::new(String::new),
        pages: None,
        peers: Some(peers),
        leave: None,
    };
    start_with_hooks(change, hooks).await
}

pub(crate) async fn start_with_pages(
    pages: impl Fn(&Parts, IpAddr) -> Option<Answer> + Send + Sync + 'static,
) -> Gateway {
    let hooks = Hooks {
        backend_health: Box::new(|| Ok(())),
        metrics_text: Box::new(String::new),
        pages: Some(Box::new(pages)),
        peers: None,
        leave: None,
    };
    start_with_hooks(|_| {}, hooks).await
}

async fn start_with_hooks(change: impl FnOnce(&mut GatewayConfig), hooks: Hooks) -> Gateway {
    let mut config = GatewayConfig::default();
    change(&mut config);
    let (handle, inbox) = ShardHandle::new();
    let bind = || TcpListener::bind("127.0.0.1:0");
    let listeners = Listeners {
        public: bind().await.unwrap(),
        admin: bind().await.unwrap(),
    };
    let shards = Shards::new(vec![handle]);
    let keyring = Arc::new(
        Keyring::new(AuthConfig {
            hmac_secrets: vec![HmacSecret::new(SECRET).unwrap()],
            ..AuthConfig::default()
        })
        .unwrap(),
    );
    let running =
        Running::before(shards, listeners, config, Clock::start(), keyring, hooks).unwrap();
    Gateway { running, inbox }
}

impl Gateway {
    pub(crate) fn address(&self) -> SocketAddr {
        self.running.local_addr()
    }

    /// As `user`, with a good token.
    pub(crate) fn dial(&self, user: &str, conversation: &str) -> Dial {
        Dial::new(self.address(), conversation).token(&token(user), TokenPlace::Query)
    }

    /// The next connection that the shard is given.
    pub(crate) async fn member(&mut self) -> Handover {
        match soon(self.inbox.receiver.recv()).await {
            Some(ToShard::Connection(handover)) => *handover,
            Some(
                ToShard::Count { .. }
                | ToShard::SendAway(_)
                | ToShard::CloseAll { .. }
                | ToShard::Stop,
            ) => panic!("expected a connection"),
            None => panic!("expected a connection, the gateway is gone"),
        }
    }

    /// Sends the text as it is and reads the answer.
    pub(crate) async fn ask(&self, request: &str) -> HttpAnswer {
        exchange(self.address(), request.as_bytes()).await.1
    }

    pub(crate) async fn ask_admin(&self, head: &str) -> HttpAnswer {
        let request = format!("{head} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        exchange(self.running.admin_addr(), request.as_bytes())
            .await
            .1
    }

    /// Leaves, in the background.
    pub(crate) fn drain(
        self,
        at_once: impl Future<Output = ()> + Send + 'static,
    ) -> (tokio::task::JoinHandle<Drained>, mpsc::Receiver<ToShard>) {
        let task = tokio::spawn(self.running.shutdown(at_once));
        (task, self.inbox.receiver)
    }
}

/// The next telling of a gateway that leaves, of a shard that has nobody whom it could send away.
pub(crate) async fn told(inbox: &mut mpsc::Receiver<ToShard>) -> Told {
    told_with(inbox, Census::default()).await
}

/// The next telling of a gateway that leaves, of a shard that has these.
pub(crate) async fn told_with(inbox: &mut mpsc::Receiver<ToShard>, census: Census) -> Told {
    loop {
        match soon(inbox.recv()).await {
            Some(ToShard::Count { answer, .. }) => {
                // It may be cut short meanwhile.
                let _ = answer.send(census);
            }
            Some(ToShard::SendAway(away)) => return Told::SendAway(away),
            Some(ToShard::CloseAll { .. }) => return Told::CloseAll,
            Some(ToShard::Stop) => return Told::Stop,
            Some(ToShard::Connection(_)) => panic!("expected no connection"),
            None => panic!("expected to be told something, the gateway is gone"),
        }
    }
}

pub(crate) fn token(user: &str) -> String {
    Claims::of(user).sign(SECRET)
}

pub(crate) fn never() -> impl Future<Output = ()> + Send + 'static {
    pending()
}

pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    within(DEADLINE, future).await
}

pub(crate) async fn within<T>(deadline: Duration, future: impl Future<Output = T>) -> T {
    match timeout(deadline, future).await {
        Ok(value) => value,
        Err(_) => panic!("nothing happened within {deadline:?}"),
    }
}
