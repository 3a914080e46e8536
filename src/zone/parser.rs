//! Tokens to records: directives, omitted owners, TTLs and classes, LUA records, unknown types.

use std::sync::Arc;

use super::findings::{Findings, excerpt, nearest_mnemonic};
use super::generate::GenerateError;
use super::lexer::{Entry, LexError, LexFault, Lexer};
use super::{Data, LuaData, Record};
use crate::diagnostic::{Diagnostic, Position, Severity};
use crate::dns::name::NameError;
use crate::dns::rdata::{self, Field, RdataError};
use crate::dns::{Class, Name, Rtype};

/// The default of [`Options::generated_octets_max`]: about two and a half million short records.
pub const GENERATED_OCTETS_MAX: usize = 512 << 20;

/// One file's text.
#[derive(Clone, Debug)]
pub struct Input<'t> {
    /// The name messages give it.
    pub file: Arc<str>,
    /// Its octets.
    pub text: &'t [u8],
}

/// What the text of a zone does not say.
#[derive(Clone, Debug)]
pub struct Options {
    /// The origin until `$ORIGIN` sets another: the zone's apex.
    pub origin: Name,
    /// The most octets of text that all `$GENERATE` together may make, with some for each record.
    pub generated_octets_max: usize,
}

/// A file that `$INCLUDE` named.
#[derive(Clone, Debug)]
pub struct Included {
    /// Its name in messages; equal files must have equal names, or loops are noticed late.
    pub file: Arc<str>,
    /// Its octets.
    pub text: Vec<u8>,
}

/// What text says: records in its order, and all that is wrong with it.
///
/// The records are the zone's only if no diagnostic is an error.
#[derive(Debug, Default)]
pub struct Parsed {
    /// The records, LUA records decoded.
    pub records: Vec<Record>,
    /// Errors and warnings in the order of the text, bounded in number.
    pub diagnostics: Vec<Diagnostic>,
}

/// Opens a file for `$INCLUDE`: from the path as written and the place that names it to the text, or why not.
pub type Include<'i> = dyn FnMut(&str, &Position) -> Result<Included, String> + 'i;

impl Options {
    /// The usual bounds, with `apex` as first origin.
    pub fn new(apex: Name) -> Self {
        Self { origin: apex, generated_octets_max: GENERATED_OCTETS_MAX }
    }
}

/// Reads a zone file (RFC 1035 section 5, RFC 2308 section 4 for `$TTL`, `$GENERATE` as in BIND).
///
/// Goes on after a fault with the next entry, so that one run tells all of them. Opens nothing itself:
/// `include` does. Whether the records make a sound zone is for [`check`](super::check::check) to say.
pub fn parse(input: &Input<'_>, options: &Options, include: &mut Include<'_>) -> Parsed {
    let mut parser = Parser {
        include,
        includes: 0,
        open: vec![(input.file.clone(), None)],
        generated_octets_left: options.generated_octets_max,
        records: Vec::new(),
        findings: Findings::default(),
        ttls: Ttls::default(),
        wire: Vec::new(),
    };
    let file = input.file.clone();
    let origin = options.origin.clone();
    let scope = Scope { file, origin, owner: LastOwner::None, origin_is_new: false, is_hopeless: false };
    parser.file(scope, input.text);
    Parsed { records: parser.records, diagnostics: parser.findings.finish() }
}

/// Reads the files of one zone, one entry after the other.
pub(super) struct Parser<'i, 'c> {
    pub(super) include: &'i mut Include<'c>,
    /// How many files were included.
    pub(super) includes: usize,
    /// The files being read, the outermost first, each with the place that includes it.
    pub(super) open: Vec<(Arc<str>, Option<Position>)>,
    /// What `$GENERATE` may still make.
    pub(super) generated_octets_left: usize,
    pub(super) ttls: Ttls,
    records: Vec<Record>,
    findings: Findings,
    /// Scratch for RDATA.
    wire: Vec<u8>,
}

/// What holds within one file, and is as before once an included file ends (RFC 1035 section 5.1).
#[derive(Clone)]
pub(super) struct Scope {
    pub(super) file: Arc<str>,
    origin: Name,
    owner: LastOwner,
    /// Whether the origin changed since an owner was written.
    origin_is_new: bool,
    /// Whether advice that takes time to find is not worth it: nobody will read it.
    is_hopeless: bool,
}

/// Whose record an entry without an owner is.
#[derive(Clone)]
enum LastOwner {
    /// There was no entry yet.
    None,
    /// That owner could not be read; this has been said.
    Unreadable,
    Name(Name),
}

