//! Record types: numbers and mnemonics.

use std::fmt;

/// A record type or query type, by number (RFC 6895 section 3.1).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Rtype(pub u16);

/// Declares a constant per type and, from the same rows, the list of mnemonics in order of number.
macro_rules! rtypes {
    ($($constant:ident $number:literal $mnemonic:literal $about:literal)*) => {
        impl Rtype {
            $(#[doc = $about] pub const $constant: Self = Self($number);)*
        }

        /// Every mnemonic, in ascending order of number.
        const MNEMONICS: &[(Rtype, &str)] = &[$((Rtype($number), $mnemonic)),*];
    };
}

rtypes! {
    A           1     "A"          "An IPv4 address (RFC 1035)."
    NS          2     "NS"         "A name server (RFC 1035)."
    MD          3     "MD"         "A mail destination; obsolete (RFC 973)."
    MF          4     "MF"         "A mail forwarder; obsolete (RFC 973)."
    CNAME       5     "CNAME"      "An alias (RFC 1035)."
    SOA         6     "SOA"        "The start of a zone of authority (RFC 1035)."
    MB          7     "MB"         "A mailbox; experimental (RFC 1035)."
    MG          8     "MG"         "A member of a mail group; experimental (RFC 1035)."
    MR          9     "MR"         "A renamed mailbox; experimental (RFC 1035)."
    NULL        10    "NULL"       "Any octets; experimental (RFC 1035)."
    WKS         11    "WKS"        "Well-known services of an address; obsolete (RFC 1035)."
    PTR         12    "PTR"        "A pointer to a name (RFC 1035)."
    HINFO       13    "HINFO"      "Host information; also the short answer to ANY (RFC 1035, RFC 8482)."
    MINFO       14    "MINFO"      "Mailboxes of a mail list; experimental (RFC 1035)."
    MX          15    "MX"         "A mail exchange (RFC 1035)."
    TXT         16    "TXT"        "Text (RFC 1035)."
    RP          17    "RP"         "The responsible person (RFC 1183)."
    AFSDB       18    "AFSDB"      "An AFS or DCE database server (RFC 1183, RFC 5864)."
    X25         19    "X25"        "An X.25 address (RFC 1183)."
    ISDN        20    "ISDN"       "An ISDN address (RFC 1183)."
    RT          21    "RT"         "A route through a host (RFC 1183)."
    NSAP        22    "NSAP"       "An OSI address (RFC 1706)."
    NSAP_PTR    23    "NSAP-PTR"   "A pointer to a name from an OSI address (RFC 1706)."
    SIG         24    "SIG"        "A signature before RFC 4034 (RFC 2535, RFC 2931)."
    KEY         25    "KEY"        "A key before RFC 4034 (RFC 2535, RFC 2930)."
    PX          26    "PX"         "An X.400 mapping (RFC 2163)."
    GPOS        27    "GPOS"       "A geographical position (RFC 1712)."
    AAAA        28    "AAAA"       "An IPv6 address (RFC 3596)."
    LOC         29    "LOC"        "A location (RFC 1876)."
    NXT         30    "NXT"        "The next name before RFC 4034; obsolete (RFC 2535)."
    EID         31    "EID"        "A Nimrod endpoint."
    NIMLOC      32    "NIMLOC"     "A Nimrod locator."
    SRV         33    "SRV"        "A server of a service (RFC 2782)."
    ATMA        34    "ATMA"       "An ATM address."
    NAPTR       35    "NAPTR"      "A rewriting rule (RFC 3403)."
    KX          36    "KX"         "A key exchanger (RFC 2230)."
    CERT        37    "CERT"       "A certificate (RFC 4398)."
    A6          38    "A6"         "An IPv6 address in pieces; historic (RFC 6563)."
    DNAME       39    "DNAME"      "An alias of all that is below (RFC 6672)."
    SINK        40    "SINK"       "A kitchen sink."
    OPT         41    "OPT"        "EDNS (RFC 6891)."
    APL         42    "APL"        "A list of address prefixes (RFC 3123)."
    DS          43    "DS"         "A delegation signer (RFC 4034)."
    SSHFP       44    "SSHFP"      "A fingerprint of an SSH key (RFC 4255)."
    IPSECKEY    45    "IPSECKEY"   "A key for IPsec (RFC 4025)."
    RRSIG       46    "RRSIG"      "A signature of an RRset (RFC 4034)."
    NSEC        47    "NSEC"       "The next name and the types at this one (RFC 4034)."
    DNSKEY      48    "DNSKEY"     "A zone's public key (RFC 4034)."
    DHCID       49    "DHCID"      "A DHCP client's identity (RFC 4701)."
    NSEC3       50    "NSEC3"      "The next hashed name and the types at this one (RFC 5155)."
    NSEC3PARAM  51    "NSEC3PARAM" "How a zone's names are hashed (RFC 5155)."
    TLSA        52    "TLSA"       "What a TLS server's certificate must match (RFC 6698)."
    SMIMEA      53    "SMIMEA"     "What a mail signer's certificate must match (RFC 8162)."
    HIP         55    "HIP"        "A host identity (RFC 8005)."
    NINFO       56    "NINFO"      "A zone's status."
    RKEY        57    "RKEY"       "A key to encrypt NAPTR records."
    TALINK      58    "TALINK"     "A link between trust anchors."
    CDS         59    "CDS"        "The DS that the child wishes for (RFC 7344)."
    CDNSKEY     60    "CDNSKEY"    "The DNSKEY whose DS the child wishes for (RFC 7344)."
    OPENPGPKEY  61    "OPENPGPKEY" "An OpenPGP key (RFC 7929)."
    CSYNC       62    "CSYNC"      "What the parent should copy from the child (RFC 7477)."
    ZONEMD      63    "ZONEMD"     "A digest of the whole zone (RFC 8976)."
    SVCB        64    "SVCB"       "How to reach a service (RFC 9460)."
    HTTPS       65    "HTTPS"      "How to reach an HTTP origin (RFC 9460)."
    DSYNC       66    "DSYNC"      "Where to announce a change of the delegation (RFC 9859)."
    HHIT        67    "HHIT"       "A hierarchical host identity tag (RFC 9886)."
    BRID        68    "BRID"       "A broadcast remote identity (RFC 9886)."
    SPF         99    "SPF"        "A sender policy; obsolete (RFC 7208)."
    UINFO       100   "UINFO"      "A number reserved by IANA."
    UID         101   "UID"        "A number reserved by IANA."
    GID         102   "GID"        "A number reserved by IANA."
    UNSPEC      103   "UNSPEC"     "A number reserved by IANA."
    NID         104   "NID"        "An ILNP node identifier (RFC 6742)."
    L32         105   "L32"        "A 32-bit ILNP locator (RFC 6742)."
    L64         106   "L64"        "A 64-bit ILNP locator (RFC 6742)."
    LP          107   "LP"         "A pointer to an ILNP locator (RFC 6742)."
    EUI48       108   "EUI48"      "A 48-bit link-layer address (RFC 7043)."
    EUI64       109   "EUI64"      "A 64-bit link-layer address (RFC 7043)."
    NXNAME      128   "NXNAME"     "The name does not exist: only in an NSEC made on the fly (RFC 9824)."
    TKEY        249   "TKEY"       "A key agreement: only in messages (RFC 2930)."
    TSIG        250   "TSIG"       "A message's signature: only in messages (RFC 8945)."
    IXFR        251   "IXFR"       "An incremental zone transfer: only in questions (RFC 1995)."
    AXFR        252   "AXFR"       "A zone transfer: only in questions (RFC 5936)."
    MAILB       253   "MAILB"      "MB, MG and MR: only in questions (RFC 1035)."
    MAILA       254   "MAILA"      "MD and MF: only in questions; obsolete (RFC 1035)."
    ANY         255   "ANY"        "Every type: only in questions (RFC 1035, RFC 8482)."
    URI         256   "URI"        "A URI for a service (RFC 7553)."
    CAA         257   "CAA"        "Who may issue certificates (RFC 8659)."
    AVC         258   "AVC"        "An application's visibility and control."
    DOA         259   "DOA"        "A digital object."
    AMTRELAY    260   "AMTRELAY"   "A multicast tunneling relay (RFC 8777)."
    RESINFO     261   "RESINFO"    "What a resolver offers (RFC 9606)."
    WALLET      262   "WALLET"     "A public wallet address."
    CLA         263   "CLA"        "A BP convergence layer adapter."
    IPN         264   "IPN"        "A BP node number."
    TA          32768 "TA"         "A trust anchor."
    DLV         32769 "DLV"        "A look-aside DS; obsolete (RFC 8749)."
    LUA         65402 "LUA"        "A script that answers for another type; PowerDNS's number in the private range."
}

impl Rtype {
    /// Reads a mnemonic or `TYPEnnn` (RFC 3597 section 5), in any letter case.
    ///
    /// `*` is no type here: it means ANY only in some tools' questions.
    pub fn parse(text: &[u8]) -> Option<Self> {
        if let Some((rtype, _)) = MNEMONICS.iter().find(|(_, mnemonic)| text.eq_ignore_ascii_case(mnemonic.as_bytes()))
        {
            return Some(*rtype);
        }
        let (prefix, digits) = text.split_at_checked(4)?;
        if !prefix.eq_ignore_ascii_case(b"TYPE") || !digits.iter().all(u8::is_ascii_digit) {
            return None;
        }
        std::str::from_utf8(digits).ok()?.parse().ok().map(Self)
    }

    /// Every type that has a mnemonic, with that.
    pub fn mnemonics() -> impl Iterator<Item = (Self, &'static str)> {
        MNEMONICS.iter().copied()
    }

    /// The mnemonic, if the type has one.
    pub fn mnemonic(self) -> Option<&'static str> {
        let index = MNEMONICS.binary_search_by_key(&self, |(rtype, _)| *rtype).ok()?;
        Some(MNEMONICS[index].1)
    }

    /// Whether the type can never be in a zone: it lives only in questions and messages.
    ///
    /// These are OPT, the reserved number 0, and all of 128 to 255 (RFC 6895 section 3.1).
    pub fn is_meta(self) -> bool {
        self == Self::OPT || matches!(self.0, 0 | 128..=255)
    }
}

