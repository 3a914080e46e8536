//! What `$ORIGIN`, `$TTL`, `$INCLUDE` and `$GENERATE` do.

use std::ops::RangeInclusive;

use super::findings::{excerpt, nearest};
use super::generate::{DataTemplate, GenerateError, Range, Template};
use super::lexer::Entry;
use super::parser::{Fault, Parser, Scope, check_multiline, read_header, read_ttl};
use crate::diagnostic::Diagnostic;
use crate::dns::rdata::Field;

/// How deep `$INCLUDE` may nest; more is a loop that hides behind changing names.
pub(super) const INCLUDE_DEPTH_MAX: usize = 16;

/// How many files one zone may include, as files that include others twice would multiply.
pub(super) const INCLUDES_MAX: usize = 10_000;

/// What a generated record is taken to cost beside its text.
const RECORD_OCTETS: usize = 200;

/// A line that tells how to read the lines behind it.
#[derive(Clone, Copy)]
enum Directive {
    Origin,
    Ttl,
    Include,
    Generate,
}

impl Directive {
    const ALL: [Self; 4] = [Self::Origin, Self::Ttl, Self::Include, Self::Generate];

    /// How it is written.
    fn name(self) -> &'static str {
        match self {
            Self::Origin => "$ORIGIN",
            Self::Ttl => "$TTL",
            Self::Include => "$INCLUDE",
            Self::Generate => "$GENERATE",
        }
    }

    /// How it is written with all that may follow.
    fn usage(self) -> &'static str {
        match self {
            Self::Origin => "$ORIGIN name",
            Self::Ttl => "$TTL seconds",
            Self::Include => "$INCLUDE file [origin]",
            Self::Generate => "$GENERATE start-stop[/step] owner [TTL] [class] type data",
        }
    }

    /// How many fields follow it.
    fn arguments(self) -> RangeInclusive<usize> {
        match self {
            Self::Origin | Self::Ttl => 1..=1,
            Self::Include => 1..=2,
            Self::Generate => 4..=usize::MAX,
        }
    }

    /// Reads the first field of an entry.
    fn parse(scope: &Scope, field: &Field<'_>) -> Result<Self, Fault> {
        let named = |directive: &Self| field.text.eq_ignore_ascii_case(directive.name().as_bytes());
        Self::ALL.into_iter().find(named).ok_or_else(|| {
            let names = Self::ALL.map(Self::name);
            let help = nearest(field.text, names.into_iter()).map_or_else(
                || format!("the directives are {}; a name that begins so is written `\\$`", names.join(", ")),
                |near| format!("did you mean `{near}`?"),
            );
            scope.error(field, format!("`{}` is not a directive", excerpt(field.text)), help)
        })
    }
}

impl Parser<'_, '_> {
    /// Does what the directive says that `entry` is.
    pub(super) fn directive(&mut self, scope: &mut Scope, entry: &Entry<'_>) -> Result<(), Fault> {
        let directive = Directive::parse(scope, &entry.fields[0])?;
        let arguments = &entry.fields[1..];
        let expected = directive.arguments();
        if !expected.contains(&arguments.len()) {
            let (name, usage) = (directive.name(), directive.usage());
            let (position, message) = match arguments.get(*expected.end()) {
                Some(extra) => (scope.position(extra), format!("`{name}` is followed by too much")),
                None => {
                    let last = arguments.last().unwrap_or(&entry.fields[0]);
                    (scope.position_behind(last), format!("`{name}` is followed by too little"))
                }
            };
            return Err(Box::new(Diagnostic::error(position, message).help(format!("write `{usage}`"))));
        }
        match directive {
            Directive::Origin => {
                scope.set_origin(scope.name(&arguments[0])?);
                Ok(())
            }
            Directive::Ttl => {
                // A faulty one counts as well, or each entry behind it would be at fault too.
                let ttl = read_ttl(scope, &arguments[0]);
                self.ttls.set_default(*ttl.as_ref().unwrap_or(&0));
                ttl.map(|_| ())
            }
            Directive::Include => self.include(scope, &arguments[0], arguments.get(1)),
            Directive::Generate => self.generate(scope, entry),
        }
    }

