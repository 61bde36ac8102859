//! Labels and all their values. An enum each, so that a value outside the list cannot be counted.

/// A label with a closed set of values.
pub trait Label: Copy + 'static {
    /// The label's name and values, for documentation.
    const SPEC: LabelSpec;
    /// Every value, in the order of [`Label::index`].
    const ALL: &'static [Self];

    /// Where the value stands in [`Label::ALL`].
    fn index(self) -> usize;

    /// The value as it is exported.
    fn as_str(self) -> &'static str {
        Self::SPEC.values[self.index()].0
    }
}

/// How a label is documented.
#[derive(Debug, Clone, Copy)]
pub struct LabelSpec {
    /// The label's name.
    pub key: &'static str,
    /// Each value and what it means.
    pub values: &'static [(&'static str, &'static str)],
}

/// The variants' documentation is what `docs/metrics.md` says of the values.
macro_rules! label {
    (
        $(#[$attribute:meta])*
        $name:ident as $key:literal {
            $(#[doc = $meaning:literal] $variant:ident = $value:literal,)+
        }
    ) => {
        $(#[$attribute])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name {
            $(#[doc = $meaning] $variant,)+
        }

        impl Label for $name {
            const SPEC: LabelSpec = LabelSpec {
                key: $key,
                values: &[$(($value, $meaning.trim_ascii())),+],
            };
            const ALL: &'static [Self] = &[$(Self::$variant),+];

            fn index(self) -> usize {
                self as usize
            }
        }
    };
}

label! {
    /// What became of an accepted TCP connection.
    Accept as "outcome" {
        /// it became a member of its conversation
        Joined = "joined",
        /// answered by HTTP alone
        Http = "http",
        /// a limit of the node was reached: HTTP 503
        Overloaded = "overloaded",
        /// upgraded, then closed with 4003
        Unauthorized = "unauthorized",
        /// upgraded, then closed with 4004
        AccessDenied = "access_denied",
        /// upgraded, then closed with 4201: this user has too many connections
        TooManyOfUser = "too_many_of_user",
        /// the upgrade was not finished in time
        Timeout = "timeout",
        /// the peer went away before that
        Gone = "gone",
    }
}

label! {
    /// The code of a close frame, or how the connection ended without one.
    Code as "code" {
        /// normal
        Normal = "1000",
        /// going away
        GoingAway = "1001",
        /// protocol error
        ProtocolError = "1002",
        /// binary frame
        Unsupported = "1003",
        /// no code in the close frame
        Empty = "1005",
        /// no close frame: the connection was lost
        Lost = "1006",
        /// text that is not UTF-8
        InvalidUtf8 = "1007",
        /// flood
        Flood = "1008",
        /// too big
        TooBig = "1009",
        /// server fault
        ServerFault = "1011",
        /// this node is leaving
        NodeLeaving = "1012",
        /// overloaded
        Overloaded = "1013",
        /// unauthorized
        Unauthorized = "4003",
        /// access denied
        AccessDenied = "4004",
        /// resync
        Resync = "4100",
        /// idle
        Idle = "4200",
        /// rate limited
        RateLimited = "4201",
        /// a dependency is down
        DependencyDown = "4202",
        /// too many malformed actions
        TooManyErrors = "4400",
        /// any other code, which only a client can have sent
        Other = "other",
    }
}

impl Code {
    /// The label of a close code; [`Code::Other`] for one that the server never sends.
    #[must_use]
    pub fn of(code: u16) -> Self {
        match code {
            1000 => Self::Normal,
            1001 => Self::GoingAway,
            1002 => Self::ProtocolError,
            1003 => Self::Unsupported,
            1005 => Self::Empty,
            1006 => Self::Lost,
            1007 => Self::InvalidUtf8,
            1008 => Self::Flood,
            1009 => Self::TooBig,
            1011 => Self::ServerFault,
            1012 => Self::NodeLeaving,
            1013 => Self::Overloaded,
            4003 => Self::Unauthorized,
            4004 => Self::AccessDenied,
            4100 => Self::Resync,
            4200 => Self::Idle,
            4201 => Self::RateLimited,
            4202 => Self::DependencyDown,
            4400 => Self::TooManyErrors,
            _ => Self::Other,
        }
    }
}

label! {
    /// Who ended a connection.
    Initiator as "initiator" {
        /// this node
        Server = "server",
        /// the peer, or the network between
        Client = "client",
    }
}

label! {
    /// Why members are sent to other nodes.
    AwayReason as "reason" {
        /// this node is leaving
        Drain = "drain",
        /// this node has more than its share
        Rebalance = "rebalance",
    }
}

label! {
    /// How a member is sent to another node.
    Farewell as "how" {
        /// asked to open its next connection before it ends this one: the extended layer
        Asked = "asked",
        /// closed with 1012: the base layer, and who was asked and did not go
        Closed = "closed",
    }
}

label! {
    /// What a client asked for.
    Action as "action" {
        /// `send_message`
        SendMessage = "send_message",
        /// `edit_message`
        EditMessage = "edit_message",
        /// `delete_message`
        DeleteMessage = "delete_message",
        /// `typing`
        Typing = "typing",
        /// `read`
        Read = "read",
        /// `fetch_messages`
        FetchMessages = "fetch_messages",
        /// `heartbeat` and `heartbeat_ack`
        Heartbeat = "heartbeat",
        /// `auth`
        Auth = "auth",
        /// none of them, or no JSON
        Unknown = "unknown",
    }
}

label! {
    /// How an action was answered.
    Outcome as "outcome" {
        /// done
        Ok = "ok",
        /// not a JSON object
        InvalidJson = "invalid_json",
        /// no such action
        UnknownAction = "unknown_action",
        /// a field is missing, of the wrong type or out of range
        InvalidField = "invalid_field",
        /// the content is empty
        InvalidContent = "invalid_content",
        /// the content is too long
        ContentTooLong = "content_too_long",
        /// the `local_id` is not valid
        InvalidLocalId = "invalid_local_id",
        /// the `local_id` was used for another content
        LocalIdConflict = "local_id_conflict",
        /// not the conversation of the URL
        WrongConversation = "wrong_conversation",
        /// no such message
        UnknownMessage = "unknown_message",
        /// somebody else's message
        NotAuthor = "not_author",
        /// not allowed
        AccessDenied = "access_denied",
        /// the position to resume from does not exist any more
        ResumeLost = "resume_lost",
        /// more was missed than is replayed
        ResumeTooOld = "resume_too_old",
        /// over a rate
        RateLimited = "rate_limited",
        /// could not be done now
        Unavailable = "unavailable",
        /// a fault of the server
        Internal = "internal",
    }
}

label! {
    /// Where a resume was served from.
    Resume as "source" {
        /// recent events in memory
        Ring = "ring",
        /// the log or the store was read
        History = "history",
        /// more was missed than is replayed
        TooOld = "too_old",
        /// the position does not exist any more
        Lost = "lost",
    }
}

label! {
    /// The HTTP status of an answer.
    HttpStatus as "status" {
        /// upgraded
        SwitchingProtocols = "101",
        /// a page
        Ok = "200",
        /// malformed request
        BadRequest = "400",
        /// foreign origin
        Forbidden = "403",
        /// no such path
        NotFound = "404",
        /// a conversation needs an upgrade
        UpgradeRequired = "426",
        /// headers too large
        HeadersTooLarge = "431",
        /// a limit of the node was reached
        Unavailable = "503",
        /// any other
        Other = "other",
    }
}

impl HttpStatus {
    /// The label of a status code.
    #[must_use]
    pub fn of(status: u16) -> Self {
        match status {
            101 => Self::SwitchingProtocols,
            200 => Self::Ok,
            400 => Self::BadRequest,
            403 => Self::Forbidden,
            404 => Self::NotFound,
            426 => Self::UpgradeRequired,
            431 => Self::HeadersTooLarge,
            503 => Self::Unavailable,
            _ => Self::Other,
        }
    }
}

label! {
    /// Why a token was refused.
    AuthFailure as "reason" {
        /// there was no token
        Missing = "missing",
        /// not a JWT, or a header that is not accepted
        Malformed = "malformed",
        /// no configured key fits
        UnknownKey = "unknown_key",
        /// the signature is wrong
        BadSignature = "bad_signature",
        /// `exp` is past
        Expired = "expired",
        /// `nbf` or `iat` is in the future
        NotYet = "not_yet",
        /// a claim is missing or wrong
        BadClaim = "bad_claim",
    }
}

label! {
    /// Which limit was hit.
    RateLimit as "limit" {
        /// the actions of a connection, or of a user over all connections on this node
        Actions = "actions",
        /// the connections of a user
        UserConnections = "user_connections",
        /// the refusals of a connection: closed with 4201 or 4400
        Refusals = "refusals",
    }
}

label! {
    /// How a look at the key files ended.
    KeyReload as "outcome" {
        /// a file had changed; its keys are used from now on
        Changed = "changed",
        /// a file could not be read or held no valid key; the keys before stay in use
        Failed = "failed",
    }
}

label! {
    /// Which connection to Redis it is.
    RedisConnection as "connection" {
        /// commands and their answers
        Commands = "commands",
        /// what other gateways published
        Subscriptions = "subscriptions",
    }
}

label! {
    /// Why something that others published may have been missed.
    RedisDoubt as "reason" {
        /// the connection that hears them was lost
        Disconnected = "disconnected",
        /// Redis ended a subscription by itself, as when a slot moves
        Unsubscribed = "unsubscribed",
        /// the gateway did not hear what it published itself in time
        ProbeMissed = "probe_missed",
        /// more was heard than the shards took, and some of it was dropped
        Overflow = "overflow",
        /// the server was started anew or another one took its place
        NewRun = "new_run",
    }
}

label! {
    /// What a persister does again.
    PersisterStep as "step" {
        /// saying that it lives, taking and keeping partitions
        Lease = "lease",
        /// reading what is not stored yet
        Read = "read",
        /// writing to the store
        Write = "write",
        /// telling the log what is stored
        Commit = "commit",
        /// storing cursors of receipts
        Cursors = "cursors",
    }
}

label! {
    /// What was laid aside for a person to look at.
    DeadLetterKind as "kind" {
        /// an entry of the log that cannot be read
        Garbled = "garbled",
        /// an event that the store refuses; a placeholder stands in its place
        Event = "event",
        /// the sender's name for an event: it is stored, but a repeat of it is not recognised for ever
        Name = "name",
        /// the row that says how far an epoch is stored
        Head = "head",
    }
}

label! {
    /// How a question to the store was answered.
    StoreRead as "outcome" {
        /// answered
        Ok = "ok",
        /// not in time, by too few nodes, or with an error
        Unavailable = "unavailable",
        /// refused here at once, because the last ones were not answered
        BreakerOpen = "breaker_open",
        /// refused here, because too many wait
        Overloaded = "overloaded",
    }
}

label! {
    /// How a write to the store was answered.
    StoreWrite as "outcome" {
        /// written
        Ok = "ok",
        /// in doubt: it is tried again
        Unavailable = "unavailable",
        /// refused by the store for good; a refused batch is tried row by row
        Refused = "refused",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values<L: Label>() -> Vec<&'static str> {
        L::ALL.iter().map(|value| value.as_str()).collect()
    }

    #[test]
    fn every_close_code_is_its_own_label_and_strangers_are_other() {
        for value in values::<Code>() {
            if let Ok(code) = value.parse() {
                assert_eq!(Code::of(code).as_str(), value);
            }
        }
        assert_eq!(Code::of(4999), Code::Other);
        assert_eq!(Code::of(0), Code::Other);
    }

    #[test]
    fn every_http_status_is_its_own_label_and_strangers_are_other() {
        for value in values::<HttpStatus>() {
            if let Ok(status) = value.parse() {
                assert_eq!(HttpStatus::of(status).as_str(), value);
            }
        }
        assert_eq!(HttpStatus::of(418), HttpStatus::Other);
    }
}
