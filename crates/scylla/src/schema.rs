//! The tables, in the steps in which they came to be.

/// One step: a file in `schema/`, which holds one statement.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SchemaStep {
    pub(crate) number: u32,
    pub(crate) name: &'static str,
    pub(crate) text: &'static str,
}

/// Where the steps that were done are written down.
pub(crate) const MIGRATIONS: &str = include_str!("../schema/000-migrations.cql");

/// What is written once and compared at each start: a deployment that counted or hashed otherwise
/// would open the epochs of the wrong partitions.
pub(crate) const LAYOUT: &str = "partitions=256 hash=crc32";

macro_rules! steps {
    ($($number:literal $name:literal,)+) => {
        /// All steps, in their order. What was once released is never changed, only followed.
        pub(crate) const STEPS: &[SchemaStep] = &[$(SchemaStep {
            number: $number,
            name: $name,
            text: include_str!(concat!("../schema/00", $number, "-", $name, ".cql")),
        },)+];
    };
}

steps! {
    1 "layout",
    2 "partitions",
    3 "messages",
    4 "events",
    5 "local_ids",
    6 "epochs",
    7 "cursors",
    8 "members",
    9 "memberships",
}

/// The version that this program needs.
pub(crate) const VERSION: u32 = STEPS[STEPS.len() - 1].number;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_numbered_from_one_on_without_a_gap() {
        let numbers = STEPS.iter().map(|step| step.number);
        assert!(numbers.eq(1..=VERSION));
    }

    #[test]
    fn each_step_is_one_statement_that_may_be_run_again() {
        for text in STEPS.iter().map(|step| step.text).chain([MIGRATIONS]) {
            let code = text.lines().filter(|line| !line.starts_with("--"));
            let code: Vec<_> = code.collect();
            let code = code.join("\n");
            assert_eq!(code.matches(';').count(), 1, "{code}");
            assert!(code.contains(" IF NOT EXISTS "), "{code}");
        }
    }
}
