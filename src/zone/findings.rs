//! What is wrong with a zone, in a list that a hopeless file cannot make endless.

use std::sync::LazyLock;

use crate::diagnostic::{Diagnostic, Severity};
use crate::dns::Rtype;

/// The most errors, and the most warnings, that are told of one zone.
///
/// Nobody reads more, and a binary file would earn one per line.
pub const DIAGNOSTICS_MAX: usize = 100;

/// Diagnostics in the order they were found, with the rest counted.
#[derive(Debug, Default)]
pub(super) struct Findings {
    list: Vec<Diagnostic>,
    errors: usize,
    warnings: usize,
}

impl Findings {
    /// Adds a diagnostic, or only counts it if there are enough of its severity.
    pub(super) fn push(&mut self, diagnostic: Diagnostic) {
        self.push_with(diagnostic.severity, || diagnostic);
    }

    /// Adds what `diagnostic` returns; it is not asked when its text would not be told.
    pub(super) fn push_with(&mut self, severity: Severity, diagnostic: impl FnOnce() -> Diagnostic) {
        let count = match severity {
            Severity::Error => &mut self.errors,
            Severity::Warning => &mut self.warnings,
        };
        *count += 1;
        if *count <= DIAGNOSTICS_MAX {
            self.list.push(diagnostic());
        }
    }

    /// Whether another error would only be counted.
    pub(super) fn is_full(&self) -> bool {
        self.errors >= DIAGNOSTICS_MAX
    }

    /// The diagnostics by place, and at the end how many more there are.
    pub(super) fn sorted(mut self) -> Vec<Diagnostic> {
        self.list.sort_by(|one, other| one.position.cmp(&other.position));
        self.finish()
    }

    /// The diagnostics as found, and at the end how many more there are.
    pub(super) fn finish(mut self) -> Vec<Diagnostic> {
        let errors = self.errors.saturating_sub(DIAGNOSTICS_MAX);
        let warnings = self.warnings.saturating_sub(DIAGNOSTICS_MAX);
        if errors > 0 {
            self.list.push(Diagnostic::error(None, format!("{errors} more errors are not shown")));
        }
        if warnings > 0 {
            self.list.push(Diagnostic::warning(None, format!("{warnings} more warnings are not shown")));
        }
        self.list
    }
}

/// The start of `text` for a message, with octets that do not print as `\DDD`.
pub(super) fn excerpt(text: &[u8]) -> String {
    const OCTETS_MAX: usize = 60;
    let mut shown = String::new();
    for chunk in text[..text.len().min(OCTETS_MAX)].utf8_chunks() {
        for letter in chunk.valid().chars() {
            if letter.is_control() {
                shown.push_str(&format!("\\{:03}", u32::from(letter)));
            } else {
                shown.push(letter);
            }
        }
        shown.extend(chunk.invalid().iter().map(|octet| format!("\\{octet:03}")));
    }
    if text.len() > OCTETS_MAX {
        shown.push('…');
    }
    shown
}

/// The mnemonic of a record type that `text` may have been meant for.
pub(super) fn nearest_mnemonic(text: &[u8]) -> Option<&'static str> {
    static MNEMONICS: LazyLock<Vec<&str>> = LazyLock::new(|| {
        (0..=u16::MAX).map(Rtype).filter(|rtype| !rtype.is_meta()).filter_map(Rtype::mnemonic).collect()
    });
    nearest(text, MNEMONICS.iter().copied())
}

/// The word most like `text`, if one is like it in any letter case.
pub(super) fn nearest<'w>(text: &[u8], words: impl Iterator<Item = &'w str>) -> Option<&'w str> {
    const LIKENESS_MIN: f64 = 0.8; // `CNMAE` is as 0.95 to `CNAME`, `AAB` as 0.85 to `AAAA`, `foo` as 0.69 to `UINFO`
    let text = std::str::from_utf8(text).ok()?.to_ascii_uppercase();
    words
        .map(|word| (strsim::jaro_winkler(&text, &word.to_ascii_uppercase()), word))
        .filter(|(likeness, _)| *likeness >= LIKENESS_MIN)
        .max_by(|(one, _), (other, _)| one.total_cmp(other))
        .map(|(_, word)| word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn excerpts_are_short_and_print() {
        assert_eq!(excerpt("naïve".as_bytes()), "naïve");
        assert_eq!(excerpt(b"a\xff\x00\n"), "a\\255\\000\\010");
        assert_eq!(excerpt(&[b'a'; 61]), format!("{}…", "a".repeat(60)));
    }

    #[test]
    fn a_slip_of_the_finger_is_told_from_another_word() {
        let cases = [
            ("CNMAE", Some("CNAME")),
            ("aaa", Some("AAAA")),
            ("TEXT", Some("TXT")),
            ("HTTP", Some("HTTPS")),
            ("AA", Some("AAAA")),
            ("www", None),
            ("mail.example.com.", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(nearest_mnemonic(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn errors_are_told_even_behind_many_warnings_and_the_rest_is_counted() {
        let mut findings = Findings::default();
        for _ in 0..DIAGNOSTICS_MAX + 7 {
            findings.push(Diagnostic::warning(None, "odd"));
        }
        findings.push(Diagnostic::error(None, "broken"));
        let told = findings.finish();
        assert_eq!(told.len(), DIAGNOSTICS_MAX + 2);
        assert_eq!(told[DIAGNOSTICS_MAX].to_string(), "error: broken");
        assert_eq!(told[DIAGNOSTICS_MAX + 1].to_string(), "warning: 7 more warnings are not shown");
    }
}
