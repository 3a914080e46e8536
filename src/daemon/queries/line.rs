//! One line of the query log: what became of a query, in fields.

use std::fmt::{self, Display};
use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;

use jiff::Timestamp;

use crate::answer::cookie::Standing;
use crate::answer::{Account, Transport, Why};
use crate::config::Format;
use crate::dns::wire::Header;

/// Where a line is written before it is handed on.
pub struct Line {
    format: Format,
    octets: Vec<u8>,
    /// A value that is escaped before it is written.
    text: String,
}

/// The flags of a header, from the first bit.
const FLAGS: [(u16, &str); 8] = [
    (0x8000, "qr"),
    (0x0400, "aa"),
    (0x0200, "tc"),
    (0x0100, "rd"),
    (0x0080, "ra"),
    (0x0040, "z"),
    (0x0020, "ad"),
    (0x0010, "cd"),
];

impl Line {
    /// Room for lines of this form.
    pub fn new(format: Format) -> Self {
        Self { format, octets: Vec::with_capacity(512), text: String::new() }
    }

    /// The line of a request that was answered at `at`, as time since 1970, and took so long; with its end.
    ///
    /// Fields that a request does not have are left out.
    pub fn write(&mut self, account: &Account<'_>, at: Duration, took: Duration) -> &[u8] {
        self.begin(at);
        self.word("outcome", account.class().word());
        self.client(account);
        self.request(account);
        self.reply(account);
        self.number("took_us", u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
        let why = account.remark.extended_error.map(|error| error.text);
        if let Some(why) = why.or_else(|| account.remark.why.map(Why::words)) {
            self.sentence("why", why);
        }
        self.end()
    }

    fn client(&mut self, account: &Account<'_>) {
        self.word("client", Endpoint(account.client.address));
        let transport = match account.client.transport {
            Transport::Udp => "udp",
            Transport::Tcp => "tcp",
        };
        self.word("transport", transport);
        self.word("local", Endpoint(account.client.local));
    }

    fn request(&mut self, account: &Account<'_>) {
        if let Some(Header { id, flags, .. }) = account.header() {
            self.number("id", id.into());
            self.word("flags", Flags(flags));
            if flags & 0x7800 != 0 {
                self.number("opcode", (flags >> 11 & 0xf).into());
            }
        }
        if let Some((qname, qtype, qclass)) = account.question() {
            self.word("class", qclass);
            self.word("type", qtype);
            self.word("name", qname);
        }
        let Some(edns) = account.edns() else { return };
        self.number("edns", edns.version.into());
        self.number("payload", edns.udp_payload.into());
        if edns.dnssec_ok {
            self.number("do", 1);
        }
        match account.remark.cookie {
            Standing::Absent => {}
            Standing::New => self.word("cookie", "new"),
            Standing::Bad => self.word("cookie", "bad"),
            Standing::Valid => self.word("cookie", "valid"),
        }
        if let Some(subnet) = edns.client_subnet {
            self.word("subnet", format_args!("{}/{}/{}", subnet.address, subnet.source_length, account.remark.scope));
        }
    }

    fn reply(&mut self, account: &Account<'_>) {
        if let Some(zone) = account.zone() {
            self.word("zone", zone);
        }
        let Some(Header { flags, counts: [_, answers, authorities, additionals], .. }) = account.reply_header() else {
            return;
        };
        self.word("rcode", account.remark.rcode);
        self.word("reply", Flags(flags));
        self.word("counts", format_args!("{answers}/{authorities}/{additionals}"));
        self.number("size", account.reply.len() as u64);
    }

    fn begin(&mut self, at: Duration) {
        let at = Timestamp::UNIX_EPOCH.checked_add(at).unwrap_or(Timestamp::MAX);
        self.octets.clear();
        match self.format {
            Format::Text => self.put(format_args!("{at:.6}  INFO query")),
            Format::Json => {
                self.put(format_args!("{{\"timestamp\":\"{at:.6}\",\"level\":\"INFO\",\"message\":\"query\""))
            }
        }
    }

    fn end(&mut self) -> &[u8] {
        match self.format {
            Format::Text => self.put(format_args!("\n")),
            Format::Json => self.put(format_args!("}}\n")),
        }
        &self.octets
    }

    fn number(&mut self, key: &str, number: u64) {
        match self.format {
            Format::Text => self.put(format_args!(" {key}={number}")),
            Format::Json => self.put(format_args!(",\"{key}\":{number}")),
        }
    }

    /// A value of visible characters that does not begin with a quote: names are escaped to that by themselves.
    fn word(&mut self, key: &str, word: impl Display) {
        match self.format {
            Format::Text => self.put(format_args!(" {key}={word}")),
            Format::Json => self.escaped(key, word),
        }
    }

    /// A value of several words of ours, without a quote among them.
    fn sentence(&mut self, key: &str, sentence: &str) {
        match self.format {
            Format::Text => self.put(format_args!(" {key}=\"{sentence}\"")),
            Format::Json => self.escaped(key, sentence),
        }
    }

    fn escaped(&mut self, key: &str, value: impl Display) {
        use fmt::Write;
        self.text.clear();
        // A text takes all there is, and so does a vector.
        let _ = write!(self.text, "{value}");
        self.put(format_args!(",\"{key}\":"));
        let _ = serde_json::to_writer(&mut self.octets, &self.text);
    }

    fn put(&mut self, what: fmt::Arguments<'_>) {
        let _ = self.octets.write_fmt(what);
    }
}

/// An address and a port as `dig` has them: `192.0.2.1#53`.
struct Endpoint(SocketAddr);

impl Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            SocketAddr::V6(address) if address.scope_id() != 0 => {
                write!(f, "{}%{}#{}", address.ip(), address.scope_id(), address.port())
            }
            address => write!(f, "{}#{}", address.ip(), address.port()),
        }
    }
}

/// The flags that are set in a header, or `-`.
struct Flags(u16);

impl Display for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (_, name) in FLAGS.iter().filter(|(bit, _)| self.0 & bit != 0) {
            write!(f, "{separator}{name}")?;
            separator = ",";
        }
        if separator.is_empty() { f.write_str("-") } else { Ok(()) }
    }
}
