//! `$GENERATE`: one entry with numbers left open, as BIND reads it.

use super::findings::excerpt;
use super::lexer;
use super::lua::decode_quotes;
use crate::dns::Rtype;
use crate::dns::rdata::Field;

/// The most records one `$GENERATE` makes: the addresses of an IPv4 /12, or all hosts of sixteen /16.
pub(super) const GENERATE_VALUES_MAX: u64 = 1 << 20;

/// The widest a number may be filled to; a label is no longer.
const WIDTH_MAX: usize = 63;

/// The numbers to go through: `start-stop` or `start-stop/step`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    start: u32,
    stop: u32,
    step: u32,
}

/// A field with places for a number.
#[derive(Debug)]
pub(super) struct Template<'t> {
    field: Field<'t>,
    parts: Vec<Part>,
}

/// The data of the records to make.
#[derive(Debug)]
pub(super) enum DataTemplate<'t> {
    /// One quoted string, which is cut into fields once it is filled in, as BIND does.
    Line(Template<'t>),
    /// Fields that are filled in one by one.
    Fields(Vec<Template<'t>>),
}

#[derive(Debug)]
/// A piece of a template: plain text or the place of a number.
enum Part {
    Text(Vec<u8>),
    Number { offset: i64, width: usize, base: Base },
}

/// How a number is written.
#[derive(Clone, Copy, Debug)]
enum Base {
    Decimal,
    Octal,
    HexLower,
    HexUpper,
    /// Hexadecimal digits from the least, a dot between them; width counts the dots.
    NibblesLower,
    NibblesUpper,
}

/// What becomes of `\$` in a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Escapes {
    /// It stays as it is: who reads the text decodes escapes.
    Kept,
    /// It becomes `$`: the text is a script, whose escapes nobody decodes.
    DecodedDollar,
}

/// Why a `$GENERATE` cannot be carried out, and which field is to blame.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct GenerateError {
    pub(super) line: u32,
    pub(super) column: u32,
    pub(super) message: String,
    pub(super) help: &'static str,
}

impl GenerateError {
    /// An error that blames `field`.
    pub(super) fn new(field: &Field<'_>, message: String, help: &'static str) -> Self {
        Self { line: field.line, column: field.column, message, help }
    }
}

impl Range {
    /// Reads the field behind `$GENERATE`; errors if it has more than [`GENERATE_VALUES_MAX`] values.
    pub(super) fn parse(field: &Field<'_>) -> Result<Self, GenerateError> {
        let shown = excerpt(field.text);
        let range = parse_range(field.text).ok_or_else(|| {
            let help = "write `start-stop` or `start-stop/step`, whole numbers up to 2147483647 in ascending order";
            GenerateError::new(field, format!("`{shown}` is not a range"), help)
        })?;
        let count = u64::from(range.stop - range.start) / u64::from(range.step) + 1;
        if count > GENERATE_VALUES_MAX {
            let message = format!("`{shown}` has {count} values, more than {GENERATE_VALUES_MAX}");
            let help = "use several `$GENERATE` with smaller ranges, or a wildcard or LUA record";
            return Err(GenerateError::new(field, message, help));
        }
        Ok(range)
    }

    /// The numbers in ascending order.
    pub(super) fn values(self) -> impl Iterator<Item = u32> {
        let step = usize::try_from(self.step).unwrap_or(usize::MAX);
        (self.start..=self.stop).step_by(step)
    }
}

/// Reads the numbers of a range, which must ascend.
fn parse_range(text: &[u8]) -> Option<Range> {
    let text = std::str::from_utf8(text).ok()?;
    let number = |text: &str| -> Option<u32> {
        let digits = !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_digit());
        digits.then(|| text.parse().ok()).flatten().filter(|&number| i32::try_from(number).is_ok())
    };
    let (start, rest) = text.split_once('-')?;
    let (stop, step) = rest.split_once('/').unwrap_or((rest, "1"));
    let range = Range { start: number(start)?, stop: number(stop)?, step: number(step)? };
    (range.start <= range.stop && range.step > 0).then_some(range)
}

impl<'t> DataTemplate<'t> {
    /// Reads the fields behind the type.
    pub(super) fn parse(rtype: Rtype, fields: &[Field<'t>]) -> Result<Self, GenerateError> {
        match fields {
            [line] if line.quoted && rtype != Rtype::LUA => Ok(Self::Line(Template::parse(line, Escapes::Kept)?)),
            _ => {
                let escapes = if rtype == Rtype::LUA { Escapes::DecodedDollar } else { Escapes::Kept };
                fields.iter().map(|field| Template::parse(field, escapes)).collect::<Result<_, _>>().map(Self::Fields)
            }
        }
    }

    /// Fills in `value`, using `texts` for the octets; every field keeps the place of its template.
    pub(super) fn fill<'b>(&self, value: u32, texts: &'b mut Vec<Vec<u8>>) -> Result<Vec<Field<'b>>, GenerateError> {
        match self {
            Self::Line(template) => {
                texts.resize_with(1, Vec::new);
                let text = &mut texts[0];
                template.fill(value, text)?;
                *text = decode_quotes(text);
                let fields = lexer::fields(text)
                    .map_err(|error| GenerateError::new(&template.field, error.to_string(), error.fault.help()))?;
                Ok(fields.into_iter().map(|field| template.place(field)).collect())
            }
            Self::Fields(templates) => {
                texts.resize_with(templates.len(), Vec::new);
                for (template, text) in templates.iter().zip(texts.iter_mut()) {
                    template.fill(value, text)?;
                }
                let filled = templates.iter().zip(texts.iter());
                Ok(filled.map(|(template, text)| template.place(Field { text, ..template.field })).collect())
            }
        }
    }
}

