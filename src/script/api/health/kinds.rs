//! A table such as `{kind='tcp', port=443}`: what is asked of every target of a call.

use std::sync::Arc;

use url::Url;

use super::request::{URL_OPTIONS, fault, pattern, read_handshake, read_request};
use super::targets::Probe;
use crate::dns::{Name, Rcode, Rtype};
use crate::health::check::{Dialogue, Endpoint, Grpc, Handshake, Query};
use crate::health::{Host, Http, Kind};
use crate::script::api::CallError;
use crate::script::api::arguments::{Options, Wanted};

/// How alike a name must be to be meant.
const ALIKE_MIN: f64 = 0.6;
/// How many octets a probe may send.
const SEND_OCTETS_MAX: usize = 4096;
/// How many parts a command may have, the program among them.
const COMMAND_PARTS_MAX: usize = 64;
/// What stands for the target in the arguments of a command, as in gdnsd.
const ITEM: &str = "%%ITEM%%";

/// What is asked of every target of a call.
pub(in crate::script) enum Template {
    Tcp { port: Option<u16>, dialogue: Option<Arc<Dialogue>> },
    Tls { port: u16, handshake: Arc<Handshake> },
    Http(Page),
    Icmp,
    Dns { port: u16, query: Arc<Query> },
    Grpc { port: Option<u16>, call: Arc<Grpc> },
    File { file: Arc<str>, entry: Option<Arc<str>> },
    Exec(Vec<String>),
    Fixed { up: bool, weight: Option<u32> },
}

/// What is asked by HTTP.
pub(in crate::script) struct Page {
    request: Arc<Http>,
    /// Whether the URL names no host but each target's own.
    at_target: bool,
}

/// The fields of each kind, by its name.
const KINDS: [(&str, &[(&str, Wanted)]); 10] = [
    (
        "tcp",
        &[
            ("port", Wanted::Numeric),
            ("send", Wanted::Text),
            ("expect", Wanted::Text),
            ("tls", Wanted::Text),
            ("servername", Wanted::Text),
            ("verify", Wanted::Text),
            ("expiry", Wanted::Numeric),
        ],
    ),
    (
        "tls",
        &[
            ("port", Wanted::Numeric),
            ("servername", Wanted::Text),
            ("verify", Wanted::Text),
            ("expiry", Wanted::Numeric),
        ],
    ),
    ("http", &PAGE),
    ("https", &PAGE),
    ("icmp", &[]),
    (
        "dns",
        &[
            ("port", Wanted::Numeric),
            ("qname", Wanted::Text),
            ("qtype", Wanted::Text),
            ("rcode", Wanted::Text),
            ("answer", Wanted::Text),
            ("tcp", Wanted::Text),
            ("recursion", Wanted::Text),
        ],
    ),
    (
        "grpc",
        &[
            ("port", Wanted::Numeric),
            ("service", Wanted::Text),
            ("tls", Wanted::Text),
            ("authority", Wanted::Text),
            ("servername", Wanted::Text),
            ("verify", Wanted::Text),
            ("expiry", Wanted::Numeric),
        ],
    ),
    ("extfile", &[("file", Wanted::Text), ("entry", Wanted::Text)]),
    ("exec", &[("command", Wanted::Texts)]),
    ("fixed", &[("state", Wanted::Text), ("weight", Wanted::Numeric)]),
];

/// The fields of a page beside [`URL_OPTIONS`].
const PAGE: [(&str, Wanted); 4] =
    [("url", Wanted::Text), ("host", Wanted::Text), ("port", Wanted::Numeric), ("path", Wanted::Text)];

