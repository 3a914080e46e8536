//! The part of Lua's grammar that needs no VM to be understood: one expression of literals, tables and calls.

/// How deep tables and calls may be nested; what is deeper is left to the VM.
const DEPTH_MAX: usize = 16;

/// An expression.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Literal {
    /// A string without escapes.
    Text(String),
    /// A decimal number, with its text as Lua would write it.
    Number(f64, String),
    /// `true` or `false`.
    Boolean(bool),
    /// A table: its items without a key, and those with a name for one.
    Table(Vec<Self>, Vec<(String, Self)>),
    /// A call of a global function.
    Call(String, Vec<Self>),
}

impl Literal {
    /// Reads code that is one expression of this kind; `None` if it is anything more, or anything odd.
    pub(super) fn parse(code: &[u8]) -> Option<Self> {
        let mut parser = Parser { rest: std::str::from_utf8(code).ok()?, depth: 0 };
        let literal = parser.expression()?;
        parser.skip_blanks();
        parser.rest.is_empty().then_some(literal)
    }
}

/// The literal calls of functions with these names that stand anywhere in a script's code.
pub(super) fn calls(code: &[u8], names: &[&str]) -> Vec<Literal> {
    calls_at(code, names).into_iter().map(|(_, name, arguments)| Literal::Call(name, arguments)).collect()
}

/// The same, each with the octet at which it stands: the name of the function, and its arguments.
///
/// What stands in comments and strings is no call. Code that is not text holds none.
pub(super) fn calls_at(code: &[u8], names: &[&str]) -> Vec<(usize, String, Vec<Literal>)> {
    let text = std::str::from_utf8(code).unwrap_or_default();
    let wanted = called(code).into_iter().filter(|(_, name)| names.contains(name));
    let call = |(at, _): (usize, &str)| match (Parser { rest: &text[at..], depth: 0 }).expression()? {
        Literal::Call(name, arguments) => Some((at, name, arguments)),
        Literal::Text(_) | Literal::Number(..) | Literal::Boolean(_) | Literal::Table(..) => None,
    };
    wanted.filter_map(call).collect()
}

/// Where a text stands in a code behind an octet: best as a whole string, else anywhere; that octet if it does not.
pub(super) fn place_of(code: &[u8], from: usize, text: &str) -> usize {
    let find = |wanted: &str| code[from..].windows(wanted.len().max(1)).position(|window| window == wanted.as_bytes());
    let quoted = ['\'', '"'].map(|quote| find(&format!("{quote}{text}{quote}")).map(|at| at + 1));
    let first = quoted.into_iter().flatten().min().or_else(|| find(text));
    from + first.unwrap_or(0)
}

/// Whether a script seems to give a name another meaning, as a function or variable of its own.
pub(super) fn defines(code: &[u8], name: &str) -> bool {
    let code = std::str::from_utf8(code).unwrap_or_default();
    code.match_indices(name).any(|(at, _)| {
        let (before, after) = (code[..at].trim_end(), code[at + name.len()..].trim_start());
        let is_assigned = after.starts_with('=') && !after.starts_with("==");
        is_assigned || before.ends_with("function") || before.ends_with("local")
    })
}

/// The names of functions that a script's code calls, each with the octet at which it stands.
///
/// What stands in comments and strings is no call, nor is a field or method of something, nor a definition.
pub(super) fn called(code: &[u8]) -> Vec<(usize, &str)> {
    let code = std::str::from_utf8(code).unwrap_or_default();
    let mut called = Vec::new();
    let mut parser = Parser { rest: code, depth: 0 };
    let mut is_other = false;
    while let Some(character) = parser.rest.chars().next() {
        let begin = parser.rest;
        match character {
            '-' if begin.starts_with("--") => parser.skip_comment(),
            '[' if long_bracket(begin).is_some() => parser.skip_long_string(),
            '\'' | '"' => parser.skip_string(character),
            'a'..='z' | 'A'..='Z' | '_' => {
                let name = parser.take_while(|character| character.is_ascii_alphanumeric() || character == '_');
                let is_call = parser.rest.trim_start().starts_with(['(', '{', '\'', '"']);
                if is_call && !is_other {
                    called.push((code.len() - begin.len(), name));
                }
                is_other = name == "function";
                continue;
            }
            blank if blank.is_ascii_whitespace() => {
                parser.skip_blanks();
                parser.rest = parser.rest.trim_start();
                continue;
            }
            '.' if begin.starts_with("..") => {
                // Texts are joined here; a single dot leads to a field.
                parser.rest = begin.trim_start_matches('.');
                is_other = false;
                continue;
            }
            other => parser.rest = &begin[other.len_utf8()..],
        }
        is_other = matches!(character, '.' | ':');
    }
    called
}

