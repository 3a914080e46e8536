//! Domain names in wire form, with their letter case kept and compared without it (RFC 4343).

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

/// The longest name in wire form, in octets, the root's zero octet included (RFC 1035 section 2.3.4).
pub const NAME_OCTETS_MAX: usize = 255;
/// The longest label, in octets (RFC 1035 section 2.3.4).
pub const LABEL_OCTETS_MAX: usize = 63;

/// An absolute domain name that owns its octets.
///
/// Letter case is kept for output; equality, order and hash ignore it for ASCII letters.
/// The order is the canonical one of RFC 4034 section 6.1.
#[derive(Clone)]
pub struct Name {
    wire: Box<[u8]>,
}

/// A borrowed absolute domain name: well-formed wire octets, ending with the root's zero octet.
#[derive(Clone, Copy)]
pub struct NameRef<'a> {
    wire: &'a [u8],
}

/// Why a text or a run of octets is not a domain name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// A label of more than 63 octets.
    #[error("a label is longer than 63 octets")]
    LabelTooLong,
    /// More than 255 octets in wire form.
    #[error("the name is longer than 255 octets")]
    NameTooLong,
    /// Two dots in a row, or a dot at the start.
    #[error("the name has an empty label")]
    EmptyLabel,
    /// A backslash that is not followed by a character or by three digits up to 255.
    #[error("the name has a malformed escape")]
    BadEscape,
    /// A relative name where no origin is known.
    #[error("the name is relative and there is no origin to complete it")]
    NoOrigin,
    /// No text at all.
    #[error("the name is empty")]
    Empty,
    /// Octets that end early or hold a compression pointer.
    #[error("the octets are not an uncompressed name")]
    Malformed,
}

impl Name {
    /// Returns the root name.
    pub fn root() -> Self {
        Self { wire: Box::new([0]) }
    }

    /// Parses presentation form; a text without a final dot is completed with `origin`.
    ///
    /// `@` alone is the origin. Escapes are `\DDD` (decimal) and `\X`. Errors on a relative name
    /// when `origin` is `None`.
    pub fn parse(text: &[u8], origin: Option<NameRef<'_>>) -> Result<Self, NameError> {
        if text == b"@" {
            return origin.map(NameRef::to_owned).ok_or(NameError::NoOrigin);
        }
        if text == b"." {
            return Ok(Self::root());
        }
        let mut wire = Vec::with_capacity(text.len() + 2);
        let absolute = push_labels(text, &mut wire)?;
        if absolute {
            wire.push(0);
        } else {
            wire.extend_from_slice(origin.ok_or(NameError::NoOrigin)?.wire);
        }
        if wire.len() > NAME_OCTETS_MAX {
            return Err(NameError::NameTooLong);
        }
        Ok(Self { wire: wire.into_boxed_slice() })
    }

    /// Parses a name that is absolute whether or not it ends with a dot; `@` stands for itself.
    pub fn parse_absolute(text: &[u8]) -> Result<Self, NameError> {
        let text = if text == b"@" { b"@." } else { text };
        Self::parse(text, Some(NameRef::ROOT))
    }

    /// Takes an uncompressed wire form that fills `octets` exactly.
    pub fn from_wire(octets: &[u8]) -> Result<Self, NameError> {
        match NameRef::split_from(octets)? {
            (name, []) => Ok(name.to_owned()),
            _ => Err(NameError::Malformed),
        }
    }

    /// Borrows the name.
    pub fn as_ref(&self) -> NameRef<'_> {
        NameRef { wire: &self.wire }
    }

    /// The octets in wire form, letter case as given.
    pub fn wire(&self) -> &[u8] {
        &self.wire
    }
}