impl Template {
    /// Reads a table; `beside` are names in it that are others' business, and `lint` is told what is odd.
    pub(in crate::script) fn read(
        fields: &Options,
        beside: &[&'static str],
        lint: &mut dyn FnMut(String),
    ) -> Result<Self, CallError> {
        let Some(kind) = fields.text("kind")? else {
            return Err(CallError::refused(format!("needs a field `kind`; there are {}", listed(names()))));
        };
        let Some((kind, own)) = KINDS.iter().find(|(name, _)| *name == kind) else {
            return Err(unknown(&kind, "kind", names()));
        };
        let more: &[_] = if matches!(*kind, "http" | "https") { &URL_OPTIONS } else { &[] };
        let all = || own.iter().chain(more);
        let names = all().map(|(name, _)| *name).chain(beside.iter().copied()).chain(["kind"]);
        known(fields, &format!("field of the kind `{kind}`"), names)?;
        if let Some(fault) = all().find_map(|(name, wanted)| fields.fault(name, *wanted)) {
            let fault = fault.replacen("the option", "the field", 1);
            return Err(CallError::refused(format!("cannot probe: {fault}")));
        }
        let template = Reader { fields, kind }.template()?;
        if template.skips_verification() && !fields.has("verify") {
            lint(UNVERIFIED.to_owned());
        }
        Ok(template)
    }

    /// Whether the target need be no address, as nothing is sent to it.
    pub(super) fn takes_anything(&self) -> bool {
        match self {
            Self::File { .. } | Self::Exec(_) | Self::Fixed { .. } => true,
            Self::Tcp { .. } | Self::Tls { .. } | Self::Http(_) | Self::Icmp => false,
            Self::Dns { .. } | Self::Grpc { .. } => false,
        }
    }

    /// Whether there are certificates and nobody looks at them.
    fn skips_verification(&self) -> bool {
        let is_lax = |handshake: &Handshake| handshake.tls == crate::health::Tls::AcceptAny;
        match self {
            Self::Tcp { dialogue, .. } => dialogue.as_ref().and_then(|said| said.tls.as_ref()).is_some_and(is_lax),
            Self::Tls { handshake, .. } => is_lax(handshake),
            Self::Http(page) => page.request.url.starts_with("https:") && is_lax(&page.request.handshake),
            Self::Grpc { call, .. } => call.tls.as_ref().is_some_and(is_lax),
            Self::Icmp | Self::Dns { .. } | Self::File { .. } | Self::Exec(_) | Self::Fixed { .. } => false,
        }
    }

    /// What is asked of one target.
    pub(super) fn kind(&self, probe: &Probe) -> Result<Kind, CallError> {
        let host = || probe.host.clone().ok_or_else(|| CallError::refused("needs a target to probe"));
        let at = |port: Option<u16>| {
            let port = probe.port.or(port).ok_or_else(|| {
                CallError::refused(format!("has no port for the target `{}`; give the kind a `port`", probe.text))
            })?;
            Ok::<_, CallError>(Endpoint { host: host()?, port })
        };
        Ok(match self {
            Self::Tcp { port, dialogue } => Kind::Tcp { target: at(*port)?, dialogue: dialogue.clone() },
            Self::Tls { port, handshake } => Kind::Tls { target: at(Some(*port))?, handshake: Arc::clone(handshake) },
            Self::Http(page) => Kind::Http { address: Some(host()?), request: page.at(&host()?, probe.port)? },
            Self::Icmp => Kind::Icmp(host()?),
            Self::Dns { port, query } => Kind::Dns { target: at(Some(*port))?, query: Arc::clone(query) },
            Self::Grpc { port, call } => Kind::Grpc { target: at(*port)?, call: Arc::clone(call) },
            Self::File { file, entry } => {
                let entry = entry.as_ref().unwrap_or(&probe.text);
                Kind::File { file: Arc::clone(file), entry: Arc::clone(entry) }
            }
            Self::Exec(command) => {
                let part = |part: &String| part.replace(ITEM, &probe.text).into_boxed_str();
                Kind::Exec { command: command.iter().map(part).collect(), address: probe.address() }
            }
            Self::Fixed { up, weight } => Kind::Fixed { up: *up, weight: *weight },
        })
    }

    /// What is asked where no target is given; `None` if there has to be one.
    pub(super) fn without_target(&self) -> Option<Kind> {
        match self {
            Self::Http(page) if !page.at_target => {
                let address = super::request::literal_host(&page.request.url).map(Host::Address);
                Some(Kind::Http { address, request: Arc::clone(&page.request) })
            }
            Self::File { file, entry: Some(entry) } => {
                Some(Kind::File { file: Arc::clone(file), entry: Arc::clone(entry) })
            }
            Self::Exec(command) => {
                let command = command.iter().map(|part| part.clone().into_boxed_str()).collect();
                Some(Kind::Exec { command, address: None })
            }
            Self::Fixed { up, weight } => Some(Kind::Fixed { up: *up, weight: *weight }),
            Self::Tcp { .. } | Self::Tls { .. } | Self::Http(_) | Self::Icmp => None,
            Self::Dns { .. } | Self::Grpc { .. } | Self::File { entry: None, .. } => None,
        }
    }
}

/// What is told where certificates are not verified and nobody said that they need not be.
pub(super) const UNVERIFIED: &str = "the certificates of targets are not verified, as in PowerDNS: an expired one counts \
                                     as up; say `verify=true`, or `verify=false` if that is meant";

impl Page {
    /// What is sent to one target: a port of its own takes the place of the URL's.
    fn at(&self, host: &Host, port: Option<u16>) -> Result<Arc<Http>, CallError> {
        if !self.at_target && port.is_none() {
            return Ok(Arc::clone(&self.request));
        }
        let mut url = parse_url(&self.request.url)?;
        let is_set = match host {
            _ if !self.at_target => true,
            Host::Address(address) => url.set_ip_host(*address).is_ok(),
            Host::Name(name) => url.set_host(Some(name)).is_ok(),
        };
        if !is_set {
            return Err(CallError::refused(format!("cannot ask `{host}` for a page")));
        }
        if port.is_some() {
            url.set_port(port).map_err(|()| CallError::refused(format!("cannot ask `{host}` at a port")))?;
        }
        Ok(Arc::new(Http { url: url.into(), ..Http::clone(&self.request) }))
    }
}

/// The fields of one kind on their way to a template.
struct Reader<'f> {
    fields: &'f Options,
    kind: &'f str,
}