/// The blanks of a code that stand outside its strings and comments, in their order.
pub(super) fn blanks(code: &[u8]) -> Vec<usize> {
    let code = std::str::from_utf8(code).unwrap_or_default();
    let mut blanks = Vec::new();
    let mut parser = Parser { rest: code, depth: 0 };
    while let Some(character) = parser.rest.chars().next() {
        let begin = parser.rest;
        match character {
            '-' if begin.starts_with("--") => parser.skip_comment(),
            '[' if long_bracket(begin).is_some() => parser.skip_long_string(),
            '\'' | '"' | '`' => parser.skip_string(character),
            other => {
                if matches!(other, ' ' | '\t') {
                    blanks.push(code.len() - begin.len());
                }
                parser.rest = &begin[other.len_utf8()..];
            }
        }
    }
    blanks
}

/// What closes the long bracket that a text begins with: `]]` for `[[`, `]=]` for `[=[`.
fn long_bracket(text: &str) -> Option<String> {
    let rest = text.strip_prefix('[')?;
    let level = rest.len() - rest.trim_start_matches('=').len();
    rest[level..].starts_with('[').then(|| format!("]{}]", "=".repeat(level)))
}

struct Parser<'c> {
    rest: &'c str,
    depth: usize,
}

impl<'c> Parser<'c> {
    fn skip_blanks(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\r', '\n']);
    }