/// Appends the labels of `text` in wire form; returns whether a final dot made the name absolute.
fn push_labels(text: &[u8], wire: &mut Vec<u8>) -> Result<bool, NameError> {
    if text.is_empty() {
        return Err(NameError::Empty);
    }
    let mut rest = text;
    let mut length_at = wire.len();
    wire.push(0);
    while let Some((&octet, after)) = rest.split_first() {
        rest = after;
        match octet {
            b'.' => {
                let length = wire.len() - length_at - 1;
                if length == 0 {
                    return Err(NameError::EmptyLabel);
                }
                if rest.is_empty() {
                    return Ok(true);
                }
                length_at = wire.len();
                wire.push(0);
                continue;
            }
            b'\\' => {
                let (value, after) = unescape_one(rest).ok_or(NameError::BadEscape)?;
                wire.push(value);
                rest = after;
            }
            other => wire.push(other),
        }
        let length = wire.len() - length_at - 1;
        if length > LABEL_OCTETS_MAX {
            return Err(NameError::LabelTooLong);
        }
        if wire.len() >= NAME_OCTETS_MAX {
            return Err(NameError::NameTooLong);
        }
        wire[length_at] = u8::try_from(length).expect("checked to be at most 63 above");
    }
    Ok(false)
}

/// Decodes what follows a backslash: three decimal digits up to 255, or any one octet but a digit.
///
/// Returns the octet and what is left (RFC 1035 section 5.1).
pub fn unescape_one(after_backslash: &[u8]) -> Option<(u8, &[u8])> {
    let (&first, rest) = after_backslash.split_first()?;
    if !first.is_ascii_digit() {
        return Some((first, rest));
    }
    let (digits, rest) = after_backslash.split_at_checked(3)?;
    let mut value = 0u16;
    for digit in digits {
        value = value * 10 + u16::from(digit.is_ascii_digit().then(|| digit - b'0')?);
    }
    Some((u8::try_from(value).ok()?, rest))
}

impl<'a> NameRef<'a> {
    /// The root name.
    pub const ROOT: NameRef<'static> = NameRef { wire: &[0] };

    /// Splits a leading uncompressed name from `octets`.
    pub fn split_from(octets: &'a [u8]) -> Result<(Self, &'a [u8]), NameError> {
        let mut at = 0;
        loop {
            match octets.get(at) {
                None => return Err(NameError::Malformed),
                Some(0) => break,
                Some(&length) if usize::from(length) <= LABEL_OCTETS_MAX => at += 1 + usize::from(length),
                Some(_) => return Err(NameError::Malformed),
            }
            if at >= NAME_OCTETS_MAX {
                return Err(NameError::NameTooLong);
            }
        }
        let (wire, rest) = octets.split_at(at + 1);
        Ok((NameRef { wire }, rest))
    }

    /// Wraps octets that are known to be one well-formed name: cut from a `Name` at a label.
    fn from_checked(wire: &'a [u8]) -> Self {
        debug_assert!(Self::split_from(wire).is_ok_and(|(_, rest)| rest.is_empty()));
        NameRef { wire }
    }

    /// Copies the name.
    pub fn to_owned(self) -> Name {
        Name { wire: self.wire.into() }
    }

    /// The octets in wire form, letter case as given.
    pub fn wire(self) -> &'a [u8] {
        self.wire
    }

    /// Whether this is the root.
    pub fn is_root(self) -> bool {
        self.wire.len() == 1
    }

    /// The labels from the left, without the root's empty one.
    pub fn labels(self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let mut rest = self.wire;
        std::iter::from_fn(move || {
            let (&length, after) = rest.split_first()?;
            if length == 0 {
                return None;
            }
            let (label, after) = after.split_at(usize::from(length));
            rest = after;
            Some(label)
        })
    }

    /// How many labels the name has, the root's empty one not counted.
    pub fn label_count(self) -> usize {
        self.labels().count()
    }

    /// The name without its leftmost label; `None` for the root.
    pub fn parent(self) -> Option<Self> {
        let length = usize::from(self.wire[0]);
        (length > 0).then(|| Self::from_checked(&self.wire[1 + length..]))
    }

    /// Whether this name is `ancestor` or below it.
    pub fn is_in(self, ancestor: NameRef<'_>) -> bool {
        self.suffix_at(ancestor).is_some()
    }

    /// The octet offset in this name at which `ancestor` begins, if it is this name's suffix.
    pub fn suffix_at(self, ancestor: NameRef<'_>) -> Option<usize> {
        let at = self.wire.len().checked_sub(ancestor.wire.len())?;
        if !self.wire[at..].eq_ignore_ascii_case(ancestor.wire) {
            return None;
        }
        // Equal octets are not enough: the cut must fall between two labels.
        let mut label_at = 0;
        while label_at < at {
            label_at += 1 + usize::from(self.wire[label_at]);
        }
        (label_at == at).then_some(at)
    }

    /// Whether the leftmost label is a lone asterisk (RFC 4592 section 2.1.1).
    pub fn is_wildcard(self) -> bool {
        self.wire.starts_with(b"\x01*")
    }

    /// The wire form with ASCII letters in lower case.
    ///
    /// Length octets are at most 63 and so are never mistaken for letters.
    pub fn to_lowercase_wire(self) -> Box<[u8]> {
        self.wire.to_ascii_lowercase().into_boxed_slice()
    }

    /// Joins `prefix` labels in wire form (without a root octet) with this name.
    pub fn prepend(self, prefix: &[u8]) -> Result<Name, NameError> {
        if prefix.len() + self.wire.len() > NAME_OCTETS_MAX {
            return Err(NameError::NameTooLong);
        }
        Ok(Name { wire: [prefix, self.wire].concat().into_boxed_slice() })
    }
}

