//! Durations, sizes and shares, as an operator writes them and reads them.

use std::time::Duration;

use jiff::SignedDuration;

/// The units of a size, largest first.
const SIZE_UNITS: [(&str, usize); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// Parses a duration with units: `5s`, `10ms`, `1h30m`. `None` for a negative one and for anything else.
pub(super) fn parse_duration(text: &str) -> Option<Duration> {
    let duration: SignedDuration = text.parse().ok()?;
    duration.try_into().ok()
}

/// Writes a duration so that it can be read back.
pub(super) fn render_duration(duration: Duration) -> String {
    if duration.is_zero() {
        return "0s".into();
    }
    let signed = SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX);
    format!("{signed:#}").replace(' ', "")
}

/// Parses a size with a unit: `8MiB`, `64KiB`. `None` for any other unit and for anything else.
pub(super) fn parse_size(text: &str) -> Option<usize> {
    let unit_at = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(unit_at);
    let (_, octets) = SIZE_UNITS.iter().find(|(name, _)| *name == unit.trim_start())?;
    number.parse::<usize>().ok()?.checked_mul(*octets)
}

/// Writes a size in the largest unit that leaves a whole number.
pub(super) fn render_size(size: usize) -> String {
    let (unit, octets) =
        SIZE_UNITS.into_iter().find(|(_, octets)| size >= *octets && size.is_multiple_of(*octets)).unwrap_or(("B", 1));
    format!("{}{unit}", size / octets)
}

/// Parses a share in percent: `0.5%`. `None` for anything else.
pub(super) fn parse_share(text: &str) -> Option<f64> {
    let percent: f64 = text.strip_suffix('%')?.trim_end().parse().ok()?;
    percent.is_finite().then_some(percent / 100.0)
}

/// Writes a share in percent.
pub(super) fn render_share(share: f64) -> String {
    // Two digits of a percent are the least a bound has; more would be noise of the division.
    format!("{}%", (share * 10_000.0).round() / 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_are_read_with_their_units() {
        let cases = [
            ("5s", Some(Duration::from_secs(5))),
            ("10ms", Some(Duration::from_millis(10))),
            ("1h30m", Some(Duration::from_secs(5400))),
            ("1h 30m", Some(Duration::from_secs(5400))),
            ("0s", Some(Duration::ZERO)),
            ("5", None),
            ("-5s", None),
            ("5 parsecs", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_duration(text), expected, "{text}");
        }
    }

    #[test]
    fn sizes_are_read_with_their_units() {
        let cases = [
            ("8MiB", Some(8 << 20)),
            ("64 KiB", Some(64 << 10)),
            ("2GiB", Some(2 << 30)),
            ("512B", Some(512)),
            ("8MB", None),
            ("MiB", None),
            ("8", None),
            ("-8MiB", None),
            ("99999999999999999999GiB", None),
            ("18446744073709551615GiB", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_size(text), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(millis in 0u64..10_000_000_000, size: usize) {
            let duration = Duration::from_millis(millis);
            prop_assert_eq!(parse_duration(&render_duration(duration)), Some(duration));
            prop_assert_eq!(parse_size(&render_size(size)), Some(size));
        }
    }

    #[test]
    fn shares_are_read_in_percent_and_written_so() {
        let cases = [
            ("0.5%", Some(0.005)),
            ("100%", Some(1.0)),
            ("1 %", Some(0.01)),
            ("0.005", None),
            ("NaN%", None),
            ("%", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_share(text), expected, "{text}");
        }
        for text in ["0.5%", "0.01%", "100%"] {
            assert_eq!(render_share(parse_share(text).unwrap()), text);
        }
    }
}