impl<'t> Template<'t> {
    /// Reads the owner of the records to make.
    pub(super) fn owner(field: &Field<'t>) -> Result<Self, GenerateError> {
        Self::parse(field, Escapes::Kept)
    }

    /// Reads `$`, `$$`, `\$` and `${offset[,width[,base]]}`.
    fn parse(field: &Field<'t>, escapes: Escapes) -> Result<Self, GenerateError> {
        let mut parts = Vec::new();
        let mut plain = Vec::new();
        let mut rest = field.text;
        while let [octet, after @ ..] = rest {
            rest = match (octet, after) {
                (b'$', [b'$', after @ ..]) => {
                    plain.push(b'$');
                    after
                }
                (b'$', _) => {
                    let (number, after) = parse_number(after).ok_or_else(|| {
                        let help =
                            "write `${offset,width,base}` without blanks: width up to 63, base one of d o x X n N";
                        GenerateError::new(field, format!("`{}` has a malformed `${{...}}`", excerpt(field.text)), help)
                    })?;
                    parts.push(Part::Text(std::mem::take(&mut plain)));
                    parts.push(number);
                    after
                }
                (b'\\', [b'$', after @ ..]) if escapes == Escapes::DecodedDollar => {
                    plain.push(b'$');
                    after
                }
                (b'\\', [escaped, after @ ..]) => {
                    plain.extend([b'\\', *escaped]);
                    after
                }
                _ => {
                    plain.push(*octet);
                    after
                }
            };
        }
        parts.push(Part::Text(plain));
        Ok(Self { field: *field, parts })
    }

    /// Writes the text for `value` over `text`; an offset must keep numbers within 32 bits.
    pub(super) fn fill(&self, value: u32, text: &mut Vec<u8>) -> Result<(), GenerateError> {
        text.clear();
        for part in &self.parts {
            match part {
                Part::Text(plain) => text.extend_from_slice(plain),
                Part::Number { offset, width, base } => {
                    let number = i32::try_from(i64::from(value) + offset).map_err(|_| {
                        let message = format!("the offset `{offset}` takes the number out of its 32 bits");
                        GenerateError::new(&self.field, message, "choose a smaller offset or range")
                    })?;
                    base.write(number, *width, text);
                }
            }
        }
        Ok(())
    }

    /// Gives `field` the template's place.
    pub(super) fn place<'b>(&self, field: Field<'b>) -> Field<'b> {
        Field { line: self.field.line, column: self.field.column, ..field }
    }
}

/// Reads what stands behind a `$`: nothing of its own, or braces.
fn parse_number(after: &[u8]) -> Option<(Part, &[u8])> {
    let Some(braced) = after.strip_prefix(b"{") else {
        return Some((Part::Number { offset: 0, width: 0, base: Base::Decimal }, after));
    };
    let end = braced.iter().position(|&octet| octet == b'}')?;
    let mut items = std::str::from_utf8(&braced[..end]).ok()?.split(',');
    let offset = i64::from(items.next()?.parse::<i32>().ok()?);
    let width = items.next().map_or(Some(0), |width| width.parse().ok())?;
    let base = items.next().map_or(Some(Base::Decimal), Base::parse)?;
    if items.next().is_some() || width > WIDTH_MAX {
        return None;
    }
    Some((Part::Number { offset, width, base }, &braced[end + 1..]))
}

impl Base {
    /// Reads the letter of a base.
    fn parse(letter: &str) -> Option<Self> {
        match letter {
            "d" => Some(Self::Decimal),
            "o" => Some(Self::Octal),
            "x" => Some(Self::HexLower),
            "X" => Some(Self::HexUpper),
            "n" => Some(Self::NibblesLower),
            "N" => Some(Self::NibblesUpper),
            _ => None,
        }
    }

    /// Writes a number, filled with zeros to `width`; negative ones as 32 bits where the base has no sign.
    fn write(self, number: i32, width: usize, text: &mut Vec<u8>) {
        let bits = number.cast_unsigned();
        let written = match self {
            Self::Decimal => format!("{number:0width$}"),
            Self::Octal => format!("{bits:0width$o}"),
            Self::HexLower => format!("{bits:0width$x}"),
            Self::HexUpper => format!("{bits:0width$X}"),
            Self::NibblesLower => nibbles(bits, width),
            Self::NibblesUpper => nibbles(bits, width).to_ascii_uppercase(),
        };
        text.extend_from_slice(written.as_bytes());
    }
}

