//! Zone-file text to entries of fields that know line and column (RFC 1035 section 5.1).

use crate::dns::Rtype;
use crate::dns::rdata::Field;

/// The most fields one entry may have.
///
/// RDATA of 65,535 octets needs at most two words per octet, when each hexadecimal digit stands alone.
pub const FIELDS_MAX: usize = 2 * 65_535 + 16;

/// The most octets of text the fields of one entry may have together.
///
/// An octet of RDATA takes at most four of text, as `\DDD`; the rest is room for names and numbers.
pub const FIELD_OCTETS_MAX: usize = 4 * 65_535 + 8 * 1024;

/// Cuts zone-file text into entries without copying it.
///
/// Works in time linear in the text, and never holds more than one entry's fields.
#[derive(Debug)]
pub struct Lexer<'t> {
    text: &'t [u8],
    at: usize,
    line: u32,
    line_start: usize,
    /// Whether `;` begins a remark.
    has_remarks: bool,
}

/// One entry: the fields of one line, or of several held together by parentheses.
#[derive(Debug, Default)]
pub struct Entry<'t> {
    /// Whether it begins with a blank, so that it has the owner of the entry before.
    pub owner_omitted: bool,
    /// Its words and quoted strings.
    pub fields: Vec<Field<'t>>,
    /// The first field that runs over a line end; only entries that look like LUA records have one.
    pub multiline: Option<usize>,
    octets: usize,
}

/// Why text cannot be cut into fields, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{fault}")]
pub struct LexError {
    /// What is wrong.
    pub fault: LexFault,
    /// The line of the octet to blame, from 1.
    pub line: u32,
    /// Its column in octets, from 1.
    pub column: u32,
}

/// What can be wrong with text before it has any meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LexFault {
    /// A quote without its partner; blamed is the one that opens.
    #[error("a quoted string opens here and is not closed")]
    UnclosedQuote,
    /// A line end between quotes where no script stands; blamed is the opening quote.
    #[error("a quoted string opens here and is not closed on its line")]
    LineEndInQuotes,
    /// A parenthesis without its partner; blamed is the outermost that is open.
    #[error("a parenthesis opens here and is not closed")]
    UnclosedParenthesis,
    /// A closing parenthesis where none is open.
    #[error("a parenthesis closes here and none is open")]
    UnopenedParenthesis,
    /// A NUL octet outside quotes: no text, or text in UTF-16.
    #[error("there is a NUL octet here")]
    Nul,
    /// An entry of more than [`FIELDS_MAX`] fields or [`FIELD_OCTETS_MAX`] octets.
    #[error("the entry is longer than any record can be")]
    TooLong,
    /// A second line where the text of one record's data is expected.
    #[error("the text goes on after a line end")]
    SecondLine,
}

impl LexFault {
    /// What to do about it.
    pub fn help(self) -> &'static str {
        match self {
            Self::UnclosedQuote => "close it with `\"`; a quote inside is written `\\\"`",
            Self::LineEndInQuotes => {
                "close it with `\"`; only the code of a LUA record may run over several lines between quotes"
            }
            Self::UnclosedParenthesis => "close it with `)` at the end of the record",
            Self::UnopenedParenthesis => {
                "remove it, or open one with `(`; in text, write it between quotes or as `\\)`"
            }
            Self::Nul => "a zone file is text in ASCII or UTF-8; is this another kind of file?",
            Self::TooLong => "the data of a record has at most 65,535 octets; is a quote or parenthesis missing?",
            Self::SecondLine => "put it on one line, or between parentheses",
        }
    }
}

/// Cuts the presentation form of one record's data, such as `10 mail.example.com.` or `"a" "b"`.
///
/// Blanks, quotes, comments and parentheses count as in a zone file; line ends may stand between quotes
/// or parentheses. Positions count from line 1, column 1. No text is no fields.
pub fn fields(text: &[u8]) -> Result<Vec<Field<'_>>, LexError> {
    cut(Lexer { text, at: 0, line: 1, line_start: 0, has_remarks: true })
}

/// Cuts the same where it is a value and no line of a file: `;` is a character like any other.
pub fn value_fields(text: &[u8]) -> Result<Vec<Field<'_>>, LexError> {
    cut(Lexer { text, at: 0, line: 1, line_start: 0, has_remarks: false })
}

