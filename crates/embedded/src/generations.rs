//! A bounded map that forgets what was not used for longest, roughly: two generations, and a new
//! one begins when the young one is full. Simpler than a list of uses and as good for a cache
//! whose misses are cheap.

use std::{borrow::Borrow, collections::HashMap, hash::Hash};

pub(crate) struct Generations<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
    /// Each generation holds at most so many.
    bound: usize,
}

impl<K: Hash + Eq, V> Generations<K, V> {
    pub(crate) fn new(bound: usize) -> Self {
        Self {
            young: HashMap::new(),
            old: HashMap::new(),
            bound,
        }
    }

    /// Looks `key` up and keeps it for longer.
    pub(crate) fn get_mut<Q>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        if let Some((key, value)) = self.old.remove_entry(key) {
            self.insert(key, value);
        }
        self.young.get_mut(key)
    }

    pub(crate) fn insert(&mut self, key: K, value: V) {
        if self.young.len() >= self.bound {
            self.old = std::mem::take(&mut self.young);
        }
        self.old.remove(&key);
        self.young.insert(key, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_used_lately_stays_and_the_rest_is_forgotten() {
        let mut map = Generations::new(2);
        for key in 0..2 {
            map.insert(key, key);
        }
        map.insert(2, 2);

        assert_eq!(map.get_mut(&0), Some(&mut 0));
        map.insert(3, 3);

        assert_eq!(map.get_mut(&1), None);
        assert_eq!(map.get_mut(&0), Some(&mut 0));
    }

    #[test]
    fn it_never_holds_more_than_two_generations() {
        let mut map = Generations::new(10);

        for key in 0..1_000 {
            map.insert(key, ());
            map.get_mut(&(key / 2));
        }

        assert!(map.young.len() <= 10 && map.old.len() <= 10);
    }
}
