//! Locations (RFC 1876).

use std::fmt::Display;

use super::RdataError;
use super::reader::{Reader, parse_number};
use super::writer::Writer;

/// The only version there is.
const VERSION: u8 = 0;
/// The equator and the prime meridian, in thousandths of a second of arc.
const ANGLE_ZERO: u32 = 1 << 31;
/// Thousandths of a second of arc in a degree.
const DEGREE: u32 = 60 * 60 * 1000;
/// Centimetres that an altitude of 0 in wire form lies below the reference spheroid.
const ALTITUDE_BASE: i64 = 10_000_000;
/// What stands for sizes and precisions that the text leaves out: 1 m, 10 km, 10 m.
const PRECISION_DEFAULTS: [(&str, u8); 3] =
    [("size", 0x12), ("horizontal precision", 0x16), ("vertical precision", 0x13)];
/// The largest size or precision, in centimetres: a mantissa of 9 and an exponent of 9.
const PRECISION_MAX: i64 = 9_000_000_000;

/// An axis: what messages call it, degrees at its end, letters of its positive and negative half.
struct Axis {
    name: &'static str,
    degrees_max: u32,
    positive: u8,
    negative: u8,
}

/// North and south.
const LATITUDE: Axis = Axis { name: "latitude", degrees_max: 90, positive: b'N', negative: b'S' };
/// East and west.
const LONGITUDE: Axis = Axis { name: "longitude", degrees_max: 180, positive: b'E', negative: b'W' };

/// Reads a whole RDATA.
pub(super) fn read(reader: &mut Reader<'_>) -> Result<(), RdataError> {
    let latitude = LATITUDE.read(reader)?;
    let longitude = LONGITUDE.read(reader)?;
    let altitude = read_altitude(reader)?;
    reader.push(&[VERSION]);
    for (name, default) in PRECISION_DEFAULTS {
        let precision = if reader.has_more() { read_precision(name, reader)? } else { default };
        reader.push(&[precision]);
    }
    for value in [latitude, longitude, altitude] {
        reader.push(&value.to_be_bytes());
    }
    Ok(())
}

/// Writes a whole RDATA.
pub(super) fn write(writer: &mut Writer<'_>) -> Option<()> {
    if writer.u8()? != VERSION {
        // The version tells the layout of all that follows (RFC 1876 section 2).
        writer.give_up();
        return Some(());
    }
    let precisions: [u8; 3] = writer.array()?;
    LATITUDE.write(writer)?;
    LONGITUDE.write(writer)?;
    let altitude = i64::from(writer.u32()?) - ALTITUDE_BASE;
    let sign = if altitude < 0 { "-" } else { "" };
    writer.word(format_args!("{sign}{}.{:02}m", altitude.abs() / 100, altitude.abs() % 100));
    for precision in precisions {
        write_precision(precision, writer)?;
    }
    Some(())
}

impl Axis {
    /// Reads degrees, minutes, seconds and the half; minutes and seconds may be left out.
    fn read(&self, reader: &mut Reader<'_>) -> Result<u32, RdataError> {
        let name = self.name;
        let degrees: u8 = reader.number(name, u8::MAX)?;
        let mut angle = u32::from(degrees) * DEGREE;
        let mut word = reader.word(name)?;
        if self.half(word).is_none() {
            let minutes = parse_number(word).filter(|minutes| *minutes < 60).and_then(|n| u32::try_from(n).ok());
            let minutes =
                minutes.ok_or_else(|| self.not(word, "a number of minutes from 0 to 59 or a half", reader))?;
            angle += minutes * 60 * 1000;
            word = reader.word(name)?;
            if self.half(word).is_none() {
                // `-0` is what PowerDNS writes for a place that is unknown, and no seconds.
                let seconds = Some(word).filter(|word| !word.starts_with(b"-")).and_then(|word| parse_fixed(word, 3));
                let seconds = seconds.and_then(|n| u32::try_from(n).ok()).filter(|n| *n < 60 * 1000);
                angle +=
                    seconds.ok_or_else(|| self.not(word, "a number of seconds from 0 to 59.999 or a half", reader))?;
                word = reader.word(name)?;
            }
        }
        let is_positive = self.half(word).ok_or_else(|| self.not(word, "a half", reader))?;
        if angle > self.degrees_max * DEGREE {
            let message = format!("{name} is more than {} degrees", self.degrees_max);
            return Err(reader.error(message).help("look at the degrees; the latitude comes first"));
        }
        Ok(if is_positive { ANGLE_ZERO + angle } else { ANGLE_ZERO - angle })
    }