/// Takes the only entry there may be.
fn cut(mut lexer: Lexer<'_>) -> Result<Vec<Field<'_>>, LexError> {
    let mut entry = Entry::default();
    lexer.read_entry(&mut entry, |_| true)?;
    let (line, column) = (lexer.line, lexer.column_of(lexer.at));
    let mut rest = Entry::default();
    match lexer.read_entry(&mut rest, |_| true) {
        Ok(false) => Ok(entry.fields),
        Ok(true) => {
            let (line, column) = rest.fields.first().map_or((line, column), |field| (field.line, field.column));
            Err(LexError { fault: LexFault::SecondLine, line, column })
        }
        Err(error) => Err(error),
    }
}

impl<'t> Lexer<'t> {
    /// Begins at the start of `text`; a UTF-8 byte order mark is skipped.
    pub fn new(text: &'t [u8]) -> Self {
        let text = text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(text);
        Self { text, at: 0, line: 1, line_start: 0, has_remarks: true }
    }

    /// Reads the next entry that has a field into `entry`; returns whether there was one.
    ///
    /// After an error the next call goes on behind the faulty entry, outside parentheses.
    pub fn next_entry(&mut self, entry: &mut Entry<'t>) -> Result<bool, LexError> {
        self.read_entry(entry, looks_like_lua)
    }

    /// Reads one entry; `multiline` says, by the fields so far, whether a line end may stand between quotes.
    fn read_entry(&mut self, entry: &mut Entry<'t>, multiline: fn(&[Field<'t>]) -> bool) -> Result<bool, LexError> {
        entry.clear();
        let mut depth = Depth::default();
        // The first fault is the one to report; the rest of the entry is then only skipped.
        let mut fault = None;
        let mut fresh = true;
        while let Some(&octet) = self.text.get(self.at) {
            let began = std::mem::replace(&mut fresh, false);
            match self.kind(octet) {
                Kind::Word | Kind::Escape => {
                    let field = self.word();
                    fault = fault.or_else(|| entry.push(field).err());
                }
                Kind::Blank => {
                    entry.owner_omitted |= began;
                    self.at += 1;
                }
                Kind::LineEnd => {
                    self.line_end();
                    if depth.is_closed() {
                        if let Some(fault) = fault {
                            return Err(fault);
                        }
                        if !entry.fields.is_empty() {
                            return Ok(true);
                        }
                        entry.clear();
                        fresh = true;
                    }
                }
                Kind::Comment => self.at += line_length(&self.text[self.at..]),
                Kind::Open => {
                    depth.open(self.blame(LexFault::UnclosedParenthesis));
                    self.at += 1;
                }
                Kind::Close => {
                    if !depth.close() {
                        fault = fault.or_else(|| Some(self.blame(LexFault::UnopenedParenthesis)));
                    }
                    self.at += 1;
                }
                Kind::Quote => match self.quoted(|| fault.is_none() && multiline(&entry.fields)) {
                    Ok((field, lines)) => {
                        if lines > 0 && entry.multiline.is_none() {
                            entry.multiline = Some(entry.fields.len());
                        }
                        fault = fault.or_else(|| entry.push(field).err());
                    }
                    Err(error) => {
                        fault = fault.or(Some(error));
                        depth.follow(self.skip_line());
                    }
                },
                Kind::Nul => {
                    let error = self.blame(LexFault::Nul);
                    self.at = self.text.len();
                    return Err(fault.unwrap_or(error));
                }
            }
        }
        if let Some(fault) = fault.or(depth.opened) {
            return Err(fault);
        }
        Ok(!entry.fields.is_empty())
    }

    /// Takes a word: up to a blank, line end, quote, parenthesis or comment that is not escaped.
    fn word(&mut self) -> Field<'t> {
        let from = self.at;
        let mut at = from;
        while let Some(&octet) = self.text.get(at) {
            match self.kind(octet) {
                Kind::Word => at += 1,
                // A backslash takes the next octet into the word, but not a line end: a word has one line.
                Kind::Escape => {
                    let next = self.text.get(at + 1).map(|&octet| KIND[usize::from(octet)]);
                    at += if matches!(next, None | Some(Kind::LineEnd | Kind::Nul)) { 1 } else { 2 };
                }
                Kind::Blank | Kind::LineEnd | Kind::Comment | Kind::Open | Kind::Close | Kind::Quote | Kind::Nul => {
                    break;
                }
            }
        }
        self.at = at;
        Field { text: &self.text[from..at], quoted: false, line: self.line, column: self.column_of(from) }
    }

    /// Takes a quoted string and says how many line ends it has; on an error nothing is taken.
    ///
    /// `multiline` is asked at the first line end whether it may stand there.
    fn quoted(&mut self, multiline: impl Fn() -> bool) -> Result<(Field<'t>, u32), LexError> {
        let from = self.at + 1;
        let mut at = from;
        let (mut lines, mut line_start) = (0u32, self.line_start);
        loop {
            match self.text.get(at) {
                None => return Err(self.blame(LexFault::UnclosedQuote)),
                Some(b'"') => break,
                Some(b'\n' | b'\r') if lines == 0 && !multiline() => return Err(self.blame(LexFault::LineEndInQuotes)),
                Some(b'\n' | b'\r') => {
                    at += line_end_length(&self.text[at..]);
                    lines = lines.saturating_add(1);
                    line_start = at;
                }
                Some(b'\\') if !matches!(self.text.get(at + 1), None | Some(b'\n' | b'\r')) => at += 2,
                Some(_) => at += 1,
            }
        }
        // Text that touches the closing quote of a string over several lines shows that this quote was
        // meant to open: the partner of the one before is missing.
        let touched = self.text.get(at + 1).is_some_and(|&octet| KIND[usize::from(octet)] == Kind::Word);
        if lines > 0 && touched {
            return Err(self.blame(LexFault::UnclosedQuote));
        }
        let field =
            Field { text: &self.text[from..at], quoted: true, line: self.line, column: self.column_of(self.at) };
        self.at = at + 1;
        self.line = self.line.saturating_add(lines);
        self.line_start = line_start;
        Ok((field, lines))
    }

    /// Goes to the next line end and returns what was skipped.
    fn skip_line(&mut self) -> &'t [u8] {
        let from = self.at;
        self.at += line_length(&self.text[from..]);
        &self.text[from..self.at]
    }

    /// Steps over one line end: LF, CR LF, or a lone CR as BIND reads it.
    fn line_end(&mut self) {
        self.at += line_end_length(&self.text[self.at..]);
        self.line = self.line.saturating_add(1);
        self.line_start = self.at;
    }

    /// What an octet means outside quotes.
    fn kind(&self, octet: u8) -> Kind {
        match KIND[usize::from(octet)] {
            Kind::Comment if !self.has_remarks => Kind::Word,
            kind => kind,
        }
    }

    /// An error that blames the octet about to be read.
    fn blame(&self, fault: LexFault) -> LexError {
        LexError { fault, line: self.line, column: self.column_of(self.at) }
    }

    /// The column of the octet at `at`, which is on the current line.
    fn column_of(&self, at: usize) -> u32 {
        u32::try_from(at - self.line_start + 1).unwrap_or(u32::MAX)
    }
}