    /// Takes a character if it is the next one behind blanks.
    fn take(&mut self, character: char) -> bool {
        self.skip_blanks();
        let rest = self.rest.strip_prefix(character);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    /// Takes the longest run of characters that fit.
    fn take_while(&mut self, fits: impl Fn(char) -> bool) -> &'c str {
        let end = self.rest.find(|character| !fits(character)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken
    }

    /// Passes over a comment: to the end of its line, or of its long bracket.
    fn skip_comment(&mut self) {
        self.rest = &self.rest["--".len()..];
        if long_bracket(self.rest).is_some() {
            self.skip_long_string();
        } else {
            self.take_while(|character| character != '\n');
        }
    }

    fn skip_long_string(&mut self) {
        let end = long_bracket(self.rest).and_then(|close| Some(self.rest.find(&close)? + close.len()));
        self.rest = &self.rest[end.unwrap_or(self.rest.len())..];
    }

    fn skip_string(&mut self, quote: char) {
        let mut escaped = true; // the opening quote ends nothing
        let end = self.rest.find(|character| {
            let ends = character == quote && !escaped;
            escaped = character == '\\' && !escaped;
            ends
        });
        self.rest = end.map_or("", |end| &self.rest[end + quote.len_utf8()..]);
    }

    fn expression(&mut self) -> Option<Literal> {
        self.skip_blanks();
        match self.rest.chars().next()? {
            quote @ ('\'' | '"') => self.text(quote).map(Literal::Text),
            '{' => self.nested(Self::table),
            '0'..='9' => self.number(),
            _ => match self.name()? {
                "true" => Some(Literal::Boolean(true)),
                "false" => Some(Literal::Boolean(false)),
                name => self.nested(|parser| parser.call(name)),
            },
        }
    }

    fn nested(&mut self, read: impl FnOnce(&mut Self) -> Option<Literal>) -> Option<Literal> {
        self.depth += 1;
        let literal = if self.depth > DEPTH_MAX { None } else { read(self) };
        self.depth -= 1;
        literal
    }

    fn text(&mut self, quote: char) -> Option<String> {
        self.rest = &self.rest[quote.len_utf8()..];
        let text = self.take_while(|character| character != quote && character != '\\' && character != '\n');
        self.rest = self.rest.strip_prefix(quote)?;
        Some(text.to_owned())
    }

    /// A number that Lua writes as it stands: no leading zero, no exponent, a fraction that does not end in zero.
    fn number(&mut self) -> Option<Literal> {
        let text = self.take_while(|character| character.is_ascii_alphanumeric() || character == '.');
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "1"));
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_digit());
        let is_plain = digits(whole)
            && digits(fraction)
            && (whole == "0" || !whole.starts_with('0'))
            && !fraction.ends_with('0')
            && text.len() <= 14;
        is_plain.then_some(Literal::Number(text.parse().ok()?, text.to_owned()))
    }

    fn name(&mut self) -> Option<&'c str> {
        let name = self.take_while(|character| character.is_ascii_alphanumeric() || character == '_');
        let begins = name.starts_with(|character: char| character.is_ascii_alphabetic());
        let is_keyword = matches!(name, "nil" | "not" | "function" | "if");
        (begins && !is_keyword).then_some(name)
    }

    /// What follows a function's name: arguments in parentheses, or one table.
    fn call(&mut self, name: &str) -> Option<Literal> {
        self.skip_blanks();
        if self.rest.starts_with('{') {
            return Some(Literal::Call(name.to_owned(), vec![self.table()?]));
        }
        let mut arguments = Vec::new();
        if !self.take('(') {
            return None;
        }
        while !self.take(')') {
            if !arguments.is_empty() && !self.take(',') {
                return None;
            }
            arguments.push(self.expression()?);
        }
        Some(Literal::Call(name.to_owned(), arguments))
    }

    fn table(&mut self) -> Option<Literal> {
        let (mut items, mut named) = (Vec::new(), Vec::new());
        if !self.take('{') {
            return None;
        }
        while !self.take('}') {
            if let Some(name) = self.field_name() {
                named.push((name, self.expression()?));
            } else {
                items.push(self.expression()?);
            }
            self.skip_blanks();
            if !self.rest.starts_with('}') && !self.take(',') && !self.take(';') {
                return None;
            }
        }
        Some(Literal::Table(items, named))
    }

    /// What stands in front of an equals sign, a name or a text in brackets; takes nothing if there is none.
    fn field_name(&mut self) -> Option<String> {
        self.skip_blanks();
        let begin = self.rest;
        let name = if self.take('[') { self.text_in_brackets() } else { self.name().map(str::to_owned) };
        if name.is_some() && self.take('=') && !self.rest.starts_with('=') {
            return name;
        }
        self.rest = begin;
        None
    }

    /// A text and the bracket behind it.
    fn text_in_brackets(&mut self) -> Option<String> {
        self.skip_blanks();
        let quote = self.rest.chars().next().filter(|character| matches!(character, '\'' | '"'))?;
        let text = self.text(quote)?;
        self.take(']').then_some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Literal {
        Literal::Text(text.to_owned())
    }

    #[test]
    fn literals_tables_and_calls_are_read() {
        let list = Literal::Table(vec![text("a"), text("b")], vec![]);
        let options = Literal::Table(vec![], vec![("x".to_owned(), Literal::Boolean(true))]);
        let keyed = Literal::Table(vec![text("a")], vec![("192.0.2.1".to_owned(), text("b"))]);
        let cases = [
            ("'a'", text("a")),
            (" \"it's\" ", text("it's")),
            ("{'a', 'b'}", list.clone()),
            ("{ 'a'; 'b', }", list.clone()),
            ("pick({'a','b'})", Literal::Call("pick".to_owned(), vec![list.clone()])),
            ("pick{'a','b'}", Literal::Call("pick".to_owned(), vec![list])),
            ("{['192.0.2.1'] = 'b', 'a'}", keyed.clone()),
            ("{ 'a', [ \"192.0.2.1\" ]='b' }", keyed),
            (
                "f(0.5, {x = true})",
                Literal::Call("f".to_owned(), vec![Literal::Number(0.5, "0.5".to_owned()), options]),
            ),
        ];
        for (code, expected) in cases {
            assert_eq!(Literal::parse(code.as_bytes()), Some(expected), "{code}");
        }
    }

    #[test]
    fn calls_are_found_wherever_they_stand_but_in_comments_and_strings() {
        let code = "local data = 'f(1)' -- f(2)\n--[[ f(3)\n]] if f(4) then return g.f(5), f(x), h{f(6)} end \
                    return [==[ f(7) ]] ]==], \"\\\"f(8)\" .. f (9), ff(10), '' .. f(11)";
        let number = |number: f64| Literal::Call("f".to_owned(), vec![Literal::Number(number, number.to_string())]);
        assert_eq!(calls(code.as_bytes(), &["f"]), [4.0, 6.0, 9.0, 11.0].map(number));
        for unclosed in ["'f(1)", "[[f(1)", "--[[f(1)", "'f(1)\\", "f(1", "\u{e9}f"] {
            assert_eq!(calls(unclosed.as_bytes(), &["f"]), [], "{unclosed}");
        }
    }

    #[test]
    fn everything_else_is_left_to_the_vm() {
        let cases = [
            "",
            "nil",
            "qname",
            "1e3",
            "0x10",
            "007",
            "1.50",
            "'a' .. 'b'",
            "'a', 'b'",
            "'\\065'",
            "-- a\n'a'",
            "a.b()",
            "a:b()",
            "{[1]='a'}",
            "{['a']}",
            "{['a'='b'}",
            "{['a'] 'b'}",
            "{[[a]]='b'}",
            "{['a\\065']='b'}",
            "f()()",
            "f(x)",
            "f('a'",
            "{'a' 'b'}",
            "#f()",
            "-1",
            "f(,)",
            "{x == 1}",
            "f('a',)",
            "[[a]]",
            "'a\nb'",
            "(f())",
            "f 'a'",
        ];
        for code in cases {
            assert_eq!(Literal::parse(code.as_bytes()), None, "{code}");
        }
        let deep = format!("{}'a'{}", "{".repeat(DEPTH_MAX + 1), "}".repeat(DEPTH_MAX + 1));
        assert_eq!(Literal::parse(deep.as_bytes()), None);
    }
}