    /// Reads another file in place; origin and owner are as before behind it (RFC 1035 section 5.1).
    fn include(&mut self, scope: &Scope, file: &Field<'_>, origin: Option<&Field<'_>>) -> Result<(), Fault> {
        let mut inner = scope.clone();
        if let Some(origin) = origin {
            inner.set_origin(scope.name(origin)?);
        }
        let position = scope.position(file);
        let path = excerpt(file.text);
        let error =
            |reason: String, help: String| scope.error(file, format!("cannot include `{path}`: {reason}"), help);
        let Ok(path_as_written) = std::str::from_utf8(file.text) else {
            return Err(error("the path is not UTF-8".to_owned(), "rename the file".to_owned()));
        };
        if self.open.len() > INCLUDE_DEPTH_MAX {
            return Err(error(format!("{INCLUDE_DEPTH_MAX} files include each other already"), self.trail()));
        }
        if self.includes == INCLUDES_MAX {
            return Err(error(format!("the zone has included {INCLUDES_MAX} files"), "join the files".to_owned()));
        }
        self.includes += 1;
        let included = (self.include)(path_as_written, &position)
            .map_err(|reason| error(reason, "check the path and the rights of the file".to_owned()))?;
        if self.open.iter().any(|(file, _)| *file == included.file) {
            return Err(error("it would include itself".to_owned(), self.trail()));
        }
        self.open.push((included.file.clone(), Some(position)));
        inner.file = included.file;
        self.file(inner, &included.text);
        self.open.pop();
        Ok(())
    }

    /// Tells how the file being read came to be included.
    fn trail(&self) -> String {
        let step = |(file, from): &(_, Option<_>)| from.as_ref().map(|from| format!("`{file}` is included at {from}"));
        let steps: Vec<String> = self.open.iter().filter_map(step).collect();
        if steps.is_empty() { "remove the line".to_owned() } else { steps.join(", ") }
    }

    /// Makes a record for each value of a range; the owner of the entry before stays.
    fn generate(&mut self, scope: &Scope, entry: &Entry<'_>) -> Result<(), Fault> {
        let (range_field, owner_field, fields) = (&entry.fields[1], &entry.fields[2], &entry.fields[3..]);
        let place = |error: GenerateError| scope.generate_error(error);
        let range = Range::parse(range_field).map_err(place)?;
        let owner_template = Template::owner(owner_field).map_err(place)?;
        let header = read_header(scope, Some(owner_field), fields)?;
        check_multiline(scope, entry, header.rtype)?;
        let (type_field, data_fields) = (&fields[header.at], &fields[header.at + 1..]);
        let data_template = DataTemplate::parse(header.rtype, data_fields).map_err(place)?;
        let position = scope.position(&entry.fields[0]);
        let (mut owner_text, mut texts) = (Vec::new(), Vec::new());
        for value in range.values() {
            let mut generate_one = || {
                owner_template.fill(value, &mut owner_text).map_err(place)?;
                let owner = scope.name(&owner_template.place(Field {
                    text: &owner_text,
                    quoted: false,
                    line: 0,
                    column: 0,
                }))?;
                let data = data_template.fill(value, &mut texts).map_err(place)?;
                let octets = owner_text.len() + data.iter().map(|field| field.text.len()).sum::<usize>();
                self.spend(octets + RECORD_OCTETS).map_err(|message| {
                    scope.error(range_field, message, "generate fewer records, or use wildcards or LUA records")
                })?;
                self.record(scope, owner, &header, type_field, &data, position.clone())
            };
            // The first value that fails ends the directive: the next would fail likewise.
            generate_one().map_err(|mut fault: Fault| {
                fault.message.push_str(&format!(" (`$GENERATE` at value {value})"));
                fault
            })?;
        }
        Ok(())
    }

    /// Takes `octets` from what the zone may generate.
    fn spend(&mut self, octets: usize) -> Result<(), String> {
        self.generated_octets_left =
            self.generated_octets_left.checked_sub(octets).ok_or("the zone generates more than it may")?;
        Ok(())
    }
}