impl Reader<'_> {
    fn template(&self) -> Result<Template, CallError> {
        Ok(match self.kind {
            "tcp" => Template::Tcp { port: self.port()?, dialogue: self.dialogue()? },
            "tls" => {
                let handshake = Arc::new(read_handshake(self.fields));
                Template::Tls { port: self.port()?.unwrap_or(443), handshake }
            }
            "http" | "https" => Template::Http(self.page()?),
            "icmp" => Template::Icmp,
            "dns" => Template::Dns { port: self.port()?.unwrap_or(53), query: Arc::new(self.query()?) },
            "grpc" => Template::Grpc { port: self.port()?, call: Arc::new(self.call()?) },
            "extfile" => Template::File { file: self.file()?, entry: self.text("entry")?.map(Arc::from) },
            "exec" => Template::Exec(self.command()?),
            _ => self.fixed()?,
        })
    }

    fn text(&self, name: &str) -> Result<Option<String>, CallError> {
        self.fields.text(name)
    }

    /// A field that has to be there.
    fn needed(&self, name: &str) -> Result<String, CallError> {
        let needs = || CallError::refused(format!("needs a field `{name}` for the kind `{}`", self.kind));
        self.text(name)?.ok_or_else(needs)
    }

    fn wrong(&self, name: &str, text: &str, why: &str) -> CallError {
        CallError::refused(format!("got the {name} `{text}`, which {why}"))
    }

    fn port(&self) -> Result<Option<u16>, CallError> {
        let Some(text) = self.text("port")? else { return Ok(None) };
        let port = text.trim().parse().ok().filter(|port| *port > 0);
        port.map(Some).ok_or_else(|| self.wrong("port", &text, "is none; ports go from 1 to 65535"))
    }

    /// What is said on a TCP connection, if anything is.
    fn dialogue(&self) -> Result<Option<Arc<Dialogue>>, CallError> {
        let send = self.text("send")?.unwrap_or_default().into_bytes();
        if send.len() > SEND_OCTETS_MAX {
            return Err(CallError::refused(format!("got more than {SEND_OCTETS_MAX} octets to send")));
        }
        let expect = pattern(self.fields, "expect");
        let tls = self.fields.is_true("tls").then(|| read_handshake(self.fields));
        let is_silent = send.is_empty() && expect.is_none() && tls.is_none();
        Ok((!is_silent).then(|| Arc::new(Dialogue { send, expect, tls })))
    }

    /// A URL as it stands, or one made of a host, a port and a path; without a host, of each target's own.
    fn page(&self) -> Result<Page, CallError> {
        let (given, host, port) = (self.text("url")?, self.text("host")?, self.port()?);
        let at_target = given.is_none() && host.is_none();
        let url = match given {
            Some(_) if host.is_some() || port.is_some() || self.fields.has("path") => {
                return Err(CallError::refused("got a `url` and parts of one; give either"));
            }
            Some(url) => url,
            None => {
                let path = self.text("path")?.unwrap_or_else(|| "/".to_owned());
                let slash = if path.starts_with('/') { "" } else { "/" };
                let host = host.unwrap_or_else(|| "target.invalid".to_owned());
                let host = if host.parse::<std::net::Ipv6Addr>().is_ok() { format!("[{host}]") } else { host };
                let port = port.map(|port| format!(":{port}")).unwrap_or_default();
                format!("{}://{host}{port}{slash}{path}", self.kind)
            }
        };
        if parse_url(&url)?.scheme() != self.kind {
            return Err(self.wrong("URL", &url, &format!("is none of the kind `{}`", self.kind)));
        }
        let request = read_request(url, self.fields);
        if let Some(fault) = fault(&request) {
            return Err(CallError::refused(format!("cannot probe: {fault}")));
        }
        Ok(Page { request: Arc::new(request), at_target })
    }

    fn query(&self) -> Result<Query, CallError> {
        let (qname, qtype) = (self.needed("qname")?, self.text("qtype")?.unwrap_or_else(|| "A".to_owned()));
        let rcode = self.text("rcode")?.unwrap_or_else(|| "NOERROR".to_owned());
        let name = Name::parse_absolute(qname.as_bytes());
        let rtype = Rtype::parse(qtype.as_bytes()).or_else(|| qtype.parse().ok().map(Rtype));
        Ok(Query {
            qname: name.map_err(|error| self.wrong("qname", &qname, &format!("is no name: {error}")))?,
            qtype: rtype.ok_or_else(|| self.wrong("qtype", &qtype, "is no type"))?,
            tcp: self.fields.is_true("tcp"),
            recursion: self.fields.is_true("recursion"),
            rcode: Rcode::parse(&rcode).ok_or_else(|| self.wrong("rcode", &rcode, "is no RCODE"))?,
            answer: pattern(self.fields, "answer"),
        })
    }

    fn call(&self) -> Result<Grpc, CallError> {
        Ok(Grpc {
            service: self.text("service")?.unwrap_or_default(),
            tls: self.fields.is_true("tls").then(|| read_handshake(self.fields)),
            authority: self.text("authority")?,
        })
    }

    /// The name of a file, which leads to no other directory.
    fn file(&self) -> Result<Arc<str>, CallError> {
        let file = self.needed("file")?;
        let is_plain = !file.is_empty() && !file.starts_with('.') && !file.contains(['/', '\\', '\0']);
        if !is_plain {
            return Err(self.wrong("file", &file, "is no plain name of a file"));
        }
        Ok(file.into())
    }

    fn command(&self) -> Result<Vec<String>, CallError> {
        let command = self.fields.list("command");
        if command.is_empty() || command.len() > COMMAND_PARTS_MAX || command.iter().any(|part| part.contains('\0')) {
            let parts = format!("needs a `command` of 1 to {COMMAND_PARTS_MAX} texts, the program first");
            return Err(CallError::refused(parts));
        }
        if command[0].contains(ITEM) {
            return Err(CallError::refused(format!("got a `command` whose program has `{ITEM}` in it")));
        }
        Ok(command)
    }

    fn fixed(&self) -> Result<Template, CallError> {
        let state = self.needed("state")?;
        let up = match &*state {
            "up" | "true" => true,
            "down" | "false" => false,
            _ => return Err(self.wrong("state", &state, "is neither `up` nor `down`")),
        };
        let weight = self.fields.number("weight").flatten();
        Ok(Template::Fixed { up, weight: weight.map(|weight| weight.clamp(0.0, f64::from(i32::MAX)) as u32) })
    }
}

