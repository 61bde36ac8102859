//! Wall-clock instants, given in from outside.

/// Microseconds since 1970-01-01T00:00:00Z. On the wire: RFC 3339, UTC, milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct UnixMicros(pub u64);

impl UnixMicros {
    /// Whole seconds, cut.
    #[must_use]
    pub const fn secs(self) -> u64 {
        self.0 / 1_000_000
    }
}

/// `2023-12-01T12:00:00.000Z`
pub(crate) const TEXT_BYTES: usize = 24;
/// 9999-12-31T23:59:59.999Z: four digits of year are all that RFC 3339 has.
const LAST_MILLIS: u64 = 253_402_300_799_999;

impl UnixMicros {
    /// The wire's form, written into `buffer`; an instant after the year 9999 is shown as its end.
    ///
    /// By hand, since `write!` costs as much as the rest of a `chat_message`.
    pub(crate) fn text(self, buffer: &mut [u8; TEXT_BYTES]) -> &str {
        let millis = (self.0 / 1_000).min(LAST_MILLIS);
        let secs = millis / 1_000;
        let (year, month, day) = civil_from_days(secs / 86_400);
        *buffer = *b"0000-00-00T00:00:00.000Z";
        put_digits(&mut buffer[0..4], year);
        put_digits(&mut buffer[5..7], month);
        put_digits(&mut buffer[8..10], day);
        put_digits(&mut buffer[11..13], secs / 3_600 % 24);
        put_digits(&mut buffer[14..16], secs / 60 % 60);
        put_digits(&mut buffer[17..19], secs % 60);
        put_digits(&mut buffer[20..23], millis % 1_000);
        std::str::from_utf8(buffer).expect("digits and the marks between them are ASCII")
    }

    /// Reads exactly the form that [`std::fmt::Display`] writes.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let number = |range: std::ops::Range<usize>| -> Option<u64> {
            let digits = text.get(range)?;
            digits
                .bytes()
                .all(|b| b.is_ascii_digit())
                .then(|| digits.parse().ok())?
        };
        let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
        let (hour, minute, second, milli) = (
            number(11..13)?,
            number(14..16)?,
            number(17..19)?,
            number(20..23)?,
        );
        let days = days_from_civil(year, month, day)?;
        let secs = days * 86_400 + hour * 3_600 + minute * 60 + second;
        let parsed = Self((secs * 1_000 + milli) * 1_000);
        (parsed.to_string() == text).then_some(parsed)
    }
}

impl std::fmt::Display for UnixMicros {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.text(&mut [0; TEXT_BYTES]))
    }
}

/// The last digits of `number`, as many as `place` has room for.
fn put_digits(place: &mut [u8], mut number: u64) {
    for digit in place.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

/// Days since 1970-01-01 to a proleptic Gregorian date; Howard Hinnant, "chrono-Compatible
/// Low-Level Date Algorithms", for days that are not negative.
const fn civil_from_days(days: u64) -> (u64, u64, u64) {
    let z = days + 719_468;
    let era = z / 146_097;
    let doe = z - era * 146_097;
    let yoe = (doe - doe / 1_460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let day = doy - (153 * mp + 2) / 5 + 1;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    let year = yoe + era * 400 + if month <= 2 { 1 } else { 0 };
    (year, month, day)
}

/// The inverse; `None` before 1970 and for a month or day that cannot be.
const fn days_from_civil(year: u64, month: u64, day: u64) -> Option<u64> {
    if year < 1970 || month == 0 || month > 12 || day == 0 || day > 31 {
        return None;
    }
    let year = if month <= 2 { year - 1 } else { year };
    let era = year / 400;
    let yoe = year % 400;
    let shifted = if month > 2 { month - 3 } else { month + 9 };
    let doy = (153 * shifted + 2) / 5 + day - 1;
    let doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
    Some(era * 146_097 + doe - 719_468)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Counts years, months and days one by one.
    fn naive(micros: u64) -> String {
        let is_leap = |year: u64| {
            year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
        };
        let (mut days, mut year, mut month) = (micros / 86_400_000_000, 1970, 1);
        while days >= 365 + u64::from(is_leap(year)) {
            days -= 365 + u64::from(is_leap(year));
            year += 1;
        }
        let february = 28 + u64::from(is_leap(year));
        for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30] {
            if days < length {
                break;
            }
            days -= length;
            month += 1;
        }
        let millis = micros / 1_000 % 86_400_000;
        let (hours, minutes, seconds) = (
            millis / 3_600_000,
            millis / 60_000 % 60,
            millis / 1_000 % 60,
        );
        let (day, milli) = (days + 1, millis % 1_000);
        format!("{year:04}-{month:02}-{day:02}T{hours:02}:{minutes:02}:{seconds:02}.{milli:03}Z")
    }

    proptest! {
        #[test]
        fn a_timestamp_is_what_counting_days_one_by_one_gives(
            micros in 0..=LAST_MILLIS * 1_000 + 999,
        ) {
            prop_assert_eq!(UnixMicros(micros).to_string(), naive(micros));
        }

        #[test]
        fn a_timestamp_keeps_its_milliseconds(micros in 0..=LAST_MILLIS * 1_000 + 999) {
            let text = UnixMicros(micros).to_string();
            prop_assert_eq!(UnixMicros::parse(&text), Some(UnixMicros(micros / 1_000 * 1_000)));
        }

        #[test]
        fn only_what_is_written_is_read(text in "\\PC{0,30}|[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]{12}Z") {
            if let Some(parsed) = UnixMicros::parse(&text) {
                prop_assert_eq!(parsed.to_string(), text);
            }
        }
    }

    #[test]
    fn leap_days_and_both_ends_of_time_are_shown() {
        let shown = |micros| UnixMicros(micros).to_string();
        assert_eq!(shown(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(shown(951_782_400_000_000), "2000-02-29T00:00:00.000Z");
        assert_eq!(shown(1_701_432_000_000_999), "2023-12-01T12:00:00.000Z");
        assert_eq!(shown(u64::MAX), "9999-12-31T23:59:59.999Z");
    }

    #[test]
    fn days_that_never_were_are_refused() {
        for text in [
            "2023-02-29T00:00:00.000Z",
            "2023-13-01T00:00:00.000Z",
            "2023-12-01T24:00:00.000Z",
            "2023-12-01T23:59:60.000Z",
            "1969-12-31T23:59:59.999Z",
            "2023-12-01T12:00:00Z",
            "2023-12-01T12:00:00.000z",
            "2023-12-01T12:00:00.000+00:00",
            "",
        ] {
            assert_eq!(UnixMicros::parse(text), None, "{text}");
        }
    }
}