/// Where a TTL comes from when an entry has none.
#[derive(Default)]
pub(super) struct Ttls {
    /// What `$TTL` says, or else the minimum of a SOA that came before any TTL.
    default: Option<u32>,
    /// The last TTL that an entry had.
    last: Option<u32>,
    /// Whether the want of a default was told: it is one fault, however many entries have it.
    told: bool,
}

/// What stands between owner and data.
pub(super) struct Header {
    pub(super) ttl: Option<u32>,
    pub(super) rtype: Rtype,
    /// The index of the type's field; the data follows it.
    pub(super) at: usize,
}

/// A diagnostic that ends the reading of an entry.
pub(super) type Fault = Box<Diagnostic>;

impl Parser<'_, '_> {
    /// Reads one file to its end.
    pub(super) fn file(&mut self, mut scope: Scope, text: &[u8]) {
        let mut lexer = Lexer::new(text);
        let mut entry = Entry::default();
        loop {
            let outcome = match lexer.next_entry(&mut entry) {
                Ok(true) => self.entry(&mut scope, &entry),
                Ok(false) => return,
                Err(error) => Err(scope.lex_error(error)),
            };
            if let Err(fault) = outcome {
                self.findings.push(*fault);
                scope.is_hopeless = self.findings.is_full();
            }
        }
    }

    /// Reads one entry: a directive, or a record of an owner that may be omitted.
    fn entry(&mut self, scope: &mut Scope, entry: &Entry<'_>) -> Result<(), Fault> {
        let first = &entry.fields[0];
        if first.text.starts_with(b"$") && !first.quoted && !entry.owner_omitted {
            return self.directive(scope, entry);
        }
        let (owner, fields) = if entry.owner_omitted {
            self.keep_owner(scope, first)?;
            (None, &entry.fields[..])
        } else {
            scope.origin_is_new = false;
            scope.owner = LastOwner::Unreadable;
            scope.owner = LastOwner::Name(scope.name(first)?);
            (Some(first), &entry.fields[1..])
        };
        let header = read_header(scope, owner, fields)?;
        check_multiline(scope, entry, header.rtype)?;
        // Records of an unreadable owner are lost; what else is wrong with them is not worth telling.
        let LastOwner::Name(owner) = scope.owner.clone() else { return Ok(()) };
        let (type_field, data_fields) = (&fields[header.at], &fields[header.at + 1..]);
        self.record(scope, owner, &header, type_field, data_fields, scope.position(first))
    }

    /// Checks that an entry may go without an owner.
    fn keep_owner(&mut self, scope: &mut Scope, first: &Field<'_>) -> Result<(), Fault> {
        match &scope.owner {
            LastOwner::None => {
                scope.owner = LastOwner::Unreadable;
                let message = "the first record has no owner: its line begins with a blank";
                Err(scope.error(first, message, "write the owner in the first column, or `@` for the origin"))
            }
            LastOwner::Name(owner) if scope.origin_is_new => {
                let message = format!("the record belongs to `{owner}`, although the origin is now `{}`", scope.origin);
                let help = "write the owner out; a line that begins with a blank has the owner of the record before";
                self.findings.push(Diagnostic::warning(scope.position(first), message).help(help));
                scope.origin_is_new = false;
                Ok(())
            }
            LastOwner::Name(_) | LastOwner::Unreadable => Ok(()),
        }
    }