    /// Whether a word names the positive half; `None` if it names none.
    fn half(&self, word: &[u8]) -> Option<bool> {
        match word {
            [letter] if letter.eq_ignore_ascii_case(&self.positive) => Some(true),
            [letter] if letter.eq_ignore_ascii_case(&self.negative) => Some(false),
            _ => None,
        }
    }

    /// The error that `word` is not `expected`.
    fn not(&self, word: &[u8], expected: impl Display, reader: &Reader<'_>) -> RdataError {
        let (positive, negative) = (char::from(self.positive), char::from(self.negative));
        reader
            .not(self.name, word, expected)
            .help(format!("write it as in `52 22 23.000 {positive}`; the halves are `{positive}` and `{negative}`"))
    }

    /// Writes degrees, minutes, seconds and the half.
    fn write(&self, writer: &mut Writer<'_>) -> Option<()> {
        let value = writer.u32()?;
        let angle = value.abs_diff(ANGLE_ZERO);
        if angle > self.degrees_max * DEGREE {
            return None;
        }
        let half = char::from(if value < ANGLE_ZERO { self.negative } else { self.positive });
        let (degrees, minutes) = (angle / DEGREE, angle / 60_000 % 60);
        let (seconds, thousandths) = (angle / 1000 % 60, angle % 1000);
        writer.word(format_args!("{degrees} {minutes} {seconds}.{thousandths:03} {half}"));
        Some(())
    }
}

/// Reads an altitude.
fn read_altitude(reader: &mut Reader<'_>) -> Result<u32, RdataError> {
    let word = reader.word("altitude")?;
    parse_centimetres(word).and_then(|altitude| u32::try_from(altitude + ALTITUDE_BASE).ok()).ok_or_else(|| {
        reader
            .not("altitude", word, "a number of metres from -100000.00 to 42849672.95")
            .help("write it as in `-24.50m`")
    })
}

/// Reads a size or a precision.
fn read_precision(name: &str, reader: &mut Reader<'_>) -> Result<u8, RdataError> {
    let word = reader.word(name)?;
    let centimetres = parse_centimetres(word).filter(|n| (0..=PRECISION_MAX).contains(n));
    let mut mantissa = centimetres.ok_or_else(|| {
        reader.not(name, word, "a number of metres from 0 to 90000000.00").help("write it as in `30m`")
    })?;
    // Wire form has one digit and a power of ten; the digits after the first are dropped, as the
    // code in RFC 1876 does.
    let mut exponent = 0;
    while mantissa > 9 {
        mantissa /= 10;
        exponent += 1;
    }
    Ok(u8::try_from(mantissa << 4).expect("one digit in the upper half") | exponent)
}

/// Writes a size or a precision.
fn write_precision(precision: u8, writer: &mut Writer<'_>) -> Option<()> {
    let (mantissa, exponent) = (u64::from(precision >> 4), u32::from(precision & 0xf));
    // Zero has one form only: with another power of ten it would not read back.
    if mantissa > 9 || exponent > 9 || (mantissa == 0 && exponent > 0) {
        return None;
    }
    let centimetres = mantissa * 10u64.pow(exponent);
    match centimetres % 100 {
        0 => writer.word(format_args!("{}m", centimetres / 100)),
        rest => writer.word(format_args!("{}.{rest:02}m", centimetres / 100)),
    }
    Some(())
}

/// Reads metres, with or without `m`.
fn parse_centimetres(word: &[u8]) -> Option<i64> {
    parse_fixed(word.strip_suffix(b"m").or_else(|| word.strip_suffix(b"M")).unwrap_or(word), 2)
}

/// Reads a decimal fraction as so many units of its last place.
fn parse_fixed(text: &[u8], places: usize) -> Option<i64> {
    let (sign, digits) = match text.strip_prefix(b"-") {
        Some(digits) => (-1, digits),
        None => (1, text),
    };
    let (whole, fraction) = match digits.iter().position(|octet| *octet == b'.') {
        Some(dot) => (&digits[..dot], &digits[dot + 1..]),
        None => (digits, &b"0"[..]),
    };
    if fraction.len() > places {
        return None;
    }
    let scale = |exponent: usize| 10i64.pow(u32::try_from(exponent).expect("two or three places"));
    let whole = i64::try_from(parse_number(whole)?).ok()?.checked_mul(scale(places))?;
    let fraction = i64::try_from(parse_number(fraction)?).ok()? * scale(places - fraction.len());
    Some(sign * whole.checked_add(fraction)?)
}
