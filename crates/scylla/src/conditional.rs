//! Epochs of partitions: the one thing that is written under a condition.
//!
//! A number is answered with only when the server said that this very statement set it. Whatever is
//! in doubt is an error: the number may be taken then, and is skipped.

use parlance_core::{
    ports::Unavailable,
    store::{PARTITIONS, Partition},
};
use scylla::{
    errors::ExecutionError,
    response::query_result::QueryResult,
    value::{CqlValue, Row},
};
use tokio::{sync::Mutex, time::timeout};

use crate::{
    core::{Connected, Core},
    session::WRITE_LIMIT,
};

/// So often another node may be faster before the caller is told to try again.
const ATTEMPTS: u32 = 16;

/// One at a time of each partition in this process: they would only make each other fail.
#[derive(Debug)]
pub(crate) struct Turns([Mutex<()>; PARTITIONS]);

impl Default for Turns {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Mutex::default()))
    }
}

impl Core {
    pub(crate) async fn next_epoch(
        &self,
        partition: Partition,
        above: Option<u32>,
    ) -> Result<u32, Unavailable> {
        let open = async {
            let _turn = self.turns.0[usize::from(partition.0)].lock().await;
            let connected = self.connected.load_full();
            connected.open_epoch(partition, above).await
        };
        let opened = timeout(WRITE_LIMIT, open).await;
        let late = |_| Unavailable::new(format!("no epoch was opened within {WRITE_LIMIT:?}"));
        opened.map_err(late)?
    }
}

/// What became of a conditional statement.
#[derive(Debug, PartialEq)]
enum Conditional {
    Applied,
    /// The present epoch, if the server told it.
    Not {
        present: Option<i64>,
    },
}

impl Connected {
    async fn open_epoch(
        &self,
        partition: Partition,
        above: Option<u32>,
    ) -> Result<u32, Unavailable> {
        let above = above.map_or(-1, i64::from);
        let all = &self.statements;
        let number = i32::from(partition.0);
        let mut present = self.present_epoch(number).await?;
        for _ in 0..ATTEMPTS {
            let (next, answer) = match present {
                None => {
                    let first = self.session.execute_unpaged(&all.first_epoch, (number,));
                    (0, first.await)
                }
                Some(epoch) => {
                    let next = epoch.max(above) + 1;
                    let values = (next, number, epoch);
                    let answer = self.session.execute_unpaged(&all.next_epoch, values);
                    (next, answer.await)
                }
            };
            match outcome(answer)? {
                // The first one is 0, wherever the log is.
                Conditional::Applied if next <= above => present = Some(next),
                Conditional::Applied => return u32::try_from(next).map_err(Unavailable::new),
                Conditional::Not {
                    present: Some(epoch),
                } => present = Some(epoch),
                Conditional::Not { present: None } => present = self.present_epoch(number).await?,
            }
        }
        Err(Unavailable::new(
            "others open this partition's epochs all the time",
        ))
    }

    /// As the last conditional statement left it, also one whose outcome nobody knows: read at the
    /// serial consistency, which ends what is in doubt.
    async fn present_epoch(&self, number: i32) -> Result<Option<i64>, Unavailable> {
        let read = self
            .session
            .execute_unpaged(&self.statements.partition, (number,));
        let rows = read.await.map_err(Unavailable::new)?;
        let rows = rows.into_rows_result().map_err(Unavailable::new)?;
        let row = rows.maybe_first_row::<(Option<i64>,)>();
        let row = row.map_err(Unavailable::new)?;
        Ok(row.and_then(|(epoch,)| epoch))
    }
}

/// By the names of the columns: Cassandra answers with other columns when it applied a statement
/// than when it did not, ScyllaDB with the same ones.
fn outcome(answer: Result<QueryResult, ExecutionError>) -> Result<Conditional, Unavailable> {
    let rows = answer.map_err(Unavailable::new)?.into_rows_result();
    let rows = rows.map_err(Unavailable::new)?;
    let names = rows.column_specs().iter().map(|column| column.name());
    let names: Vec<_> = names.collect();
    let row = rows.first_row::<Row>().map_err(Unavailable::new)?;
    judged(&names, &row.columns)
}

fn judged(names: &[&str], columns: &[Option<CqlValue>]) -> Result<Conditional, Unavailable> {
    let column = |name| {
        let place = names.iter().position(|column| *column == name)?;
        columns.get(place)?.as_ref()
    };
    let applied = column("[applied]").and_then(CqlValue::as_boolean);
    let applied = applied.ok_or_else(|| Unavailable::new("no word about what was applied"))?;
    if applied {
        return Ok(Conditional::Applied);
    }
    let present = column("epoch").and_then(CqlValue::as_bigint);
    Ok(Conditional::Not { present })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cassandra_and_scylla_are_understood_alike() {
        let yes = || Some(CqlValue::Boolean(true));
        let no = || Some(CqlValue::Boolean(false));
        let (zero, seven) = (|| Some(CqlValue::Int(0)), || Some(CqlValue::BigInt(7)));
        let all = ["[applied]", "partition", "epoch"];

        assert_eq!(judged(&["[applied]"], &[yes()]), Ok(Conditional::Applied));
        assert_eq!(judged(&all, &[yes(), None, None]), Ok(Conditional::Applied));
        // The row of before.
        assert_eq!(
            judged(&all, &[yes(), zero(), seven()]),
            Ok(Conditional::Applied)
        );
        let present = Some(7);
        let not = Ok(Conditional::Not { present });
        assert_eq!(judged(&all, &[no(), zero(), seven()]), not);
        assert_eq!(judged(&["[applied]", "epoch"], &[no(), seven()]), not);
        let present = None;
        assert_eq!(
            judged(&["[applied]"], &[no()]),
            Ok(Conditional::Not { present })
        );
    }

    #[test]
    fn an_answer_without_a_word_about_it_is_in_doubt() {
        assert!(judged(&["epoch"], &[Some(CqlValue::BigInt(1))]).is_err());
        assert!(judged(&["[applied]"], &[None]).is_err());
    }
}
