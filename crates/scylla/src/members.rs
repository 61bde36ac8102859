//! Whom this process has written as a member: a cursor moves often, and who it is of is a member
//! already, all but the first time. What is forgotten here is written once more.
//!
//! Called by `writing`.

use std::{collections::HashSet, sync::Mutex};

use parlance_protocol::{ConversationId, UserId};

use crate::locked;

/// So many are remembered (some 10 MB); then all are forgotten, which costs a write each.
const REMEMBERED: usize = 50_000;

#[derive(Debug, Default)]
pub(crate) struct Members(Mutex<HashSet<(ConversationId, UserId)>>);

impl Members {
    pub(crate) fn has(&self, conversation: &ConversationId, user: &UserId) -> bool {
        let member = (conversation.clone(), user.clone());
        locked(&self.0).contains(&member)
    }

    /// Once they are written.
    pub(crate) fn add<'a>(
        &self,
        conversation: &ConversationId,
        users: impl IntoIterator<Item = &'a UserId>,
    ) {
        let mut members = locked(&self.0);
        for user in users {
            if members.len() >= REMEMBERED {
                members.clear();
            }
            members.insert((conversation.clone(), user.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_are_remembered_as_there_is_room_for() {
        let members = Members::default();
        let conversation = ConversationId::new("c").unwrap();
        let user = |n: usize| UserId::new(&n.to_string()).unwrap();
        for n in 0..=REMEMBERED {
            assert!(!members.has(&conversation, &user(n)));
            members.add(&conversation, [&user(n)]);
            assert!(members.has(&conversation, &user(n)));
        }
        assert!(!members.has(&conversation, &user(0)));
        assert_eq!(locked(&members.0).len(), 1);
    }
}
