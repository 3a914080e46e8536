//! Runs `.case` files: zones, questions, and the answers they are to have, in words an operator reads.
//!
//! A file begins with a remark that says the behaviour. Then come blocks, each begun by a line with `---`:
//!
//! ```text
//! --- config                        perigee.toml, where the defaults do not fit
//! --- zone example.com              a zone file
//! --- places                        a database of places: lines of a network and its entry as JSON
//! --- ask www.example.com A         a question; the words behind the type are told at `Asked`
//! --- send                          a message in hexadecimal digits and "quoted" text; `;` begins a remark
//! --- expect                        the answer to the question before
//! ```
//!
//! With `UPDATE=1` in the environment the expected parts are rewritten. Replies are decoded by hickory-proto: a
//! decoder of ours could share a misconception with the encoder.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use hickory_proto::op::{Message, MessageType};
use hickory_proto::rr::rdata::SVCB;
use hickory_proto::rr::rdata::opt::EdnsOption;
use hickory_proto::rr::rdata::svcb::{Alpn, SvcParamValue};
use hickory_proto::rr::{self, RData, Record};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder};
use perigee::answer::Transport;
use perigee::dns::{Class, Name, Rtype};

use super::authority::Authority;
use super::mmdb::Mmdb;

/// Runs every case in a directory below `tests/cases`, and fails with all that went wrong.
pub(crate) fn run(directory: &str) {
    let update = std::env::var_os("UPDATE").is_some_and(|value| value == "1");
    let mut files: Vec<_> =
        std::fs::read_dir(root().join(directory)).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    let mut differences = String::new();
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let name = file.strip_prefix(root()).unwrap().display().to_string();
        let (rewritten, differs) = Case::read(&name, &text).run(&name);
        if update && rewritten != text {
            std::fs::write(&file, rewritten).unwrap();
        } else if !update {
            differences.push_str(&differs);
        }
    }
    assert!(
        differences.is_empty(),
        "\n{differences}with UPDATE=1 in the environment, what came becomes what is expected"
    );
}

/// The directories below `tests/cases`, sorted.
pub(crate) fn directories() -> Vec<String> {
    let entries = std::fs::read_dir(root()).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases")
}

/// A file taken apart; joined again it is the same text.
struct Case {
    remark: String,
    blocks: Vec<Block>,
}

/// A line with `---` and what follows it.
struct Block {
    line: usize,
    head: String,
    body: String,
}

impl Block {
    /// The first word of the head, and the rest.
    fn kind(&self) -> (&str, &str) {
        self.head.split_once(' ').unwrap_or((&self.head, ""))
    }
}

impl Case {
    fn read(file: &str, text: &str) -> Self {
        let mut case = Self { remark: String::new(), blocks: Vec::new() };
        for (index, line) in text.lines().enumerate() {
            match (line.strip_prefix("--- "), case.blocks.last_mut()) {
                (Some(head), _) => {
                    case.blocks.push(Block { line: index + 1, head: head.to_owned(), body: String::new() });
                }
                (None, Some(block)) => writeln!(block.body, "{line}").unwrap(),
                (None, None) => writeln!(case.remark, "{line}").unwrap(),
            }
        }
        assert!(case.remark.starts_with("; "), "{file} does not begin with a remark that says the behaviour");
        case
    }

