//! Who is here, what they are called and who types.

use std::collections::{BTreeMap, BTreeSet, HashMap};

/// A server that ends somebody's typing is believed; one that forgets to is not, after this long.
const TYPING_MS: u64 = 8_000;

/// The other users of the conversation.
#[derive(Debug, Default)]
pub(crate) struct People {
    names: HashMap<String, String>,
    online: BTreeSet<String>,
    typing_until_ms: BTreeMap<String, u64>,
    /// How many are here, where the server counts instead of naming.
    count: Option<u64>,
}

impl People {
    /// The shown name of a user: as last seen in typing, else the id.
    pub(crate) fn name<'a>(&'a self, user: &'a str) -> &'a str {
        self.names.get(user).map_or(user, String::as_str)
    }

    /// `true` when that is a change.
    pub(crate) fn set_online(&mut self, user: &str, online: bool) -> bool {
        if online {
            self.online.insert(user.to_owned())
        } else {
            self.typing_until_ms.remove(user);
            self.online.remove(user)
        }
    }

    pub(crate) fn set_count(&mut self, count: u64) {
        self.count = Some(count);
    }

    pub(crate) fn set_typing(&mut self, user: &str, name: &str, typing: bool, now_ms: u64) {
        self.names.insert(user.to_owned(), name.to_owned());
        if typing {
            let until_ms = now_ms + TYPING_MS;
            self.typing_until_ms.insert(user.to_owned(), until_ms);
        } else {
            self.typing_until_ms.remove(user);
        }
    }

    /// The connection is gone; the next one tells anew who is here.
    pub(crate) fn forget(&mut self) {
        self.online.clear();
        self.typing_until_ms.clear();
        self.count = None;
    }

    pub(crate) fn expire_typing(&mut self, now_ms: u64) {
        self.typing_until_ms
            .retain(|_, until_ms| *until_ms > now_ms);
    }

    pub(crate) fn next_expiry_ms(&self) -> Option<u64> {
        self.typing_until_ms.values().min().copied()
    }

    /// `"ann, bob and 3 others"`, for `/who`.
    pub(crate) fn here(&self) -> String {
        let mut parts: Vec<&str> = vec!["you"];
        parts.extend(self.online.iter().map(|user| self.name(user)));
        let named = parts.len() as u64;
        match self.count {
            Some(count) if count > named => {
                format!("here: {} and {} others", parts.join(", "), count - named)
            }
            Some(_) | None => format!("here: {}", parts.join(", ")),
        }
    }

    /// `"ann is typing"`; empty when nobody does.
    pub(crate) fn typing(&self) -> String {
        let names: Vec<&str> = self
            .typing_until_ms
            .keys()
            .map(|user| self.name(user))
            .collect();
        match names.as_slice() {
            [] => String::new(),
            [one] => format!("{one} is typing"),
            [one, other] => format!("{one} and {other} are typing"),
            many => format!("{} people are typing", many.len()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typing_ends_by_itself() {
        let mut people = People::default();
        people.set_typing("u1", "ann", true, 0);
        assert_eq!(people.typing(), "ann is typing");
        people.expire_typing(people.next_expiry_ms().unwrap());
        assert_eq!(people.typing(), "");
    }

    #[test]
    fn who_is_here_counts_those_without_a_name() {
        let mut people = People::default();
        people.set_online("bob", true);
        assert_eq!(people.here(), "here: you, bob");
        people.set_count(300);
        assert_eq!(people.here(), "here: you, bob and 298 others");
    }
}