/// A name in lower case with the offsets of its labels: what a lookup hashes and compares.
#[derive(Clone)]
pub struct Folded {
    octets: [u8; NAME_OCTETS_MAX],
    length: u8,
    /// Offset of each label from the left, then that of the root.
    offsets: [u8; LABELS_MAX + 1],
    labels: u8,
}

/// The most labels a name can have: 127 of one octet each, and the root.
const LABELS_MAX: usize = 127;

impl Folded {
    /// Folds `name`.
    pub fn new(name: NameRef<'_>) -> Self {
        let wire = name.wire;
        let mut folded = Self { octets: [0; NAME_OCTETS_MAX], length: 0, offsets: [0; LABELS_MAX + 1], labels: 0 };
        folded.octets[..wire.len()].copy_from_slice(wire);
        folded.octets[..wire.len()].make_ascii_lowercase();
        folded.length = u8::try_from(wire.len()).expect("a name has at most 255 octets");
        let mut at = 0u8;
        while wire[usize::from(at)] != 0 {
            folded.offsets[usize::from(folded.labels)] = at;
            folded.labels += 1;
            at += 1 + wire[usize::from(at)];
        }
        folded.offsets[usize::from(folded.labels)] = at;
        folded
    }

    /// How many labels the name has, the root's empty one not counted.
    pub fn label_count(&self) -> usize {
        usize::from(self.labels)
    }

    /// The octet offset at which the ancestor begins that is left when `skipped` labels are taken off.
    pub fn offset(&self, skipped: usize) -> usize {
        usize::from(self.offsets[skipped])
    }

    /// The lower-case wire form of the ancestor that is left when `skipped` labels are taken off.
    pub fn suffix(&self, skipped: usize) -> &[u8] {
        &self.octets[self.offset(skipped)..usize::from(self.length)]
    }

    /// The whole name in lower-case wire form.
    pub fn wire(&self) -> &[u8] {
        &self.octets[..usize::from(self.length)]
    }
}

impl PartialEq for NameRef<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.wire.eq_ignore_ascii_case(other.wire)
    }
}

impl Eq for NameRef<'_> {}

impl Hash for NameRef<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        for octet in self.wire {
            state.write_u8(octet.to_ascii_lowercase());
        }
    }
}

impl Ord for NameRef<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        let own: smallvec::SmallVec<[&[u8]; 8]> = self.labels().collect();
        let theirs: smallvec::SmallVec<[&[u8]; 8]> = other.labels().collect();
        let lower = |label: &[u8]| label.iter().map(u8::to_ascii_lowercase).collect::<smallvec::SmallVec<[u8; 64]>>();
        own.iter().rev().map(|label| lower(label)).cmp(theirs.iter().rev().map(|label| lower(label)))
    }
}