    /// Asks every question; returns the file as it would pass, and what differs from it.
    fn run(&self, file: &str) -> (String, String) {
        let bodies = |wanted: &'static str| {
            let blocks = self.blocks.iter().map(|block| (block.kind(), &*block.body));
            blocks.filter(move |((kind, _), _)| *kind == wanted).map(|((_, rest), body)| (rest, body))
        };
        let config: String = bodies("config").map(|(_, body)| body).collect();
        let databases: Vec<Mmdb> = bodies("places").map(|(_, body)| read_places(file, body)).collect();
        let mut authority = Authority::with_databases(&config, &databases, bodies("zone"));
        let (mut rewritten, mut differences) = (self.remark.clone(), String::new());
        let mut asked: Option<(&Block, String)> = None;
        for (index, block) in self.blocks.iter().enumerate() {
            let at = format!("{file}:{}", block.line);
            writeln!(rewritten, "--- {}", block.head).unwrap();
            match (block.kind(), asked.take()) {
                (("expect", ""), Some((question, came))) => {
                    if block.body.trim_end() != came.trim_end() {
                        let expected = &block.body.trim_end();
                        let head = &question.head;
                        writeln!(differences, "{at}: {head}\n  expected\n{expected}\n  came\n{came}").unwrap();
                    }
                    rewritten.push_str(&came);
                    if index + 1 < self.blocks.len() {
                        rewritten.push('\n');
                    }
                    continue;
                }
                (_, Some((question, _))) => panic!("{at}: `{}` has no `--- expect`", question.head),
                (("config" | "places", "") | ("zone", _), None) => {}
                (("ask", rest), None) => {
                    let asked_now = Asked::read(&at, rest);
                    asked = Some((block, asked_now.exchange(&mut authority, &asked_now.to_octets(&at))));
                }
                (("send", rest), None) => {
                    let asked_now = Asked::read(&at, &format!(". A {rest}"));
                    asked = Some((block, asked_now.exchange(&mut authority, &read_octets(&at, &block.body))));
                }
                _ => panic!("{at}: there is no block `{}` here", block.head),
            }
            rewritten.push_str(&block.body);
        }
        assert!(asked.is_none(), "{file}: the last question has no `--- expect`");
        (rewritten, differences)
    }
}

/// Reads the lines of a database of places.
fn read_places(file: &str, lines: &str) -> Mmdb {
    let entries = lines.lines().filter(|line| !line.is_empty()).map(|line| {
        let (network, entry) = line.split_once(' ').unwrap_or_else(|| panic!("{file}: `{line}` has no entry"));
        (network, entry.parse().unwrap_or_else(|error| panic!("{file}: `{entry}`: {error}")))
    });
    Mmdb::new("Test", entries)
}

/// A question: a name, a type, and words that say how it is asked.
///
/// ```text
/// tcp                       over TCP; otherwise UDP
/// from=192.0.2.1            by this client
/// class=CH  opcode=2        other than IN and QUERY
/// rd  cd  ad                flags of the header
/// edns  edns=512            an OPT record that says this payload size; 1232 without a size
/// version=1  do             of this version, with the DO bit
/// subnet=192.0.2.0/24       with this client subnet
/// cookie  cookie=0123…      with a cookie: of a client alone, or these octets
/// nsid  keepalive           with one of these options
/// option=65001:c0ffee       with this option
/// brief                     the answer is told as counts
/// ```
struct Asked {
    name: Name,
    rtype: Rtype,
    class: Class,
    flags: u16,
    from: SocketAddr,
    transport: Transport,
    edns: Option<u16>,
    version: u8,
    dnssec_ok: bool,
    options: Vec<u8>,
    brief: bool,
}

/// The cookie of a client that was not given one.
const CLIENT_COOKIE: [u8; 8] = [0x24, 0x64, 0xc4, 0xab, 0xcf, 0x10, 0xc9, 0x57];

/// The id of every question.
const ID: u16 = 0x0d05;

impl Asked {
    fn read(at: &str, text: &str) -> Self {
        let mut words = text.split_whitespace();
        let (Some(name), Some(rtype)) = (words.next(), words.next()) else { panic!("{at}: a name and a type are due") };
        let mut asked = Self {
            name: name.parse().unwrap_or_else(|error| panic!("{at}: `{name}`: {error}")),
            rtype: Rtype::parse(rtype.as_bytes()).unwrap_or_else(|| panic!("{at}: `{rtype}` is no type")),
            class: Class::IN,
            flags: 0,
            from: ([198, 51, 100, 7], 5353).into(),
            transport: Transport::Udp,
            edns: None,
            version: 0,
            dnssec_ok: false,
            options: Vec::new(),
            brief: false,
        };
        for word in words {
            asked.take(word).unwrap_or_else(|| panic!("{at}: cannot read `{word}`"));
        }
        asked
    }

