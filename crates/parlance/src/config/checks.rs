//! Settings judged against each other and against the process. What one setting alone can say is
//! judged where it is read.

use super::{Loaded, Problem, settings::Config, units::Millis, words::LogKind};

/// Descriptors that are not connections: the log's files, listeners, probes, scrapes.
const RESERVED_DESCRIPTORS: u64 = 256;
/// An unlimited `ulimit -n` still gets a limit that a node may have memory for.
const MOST_CONNECTIONS: u64 = 1_000_000;

/// How many file descriptors the process may open. `None`: no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DescriptorLimit(pub(crate) Option<u64>);

/// What a configuration has to fit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Surroundings {
    pub(crate) descriptors: DescriptorLimit,
    pub(crate) purpose: Purpose,
}

/// What the configuration is read for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// A node with a log of its own.
    Serve,
    /// The same for trying out, with a key of its own.
    Try,
    /// A node on Redis.
    Gateway,
    /// What moves the log into the store.
    Persister,
    /// A command that asks a deployment's Redis.
    AskRedis,
    /// A command that asks a deployment's store.
    AskStore,
    /// Any node: it is only judged.
    Judge,
    /// A command beside a node, or one that only shows it.
    Beside,
}

impl DescriptorLimit {
    /// How many connections that allows.
    pub(crate) fn connections(self) -> u64 {
        let all = self.0.unwrap_or(u64::MAX);
        all.saturating_sub(RESERVED_DESCRIPTORS)
            .clamp(1, MOST_CONNECTIONS)
    }
}

pub(super) fn check(loaded: &Loaded, surroundings: Surroundings) -> Vec<Problem> {
    let config = &loaded.config;
    let Surroundings {
        descriptors,
        purpose,
    } = surroundings;
    let found = [
        (
            "auth.hmac_secret",
            no_key(loaded).filter(|_| purpose.needs_key()),
        ),
        ("log.kind", other_log(config, purpose)),
        ("redis.urls", no_redis(loaded, purpose)),
        ("redis.urls", unused_redis(loaded, purpose)),
        ("store.nodes", no_store(config, purpose)),
        ("store.nodes", unused_store(config, purpose)),
        ("store.password", half_a_login(config)),
        ("store.ca_file", trust_without_tls(config)),
        (
            "store.start_deadline",
            no_time("store.start_deadline", config.store_start_deadline),
        ),
        (
            "log.retention_age",
            no_time("log.retention_age", config.log_retention_age),
        ),
        (
            "redis.start_deadline",
            no_time("redis.start_deadline", config.redis_start_deadline),
        ),
        ("admin.listen", same_address(config)),
        ("limits.content_bytes", content_over_frame(config)),
        (
            "limits.user_actions_per_second",
            user_below_connection(config),
        ),
        ("limits.actions_burst", burst_of_nothing(config)),
        ("limits.connections", over_descriptors(config, descriptors)),
        ("drain.termination_grace", drain_over_termination(config)),
        ("auth.hmac_secret_previous", same_secret(config)),
    ];
    let problems = found.into_iter().filter_map(|(path, what)| {
        let origin = loaded.origin(path).clone();
        what.map(|what| Problem { origin, what })
    });
    problems.collect()
}

impl Purpose {
    /// Whether tokens will be judged by nothing but the configured keys.
    fn needs_key(self) -> bool {
        match self {
            Self::Serve | Self::Gateway | Self::Judge => true,
            Self::Try | Self::Persister | Self::AskRedis | Self::AskStore | Self::Beside => false,
        }
    }

    /// The log that will be used, if that is known.
    fn log(self, config: &Config) -> Option<LogKind> {
        match self {
            Self::Serve | Self::Try => Some(LogKind::Embedded),
            Self::Gateway | Self::Persister | Self::AskRedis => Some(LogKind::Redis),
            Self::Judge => config.log_kind,
            Self::AskStore | Self::Beside => None,
        }
    }

    /// Whether there is nothing to do without a store.
    fn needs_store(self) -> bool {
        match self {
            Self::Persister | Self::AskStore => true,
            Self::Serve
            | Self::Try
            | Self::Gateway
            | Self::AskRedis
            | Self::Judge
            | Self::Beside => false,
        }
    }
}

fn other_log(config: &Config, purpose: Purpose) -> Option<String> {
    match (purpose.log(config)?, config.log_kind?) {
        (LogKind::Embedded, LogKind::Redis) => Some(
            "`log.kind` is \"redis\", but `parlance serve` keeps its log in its data directory; run \
             `parlance gateway`, or remove the setting"
                .to_owned(),
        ),
        (LogKind::Redis, LogKind::Embedded) => Some(
            "`log.kind` is \"embedded\", but `parlance gateway` keeps its log in Redis; run `parlance \
             serve`, or remove the setting"
                .to_owned(),
        ),
        (LogKind::Embedded, LogKind::Embedded) | (LogKind::Redis, LogKind::Redis) => None,
    }
}

fn no_redis(loaded: &Loaded, purpose: Purpose) -> Option<String> {
    match purpose.log(&loaded.config)? {
        LogKind::Redis if !loaded.is_given("redis.urls") => Some(
            "there is no Redis to keep the log in; set `redis.urls` (like [\"redis://127.0.0.1:6379\"]) \
             or give --redis-url, or run `parlance serve`, which needs none"
                .to_owned(),
        ),
        LogKind::Redis | LogKind::Embedded => None,
    }
}