impl PartialOrd for NameRef<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for NameRef<'_> {
    /// Writes presentation form with a final dot.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_root() {
            return f.write_str(".");
        }
        for label in self.labels() {
            for &octet in label {
                match octet {
                    b'.' | b'\\' | b'"' | b'(' | b')' | b';' | b'@' | b'$' => write!(f, "\\{}", char::from(octet))?,
                    b'!'..=b'~' => write!(f, "{}", char::from(octet))?,
                    _ => write!(f, "\\{octet:03}")?,
                }
            }
            f.write_str(".")?;
        }
        Ok(())
    }
}

impl fmt::Debug for NameRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Name({self})")
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_ref().fmt(f)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.as_ref(), f)
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        self.as_ref() == other.as_ref()
    }
}

impl Eq for Name {}

impl Hash for Name {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_ref().hash(state);
    }
}

impl Ord for Name {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_ref().cmp(&other.as_ref())
    }
}

impl PartialOrd for Name {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl std::str::FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::parse_absolute(text.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        text.parse().expect("a test's name is well-formed")
    }

    #[test]
    fn text_round_trips_with_its_letter_case() {
        for text in [".", "example.com.", "WwW.Example.COM.", "a\\.b.example.", "\\000\\255.example.", "*.example."] {
            assert_eq!(name(text).to_string(), text);
        }
    }

    #[test]
    fn relative_names_take_the_origin() {
        let origin = name("example.com.");
        let parse = |text: &str| Name::parse(text.as_bytes(), Some(origin.as_ref())).map(|name| name.to_string());
        assert_eq!(parse("www").as_deref(), Ok("www.example.com."));
        assert_eq!(parse("@").as_deref(), Ok("example.com."));
        assert_eq!(parse("www.").as_deref(), Ok("www."));
        assert_eq!(Name::parse(b"www", None), Err(NameError::NoOrigin));
    }

    #[test]
    fn malformed_texts_are_refused() {
        let long_label = "a".repeat(64);
        let long_name = format!("{}.", vec!["a".repeat(49); 6].join("."));
        let cases = [
            ("", NameError::Empty),
            ("..", NameError::EmptyLabel),
            (".a", NameError::EmptyLabel),
            ("a..b", NameError::EmptyLabel),
            ("a\\", NameError::BadEscape),
            ("a\\25", NameError::BadEscape),
            ("a\\256", NameError::BadEscape),
            (long_label.as_str(), NameError::LabelTooLong),
            (long_name.as_str(), NameError::NameTooLong),
        ];
        assert_eq!(Name::parse_absolute(b"@").map(|name| name.wire().to_vec()), Ok(b"\x01@\0".to_vec()));
        for (text, error) in cases {
            assert_eq!(Name::parse_absolute(text.as_bytes()), Err(error), "{text}");
        }
    }

    #[test]
    fn the_longest_name_and_label_are_accepted() {
        let label = "a".repeat(63);
        let text = format!("{label}.{label}.{label}.{}.", "a".repeat(61));
        assert_eq!(name(&text).wire().len(), NAME_OCTETS_MAX);
        assert_eq!(Name::from_wire(name(&text).wire()), Ok(name(&text)));
    }

    #[test]
    fn comparison_ignores_letter_case_and_respects_labels() {
        assert_eq!(name("A.Example."), name("a.eXAMPLE."));
        assert!(name("www.example.com").as_ref().is_in(name("EXAMPLE.com").as_ref()));
        assert!(name("example.com").as_ref().is_in(name("example.com").as_ref()));
        assert!(!name("notexample.com").as_ref().is_in(name("example.com").as_ref()));
        // The octets of `com.` stand at the end, but inside a label.
        assert!(!name("x\\003com.").as_ref().is_in(name("com.").as_ref()));
    }

    #[test]
    fn canonical_order_is_that_of_rfc_4034() {
        let expected =
            ["example.", "a.example.", "yljkjljk.a.example.", "Z.a.example.", "zABC.a.EXAMPLE.", "z.example."];
        let mut names: Vec<Name> = expected.iter().rev().map(|text| name(text)).collect();
        names.sort();
        assert_eq!(names.iter().map(ToString::to_string).collect::<Vec<_>>(), expected);
    }
}