    fn take(&mut self, word: &str) -> Option<()> {
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        match key {
            "tcp" => self.transport = Transport::Tcp,
            "from" => self.from.set_ip(value.parse().ok()?),
            "class" => self.class = Class::parse(value.as_bytes())?,
            "opcode" => self.flags |= value.parse::<u16>().ok()? << 11,
            "rd" => self.flags |= 0x0100,
            "ad" => self.flags |= 0x0020,
            "cd" => self.flags |= 0x0010,
            "edns" => self.edns = Some(if value.is_empty() { 1232 } else { value.parse().ok()? }),
            "version" => self.version = value.parse().ok()?,
            "do" => self.dnssec_ok = true,
            "subnet" => {
                let (address, length) = value.split_once('/')?;
                self.option(8, &subnet_option(address.parse().ok()?, length.parse().ok()?));
            }
            "cookie" if value.is_empty() => self.option(10, &CLIENT_COOKIE),
            "cookie" => self.option(10, &data_encoding::HEXLOWER.decode(value.as_bytes()).ok()?),
            "nsid" => self.option(3, &[]),
            "keepalive" => self.option(11, &[]),
            "option" => {
                let (code, data) = value.split_once(':')?;
                self.option(code.parse().ok()?, &data_encoding::HEXLOWER.decode(data.as_bytes()).ok()?);
            }
            "brief" => self.brief = true,
            _ => return None,
        }
        Some(())
    }

    fn option(&mut self, code: u16, data: &[u8]) {
        self.edns.get_or_insert(1232);
        self.options.extend(code.to_be_bytes());
        self.options.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
        self.options.extend(data);
    }

    fn to_octets(&self, at: &str) -> Vec<u8> {
        assert!(self.edns.is_some() || !(self.dnssec_ok || self.version > 0), "{at}: `edns` is due");
        let additional = u16::from(self.edns.is_some());
        let mut octets: Vec<u8> =
            [ID, self.flags, 1, 0, 0, additional].into_iter().flat_map(|field: u16| field.to_be_bytes()).collect();
        octets.extend(self.name.wire());
        octets.extend(self.rtype.0.to_be_bytes());
        octets.extend(self.class.0.to_be_bytes());
        if let Some(payload) = self.edns {
            octets.extend([0, 0, 41]);
            octets.extend(payload.to_be_bytes());
            octets.extend([0, self.version, u8::from(self.dnssec_ok) << 7, 0]);
            octets.extend(u16::try_from(self.options.len()).unwrap().to_be_bytes());
            octets.extend(&self.options);
        }
        octets
    }

    /// Sends octets, holds the reply against what every reply must be, and tells it.
    fn exchange(&self, authority: &mut Authority, octets: &[u8]) -> String {
        let Some(reply) = authority.respond(self.from, self.transport, octets) else {
            return "silence\n".to_owned();
        };
        let message = decode(&reply);
        assert_eq!(reply[..2], octets[..2], "the id is echoed");
        assert_eq!(message.metadata.message_type, MessageType::Response);
        assert_eq!(reply[3] & 0x40, 0, "the reserved bit of the header is clear (RFC 1035 section 4.1.1)");
        if message.queries.len() == 1 {
            let question = octets.len().min(12 + message.queries[0].name().len() + 4);
            assert_eq!(reply.get(12..question), octets.get(12..question), "the question is echoed octet for octet");
        }
        if self.transport == Transport::Udp {
            let most = usize::from(self.edns.unwrap_or(512).max(512));
            assert!(reply.len() <= most, "{} octets are more than the client takes", reply.len());
        }
        tell(&message, self.brief.then_some(reply.len()))
    }
}

/// The data of a client subnet option: no more octets of the address than the length needs.
pub(crate) fn subnet_option(address: IpAddr, length: u8) -> Vec<u8> {
    let (family, octets) = match address {
        IpAddr::V4(address) => (1, address.octets().to_vec()),
        IpAddr::V6(address) => (2, address.octets().to_vec()),
    };
    let used = usize::from(length).div_ceil(8).min(octets.len());
    [&[0, family, length, 0], &octets[..used]].concat()
}