impl<'t> Entry<'t> {
    /// Adds a field, within the bounds of an entry.
    fn push(&mut self, field: Field<'t>) -> Result<(), LexError> {
        self.octets += field.text.len();
        if self.fields.len() == FIELDS_MAX || self.octets > FIELD_OCTETS_MAX {
            let first = self.fields.first().unwrap_or(&field);
            return Err(LexError { fault: LexFault::TooLong, line: first.line, column: first.column });
        }
        self.fields.push(field);
        Ok(())
    }

    /// Makes room for the next entry.
    fn clear(&mut self) {
        self.fields.clear();
        self.owner_omitted = false;
        self.multiline = None;
        self.octets = 0;
    }
}

/// Whether an entry that begins with `fields` may be a LUA record, or a `$GENERATE` of one.
///
/// Line ends may stand between the quotes of a script and nowhere else. The parser knows the type only
/// once the entry is read, and an unclosed quote must not swallow the records behind it.
fn looks_like_lua(fields: &[Field<'_>]) -> bool {
    const BEFORE_TYPE_MAX: usize = 6; // `$GENERATE`, range, owner, TTL, class, type
    fields.iter().take(BEFORE_TYPE_MAX).any(|field| !field.quoted && Rtype::parse(field.text) == Some(Rtype::LUA))
}

/// The parentheses that are open.
#[derive(Default)]
struct Depth {
    count: u32,
    /// The error to report if the outermost stays open.
    opened: Option<LexError>,
}

impl Depth {
    fn is_closed(&self) -> bool {
        self.count == 0
    }

    fn open(&mut self, unclosed: LexError) {
        self.opened.get_or_insert(unclosed);
        self.count = self.count.saturating_add(1);
    }

    /// Closes one; returns whether one was open.
    fn close(&mut self) -> bool {
        let was_open = self.count > 0;
        self.count = self.count.saturating_sub(1);
        if self.count == 0 {
            self.opened = None;
        }
        was_open
    }

    /// Counts the parentheses in text behind a faulty quote: the one that ends the record may be there.
    fn follow(&mut self, skipped: &[u8]) {
        for octet in skipped {
            match octet {
                b'(' if self.count > 0 => self.count += 1,
                b')' if self.count > 0 => _ = self.close(),
                _ => {}
            }
        }
    }
}

/// How many octets come before the first line end.
fn line_length(text: &[u8]) -> usize {
    text.iter().position(|octet| matches!(octet, b'\n' | b'\r')).unwrap_or(text.len())
}

/// How long the line end is that `text` begins with.
fn line_end_length(text: &[u8]) -> usize {
    if text.starts_with(b"\r\n") { 2 } else { 1 }
}

/// What an octet means outside quotes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Word,
    Escape,
    Blank,
    LineEnd,
    Comment,
    Open,
    Close,
    Quote,
    Nul,
}

