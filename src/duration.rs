//! Spans of time as users write them (`15s`, `1m30s`, `500ms`, `90`) and as messages show them (`1.2 s`).
//!
//! Not the time format of ssh_config(5), which has other units and other errors.

use std::time::Duration;

/// The longest span that is taken: far beyond any use, near enough that clocks can be added to it.
const LONGEST: Duration = Duration::from_secs(10_000 * 86_400);

/// Why a text is no duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// It does not have the form.
    #[error("`{text}` is not a duration: write `15s`, `1m30s`, `500ms` or a number of seconds")]
    Malformed {
        /// As it was written.
        text: String,
    },
    /// A number is followed by something else than a unit.
    #[error("`{unit}` in `{text}` is not a unit of time: write `ms`, `s`, `m`, `h` or `d`")]
    UnknownUnit {
        /// As it was written.
        text: String,
        /// What stands in the unit's place.
        unit: String,
    },
    /// Numbers follow each other with units, but the last one has none.
    #[error("the last number of `{text}` has no unit: `{text}s`?")]
    MissingUnit {
        /// As it was written.
        text: String,
    },
    /// More than 10,000 days.
    #[error("`{text}` is longer than 10,000 days")]
    TooLong {
        /// As it was written.
        text: String,
    },
}

/// Reads a duration: numbers with the units `ms`, `s`, `m`, `h`, `d` one after the other, or one plain number of
/// seconds. Decimals are taken (`1.5s`).
pub fn parse(text: &str) -> Result<Duration, DurationError> {
    let malformed = || DurationError::Malformed { text: text.into() };
    let mut total = Duration::ZERO;
    let mut rest = text;
    loop {
        let (number, after) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len()));
        let (unit, after) = after.split_at(after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len()));
        // Digits and points alone reach the parser, so that `inf`, `1e9` and signs are refused.
        let number: f64 = number.parse().map_err(|_| malformed())?;
        let scale = match unit {
            "ms" => 0.001,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3_600.0,
            "d" => 86_400.0,
            "" if rest.len() == text.len() => 1.0,
            "" => return Err(DurationError::MissingUnit { text: text.into() }),
            other => return Err(DurationError::UnknownUnit { text: text.into(), unit: other.into() }),
        };
        total = Duration::try_from_secs_f64(number * scale)
            .ok()
            .and_then(|span| total.checked_add(span))
            .filter(|&total| total <= LONGEST)
            .ok_or_else(|| DurationError::TooLong { text: text.into() })?;
        if after.is_empty() {
            return Ok(total);
        }
        rest = after;
    }
}

/// Shows a duration in the two largest units that tell something: `340 ms`, `1.2 s`, `2 m 03 s`, `1 h 05 m`.
pub fn human(duration: Duration) -> String {
    let milliseconds = duration.as_nanos().saturating_add(500_000) / 1_000_000;
    if milliseconds < 1_000 {
        return format!("{milliseconds} ms");
    }
    let tenths = (milliseconds + 50) / 100;
    if tenths < 600 {
        return format!("{}.{} s", tenths / 10, tenths % 10);
    }
    let seconds = (milliseconds + 500) / 1_000;
    if seconds < 3_600 {
        return format!("{} m {:02} s", seconds / 60, seconds % 60);
    }
    let minutes = (seconds + 30) / 60;
    format!("{} h {:02} m", minutes / 60, minutes % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_documented_spelling_is_read() {
        for (text, milliseconds) in [
            ("15s", 15_000),
            ("1m30s", 90_000),
            ("500ms", 500),
            ("90", 90_000),
            ("0", 0),
            ("1.5s", 1_500),
            ("0.25", 250),
            ("2h", 7_200_000),
            ("1d", 86_400_000),
            ("1h1m1s1ms", 3_661_001),
            ("0.1s", 100),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
    }

    #[test]
    fn mistakes_are_told_with_what_was_meant() {
        for (text, message) in [
            ("", "`` is not a duration: write `15s`, `1m30s`, `500ms` or a number of seconds"),
            ("s", "`s` is not a duration: write `15s`, `1m30s`, `500ms` or a number of seconds"),
            ("-1s", "`-1s` is not a duration: write `15s`, `1m30s`, `500ms` or a number of seconds"),
            ("inf", "`inf` is not a duration: write `15s`, `1m30s`, `500ms` or a number of seconds"),
            ("1.2.3s", "`1.2.3s` is not a duration: write `15s`, `1m30s`, `500ms` or a number of seconds"),
            ("10min", "`min` in `10min` is not a unit of time: write `ms`, `s`, `m`, `h` or `d`"),
            ("1e9", "`e` in `1e9` is not a unit of time: write `ms`, `s`, `m`, `h` or `d`"),
            ("1 m", "` m` in `1 m` is not a unit of time: write `ms`, `s`, `m`, `h` or `d`"),
            ("1m30", "the last number of `1m30` has no unit: `1m30s`?"),
            ("99999999999d", "`99999999999d` is longer than 10,000 days"),
        ] {
            assert_eq!(parse(text).unwrap_err().to_string(), message, "{text}");
        }
    }

    #[test]
    fn messages_show_two_units_and_round_into_the_next_one() {
        for (milliseconds, shown) in [
            (0, "0 ms"),
            (340, "340 ms"),
            (999, "999 ms"),
            (1_000, "1.0 s"),
            (1_249, "1.2 s"),
            (59_940, "59.9 s"),
            (59_960, "1 m 00 s"),
            (123_000, "2 m 03 s"),
            (3_599_400, "59 m 59 s"),
            (3_599_600, "1 h 00 m"),
            (3_900_000, "1 h 05 m"),
            (360_000_000, "100 h 00 m"),
        ] {
            assert_eq!(human(Duration::from_millis(milliseconds)), shown);
        }
        assert_eq!(human(Duration::from_micros(999_700)), "1.0 s");
        assert_eq!(human(Duration::MAX).split(' ').count(), 4, "the largest duration does not overflow");
    }
}
