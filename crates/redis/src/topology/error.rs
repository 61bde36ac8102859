//! What can be wrong with URLs. Never with a password in it.

use std::io;

/// Why URLs describe no deployment.
#[derive(Debug, thiserror::Error)]
pub enum TopologyError {
    /// There is none.
    #[error("no URL of Redis is given; expected one like redis://127.0.0.1:6379")]
    Missing,
    /// One is wrong by itself.
    #[error("the URL {url} {problem}; expected one like {example}")]
    Url {
        /// The URL, as far as it can be shown.
        url: String,
        /// What is wrong with it.
        problem: UrlProblem,
        /// One that would be right.
        example: &'static str,
    },
    /// One URL of these names everything.
    #[error(
        "{count} URLs are given and one of them is {scheme}://; expected it alone, with all its \
         hosts in it, like {scheme}://host1,host2"
    )]
    NotAlone {
        /// The scheme that stands alone.
        scheme: &'static str,
        /// How many URLs there are.
        count: usize,
    },
    /// Two shards of the log on one server would be lost together and pay twice.
    #[error(
        "two URLs lead to {address}; expected a master of its own for each, like redis://redis-1 and redis://redis-2"
    )]
    Twice {
        /// Host and port.
        address: String,
    },
    /// More masters than partitions.
    #[error(
        "{count} masters are given; expected at most 256, because there are as many partitions"
    )]
    TooMany {
        /// How many.
        count: usize,
    },
}

/// What is wrong with one URL. It completes the sentence "the URL …".
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each is its own words")]
pub enum UrlProblem {
    #[error(
        "has none of the schemes redis, rediss, redis+sentinel, rediss+sentinel, redis+cluster, rediss+cluster"
    )]
    Scheme,
    #[error("names no host")]
    NoHost,
    #[error(
        "has a host that is neither a name nor an address (a `/`, `@`, `?` or `#` in a password is written %2F, %40, %3F, %23)"
    )]
    Host,
    #[error(
        "names the address of all interfaces, which is one to listen on, not one to connect to"
    )]
    Wildcard,
    #[error("has a port that is no number from 1 to 65535")]
    Port,
    #[error("names several hosts, but independent masters are given one URL each")]
    SeveralHosts,
    #[error("has a user without a password")]
    NoPassword,
    #[error(
        "has a % that is not followed by two hexadecimal digits of UTF-8 text (a % itself is written %25)"
    )]
    Encoding,
    #[error(
        "chooses database {0}, but only 0 can be used: channels are not per database, and Redis Cluster has no other"
    )]
    Database(u64),
    #[error("has a path, which means nothing here")]
    Path,
    #[error("names no service that the sentinels watch")]
    NoService,
    #[error("names the service {0:?} twice")]
    SameService(String),
    #[error("has a fragment after #, which means nothing here (a # in a password is written %23)")]
    Fragment,
    #[error("has a parameter that is not known here: expected {0}")]
    Parameter(&'static str),
    #[error("gives {0} twice")]
    SameParameter(&'static str),
    #[error("gives {0} without a value")]
    EmptyParameter(&'static str),
    #[error(
        "gives a certificate without its key, or a key without its certificate: expected both cert and key"
    )]
    HalfCertificate,
    #[error("names the file {path}, which cannot be read ({source})")]
    File { path: String, source: io::Error },
    #[error("names certificates that cannot be used: {0}")]
    Certificates(String),
}