/// Whoever meant to share a log must not get one that is shared with nobody.
fn unused_redis(loaded: &Loaded, purpose: Purpose) -> Option<String> {
    match purpose.log(&loaded.config)? {
        LogKind::Embedded if loaded.is_given("redis.urls") => Some(
            "`redis.urls` is set, but this node would keep its log in its data directory and share \
             it with nobody; run `parlance gateway`, or remove the setting"
                .to_owned(),
        ),
        LogKind::Redis | LogKind::Embedded => None,
    }
}

fn no_store(config: &Config, purpose: Purpose) -> Option<String> {
    (purpose.needs_store() && config.store_nodes.is_empty()).then(|| {
        "there is no store; set `store.nodes` (like [\"127.0.0.1:9042\"]) or give --store-node"
            .to_owned()
    })
}

/// Whoever meant to keep history in a store must not find it elsewhere.
fn unused_store(config: &Config, purpose: Purpose) -> Option<String> {
    match purpose.log(config)? {
        LogKind::Embedded if !config.store_nodes.is_empty() => Some(
            "`store.nodes` is set, but `parlance serve` keeps everything in its data directory; run \
             `parlance gateway` and `parlance persister`, or remove the setting"
                .to_owned(),
        ),
        LogKind::Embedded | LogKind::Redis => None,
    }
}

fn half_a_login(config: &Config) -> Option<String> {
    match (&config.store_username, &config.store_password) {
        (Some(_), None) => Some("`store.username` is set; set `store.password` as well".to_owned()),
        (None, Some(_)) => Some("`store.password` is set; set `store.username` as well".to_owned()),
        (Some(_), Some(_)) | (None, None) => None,
    }
}

fn trust_without_tls(config: &Config) -> Option<String> {
    (config.store_ca_file.is_some() && !config.store_tls).then(|| {
        "`store.ca_file` is set, but nothing is encrypted; set `store.tls` to true, or remove it"
            .to_owned()
    })
}

fn no_time(path: &str, time: Millis) -> Option<String> {
    let none = time.duration().is_zero();
    none.then(|| format!("`{path}` is 0s; expected at least 1ms"))
}

fn no_key(loaded: &Loaded) -> Option<String> {
    let keys = ["auth.hmac_secret", "auth.public_key_file", "auth.jwks_file"];
    let none = !keys.iter().any(|path| loaded.is_given(path));
    none.then(|| {
        "there is no key to verify tokens with; set `auth.hmac_secret` (make one with `openssl rand \
         -base64 32`), `auth.public_key_file` or `auth.jwks_file`, or try `parlance serve --dev`"
            .to_owned()
    })
}

fn same_address(config: &Config) -> Option<String> {
    let same = config.listen == config.admin_listen && config.listen.port() != 0;
    same.then(|| {
        let address = config.listen;
        format!("`admin.listen` and `listen` are both {address}; give them different ports")
    })
}

fn content_over_frame(config: &Config) -> Option<String> {
    let frame = config.limits_frame_bytes.get();
    let content = config.limits_content_bytes.get();
    (content >= frame).then(|| {
        format!(
            "`limits.content_bytes` is {content}, but a content travels in a frame and \
             `limits.frame_bytes` is {frame}; lower the one or raise the other"
        )
    })
}

fn user_below_connection(config: &Config) -> Option<String> {
    let user = config.limits_user_actions_per_second.get();
    let connection = config.limits_actions_per_second.get();
    (user != 0 && user < connection).then(|| {
        format!(
            "`limits.user_actions_per_second` is {user}, so no connection can reach \
             `limits.actions_per_second` of {connection}; lower the one or raise the other"
        )
    })
}

fn burst_of_nothing(config: &Config) -> Option<String> {
    let rate = config.limits_actions_per_second.get();
    (rate != 0 && config.limits_actions_burst.get() == 0).then(|| {
        format!(
            "`limits.actions_burst` is 0, so no action could be done at all; expected at least 1, \
             or 0 for `limits.actions_per_second` (now {rate}) to have no limit"
        )
    })
}

fn over_descriptors(config: &Config, descriptors: DescriptorLimit) -> Option<String> {
    let wanted = config.limits_connections?.get();
    let open = descriptors.0?;
    let needed = wanted + RESERVED_DESCRIPTORS;
    (wanted != 0 && needed > open).then(|| {
        format!(
            "`limits.connections` is {wanted}, which needs {needed} file descriptors, and this \
             process may open {open}; raise it (`ulimit -Hn {needed}`, LimitNOFILE= of systemd, \
             --ulimit nofile={needed} of docker) or set at most {}",
            descriptors.connections()
        )
    })
}

fn drain_over_termination(config: &Config) -> Option<String> {
    let given = config.drain_termination_grace?;
    let (window, grace) = (config.drain_window, config.drain_grace);
    (window.duration() + grace.duration() > given.duration()).then(|| {
        format!(
            "`drain.termination_grace` is {given}, but `drain.window` ({window}) and `drain.grace` \
             ({grace}) take longer together: the node would be killed while it drains; raise the \
             one or lower the others"
        )
    })
}

fn same_secret(config: &Config) -> Option<String> {
    let previous = config.auth_hmac_secret_previous.as_ref()?;
    (config.auth_hmac_secret.as_ref() == Some(previous)).then(|| {
        "`auth.hmac_secret_previous` is the same as `auth.hmac_secret`; remove it".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reserve_is_kept_from_the_descriptors() {
        assert_eq!(DescriptorLimit(Some(1_024)).connections(), 768);
        assert_eq!(DescriptorLimit(Some(100)).connections(), 1);
        assert_eq!(DescriptorLimit(None).connections(), 1_000_000);
    }
}
