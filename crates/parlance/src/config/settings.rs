//! The list of everything that can be set: type, path, default, help and reason.

use std::{net::SocketAddr, path::PathBuf};

use parlance_auth::{Algorithm, AuthConfig, HmacSecret};
use serde_json::Value;

use super::{
    collector_url::CollectorUrl,
    layers::Layers,
    redis_urls::RedisUrls,
    store::{Keyspace, Password, StoreNode},
    units::{Millis, Whole},
    value::Setting,
    words::{AccessMode, LogKind, OriginHeader, RedisDurability},
};

/// What is fixed about a setting.
#[derive(Debug)]
pub(crate) struct Key {
    /// `section.name`, as in the file.
    pub(crate) path: &'static str,
    /// One sentence per line.
    pub(crate) help: &'static [&'static str],
    pub(crate) fallback: Fallback,
    /// Never shown, and also readable from a file of its own.
    pub(crate) secret: bool,
    /// The JSON Schema of a value.
    pub(crate) schema: fn() -> Value,
    /// The text of a default or example as TOML.
    pub(crate) to_toml: fn(&str) -> String,
}

/// What holds when a setting is not given. The texts are as in a variable of the environment.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fallback {
    /// This value.
    Value(&'static str),
    /// It is not set; `meaning` says what that does, `example` is a valid value (not of secrets).
    Unset {
        meaning: &'static str,
        example: &'static str,
    },
}

/// A field of [`Config`]: a setting that always has a value, or an `Option` of one.
pub(crate) trait Field: Sized {
    type Value: Setting;
    fn wrap(value: Option<Self::Value>) -> Self;
    fn value(&self) -> Option<&Self::Value>;
}

impl<T: Setting> Field for T {
    type Value = T;

    fn wrap(value: Option<T>) -> Self {
        value.expect("only settings of an Option go without a default")
    }

    fn value(&self) -> Option<&T> {
        Some(self)
    }
}

impl<T: Setting> Field for Option<T> {
    type Value = T;

    fn wrap(value: Option<T>) -> Self {
        value
    }

    fn value(&self) -> Option<&T> {
        self.as_ref()
    }
}