/// Reads hexadecimal digits and quoted text; `;` begins a remark.
fn read_octets(at: &str, body: &str) -> Vec<u8> {
    let code = body.lines().map(|line| line.split(';').next().unwrap_or_default());
    let words = code.flat_map(str::split_whitespace);
    let octets = |word: &str| match word.strip_prefix('"').and_then(|word| word.strip_suffix('"')) {
        Some(text) => text.as_bytes().to_vec(),
        None => data_encoding::HEXLOWER_PERMISSIVE
            .decode(word.as_bytes())
            .unwrap_or_else(|error| panic!("{at}: `{word}`: {error}")),
    };
    words.flat_map(octets).collect()
}

/// Decodes a message; panics if it is malformed or anything is left behind it.
pub(crate) fn decode(octets: &[u8]) -> Message {
    let mut decoder = BinDecoder::new(octets);
    let message = Message::read(&mut decoder).unwrap_or_else(|error| panic!("malformed: {error}: {octets:02x?}"));
    assert!(decoder.is_empty(), "octets are left behind the message: {octets:02x?}");
    message
}

/// Writes a message, one record a line; with its size, counts of records take their place.
fn tell(message: &Message, octets: Option<usize>) -> String {
    let head = &message.metadata;
    let mut told = rcode(head.response_code.into());
    if u8::from(head.op_code) != 0 {
        write!(told, " opcode={}", u8::from(head.op_code)).unwrap();
    }
    let flags = [
        ("aa", head.authoritative),
        ("tc", head.truncation),
        ("rd", head.recursion_desired),
        ("ra", head.recursion_available),
        ("ad", head.authentic_data),
        ("cd", head.checking_disabled),
    ];
    for (flag, _) in flags.into_iter().filter(|(_, is_set)| *is_set) {
        write!(told, " {flag}").unwrap();
    }
    told.push('\n');
    if message.queries.is_empty() {
        told.push_str("without question\n");
    }
    let sections =
        [("answer", &message.answers), ("authority", &message.authorities), ("additional", &message.additionals)];
    for (section, records) in sections {
        if octets.is_some() && !records.is_empty() {
            writeln!(told, "{section} {} records", records.len()).unwrap();
        } else {
            records.iter().for_each(|record| writeln!(told, "{section} {}", record_text(record)).unwrap());
        }
    }
    if let Some(edns) = &message.edns {
        let dnssec_ok = if edns.flags().dnssec_ok { " do" } else { "" };
        writeln!(told, "edns {} version={}{dnssec_ok}", edns.max_payload(), edns.version()).unwrap();
        assert_eq!(edns.flags().z, 0, "flags without a meaning are clear");
        for (_, option) in &edns.options().options {
            writeln!(told, "{}", option_text(option)).unwrap();
        }
    }
    if let Some(octets) = octets {
        writeln!(told, "octets {octets}").unwrap();
    }
    told
}

fn rcode(rcode: u16) -> String {
    const MNEMONICS: [&str; 11] = [
        "NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED", "YXDOMAIN", "YXRRSET", "NXRRSET", "NOTAUTH",
        "NOTZONE",
    ];
    match (MNEMONICS.get(usize::from(rcode)), rcode) {
        (Some(mnemonic), _) => (*mnemonic).to_owned(),
        (None, 16) => "BADVERS".to_owned(),
        (None, 23) => "BADCOOKIE".to_owned(),
        (None, _) => format!("RCODE{rcode}"),
    }
}

fn option_text(option: &EdnsOption) -> String {
    match option {
        EdnsOption::Subnet(subnet) => {
            format!("subnet {}/{} scope {}", subnet.addr(), subnet.source_prefix(), subnet.scope_prefix())
        }
        EdnsOption::NSID(nsid) => format!("nsid {}", quoted(nsid.as_ref())),
        EdnsOption::Unknown(10, data) => {
            let (client, server) = data.split_at(8);
            let [client, server] = [client, server].map(|octets| data_encoding::HEXLOWER.encode(octets));
            format!("cookie {client} {server}")
        }
        EdnsOption::Unknown(11, data) => format!("keepalive {}", u16::from_be_bytes(data[..].try_into().unwrap())),
        EdnsOption::Unknown(15, data) => {
            let code = u16::from_be_bytes([data[0], data[1]]);
            format!("error {code} {}", String::from_utf8_lossy(&data[2..])).trim_end().to_owned()
        }
        other => format!("option {other:?}"),
    }
}

