//! From the rounds of runs to what a row says: medians, their ratio, and the mark.
//!
//! A ratio is that of the two medians, so that it is what the two figures beside it say. How far
//! rounds lie apart is shown by the ratios of the rounds, each of which had its turns close together.

use std::collections::BTreeMap;

use super::rows::{Form, Measure, Row, Run, Wanted};

/// What one run showed.
pub(crate) type Sample = BTreeMap<Measure, f64>;
/// All rounds of all runs.
pub(crate) type Samples = BTreeMap<Run, Vec<Sample>>;

/// Whether a row came to what it has to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mark {
    Missed,
    Must,
    Stretch,
    /// Nothing was wanted.
    Reported,
}

impl Mark {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Missed => "MISSED",
            Self::Must => "must",
            Self::Stretch => "stretch",
            Self::Reported => "",
        }
    }
}

/// What a row says.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Verdict {
    pub(crate) row: Row,
    /// The median of the first run.
    pub(crate) of: f64,
    /// The median of the second, if there is one.
    pub(crate) over: Option<f64>,
    /// What is judged.
    pub(crate) value: f64,
    /// The same of each round for itself: the least and the most.
    pub(crate) spread: (f64, f64),
    pub(crate) mark: Mark,
}

/// Judges a row; none if one of its runs was not made.
pub(crate) fn judge(row: Row, samples: &Samples) -> Option<Verdict> {
    let rounds = |run: Run| -> Option<Vec<f64>> {
        let values = samples.get(&run)?.iter();
        let values: Vec<f64> = values
            .filter_map(|s| s.get(&row.measure).copied())
            .collect();
        (!values.is_empty()).then_some(values)
    };
    let mut runs = row.form.runs();
    let of = rounds(runs.next()?)?;
    let over = match runs.next() {
        Some(run) => Some(rounds(run)?),
        None => None,
    };
    let combined = |of: f64, over: Option<f64>| match (row.form, over) {
        (Form::Ratio(..), Some(over)) => of / over,
        (Form::Difference(..), Some(over)) => of - over,
        (Form::Value(_), _) | (_, None) => of,
    };
    let (of_median, over_median) = (median(&of), over.as_deref().map(median));
    let value = combined(of_median, over_median);
    let each = of.iter().enumerate().filter_map(|(round, of)| match &over {
        Some(over) => Some(combined(*of, Some(*over.get(round)?))),
        None => Some(combined(*of, None)),
    });
    let spread = each.fold((value, value), |(least, most), one| {
        (least.min(one), most.max(one))
    });
    let mark = row.wanted.mark(value);
    Some(Verdict {
        row,
        of: of_median,
        over: over_median,
        value,
        spread,
        mark,
    })
}

impl Wanted {
    /// What is no number was not reached.
    fn mark(self, value: f64) -> Mark {
        let (is_must, is_stretch) = match self {
            Self::AtLeast { must, stretch } => (value >= must, value >= stretch),
            Self::AtMost { must, stretch } => (value <= must, value <= stretch),
            Self::Report => return Mark::Reported,
        };
        match (is_must, is_stretch) {
            (_, true) => Mark::Stretch,
            (true, false) => Mark::Must,
            (false, false) => Mark::Missed,
        }
    }
}

/// The middle one; of an even number the mean of the two in the middle.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        odd if odd % 2 == 1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::{servers::Kind, workloads::Workload};

    const OF: Run = Run {
        server: Kind::Gateway,
        workload: Workload::Paced,
    };
    const OVER: Run = Run {
        server: Kind::RawSend,
        workload: Workload::Paced,
    };

    fn row(form: Form, wanted: Wanted) -> Row {
        Row {
            name: "a row".to_owned(),
            measure: Measure::P99Ms,
            form,
            wanted,
        }
    }

    fn samples(of: &[f64], over: &[f64]) -> Samples {
        let rounds = |values: &[f64]| {
            let one = |value: &f64| Sample::from([(Measure::P99Ms, *value)]);
            values.iter().map(one).collect::<Vec<_>>()
        };
        Samples::from([(OF, rounds(of)), (OVER, rounds(over))])
    }

    #[test]
    fn a_median_is_the_middle_whatever_the_order() {
        assert!((median(&[9.0, 1.0, 2.0]) - 2.0).abs() < f64::EPSILON);
        assert!((median(&[4.0, 1.0]) - 2.5).abs() < f64::EPSILON);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn a_ratio_is_of_medians_and_its_spread_of_rounds() {
        let form = Form::Ratio(OF, OVER);
        let samples = samples(&[2.0, 6.0, 4.0], &[1.0, 2.0, 4.0]);
        let verdict = judge(row(form, Wanted::Report), &samples).expect("both were run");
        assert_eq!((verdict.of, verdict.over), (4.0, Some(2.0)));
        assert!((verdict.value - 2.0).abs() < f64::EPSILON);
        assert_eq!(verdict.spread, (1.0, 3.0));
        assert_eq!(verdict.mark, Mark::Reported);
    }

    #[test]
    fn a_difference_is_judged_by_itself() {
        let form = Form::Difference(OF, OVER);
        let wanted = Wanted::AtMost {
            must: 2.0,
            stretch: 0.5,
        };
        let verdict = judge(row(form, wanted), &samples(&[3.0], &[2.0])).expect("both were run");
        assert!((verdict.value - 1.0).abs() < f64::EPSILON);
        assert_eq!(verdict.mark, Mark::Must);
    }

    #[test]
    fn marks_are_given_at_their_bounds_and_missed_beyond() {
        let least = Wanted::AtLeast {
            must: 1.0,
            stretch: 1.3,
        };
        let most = Wanted::AtMost {
            must: 1.7,
            stretch: 1.35,
        };
        let marks = |wanted: Wanted, values: [f64; 4]| values.map(|value| wanted.mark(value));
        let all = [Mark::Missed, Mark::Must, Mark::Must, Mark::Stretch];
        assert_eq!(marks(least, [0.99, 1.0, 1.29, 1.3]), all);
        assert_eq!(marks(most, [1.71, 1.7, 1.36, 1.35]), all);
        assert_eq!(least.mark(f64::NAN), Mark::Missed);
        assert_eq!(most.mark(f64::NAN), Mark::Missed);
    }

    #[test]
    fn a_row_whose_run_is_missing_says_nothing() {
        let form = Form::Ratio(OF, OVER);
        assert_eq!(
            judge(row(form, Wanted::Report), &samples(&[1.0], &[])),
            None
        );
        assert_eq!(judge(row(form, Wanted::Report), &Samples::new()), None);
    }
}
