//! Every statement, prepared once per session.
//!
//! All columns of a partition key are bound: a literal among them would switch routing by token off
//! (an assertion at preparing holds that). What is inserted names its time of writing, so that a
//! replay changes nothing and a late row wins over nothing newer.

use scylla::{
    client::{execution_profile::ExecutionProfileHandle, session::Session},
    errors::PrepareError,
    statement::prepared::PreparedStatement,
};

use crate::session::Profiles;

/// Rows of one page of a read. A row is a few hundred bytes, and 16 KiB at most: a page is between
/// 60 KB and 4 MB, and the usual history page of 50 messages is one.
const PAGE_ROWS: i32 = 256;

pub(crate) struct Statements {
    pub(crate) layout: PreparedStatement,
    pub(crate) epochs: PreparedStatement,
    pub(crate) names: PreparedStatement,
    pub(crate) messages: PreparedStatement,
    pub(crate) events: PreparedStatement,
    pub(crate) cursors: PreparedStatement,
    pub(crate) put_message: PreparedStatement,
    pub(crate) put_event: PreparedStatement,
    pub(crate) put_name: PreparedStatement,
    pub(crate) put_epoch: PreparedStatement,
    pub(crate) put_delivered: PreparedStatement,
    pub(crate) put_read: PreparedStatement,
    pub(crate) put_member: PreparedStatement,
    pub(crate) put_membership: PreparedStatement,
    pub(crate) partition: PreparedStatement,
    pub(crate) first_epoch: PreparedStatement,
    pub(crate) next_epoch: PreparedStatement,
}

/// What every row of an event has, after its key.
const EVENT: &str = "sender, local_id, content, t, ordinal, count, prev_id, prev_k";

impl Statements {
    pub(crate) async fn prepare(
        session: &Session,
        keyspace: &str,
        profiles: &Profiles,
    ) -> Result<Self, PrepareError> {
        let of = |profile, is_idempotent| Preparer {
            session,
            profile,
            is_idempotent,
        };
        let reads = of(&profiles.reads, true);
        let writes = of(&profiles.writes, true);
        let conditional = of(&profiles.conditional, false);
        let ks = keyspace;
        Ok(Self {
            layout: reads.prepare(format!("SELECT value FROM \"{ks}\".layout WHERE id = ?")).await?,
            epochs: reads.prepare(format!(
                "SELECT epoch, broke_id, broke_k, head_id, head_k, t, ordinal, count \
                 FROM \"{ks}\".epochs WHERE conversation_id = ?"
            ))
            .await?,
            names: reads.prepare(format!(
                "SELECT id, k, content FROM \"{ks}\".local_ids \
                 WHERE conversation_id = ? AND sender_id = ? AND digest = ?"
            ))
            .await?,
            messages: reads.prepare(format!(
                "SELECT id, rev_id, rev_k, kind, {EVENT} FROM \"{ks}\".messages \
                 WHERE conversation_id = ? AND bucket = ? AND id >= ? AND id <= ? \
                 ORDER BY id ASC, rev_id ASC, rev_k ASC"
            ))
            .await?,
            events: reads.prepare(format!(
                "SELECT id, k, kind, target_id, {EVENT} FROM \"{ks}\".events \
                 WHERE conversation_id = ? AND bucket = ? \
                 AND (id, k) > (?, ?) AND (id, k) <= (?, ?) LIMIT ?"
            ))
            .await?,
            cursors: reads.prepare(format!(
                "SELECT user_id, delivered, read FROM \"{ks}\".cursors WHERE conversation_id = ?"
            ))
            .await?,
            put_message: writes.prepare(format!(
                "INSERT INTO \"{ks}\".messages \
                 (conversation_id, bucket, id, rev_id, rev_k, kind, {EVENT}) \
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) USING TIMESTAMP ?"
            ))
            .await?,
            put_event: writes.prepare(format!(
                "INSERT INTO \"{ks}\".events \
                 (conversation_id, bucket, id, k, kind, target_id, {EVENT}) \
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) USING TIMESTAMP ?"
            ))
            .await?,
            put_name: writes.prepare(format!(
                "INSERT INTO \"{ks}\".local_ids \
                 (conversation_id, sender_id, digest, id, k, content) \
                 VALUES (?, ?, ?, ?, ?, ?) USING TIMESTAMP 1"
            ))
            .await?,
            put_epoch: writes.prepare(format!(
                "INSERT INTO \"{ks}\".epochs (conversation_id, epoch, broke_id, broke_k, \
                 head_id, head_k, t, ordinal, count) \
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) USING TIMESTAMP ?"
            ))
            .await?,
            put_delivered: writes.prepare(format!(
                "INSERT INTO \"{ks}\".cursors (conversation_id, user_id, delivered) \
                 VALUES (?, ?, ?) USING TIMESTAMP ?"
            ))
            .await?,
            put_read: writes.prepare(format!(
                "INSERT INTO \"{ks}\".cursors (conversation_id, user_id, read) \
                 VALUES (?, ?, ?) USING TIMESTAMP ?"
            ))
            .await?,
            put_member: writes.prepare(format!(
                "INSERT INTO \"{ks}\".members (conversation_id, user_id) \
                 VALUES (?, ?) USING TIMESTAMP 1"
            ))
            .await?,
            put_membership: writes.prepare(format!(
                "INSERT INTO \"{ks}\".memberships (user_id, conversation_id) \
                 VALUES (?, ?) USING TIMESTAMP 1"
            ))
            .await?,
            partition: conditional.prepare(format!(
                "SELECT epoch FROM \"{ks}\".partitions WHERE partition = ?"
            ))
            .await?,
            first_epoch: conditional.prepare(format!(
                "INSERT INTO \"{ks}\".partitions (partition, epoch) VALUES (?, 0) IF NOT EXISTS"
            ))
            .await?,
            next_epoch: conditional.prepare(format!(
                "UPDATE \"{ks}\".partitions SET epoch = ? WHERE partition = ? IF epoch = ?"
            ))
            .await?,
        })
    }
}

struct Preparer<'a> {
    session: &'a Session,
    profile: &'a ExecutionProfileHandle,
    is_idempotent: bool,
}

impl Preparer<'_> {
    async fn prepare(&self, text: String) -> Result<PreparedStatement, PrepareError> {
        let mut statement = self.session.prepare(text).await?;
        assert!(
            statement.is_token_aware(),
            "every column of a partition key is bound in `{}`",
            statement.get_statement()
        );
        statement.set_execution_profile_handle(Some(self.profile.clone()));
        statement.set_is_idempotent(self.is_idempotent);
        statement.set_page_size(PAGE_ROWS);
        Ok(statement)
    }
}