impl fmt::Display for Rtype {
    /// Writes the mnemonic, or `TYPEnnn` if there is none.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.mnemonic() {
            Some(mnemonic) => f.pad(mnemonic),
            None => f.pad(&format!("TYPE{}", self.0)),
        }
    }
}

impl fmt::Debug for Rtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rtype({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mnemonics_stand_in_ascending_order_of_number() {
        assert!(MNEMONICS.is_sorted_by_key(|(rtype, _)| *rtype));
        assert!(MNEMONICS.windows(2).all(|pair| pair[0].0 != pair[1].0), "a number stands twice");
    }

    #[test]
    fn every_type_reads_back_from_both_of_its_texts() {
        for number in 0..=u16::MAX {
            let rtype = Rtype(number);
            assert_eq!(Rtype::parse(rtype.to_string().as_bytes()), Some(rtype));
            assert_eq!(Rtype::parse(format!("type{number}").as_bytes()), Some(rtype));
        }
    }

    #[test]
    fn texts_are_read_in_any_letter_case_and_checked() {
        let cases: [(&str, Option<Rtype>); 11] = [
            ("aaaa", Some(Rtype::AAAA)),
            ("Nsap-Ptr", Some(Rtype::NSAP_PTR)),
            ("tYpE65402", Some(Rtype::LUA)),
            ("TYPE00001", Some(Rtype::A)),
            ("", None),
            ("TYPE", None),
            ("TYPE65536", None),
            ("TYPE-1", None),
            ("TYPE+1", None),
            ("NSAP_PTR", None),
            ("*", None),
        ];
        for (text, expected) in cases {
            assert_eq!(Rtype::parse(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn only_types_of_questions_and_messages_are_meta() {
        for rtype in [Rtype::OPT, Rtype::TSIG, Rtype::TKEY, Rtype::ANY, Rtype::AXFR, Rtype::IXFR, Rtype::MAILA] {
            assert!(rtype.is_meta(), "{rtype}");
        }
        for rtype in [Rtype::A, Rtype::NULL, Rtype::SOA, Rtype::URI, Rtype::LUA, Rtype(65280)] {
            assert!(!rtype.is_meta(), "{rtype}");
        }
    }
}