/// The kind of each octet.
static KIND: [Kind; 256] = {
    let mut kinds = [Kind::Word; 256];
    kinds[b'\\' as usize] = Kind::Escape;
    kinds[b' ' as usize] = Kind::Blank;
    kinds[b'\t' as usize] = Kind::Blank;
    kinds[b'\n' as usize] = Kind::LineEnd;
    kinds[b'\r' as usize] = Kind::LineEnd;
    kinds[b';' as usize] = Kind::Comment;
    kinds[b'(' as usize] = Kind::Open;
    kinds[b')' as usize] = Kind::Close;
    kinds[b'"' as usize] = Kind::Quote;
    kinds[0] = Kind::Nul;
    kinds
};

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Lists the entries of `text`, one line each: `line:column` of the first field, `+` for an omitted
    /// owner, then the fields; errors as `line:column! what`.
    fn entries(text: &[u8]) -> Vec<String> {
        let mut lexer = Lexer::new(text);
        let mut entry = Entry::default();
        let mut lines = Vec::new();
        loop {
            match lexer.next_entry(&mut entry) {
                Ok(false) => return lines,
                Ok(true) => {
                    let first = entry.fields[0];
                    let omitted = if entry.owner_omitted { "+" } else { "" };
                    lines.push(format!("{}:{}{omitted} {}", first.line, first.column, words(&entry.fields)));
                }
                Err(error) => lines.push(format!("{}:{}! {error}", error.line, error.column)),
            }
        }
    }

    fn words(fields: &[Field<'_>]) -> String {
        let word = |field: &Field<'_>| {
            let text = String::from_utf8_lossy(field.text).replace('\n', "<LF>").replace('\r', "<CR>");
            if field.quoted { format!("\"{text}\"") } else { text }
        };
        fields.iter().map(word).collect::<Vec<_>>().join("|")
    }

    #[test]
    fn entries_are_cut_as_rfc_1035_says() {
        let cases: [(&str, &[&str]); 22] = [
            ("", &[]),
            ("\n\n  \t\n; only a remark\n ; and one more", &[]),
            ("a A 192.0.2.1", &["1:1 a|A|192.0.2.1"]),
            ("a\tA  192.0.2.1 ; remark\n\n b", &["1:1 a|A|192.0.2.1", "3:2+ b"]),
            ("a;b", &["1:1 a"]),
            ("a\r\nb\rc\n\rd", &["1:1 a", "2:1 b", "3:1 c", "5:1 d"]),
            ("\u{feff}a b", &["1:1 a|b"]),
            ("x ( a ; remark )\n b\n) c\nd", &["1:1 x|a|b|c", "4:1 d"]),
            ("( x\n y )", &["1:3 x|y"]),
            (" (\n x)", &["2:2+ x"]),
            ("( )\n x", &["2:2+ x"]),
            ("x ((a) (b))", &["1:1 x|a|b"]),
            ("x(a)b", &["1:1 x|a|b"]),
            (r#"x "a b" "" "c;(d""#, &[r#"1:1 x|"a b"|""|"c;(d""#]),
            (r#"x "a\"b" "c\\" d"#, &[r#"1:1 x|"a\"b"|"c\\"|d"#]),
            (r#"x "a"b"c" k="v""#, &[r#"1:1 x|"a"|b|"c"|k=|"v""#]),
            (r#"a\ b\;c\(d\"e\\ f"#, &[r#"1:1 a\ b\;c\(d\"e\\|f"#]),
            ("x a\\\nb", &["1:1 x|a\\", "2:1 b"]),
            ("x a\\", &["1:1 x|a\\"]),
            ("x LUA A \";a\n  b\" \"c\"\ny", &["1:1 x|LUA|A|\";a<LF>  b\"|\"c\"", "3:1 y"]),
            ("x type65402 A \"a\\\r\nb\"", &["1:1 x|type65402|A|\"a\\<CR><LF>b\""]),
            ("$GENERATE 1-2 x$ 60 IN LUA A \"a\nb\"", &["1:1 $GENERATE|1-2|x$|60|IN|LUA|A|\"a<LF>b\""]),
        ];
        for (text, expected) in cases {
            assert_eq!(entries(text.as_bytes()), expected, "{text:?}");
        }
    }

    #[test]
    fn a_fault_blames_what_opened_and_the_next_entry_is_read() {
        let cases: [(&str, &[&str]); 12] = [
            ("a (\nb\nc", &["1:3! a parenthesis opens here and is not closed"]),
            ("a ( ( b )", &["1:3! a parenthesis opens here and is not closed"]),
            ("a ) b\nc", &["1:3! a parenthesis closes here and none is open", "2:1 c"]),
            ("a TXT \"b", &["1:7! a quoted string opens here and is not closed"]),
            ("a TXT \"b\nc \"d\"", &["1:7! a quoted string opens here and is not closed on its line", "2:1 c|\"d\""]),
            (
                "a TXT \"b\\\nc\"\nd",
                &[
                    "1:7! a quoted string opens here and is not closed on its line",
                    "2:2! a quoted string opens here and is not closed on its line",
                    "3:1 d",
                ],
            ),
            // The parenthesis that ends the record stands behind the faulty quote, or on a later line.
            ("a TXT ( \"b )\nc", &["1:9! a quoted string opens here and is not closed on its line", "2:1 c"]),
            ("a TXT ( \"b\n d )\nc", &["1:9! a quoted string opens here and is not closed on its line", "3:1 c"]),
            (
                "a LUA A \"b\nc LUA A \"d\"\ne",
                &["1:9! a quoted string opens here and is not closed", "2:1 c|LUA|A|\"d\"", "3:1 e"],
            ),
            ("a LUA A \"b\nc d", &["1:9! a quoted string opens here and is not closed", "2:1 c|d"]),
            ("a b\nc\0d\ne", &["1:1 a|b", "2:2! there is a NUL octet here"]),
            ("a\\\0\ne", &["1:3! there is a NUL octet here"]),
        ];
        for (text, expected) in cases {
            assert_eq!(entries(text.as_bytes()), expected, "{text:?}");
        }
    }

    #[test]
    fn an_endless_entry_is_refused_and_the_next_is_read() {
        let many_fields = format!("x TXT ({})\ny", " a".repeat(FIELDS_MAX));
        let long_field = format!("x TXT {}\ny", "a".repeat(FIELD_OCTETS_MAX));
        for text in [many_fields, long_field] {
            assert_eq!(entries(text.as_bytes()), ["1:1! the entry is longer than any record can be", "2:1 y"]);
        }
    }

    #[test]
    fn the_data_of_one_record_is_cut_alone() {
        let cases = [
            ("", Ok("")),
            ("10 mail.example.com.", Ok("10|mail.example.com.")),
            ("  \"a\" \"b\" ; remark", Ok("\"a\"|\"b\"")),
            ("\"a\nb\" c", Ok("\"a<LF>b\"|c")),
            ("( a\n b )\n", Ok("a|b")),
            ("a\nb", Err((LexFault::SecondLine, 2, 1))),
            ("a \"b", Err((LexFault::UnclosedQuote, 1, 3))),
            ("(a", Err((LexFault::UnclosedParenthesis, 1, 1))),
        ];
        for (text, expected) in cases {
            let found = fields(text.as_bytes()).map(|fields| words(&fields));
            let expected =
                expected.map(str::to_owned).map_err(|(fault, line, column)| LexError { fault, line, column });
            assert_eq!(found, expected, "{text:?}");
        }
        assert_eq!(value_fields(b"a;b ; \";\"").map(|fields| words(&fields)), Ok("a;b|;|\";\"".to_owned()));
    }

    proptest! {
        #[test]
        fn any_octets_are_cut_without_panic(text in proptest::collection::vec(any::<u8>(), 0..200)) {
            entries(&text);
            let _ = fields(&text);
        }

        #[test]
        fn octets_that_mean_something_are_cut_without_panic(text in r#"[ \t\r\n;()"\\aLUA]{0,60}"#) {
            entries(text.as_bytes());
            let _ = (fields(text.as_bytes()), value_fields(text.as_bytes()));
        }
    }
}