/// Writes digits and dots by turns until both the number and the width are used up.
fn nibbles(mut bits: u32, width: usize) -> String {
    let mut text = String::new();
    loop {
        text.extend(char::from_digit(bits & 0xf, 16));
        bits >>= 4;
        if text.len() >= width && bits == 0 {
            return text;
        }
        text.push('.');
        if text.len() >= width && bits == 0 {
            return text;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(text: &str) -> Field<'_> {
        Field { text: text.as_bytes(), quoted: false, line: 1, column: 1 }
    }

    fn expand(template: &str, value: u32) -> Result<String, String> {
        let mut text = Vec::new();
        Template::owner(&field(template))
            .and_then(|template| template.fill(value, &mut text))
            .map_err(|error| error.message)?;
        Ok(String::from_utf8(text).expect("a test's template is ASCII"))
    }

    // What `named-compilezone` of BIND 9.18 makes of the same texts.
    #[test]
    fn numbers_are_written_as_bind_writes_them() {
        let cases = [
            ("plain", 7, "plain"),
            ("$", 7, "7"),
            ("a$b$", 7, "a7b7"),
            ("a$$b$$$", 7, "a$b$7"),
            (r"a\$\\$", 7, r"a\$\\7"),
            ("${5}", 10, "15"),
            ("${-2}", 1, "-1"),
            ("${+2,5}", 10, "00012"),
            ("${-20,5,d}", 10, "-0010"),
            ("${-5,4,x}", 255, "00fa"),
            ("${0,4,X}", 255, "00FF"),
            ("${0,4,o}", 8, "0010"),
            ("${-20,3,x}", 10, "fffffff6"),
            ("${0,0,n}", 10, "a"),
            ("${0,0,n}", 26, "a.1"),
            ("${0,2,n}", 10, "a."),
            ("${0,3,n}", 10, "a.0"),
            ("${0,4,N}", 26, "A.1."),
            ("${0,7,n}", 26, "a.1.0.0"),
            ("${-20,3,n}", 10, "6.f.f.f.f.f.f.f"),
        ];
        for (template, value, expected) in cases {
            assert_eq!(expand(template, value).as_deref(), Ok(expected), "{template}");
        }
    }

    #[test]
    fn data_is_filled_field_by_field_but_one_quoted_string_is_cut_as_a_line() {
        let quoted = |text| Field { quoted: true, ..field(text) };
        let cases = [
            (Rtype::MX, vec![field("10"), field("mail$")], "10|mail3"),
            (Rtype::MX, vec![quoted("10 mail$")], "10|mail3"),
            (Rtype::TXT, vec![quoted(r#"\"a $\" b"#)], "\"a 3\"|b"),
            (Rtype::TXT, vec![quoted("a $"), quoted(r"\$")], r#""a 3"|"\$""#),
            (Rtype::LUA, vec![quoted(r"'\n\\$' .. '\$'")], r#""'\n\\3' .. '$'""#),
        ];
        for (rtype, fields, expected) in cases {
            let mut texts = Vec::new();
            let template = DataTemplate::parse(rtype, &fields).expect("the template is sound");
            let filled = template.fill(3, &mut texts).expect("3 is small");
            let shown = |field: &Field<'_>| {
                let text = String::from_utf8_lossy(field.text).into_owned();
                if field.quoted { format!("\"{text}\"") } else { text }
            };
            assert_eq!(filled.iter().map(shown).collect::<Vec<_>>().join("|"), expected);
        }
    }

    #[test]
    fn malformed_templates_are_refused() {
        for text in
            ["${", "${}", "${1", "${ 1 }", "${1,-5}", "${1,2,}", "${1,2,z}", "${1,2,dd}", "${0,64}", "${1,2,d,3}"]
        {
            assert_eq!(expand(text, 1), Err(format!("`{text}` has a malformed `${{...}}`")), "{text}");
        }
        assert_eq!(expand("${5}", 2_147_483_647), Err("the offset `5` takes the number out of its 32 bits".into()));
    }

    #[test]
    fn ranges_ascend_and_are_bounded() {
        let values = |text: &str| Range::parse(&field(text)).map(|range| range.values().collect::<Vec<_>>());
        assert_eq!(values("1-3"), Ok(vec![1, 2, 3]));
        assert_eq!(values("0-9/4"), Ok(vec![0, 4, 8]));
        assert_eq!(values("5-5"), Ok(vec![5]));
        assert_eq!(values("2147483647-2147483647/2147483647"), Ok(vec![2_147_483_647]));
        for text in ["", "1", "3-1", "1-3/0", "-1-3", "1-3x", "1-+3", "1-2147483648", "a-b"] {
            assert_eq!(values(text).map_err(|error| error.message), Err(format!("`{text}` is not a range")));
        }
        let too_many = values("0-1048576").map_err(|error| error.message);
        assert_eq!(too_many, Err("`0-1048576` has 1048577 values, more than 1048576".into()));
    }
}