/// Writes a record in presentation form.
pub(crate) fn record_text(record: &Record) -> String {
    let rtype = Rtype(u16::from(record.record_type()));
    let class = Class(u16::from(record.dns_class));
    format!("{} {} {class} {rtype} {}", name_text(&record.name), record.ttl, rdata_text(&record.data))
}

fn rdata_text(data: &RData) -> String {
    match data {
        RData::CNAME(rr::rdata::CNAME(name)) | RData::NS(rr::rdata::NS(name)) | RData::PTR(rr::rdata::PTR(name)) => {
            name_text(name)
        }
        RData::MX(mx) => format!("{} {}", mx.preference, name_text(&mx.exchange)),
        RData::SRV(srv) => format!("{} {} {} {}", srv.priority, srv.weight, srv.port, name_text(&srv.target)),
        RData::HINFO(hinfo) => format!("{} {}", quoted(&hinfo.cpu), quoted(&hinfo.os)),
        RData::NAPTR(naptr) => {
            let texts = [&naptr.flags, &naptr.services, &naptr.regexp].map(|text| quoted(text)).join(" ");
            format!("{} {} {texts} {}", naptr.order, naptr.preference, name_text(&naptr.replacement))
        }
        RData::SVCB(service) | RData::HTTPS(rr::rdata::HTTPS(service)) => service_text(service),
        // Hickory writes the strings of a TXT one behind the other.
        RData::TXT(txt) => txt.txt_data.iter().map(|text| quoted(text)).collect::<Vec<_>>().join(" "),
        RData::Unknown { code, rdata } if u16::from(*code) == Rtype::DNAME.0 => {
            name_text(&rr::Name::read(&mut BinDecoder::new(&rdata.anything)).expect("a DNAME holds a name"))
        }
        RData::NULL(null) | RData::Unknown { rdata: null, .. } => {
            format!("\\# {} {}", null.anything.len(), data_encoding::HEXLOWER.encode(&null.anything))
        }
        other => other.to_string(),
    }
}

/// Writes an SVCB with its parameters in the order of the wire, octets that do not print among them.
fn service_text(service: &SVCB) -> String {
    let mut text = format!("{} {}", service.svc_priority, name_text(&service.target_name));
    for (key, value) in &service.svc_params {
        match value {
            SvcParamValue::Alpn(Alpn(ids)) => {
                let ids: Vec<_> = ids.iter().map(|id| quoted(id.as_bytes())).collect();
                write!(text, " alpn={}", ids.join(","))
            }
            SvcParamValue::Unknown(octets) => write!(text, " key{}={}", u16::from(*key), quoted(&octets.0)),
            other => write!(text, " {key}={}", other.to_string().trim_end_matches(',')),
        }
        .unwrap();
    }
    text
}

/// Writes a name with the escapes of RFC 1035 section 5.1, which hickory writes otherwise.
pub(crate) fn name_text(name: &rr::Name) -> String {
    let labels = name.iter().map(|label| format!("{}.", escaped(label, br#".\"();@$"#, b'!')));
    let text: String = labels.collect();
    if text.is_empty() { ".".to_owned() } else { text }
}

fn quoted(text: &[u8]) -> String {
    format!("\"{}\"", escaped(text, br#"\""#, b' '))
}

/// Escapes some octets with a backslash, and those that do not print as their number.
fn escaped(text: &[u8], special: &[u8], first: u8) -> String {
    let escape = |octet: &u8| match octet {
        octet if special.contains(octet) => format!("\\{}", char::from(*octet)),
        octet if (first..=b'~').contains(octet) => char::from(*octet).to_string(),
        octet => format!("\\{octet:03}"),
    };
    text.iter().map(escape).collect()
}
