//! A map by user, made for rooms: most hold two users and are idle, a few hold a hundred thousand.
//!
//! Empty it owns nothing; up to [`FEW_MAX`] users it is one small list that is walked; above that an
//! ordered tree. No hashing: ids are chosen by others, and a keyed hash would need chance.

use std::collections::BTreeMap;

use parlance_protocol::UserId;

/// Most users that are kept in a list.
const FEW_MAX: usize = 16;
/// A tree that shrank to this becomes a list again.
const FEW_AGAIN: usize = 8;

/// `V` by [`UserId`]. The order of iteration has no meaning.
#[derive(Debug)]
pub(crate) enum UserMap<V> {
    Few(Vec<(UserId, V)>),
    #[expect(
        clippy::box_collection,
        reason = "keeps the map at 24 bytes in the many rooms that never get here"
    )]
    Many(Box<BTreeMap<UserId, V>>),
}

impl<V> Default for UserMap<V> {
    fn default() -> Self {
        Self::Few(Vec::new())
    }
}

impl<V> UserMap<V> {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Few(list) => list.len(),
            Self::Many(tree) => tree.len(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn contains(&self, user: &UserId) -> bool {
        self.get(user).is_some()
    }

    pub(crate) fn get(&self, user: &UserId) -> Option<&V> {
        match self {
            Self::Few(list) => list.iter().find(|(key, _)| key == user).map(|(_, v)| v),
            Self::Many(tree) => tree.get(user),
        }
    }

    pub(crate) fn get_mut(&mut self, user: &UserId) -> Option<&mut V> {
        match self {
            Self::Few(list) => list.iter_mut().find(|(key, _)| key == user).map(|(_, v)| v),
            Self::Many(tree) => tree.get_mut(user),
        }
    }

    /// Sets the value of `user`, and gives back the one it had.
    pub(crate) fn insert(&mut self, user: UserId, value: V) -> Option<V> {
        if let Some(present) = self.get_mut(&user) {
            return Some(std::mem::replace(present, value));
        }
        self.make_room();
        match self {
            Self::Few(list) => list.push((user, value)),
            Self::Many(tree) => drop(tree.insert(user, value)),
        }
        None
    }

    pub(crate) fn remove(&mut self, user: &UserId) -> Option<V> {
        let removed = match self {
            Self::Few(list) => {
                let index = list.iter().position(|(key, _)| key == user)?;
                list.swap_remove(index).1
            }
            Self::Many(tree) => tree.remove(user)?,
        };
        self.give_back();
        Some(removed)
    }

    /// Keeps only what `keep` says yes to.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&UserId, &mut V) -> bool) {
        match self {
            Self::Few(list) => list.retain_mut(|(user, value)| keep(user, value)),
            Self::Many(tree) => tree.retain(keep),
        }
        self.give_back();
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&UserId, &V)> {
        let (list, tree) = match self {
            Self::Few(list) => (Some(list), None),
            Self::Many(tree) => (None, Some(tree)),
        };
        let list = list
            .into_iter()
            .flatten()
            .map(|(user, value)| (user, value));
        list.chain(tree.into_iter().flat_map(|tree| tree.iter()))
    }

    /// Space for one more: two at a time, because most rooms are pairs.
    fn make_room(&mut self) {
        let Self::Few(list) = self else { return };
        if list.len() == FEW_MAX {
            *self = Self::Many(Box::new(std::mem::take(list).into_iter().collect()));
        } else if list.len() == list.capacity() {
            list.reserve_exact(2);
        }
    }

    fn give_back(&mut self) {
        match self {
            Self::Few(list) if list.is_empty() => *list = Vec::new(),
            Self::Few(_) => {}
            Self::Many(tree) if tree.len() <= FEW_AGAIN => {
                *self = Self::Few(std::mem::take(&mut **tree).into_iter().collect());
            }
            Self::Many(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn user(n: u8) -> UserId {
        UserId::new(&format!("u{n}")).unwrap()
    }

    proptest! {
        #[test]
        fn behaves_like_a_map_of_any_size(steps in prop::collection::vec((0_u8..40, any::<bool>()), 0..300)) {
            let mut map = UserMap::default();
            let mut model = BTreeMap::new();
            for (step, (n, insert)) in steps.into_iter().enumerate() {
                if insert {
                    prop_assert_eq!(map.insert(user(n), step), model.insert(user(n), step));
                } else {
                    prop_assert_eq!(map.remove(&user(n)), model.remove(&user(n)));
                }
                prop_assert_eq!(map.len(), model.len());
                let listed: BTreeMap<_, _> = map.iter().map(|(u, v)| (u.clone(), *v)).collect();
                prop_assert_eq!(&listed, &model);
            }
        }
    }

    #[test]
    fn an_emptied_map_owns_no_memory() {
        let mut map = UserMap::default();
        for n in 0..20 {
            map.insert(user(n), ());
        }
        map.retain(|_, ()| false);
        assert!(matches!(&map, UserMap::Few(list) if list.capacity() == 0));
    }

    #[test]
    fn a_pair_takes_space_for_two() {
        let mut map = UserMap::default();
        map.insert(user(1), ());
        map.insert(user(2), ());
        assert!(matches!(&map, UserMap::Few(list) if list.capacity() == 2));
        assert_eq!(size_of::<UserMap<()>>(), 24);
    }
}
