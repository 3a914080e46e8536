//! The one table: which fields the RDATA of a type has, in the order of both its forms.

use super::{NameRef, Rtype};

/// One field: what messages call it, and its kind.
pub(super) type Part = (&'static str, Kind);

/// Mnemonics of an 8-bit code.
pub(super) type Codes = [(&'static str, u8)];

/// How a field looks in presentation and in wire form.
///
/// Kinds that say "the rest" take all that is left of both forms, so they come last.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// A number of 8 bits.
    U8,
    /// A number of 16 bits.
    U16,
    /// A number of 32 bits.
    U32,
    /// A number of 64 bits.
    U64,
    /// A number of 8 bits that may be given by mnemonic; written as the number.
    Code(&'static Codes),
    /// A number of 8 bits that is written by mnemonic if it has one.
    Named(&'static Codes),
    /// A certificate type, by mnemonic or number (RFC 4398 section 2.1).
    CertType,
    /// A record type, by mnemonic.
    Type,
    /// A span of seconds in 32 bits; text may have units (`1h30m`).
    Seconds,
    /// A moment in 32 bits, `YYYYMMDDHHmmSS` or seconds since 1970 (RFC 4034 section 3.2).
    Time,
    /// An IPv4 address.
    Ipv4,
    /// An IPv6 address.
    Ipv6,
    /// A domain name that may be compressed in messages (RFC 3597 section 4).
    CompressibleName,
    /// A domain name that is never compressed.
    Name,
    /// The rest: domain names, also none, never compressed.
    Names,
    /// A character-string (RFC 1035 section 5.1).
    Text,
    /// The rest: one character-string or none.
    OptionalText,
    /// The rest: one or more character-strings.
    Texts,
    /// The rest: octets written as one character-string, free of its limit of 255.
    LongText,
    /// As `LongText`, but not empty.
    Uri,
    /// A character-string of letters and digits, written without quotes (RFC 8659 section 4.1).
    Tag,
    /// A length octet and octets in hexadecimal, `-` for none (RFC 5155 section 3.3).
    Salt,
    /// A length octet and octets in base32hex (RFC 5155 section 3.3).
    Hash,
    /// The rest in hexadecimal, not empty.
    Hex,
    /// The rest in hexadecimal, of a length given by the octet before it.
    Digest(&'static DigestLengths),
    /// The rest in base64, not empty.
    Base64,
    /// The rest in base64.
    OptionalBase64,
    /// The rest in base64, empty only if the third octet of the RDATA, the algorithm, is 0 (RFC 4025 section 2.4).
    IpsecKey,
    /// The rest: a bitmap of at least one record type (RFC 4034 section 4.1.2).
    Types,
    /// The rest: a bitmap of record types.
    OptionalTypes,
    /// A location, from version to altitude (RFC 1876).
    Location,
    /// The rest: address prefixes (RFC 3123).
    Prefixes,
    /// A gateway whose kind is the second octet of the RDATA (RFC 4025 section 2.5).
    Gateway,
    /// A discovery flag, a relay's kind, and the relay (RFC 8777 section 4.2).
    Relay,
    /// A host identity: algorithm, tag and key, with their lengths up front (RFC 8005 section 5).
    HostIdentity,
    /// The rest: service parameters (RFC 9460 section 2.1).
    Parameters,
    /// 64 bits as four groups of hexadecimal digits between colons (RFC 6742 section 2.1.2).
    Groups,
    /// So many octets in hexadecimal between dashes (RFC 7043).
    Eui(usize),
    /// The rest in hexadecimal after `0x`, dots allowed (RFC 1706 section 7).
    Nsap,
}

/// How long digests are, by the code in the octet before them.
#[derive(Debug)]
pub(super) struct DigestLengths {
    /// The codes whose length is known, and that length in octets.
    pub(super) known: &'static [(u8, usize)],
    /// The least length of any other.
    pub(super) least: usize,
}

impl DigestLengths {
    /// Checks the length of a digest of kind `code`; an error says what it should be.
    pub(super) fn check(&self, code: u8, length: usize) -> Result<(), String> {
        match self.known.iter().find(|(known, _)| *known == code) {
            Some((_, expected)) if *expected == length => Ok(()),
            Some((_, expected)) => Err(expected.to_string()),
            None if length >= self.least => Ok(()),
            None => Err(format!("{} or more", self.least)),
        }
    }
}

/// Algorithms of keys and signatures (IANA, DNS Security Algorithm Numbers).
const ALGORITHMS: &Codes = &[
    ("DELETE", 0),
    ("RSAMD5", 1),
    ("DH", 2),
    ("DSA", 3),
    ("RSASHA1", 5),
    ("DSA-NSEC3-SHA1", 6),
    ("NSEC3DSA", 6),
    ("RSASHA1-NSEC3-SHA1", 7),
    ("NSEC3RSASHA1", 7),
    ("RSASHA256", 8),
    ("RSASHA512", 10),
    ("ECC-GOST", 12),
    ("ECCGOST", 12),
    ("ECDSAP256SHA256", 13),
    ("ECDSAP384SHA384", 14),
    ("ED25519", 15),
    ("ED448", 16),
    ("SM2SM3", 17),
    ("ECC-GOST12", 23),
    ("INDIRECT", 252),
    ("PRIVATEDNS", 253),
    ("PRIVATEOID", 254),
];

/// Digests of keys (IANA, DS RR Type Digest Algorithms).
const DIGESTS: &Codes = &[
    ("SHA-1", 1),
    ("SHA1", 1),
    ("SHA-256", 2),
    ("SHA256", 2),
    ("GOST", 3),
    ("SHA-384", 4),
    ("SHA384", 4),
    ("GOST12", 5),
    ("SM3", 6),
];

/// Hashes of names (IANA, DNSSEC NSEC3 Hash Algorithms).
const NAME_HASHES: &Codes = &[("SHA-1", 1), ("SHA1", 1)];

/// Ways to announce a change (RFC 9859 section 2.1).
const SCHEMES: &Codes = &[("NOTIFY", 1)];

/// Lengths of DS digests, which are those of the digest types.
const DS_LENGTHS: &DigestLengths =
    &DigestLengths { known: &[(1, 20), (2, 32), (3, 32), (4, 48), (5, 32), (6, 32)], least: 1 };
/// Lengths of SSH fingerprints (RFC 4255 section 3.1.2, RFC 6594).
const SSHFP_LENGTHS: &DigestLengths = &DigestLengths { known: &[(1, 20), (2, 32)], least: 1 };
/// Lengths of zone digests (RFC 8976 section 2.2.4).
const ZONEMD_LENGTHS: &DigestLengths = &DigestLengths { known: &[(1, 48), (2, 64)], least: 12 };

/// Certificate types (RFC 4398 section 2.1).
pub(super) const CERT_TYPES: [(&str, u16); 10] = [
    ("PKIX", 1),
    ("SPKI", 2),
    ("PGP", 3),
    ("IPKIX", 4),
    ("ISPKI", 5),
    ("IPGP", 6),
    ("ACPKIX", 7),
    ("IACPKIX", 8),
    ("URI", 253),
    ("OID", 254),
];

/// Returns the fields of a type; `None` if only the form of RFC 3597 exists for it here.
///
/// A `match`, because it becomes a jump: the encoder asks for every RRset it writes.
pub(super) fn layout(rtype: Rtype) -> Option<&'static [Part]> {
    use Kind::*;
    let parts: &'static [Part] = match rtype {
        Rtype::A => &[("address", Ipv4)],
        Rtype::AAAA => &[("address", Ipv6)],
        Rtype::NS => &[("name server", CompressibleName)],
        Rtype::CNAME => &[("target", CompressibleName)],
        Rtype::PTR => &[("name", CompressibleName)],
        Rtype::MB | Rtype::MD | Rtype::MF | Rtype::MG | Rtype::MR => &[("name", CompressibleName)],
        Rtype::MINFO => &[("mailbox", CompressibleName), ("error mailbox", CompressibleName)],
        Rtype::MX => &[("preference", U16), ("exchange", CompressibleName)],
        Rtype::SOA => &[
            ("primary", CompressibleName),
            ("mailbox", CompressibleName),
            ("serial", U32),
            ("refresh", Seconds),
            ("retry", Seconds),
            ("expire", Seconds),
            ("minimum", Seconds),
        ],
        Rtype::DNAME => &[("target", Name)],
        Rtype::NSAP_PTR => &[("name", Name)],
        Rtype::RP => &[("mailbox", Name), ("text name", Name)],
        Rtype::TALINK => &[("previous", Name), ("next", Name)],
        Rtype::AFSDB => &[("subtype", U16), ("host", Name)],
        Rtype::RT => &[("preference", U16), ("host", Name)],
        Rtype::KX => &[("preference", U16), ("exchanger", Name)],
        Rtype::PX => &[("preference", U16), ("RFC 822 name", Name), ("X.400 name", Name)],
        Rtype::LP => &[("preference", U16), ("name", Name)],
        Rtype::SRV => &[("priority", U16), ("weight", U16), ("port", U16), ("target", Name)],
        Rtype::NAPTR => &[
            ("order", U16),
            ("preference", U16),
            ("flags", Text),
            ("services", Text),
            ("regexp", Text),
            ("replacement", Name),
        ],
        Rtype::TXT | Rtype::SPF | Rtype::AVC | Rtype::NINFO | Rtype::RESINFO | Rtype::WALLET | Rtype::CLA => {
            &[("text", Texts)]
        }
        Rtype::HINFO => &[("CPU", Text), ("OS", Text)],
        Rtype::X25 => &[("address", Text)],
        Rtype::ISDN => &[("address", Text), ("subaddress", OptionalText)],
        Rtype::GPOS => &[("longitude", Text), ("latitude", Text), ("altitude", Text)],
        Rtype::LOC => &[("location", Location)],
        Rtype::NSAP => &[("address", Nsap)],
        Rtype::EID | Rtype::NIMLOC => &[("octets", Hex)],
        Rtype::APL => &[("prefix", Prefixes)],
        Rtype::NID => &[("preference", U16), ("node identifier", Groups)],
        Rtype::L32 => &[("preference", U16), ("locator", Ipv4)],
        Rtype::L64 => &[("preference", U16), ("locator", Groups)],
        Rtype::EUI48 => &[("address", Eui(6))],
        Rtype::EUI64 => &[("address", Eui(8))],
        Rtype::IPN => &[("number", U64)],
        Rtype::URI => &[("priority", U16), ("weight", U16), ("target", Uri)],
        Rtype::CAA => &[("flags", U8), ("tag", Tag), ("value", LongText)],
        Rtype::SVCB | Rtype::HTTPS => &[("priority", U16), ("target", Name), ("parameter", Parameters)],
        Rtype::DS | Rtype::CDS | Rtype::DLV | Rtype::TA => &[
            ("key tag", U16),
            ("algorithm", Code(ALGORITHMS)),
            ("digest type", Code(DIGESTS)),
            ("digest", Digest(DS_LENGTHS)),
        ],
        Rtype::DNSKEY | Rtype::CDNSKEY | Rtype::RKEY => {
            &[("flags", U16), ("protocol", U8), ("algorithm", Code(ALGORITHMS)), ("key", Base64)]
        }
        Rtype::KEY => &[("flags", U16), ("protocol", U8), ("algorithm", Code(ALGORITHMS)), ("key", OptionalBase64)],
        Rtype::RRSIG | Rtype::SIG => &[
            ("covered type", Type),
            ("algorithm", Code(ALGORITHMS)),
            ("labels", U8),
            ("original TTL", U32),
            ("expiration", Time),
            ("inception", Time),
            ("key tag", U16),
            ("signer", Name),
            ("signature", Base64),
        ],
        Rtype::NSEC => &[("next name", Name), ("type", Types)],
        Rtype::NSEC3 => &[
            ("hash algorithm", Code(NAME_HASHES)),
            ("flags", U8),
            ("iterations", U16),
            ("salt", Salt),
            ("next hash", Hash),
            ("type", OptionalTypes),
        ],
        Rtype::NSEC3PARAM => {
            &[("hash algorithm", Code(NAME_HASHES)), ("flags", U8), ("iterations", U16), ("salt", Salt)]
        }
        Rtype::CSYNC => &[("serial", U32), ("flags", U16), ("type", OptionalTypes)],
        Rtype::ZONEMD => &[("serial", U32), ("scheme", U8), ("hash algorithm", U8), ("digest", Digest(ZONEMD_LENGTHS))],
        Rtype::DSYNC => &[("type", Type), ("scheme", Named(SCHEMES)), ("port", U16), ("target", Name)],
        Rtype::SSHFP => &[("algorithm", U8), ("fingerprint type", U8), ("fingerprint", Digest(SSHFP_LENGTHS))],
        Rtype::TLSA | Rtype::SMIMEA => &[("usage", U8), ("selector", U8), ("matching type", U8), ("data", Hex)],
        Rtype::CERT => {
            &[("certificate type", CertType), ("key tag", U16), ("algorithm", Code(ALGORITHMS)), ("data", Base64)]
        }
        Rtype::OPENPGPKEY => &[("key", Base64)],
        Rtype::DHCID | Rtype::HHIT | Rtype::BRID => &[("data", Base64)],
        Rtype::IPSECKEY => {
            &[("precedence", U8), ("gateway type", U8), ("algorithm", U8), ("gateway", Gateway), ("key", IpsecKey)]
        }
        Rtype::AMTRELAY => &[("precedence", U8), ("relay", Relay)],
        Rtype::HIP => &[("host identity", HostIdentity), ("rendezvous server", Names)],
        _ => return None,
    };
    Some(parts)
}

/// Returns a type's presentation form in outline, for a message's help: `MX <preference> <exchange>`.
pub(super) fn outline(rtype: Rtype) -> String {
    let Some(parts) = layout(rtype) else {
        return format!("{rtype} \\# <length> <hexadecimal digits>...");
    };
    let parts = parts.iter().map(|(name, kind)| format!(" {}", kind.outline(name)));
    std::iter::once(rtype.to_string()).chain(parts).collect()
}

impl Kind {
    /// How many octets a field takes that `wire` begins with, if it is a name or of a kind that may stand before one.
    pub(super) fn octets(self, wire: &[u8]) -> Option<usize> {
        let octets = match self {
            Self::U8 | Self::Code(_) | Self::Named(_) => 1,
            Self::U16 | Self::CertType | Self::Type => 2,
            Self::U32 | Self::Seconds | Self::Time | Self::Ipv4 => 4,
            Self::U64 => 8,
            Self::Ipv6 => 16,
            Self::Text => 1 + usize::from(*wire.first()?),
            Self::CompressibleName | Self::Name => NameRef::split_from(wire).ok()?.0.wire().len(),
            Self::Names
            | Self::OptionalText
            | Self::Texts
            | Self::LongText
            | Self::Uri
            | Self::Tag
            | Self::Salt
            | Self::Hash
            | Self::Hex
            | Self::Digest(_)
            | Self::Base64
            | Self::OptionalBase64
            | Self::IpsecKey
            | Self::Types
            | Self::OptionalTypes
            | Self::Location
            | Self::Prefixes
            | Self::Gateway
            | Self::Relay
            | Self::HostIdentity
            | Self::Parameters
            | Self::Groups
            | Self::Eui(_)
            | Self::Nsap => return None,
        };
        (octets <= wire.len()).then_some(octets)
    }

    /// One field in outline.
    fn outline(self, name: &str) -> String {
        match self {
            Self::Texts | Self::Hex | Self::Digest(_) | Self::Base64 | Self::Types => format!("<{name}>..."),
            Self::Names
            | Self::OptionalBase64
            | Self::IpsecKey
            | Self::OptionalTypes
            | Self::Prefixes
            | Self::Parameters => {
                format!("[<{name}>...]")
            }
            Self::OptionalText => format!("[<{name}>]"),
            Self::Location => "<degrees> [<minutes> [<seconds>]] N|S <degrees> [<minutes> [<seconds>]] E|W \
                               <altitude>m [<size>m [<horizontal precision>m [<vertical precision>m]]]"
                .to_owned(),
            Self::Relay => "<discovery> <relay type> <relay>".to_owned(),
            Self::HostIdentity => "<algorithm> <tag> <key>".to_owned(),
            Self::U8
            | Self::U16
            | Self::U32
            | Self::U64
            | Self::Code(_)
            | Self::Named(_)
            | Self::CertType
            | Self::Type
            | Self::Seconds
            | Self::Time
            | Self::Ipv4
            | Self::Ipv6
            | Self::CompressibleName
            | Self::Name
            | Self::Text
            | Self::LongText
            | Self::Uri
            | Self::Tag
            | Self::Salt
            | Self::Hash
            | Self::Gateway
            | Self::Groups
            | Self::Eui(_)
            | Self::Nsap => format!("<{name}>"),
        }
    }
}
