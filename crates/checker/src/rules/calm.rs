//! When nothing was broken.

use crate::recording::Fault;

/// The times at which something was broken, merged.
#[derive(Debug, Default)]
pub(super) struct Calm {
    /// From and to, ascending, none touching another.
    broken: Vec<(u64, u64)>,
}

impl Calm {
    pub(super) fn new(faults: &[Fault]) -> Self {
        let mut all: Vec<(u64, u64)> = faults
            .iter()
            .map(|fault| (fault.begun_us, fault.ended_us))
            .collect();
        all.sort_unstable();
        let mut broken: Vec<(u64, u64)> = Vec::new();
        for (from, to) in all {
            match broken.last_mut() {
                Some(last) if from <= last.1 => last.1 = last.1.max(to),
                _ => broken.push((from, to)),
            }
        }
        Self { broken }
    }

    /// How long it was calm without a break before `to_us`, but not before `from_us`.
    pub(super) fn before(&self, to_us: u64, from_us: u64) -> u64 {
        let earlier = self.broken.partition_point(|(from, _)| *from < to_us);
        let ended = match earlier.checked_sub(1) {
            Some(last) => self.broken[last].1,
            None => 0,
        };
        to_us.saturating_sub(ended.max(from_us))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calm_begins_anew_after_each_fault() {
        let fault = |begun_us, ended_us| Fault {
            name: "some".to_owned(),
            begun_us,
            ended_us,
        };
        let calm = Calm::new(&[fault(50, 60), fault(10, 30), fault(20, 25)]);
        assert_eq!(calm.before(9, 2), 7);
        assert_eq!(calm.before(28, 2), 0, "it is broken then");
        assert_eq!(calm.before(50, 2), 20);
        assert_eq!(calm.before(50, 45), 5);
        assert_eq!(calm.before(55, 2), 0);
        assert_eq!(calm.before(90, 2), 30);
    }
}