    /// Reads the data, finds the TTL, and adds the record.
    pub(super) fn record(
        &mut self,
        scope: &Scope,
        owner: Name,
        header: &Header,
        type_field: &Field<'_>,
        data_fields: &[Field<'_>],
        position: Position,
    ) -> Result<(), Fault> {
        let data = self.data(scope, header.rtype, type_field, data_fields)?;
        // Only now, as a SOA without a TTL gives its minimum.
        let ttl = self.ttl(scope, header, type_field)?;
        self.records.push(Record { owner, class: Class::IN, ttl, rtype: header.rtype, data, position });
        Ok(())
    }

    /// Reads the data; leaves its wire form in `self.wire`, but for LUA.
    fn data(
        &mut self,
        scope: &Scope,
        rtype: Rtype,
        type_field: &Field<'_>,
        fields: &[Field<'_>],
    ) -> Result<Data, Fault> {
        self.wire.clear();
        let data = if rtype == Rtype::LUA {
            read_lua(fields, &scope.file, scope.position(type_field), &mut self.wire).map(Data::Lua)
        } else {
            rdata::read(rtype, fields, Some(scope.origin.as_ref()), &mut self.wire)
                .map(|()| Data::Wire(self.wire.as_slice().into()))
        };
        data.map_err(|error| rdata_fault(scope, type_field, fields, error))
    }

    /// The TTL of an entry: its own, `$TTL`, that of the entry before, or the minimum of the SOA it is.
    ///
    /// The order is BIND's, which joins RFC 2308 section 4 and RFC 1035 section 5.1.
    fn ttl(&mut self, scope: &Scope, header: &Header, type_field: &Field<'_>) -> Result<u32, Fault> {
        const HELP: &str = "put `$TTL 3600` at the top, with the TTL you want";
        if let Some(ttl) = header.ttl {
            self.ttls.last = Some(ttl);
            return Ok(ttl);
        }
        if let Some(ttl) = self.ttls.default {
            return Ok(ttl);
        }
        let first_time = !std::mem::replace(&mut self.ttls.told, true);
        if let Some(ttl) = self.ttls.last {
            if first_time {
                let message = format!("no TTL here and no `$TTL`: the {ttl} of the record before is used");
                self.findings.push(Diagnostic::warning(scope.position(type_field), message).help(HELP));
            }
            return Ok(ttl);
        }
        if let Some(minimum) = self.wire.last_chunk::<4>()
            && header.rtype == Rtype::SOA
        {
            let minimum = u32::from_be_bytes(*minimum).min(rdata::TTL_SECS_MAX);
            self.ttls.set_default(minimum);
            let message = format!("no TTL here and no `$TTL`: the SOA's minimum of {minimum} is used");
            self.findings.push(Diagnostic::warning(scope.position(type_field), message).help(HELP));
            return Ok(minimum);
        }
        if first_time {
            return Err(scope.error(type_field, "the record has no TTL, and none is set before it", HELP));
        }
        // The error was told, so nothing of this will be served.
        Ok(0)
    }
}

impl Ttls {
    /// Sets the TTL of all entries to come that have none.
    pub(super) fn set_default(&mut self, ttl: u32) {
        self.default = Some(ttl);
    }
}

impl Scope {
    /// Sets what completes relative names from here on.
    pub(super) fn set_origin(&mut self, origin: Name) {
        self.origin = origin;
        self.origin_is_new = true;
    }

    /// The place of a field.
    pub(super) fn position(&self, field: &Field<'_>) -> Position {
        Position { file: self.file.clone(), line: field.line, column: field.column }
    }

    /// The place behind a field, where the next one is missing.
    pub(super) fn position_behind(&self, field: &Field<'_>) -> Position {
        let quotes = if field.quoted { 2 } else { 0 };
        let length = u32::try_from(field.text.len() + quotes).unwrap_or(u32::MAX);
        Position { column: field.column.saturating_add(length), ..self.position(field) }
    }

    /// An error at a field, with advice.
    pub(super) fn error(&self, field: &Field<'_>, message: impl Into<String>, help: impl Into<String>) -> Fault {
        Box::new(Diagnostic::error(self.position(field), message).help(help))
    }

    /// Places what is wrong with the text itself.
    pub(super) fn lex_error(&self, error: LexError) -> Fault {
        let position = Position { file: self.file.clone(), line: error.line, column: error.column };
        Box::new(Diagnostic::error(position, error.to_string()).help(error.fault.help()))
    }

    /// Places what is wrong with a `$GENERATE`.
    pub(super) fn generate_error(&self, error: GenerateError) -> Fault {
        let position = Position { file: self.file.clone(), line: error.line, column: error.column };
        Box::new(Diagnostic::error(position, error.message).help(error.help))
    }

    /// Reads the name in `field`, relative to the origin.
    pub(super) fn name(&self, field: &Field<'_>) -> Result<Name, Fault> {
        Name::parse(field.text, Some(self.origin.as_ref())).map_err(|error| {
            let help = match error {
                NameError::LabelTooLong => "shorten it, or put a dot where one is missing",
                NameError::NameTooLong => "shorten it; without a final dot the origin counts too",
                NameError::EmptyLabel => "remove the extra dot",
                NameError::BadEscape => "write `\\DDD` with three digits up to 255, or `\\` and the character",
                NameError::NoOrigin | NameError::Empty | NameError::Malformed => "write `@` for the origin itself",
            };
            self.error(field, format!("`{}` is no name: {error}", excerpt(field.text)), help)
        })
    }
}

/// Reads TTL and class, in either order, and the type; `owner` is the field before, if there is one.
pub(super) fn read_header(scope: &Scope, owner: Option<&Field<'_>>, fields: &[Field<'_>]) -> Result<Header, Fault> {
    let (mut ttl, mut class) = (None, None);
    for (at, field) in fields.iter().enumerate() {
        if field.quoted {
            let message = format!("a quoted string stands where a type is expected: \"{}\"", excerpt(field.text));
            let help = "a record goes on over several lines only between parentheses";
            return Err(scope.error(field, message, help));
        }
        if class.is_none()
            && let Some(found) = Class::parse(field.text)
        {
            if found != Class::IN {
                let message = format!("the record has class `{found}`");
                return Err(scope.error(field, message, "only class IN is served: remove the class, or the record"));
            }
            class = Some(found);
        } else if ttl.is_none() && field.text[0].is_ascii_digit() {
            ttl = Some(read_ttl(scope, field)?);
        } else if let Some(rtype) = Rtype::parse(field.text) {
            if rtype.is_meta() {
                let message = format!("a zone cannot hold a record of type `{}`", excerpt(field.text));
                let help = "the type is for questions and messages only: remove the record";
                return Err(scope.error(field, message, help));
            }
            return Ok(Header { ttl, rtype, at });
        } else {
            let may_be_owner = owner.is_none() && at == 0;
            let next = fields.get(at + 1).filter(|_| may_be_owner);
            let message = format!("`{}` is not a record type", excerpt(field.text));
            return Err(scope.error(field, message, help_for_type(scope, field, next)));
        }
    }
    let last = fields.last().or(owner).expect("an entry has a field");
    Err(Box::new(Diagnostic::error(scope.position_behind(last), "the record ends before its type").help(RECORD_FORM)))
}

/// What to do about an entry of which too little can be made out.
const RECORD_FORM: &str = "a record is `owner [TTL] [class] type data`, as in `www 3600 IN A 192.0.2.1`";

/// What to do about a word that is no type; `next` follows it if it may have been meant as the owner.
fn help_for_type(scope: &Scope, field: &Field<'_>, next: Option<&Field<'_>>) -> String {
    if field.text.starts_with(b"$") {
        return "a directive begins in the first column".to_owned();
    }
    if next.is_some_and(|next| Rtype::parse(next.text).is_some() || Class::parse(next.text).is_some()) {
        return format!("if `{}` is the owner, remove the blank before it", excerpt(field.text));
    }
    if field.text[0].is_ascii_digit() || scope.is_hopeless {
        return RECORD_FORM.to_owned();
    }
    nearest_mnemonic(field.text).map_or_else(
        || "write a new type as `TYPE` and its number, and the data as `\\# length hex` (RFC 3597)".to_owned(),
        |near| format!("did you mean `{near}`?"),
    )
}

/// Reads a TTL of an entry or of `$TTL`.
pub(super) fn read_ttl(scope: &Scope, field: &Field<'_>) -> Result<u32, Fault> {
    rdata::parse_ttl(field.text).ok_or_else(|| {
        let help = "write seconds up to 2147483647, or numbers with the units w d h m s as in `1h30m`";
        scope.error(field, format!("`{}` is not a TTL", excerpt(field.text)), help)
    })
}

/// Refuses a string over several lines outside LUA records, where the lexer only guessed at the type.
pub(super) fn check_multiline(scope: &Scope, entry: &Entry<'_>, rtype: Rtype) -> Result<(), Fault> {
    match entry.multiline {
        Some(at) if rtype != Rtype::LUA => {
            let fault = LexFault::LineEndInQuotes;
            Err(scope.error(&entry.fields[at], fault.to_string(), fault.help()))
        }
        Some(_) | None => Ok(()),
    }
}

/// Reads LUA data: its own presentation form, or that of RFC 3597.
fn read_lua(
    fields: &[Field<'_>],
    file: &Arc<str>,
    position: Position,
    wire: &mut Vec<u8>,
) -> Result<LuaData, RdataError> {
    if !fields.first().is_some_and(|field| field.text == b"\\#" && !field.quoted) {
        return LuaData::read(fields, file);
    }
    rdata::read(Rtype::LUA, fields, None, wire)?;
    LuaData::from_wire(wire, &position).filter(|data| !data.covered.is_meta()).ok_or_else(|| RdataError {
        field: 2,
        message: "the octets are not the type and the code of a LUA record".to_owned(),
        help: Some("give two octets of type, then character-strings that are not all empty".to_owned()),
    })
}

/// Places what is wrong with data: at its field, or behind the last one if a field is missing.
fn rdata_fault(scope: &Scope, type_field: &Field<'_>, data: &[Field<'_>], error: RdataError) -> Fault {
    let position = match data.get(error.field) {
        Some(field) => scope.position(field),
        None => scope.position_behind(data.last().unwrap_or(type_field)),
    };
    Box::new(Diagnostic {
        severity: Severity::Error,
        position: Some(position),
        message: error.message,
        help: error.help,
    })
}