fn parse_url(url: &str) -> Result<Url, CallError> {
    let wrong = |error| CallError::refused(format!("got the URL `{url}`, which is none: {error}"));
    let parsed = Url::parse(url).map_err(wrong)?;
    if parsed.has_host() {
        Ok(parsed)
    } else {
        Err(CallError::refused(format!("got the URL `{url}`, which has no host")))
    }
}

/// Refuses a table with a name in it that is not known.
pub(super) fn known<'n>(
    fields: &Options,
    what: &str,
    names: impl IntoIterator<Item = &'n str>,
) -> Result<(), CallError> {
    let names: Vec<&str> = names.into_iter().collect();
    let stranger = fields.names().find(|name| !names.contains(name));
    stranger.map_or(Ok(()), |name| Err(unknown(name, what, names)))
}

fn names() -> Vec<&'static str> {
    KINDS.iter().map(|(name, _)| *name).collect()
}

/// The refusal of a name that is none of those known: with the one that is most like it, or with all.
fn unknown(name: &str, what: &str, known: Vec<&str>) -> CallError {
    CallError::refused(format!("got `{name}`, which is no {what}: {}", instead_of(name, known)))
}

/// The name that is most like one that is not known, or all.
pub(super) fn instead_of(name: &str, known: Vec<&str>) -> String {
    let likeness = |known: &str| strsim::normalized_damerau_levenshtein(name, known);
    let nearest = known.iter().copied().max_by(|one, other| likeness(one).total_cmp(&likeness(other)));
    match nearest.filter(|nearest| likeness(nearest) >= ALIKE_MIN) {
        Some(nearest) => format!("did you mean `{nearest}`?"),
        None => format!("there are {}", listed(known)),
    }
}

fn listed(names: Vec<&str>) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    quoted.join(", ")
}