macro_rules! settings {
    ($(
        $(#[doc = $help:literal])+
        $field:ident: $type:ty = $path:literal, $fallback:expr;
    )+) => {
        /// The settings of one process.
        #[derive(Debug, Clone, PartialEq)]
        pub(crate) struct Config {
            $($(#[doc = $help])+ pub(crate) $field: $type,)+
        }

        /// All settings, in the order of the documentation.
        pub(crate) const KEYS: &[Key] = &[$(Key {
            path: $path,
            help: &[$($help.trim_ascii()),+],
            fallback: $fallback,
            secret: <<$type as Field>::Value as Setting>::SECRET,
            schema: <<$type as Field>::Value as Setting>::schema,
            to_toml: <<$type as Field>::Value as Setting>::sample,
        }),+];

        impl Config {
            /// Takes every setting from the layers, where problems are collected.
            pub(super) fn take(layers: &mut Layers) -> Self {
                let mut keys = KEYS.iter();
                let mut next = || keys.next().expect("the list has one key per field");
                Self { $($field: layers.take(next()),)+ }
            }

            /// The value of each setting as TOML, `None` where it is not set.
            pub(crate) fn to_toml(&self) -> Vec<(&'static Key, Option<String>)> {
                let values = [$(self.$field.value().map(Setting::to_toml)),+];
                KEYS.iter().zip(values).collect()
            }
        }
    };
}

use Fallback::{Unset, Value as Default};

settings! {
    /// Where clients connect by WebSocket.
    /// Only this machine by default: a node that is not configured must not be open to the world.
    listen: SocketAddr = "listen", Default("127.0.0.1:8080");

    /// Where `/livez`, `/readyz` and `/metrics` are served.
    /// Apart from `listen`, so that it can stay inside the network.
    admin_listen: SocketAddr = "admin.listen", Default("127.0.0.1:9090");

    /// The directory of the log and the store. Made when it is missing; one process at a time.
    data_dir: Option<PathBuf> = "data_dir", Unset {
        meaning: "`parlance-data` in the current directory, with --dev `.parlance`",
        example: "/var/lib/parlance",
    };

    /// How many threads serve connections. Each conversation lives on one of them.
    shards: Option<Whole<1, 1024>> = "shards", Unset {
        meaning: "one per core",
        example: "4",
    };

    /// The secret of tokens signed by HS256, HS384 or HS512; at least 32 bytes.
    /// Used as it is: base64 is not decoded.
    auth_hmac_secret: Option<HmacSecret> = "auth.hmac_secret", Unset {
        meaning: "no token signed by a secret is accepted",
        // Too short to be taken, so that nobody signs with an example.
        example: "openssl rand -base64 32",
    };

    /// A second secret that is accepted as well, while tokens signed by it are still about.
    auth_hmac_secret_previous: Option<HmacSecret> = "auth.hmac_secret_previous", Unset {
        meaning: "there is one secret",
        example: "the secret of before",
    };

    /// A PEM file with one public key (RSA, P-256 or Ed25519). Read again when it changes.
    auth_public_key_file: Option<PathBuf> = "auth.public_key_file", Unset {
        meaning: "none",
        example: "/etc/parlance/issuer.pem",
    };

    /// A JWKS file; a token has to name its key by `kid`. Read again when it changes.
    auth_jwks_file: Option<PathBuf> = "auth.jwks_file", Unset {
        meaning: "none",
        example: "/etc/parlance/jwks.json",
    };

    /// Narrows the algorithms that are accepted.
    /// Algorithms are bound to the kind of key anyway.
    auth_algorithms: Vec<Algorithm> = "auth.algorithms", Default("");

    /// What a token's `iss` has to be.
    auth_issuer: Option<String> = "auth.issuer", Unset {
        meaning: "any issuer",
        example: "https://login.example.com",
    };

    /// What a token's `aud` has to be or to list.
    auth_audience: Option<String> = "auth.audience", Unset {
        meaning: "any audience",
        example: "parlance",
    };

    /// What decides who may enter a conversation: the token's `conversations` claim.
    access_mode: AccessMode = "access.mode", Default("claims");

    /// Web pages of which origins may connect, exactly as browsers send them.
    /// Clients that send no Origin are no browsers and always pass.
    origins: Vec<OriginHeader> = "origins", Default("");

    /// Where events become durable. The command decides; given here, another command is refused.
    log_kind: Option<LogKind> = "log.kind", Unset {
        meaning: "`embedded` in `parlance serve`, `redis` in `parlance gateway`",
        example: "redis",
    };

    /// Whether an event is on the disk before it is acknowledged.
    /// `false` is for measuring what the disk costs: a crash of the machine then loses messages.
    log_sync: bool = "log.sync", Default("true");

    /// Without a store: how many entries the log of a conversation keeps in Redis. History ends there.
    log_retention_entries: Whole<1, 1_000_000_000> = "log.retention_entries", Default("10000");

    /// Without a store: how long Redis keeps the log of a conversation after its last entry. History
    /// ends there.
    log_retention_age: Millis = "log.retention_age", Default("7d");

    /// With a store: how many stored entries the log of a conversation keeps in Redis.
    /// Enough that most readers need no store; what is not stored yet is kept besides.
    log_tail_entries: Whole<1, 100_000> = "log.tail_entries", Default("256");

    /// Where Redis is: one URL per independent master, or one that names sentinels or a cluster.
    /// The order of masters decides which of them has what, so it must not change.
    /// Secret as a whole, because passwords may stand in them; in a file of its own one per line.
    redis_urls: Option<RedisUrls> = "redis.urls", Unset {
        meaning: "there is no Redis, and only `parlance serve` can be run",
        example: "redis://127.0.0.1:6379",
    };

    /// When an event counts as durable: `local` when its Redis has it, `replicated` when a replica
    /// of that has it too. The second survives the loss of a master, and costs a round trip to it.
    redis_durability: RedisDurability = "redis.durability", Default("local");

    /// How many bytes each Redis may use before messages are refused there, as retryable.
    /// With a store that cannot be reached everything waits in Redis: it must not end by being full.
    redis_memory_limit_bytes: Option<Whole<1_048_576, { i64::MAX as u64 }>> = "redis.memory_limit_bytes", Unset {
        meaning: "nine tenths of its `maxmemory`, if it has one",
        example: "6000000000",
    };

    /// How long a starting process waits for Redis to answer before it gives up.
    redis_start_deadline: Millis = "redis.start_deadline", Default("15s");

    /// Where the store is: contact points of ScyllaDB, or of another server that speaks CQL.
    /// All history is kept there, by `parlance persister`.
    store_nodes: Vec<StoreNode> = "store.nodes", Default("");

    /// The keyspace of the store. `parlance migrate` makes it.
    store_keyspace: Keyspace = "store.keyspace", Default("parlance");

    /// The role that the store is used as.
    store_username: Option<String> = "store.username", Unset {
        meaning: "the store asks for none",
        example: "parlance",
    };

    /// The password of that role.
    store_password: Option<Password> = "store.password", Unset {
        meaning: "the store asks for none",
        example: "a password",
    };

    /// Whether connections to the store are encrypted.
    store_tls: bool = "store.tls", Default("false");

    /// A PEM file with the certificates that the store's own have to be signed by.
    store_ca_file: Option<PathBuf> = "store.ca_file", Unset {
        meaning: "those that the system trusts",
        example: "/etc/parlance/store-ca.pem",
    };

    /// The datacenter of the store that is asked first.
    store_datacenter: Option<String> = "store.datacenter", Unset {
        meaning: "any",
        example: "eu-west",
    };

    /// How many copies of everything the store keeps. Counts when `parlance migrate` makes the keyspace.
    store_replication_factor: Whole<1, 9> = "store.replication_factor", Default("3");

    /// How long a starting process waits for the store to answer before it gives up.
    store_start_deadline: Millis = "store.start_deadline", Default("30s");

    /// How many connections this node takes; beyond it HTTP 503. 0: no limit.
    limits_connections: Option<Whole<0, { u32::MAX as u64 }>> = "limits.connections", Unset {
        meaning: "what `ulimit -n` allows, less a reserve of 256",
        example: "50000",
    };

    /// How many connections one user may have on this node. 0: no limit.
    /// Enough for the devices and tabs of a person, too few to fill a node.
    limits_connections_per_user: Whole<0, 1_000_000> = "limits.connections_per_user", Default("20");

    /// How many connections may be between accept and a judged token. 0: no limit.
    /// What a flood without tokens can hold at most.
    limits_pre_auth: Whole<0, 1_000_000> = "limits.pre_auth", Default("1024");

    /// The longest frame and message of a client, in bytes.
    limits_frame_bytes: Whole<1024, 16_777_216> = "limits.frame_bytes", Default("65536");

    /// The longest content of a message, in bytes of UTF-8.
    limits_content_bytes: Whole<1, 8_388_608> = "limits.content_bytes", Default("16384");

    /// How many actions a connection may do per second, over time. 0: no limit.
    limits_actions_per_second: Whole<0, 1_000_000> = "limits.actions_per_second", Default("20");

    /// How many actions a connection may do at once after a rest.
    limits_actions_burst: Whole<0, 1_000_000> = "limits.actions_burst", Default("40");

    /// How many actions all connections of a user on this node may do per second. 0: no limit.
    limits_user_actions_per_second: Whole<0, 1_000_000> =
        "limits.user_actions_per_second", Default("100");

    /// How many clients the other nodes may send here per second when they leave or have too many.
    /// Said to them, and not enforced: who comes is let in. All ready nodes together set the pace of a drain.
    limits_accepts_per_second: Whole<1, 1_000_000> = "limits.accepts_per_second", Default("250");

    /// How many missed events a resume replays. Beyond it the client is told of a gap.
    limits_resume_events: Whole<1, 1_000_000> = "limits.resume_events", Default("5000");

    /// Over how long a leaving node spreads the end of its connections.
    /// Long enough that the clients' reconnects do not come as one wave.
    drain_window: Millis = "drain.window", Default("30s");

    /// How long the last connections may take after that before they are cut.
    drain_grace: Millis = "drain.grace", Default("5s");

    /// How long whoever stops the node waits between SIGTERM and SIGKILL.
    /// Checked at start: window and grace have to fit in.
    drain_termination_grace: Option<Millis> = "drain.termination_grace", Unset {
        meaning: "not checked",
        example: "60s",
    };

    /// Where spans of traced actions are sent: the URL of a collector that takes OTLP over HTTP.
    /// Headers, timeouts and the names of the process are told by the usual `OTEL_` variables.
    traces_endpoint: Option<CollectorUrl> = "traces.endpoint", Unset {
        meaning: "nothing is traced, whatever clients ask for",
        example: "http://otel-collector:4318/v1/traces",
    };

    /// Of the actions that come without a `traceparent`, one in so many is traced. 0: none.
    /// With one, its sampled flag decides.
    traces_one_in: Whole<0, 1_000_000_000> = "traces.one_in", Default("100");

    /// How many traces may begin on a node per second, whatever clients ask for.
    traces_per_second: Whole<1, 1_000_000> = "traces.per_second", Default("100");
}

impl Config {
    /// What tokens are judged by.
    pub(crate) fn auth(&self) -> AuthConfig {
        let secrets = [&self.auth_hmac_secret, &self.auth_hmac_secret_previous];
        AuthConfig {
            hmac_secrets: secrets.into_iter().flatten().cloned().collect(),
            public_key_file: self.auth_public_key_file.clone(),
            jwks_file: self.auth_jwks_file.clone(),
            algorithms: self.auth_algorithms.clone(),
            issuer: self.auth_issuer.clone(),
            audience: self.auth_audience.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_unique_and_in_sections_of_one_level() {
        let mut paths: Vec<_> = KEYS.iter().map(|key| key.path).collect();
        assert!(paths.iter().all(|path| path.matches('.').count() <= 1));
        paths.sort_unstable();
        let count = paths.len();
        paths.dedup();
        assert_eq!(paths.len(), count);
    }
}
