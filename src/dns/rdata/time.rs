//! Spans and moments in text.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::reader::parse_number;

/// The longest TTL, in seconds (RFC 2181 section 8).
pub const TTL_SECS_MAX: u32 = i32::MAX as u32;

/// Reads a TTL: seconds as in `3600`, or numbers with units as in `1h30m`, in any letter case.
///
/// The units are `w`, `d`, `h`, `m` and `s`; once there is a unit, every number needs one. `None` for
/// anything else and for more than `TTL_SECS_MAX`.
pub fn parse_ttl(text: &[u8]) -> Option<u32> {
    parse_seconds(text).filter(|seconds| *seconds <= TTL_SECS_MAX)
}

/// Reads seconds as `parse_ttl` does, up to the 32 bits of a SOA timer.
pub(super) fn parse_seconds(text: &[u8]) -> Option<u32> {
    let total = match parse_number(text) {
        Some(seconds) => seconds,
        None if text.is_empty() => return None,
        None => text.split_inclusive(|octet| !octet.is_ascii_digit()).try_fold(0u64, |total, part| {
            let (unit, digits) = part.split_last()?;
            let unit_secs: u64 = match unit.to_ascii_lowercase() {
                b'w' => 7 * 24 * 60 * 60,
                b'd' => 24 * 60 * 60,
                b'h' => 60 * 60,
                b'm' => 60,
                b's' => 1,
                _ => return None,
            };
            total.checked_add(parse_number(digits)?.checked_mul(unit_secs)?)
        })?,
    };
    u32::try_from(total).ok()
}

/// Reads a moment: 14 digits are `YYYYMMDDHHmmSS` in UTC, fewer are seconds since 1970 (RFC 4034 section 3.2).
pub(super) fn parse_time(text: &[u8]) -> Option<u32> {
    let number = parse_number(text)?;
    if text.len() != 14 {
        return u32::try_from(number).ok();
    }
    let two = |at: usize| i8::try_from(parse_number(&text[at..at + 2])?).ok();
    let year = i16::try_from(parse_number(&text[..4])?).ok()?;
    let moment = DateTime::new(year, two(4)?, two(6)?, two(8)?, two(10)?, two(12)?, 0).ok()?;
    u32::try_from(moment.to_zoned(TimeZone::UTC).ok()?.timestamp().as_second()).ok()
}

/// Writes a moment as `YYYYMMDDHHmmSS`.
pub(super) fn write_time(seconds: u32) -> String {
    let timestamp = Timestamp::from_second(seconds.into()).expect("32 bits of seconds end in 2106");
    let moment = TimeZone::UTC.to_datetime(timestamp);
    let (date, time) = (moment.date(), moment.time());
    format!(
        "{:04}{:02}{:02}{:02}{:02}{:02}",
        date.year(),
        date.month(),
        date.day(),
        time.hour(),
        time.minute(),
        time.second()
    )
}
