//! Every type both ways, and what is said of texts that are wrong.

use data_encoding::HEXLOWER;
use proptest::prelude::*;

use super::*;
use crate::dns::Name;

/// Splits one line as a zone file would: at blanks, with quotes around fields or inside words.
fn fields(line: &str) -> Vec<Field<'_>> {
    let octets = line.as_bytes();
    let mut fields = Vec::new();
    let mut at = 0;
    while at < octets.len() {
        if octets[at] == b' ' {
            at += 1;
            continue;
        }
        let start = at;
        let quoted = octets[at] == b'"';
        let mut inside = false;
        while at < octets.len() && (inside || octets[at] != b' ') {
            match octets[at] {
                b'\\' => at += 1,
                b'"' => inside = !inside,
                _ => {}
            }
            at += 1;
            if quoted && !inside {
                break;
            }
        }
        at = at.min(octets.len());
        // A quote that is not closed ends with the line, which a zone file's reader refuses.
        let text = match octets[start..at].strip_prefix(b"\"") {
            Some(text) => text.strip_suffix(b"\"").unwrap_or(text),
            None => &octets[start..at],
        };
        let column = u32::try_from(start + 1).expect("a test's line is short");
        fields.push(Field { text, quoted, line: 1, column });
    }
    fields
}

fn read_line(rtype: Rtype, line: &str) -> Result<Vec<u8>, RdataError> {
    read_fields(rtype, &fields(line))
}

fn read_fields(rtype: Rtype, fields: &[Field<'_>]) -> Result<Vec<u8>, RdataError> {
    let origin: Name = "example.".parse().expect("a well-formed name");
    let mut wire = b"before".to_vec();
    read(rtype, fields, Some(origin.as_ref()), &mut wire)?;
    assert!(wire.starts_with(b"before"), "{rtype} does not append");
    Ok(wire.split_off(6))
}

/// A type and a text, below it the canonical text if it is another, and the octets.
///
/// Where an RFC has an example of the type, it is here.
const VECTORS: &str = r##"
# RFC 1035
A 192.0.2.1
  c0000201
NS ns1
  = ns1.example.
  036e7331076578616d706c6500
NS @
  = example.
  076578616d706c6500
NS a\.b.example.
  03612e62076578616d706c6500
NS \@
  = \@.example.
  0140076578616d706c6500
CNAME www.Example.COM.
  03777777074578616d706c6503434f4d00
PTR host
  = host.example.
  04686f7374076578616d706c6500
MB host
  = host.example.
  04686f7374076578616d706c6500
MG host
  = host.example.
  04686f7374076578616d706c6500
MR host
  = host.example.
  04686f7374076578616d706c6500
MD host
  = host.example.
  04686f7374076578616d706c6500
MF host
  = host.example.
  04686f7374076578616d706c6500
MINFO a b
  = a.example. b.example.
  0161076578616d706c65000162076578616d706c6500
SOA ns hostmaster 1 1h30m 15M 1w 300
  = ns.example. hostmaster.example. 1 5400 900 604800 300
  026e73076578616d706c65000a686f73746d6173746572076578616d706c650000000001000015180000038400093a800000012c
SOA ns hostmaster 4294967295 7200 900 1209600 1d
  = ns.example. hostmaster.example. 4294967295 7200 900 1209600 86400
  026e73076578616d706c65000a686f73746d6173746572076578616d706c6500ffffffff00001c20000003840012750000015180
SOA ns hostmaster 1 2147483648 900 1209600 4294967295
  = ns.example. hostmaster.example. 1 2147483648 900 1209600 4294967295
  026e73076578616d706c65000a686f73746d6173746572076578616d706c650000000001800000000000038400127500ffffffff
HINFO Generic\032PC "Linux x"
  = "Generic PC" "Linux x"
  0a47656e65726963205043074c696e75782078
MX 10 mail
  = 10 mail.example.
  000a046d61696c076578616d706c6500
MX 0 .
  000000
MX 010 mail
  = 10 mail.example.
  000a046d61696c076578616d706c6500
TXT foo
  = "foo"
  03666f6f
TXT "a b" c "" "\"\\\200\;"
  = "a b" "c" "" "\"\\\200;"
  0361206201630004225cc83b
TXT ""
  00
TXT caf\195\169
  = "caf\195\169"
  05636166c3a9
# RFC 1183 and other early ones
RP mary.example. txt
  = mary.example. txt.example.
  046d617279076578616d706c650003747874076578616d706c6500
AFSDB 1 db
  = 1 db.example.
  0001026462076578616d706c6500
X25 311061700956
  = "311061700956"
  0c333131303631373030393536
X25 "311061700956"
  0c333131303631373030393536
ISDN 150862028003217
  = "150862028003217"
  0f313530383632303238303033323137
ISDN 150862028003217 004
  = "150862028003217" "004"
  0f31353038363230323830303332313703303034
RT 2 relay
  = 2 relay.example.
  00020572656c6179076578616d706c6500
NSAP 0x47.0005.80.005a00.0000.0001.e133.ffffff000161.00
  = 0x47000580005A0000000001E133FFFFFF00016100
  47000580005a0000000001e133ffffff00016100
NSAP-PTR foo
  = foo.example.
  03666f6f076578616d706c6500
PX 50 a b
  = 50 a.example. b.example.
  00320161076578616d706c65000162076578616d706c6500
GPOS -32.6882 116.8652 10.0
  = "-32.6882" "116.8652" "10.0"
  082d33322e36383832083131362e383635320431302e30
LOC 42 21 54 N 71 06 18 W -24m 30m
  = 42 21 54.000 N 71 6 18.000 W -24.00m 30m 10000m 10m
  0033161389172dd070be15f000988d20
LOC 42 21 43.952 N 71 5 6.344 W -24m 1m 200m
  = 42 21 43.952 N 71 5 6.344 W -24.00m 1m 200m 10m
  001224138917069070bf2dd800988d20
LOC 52 14 05 N 00 08 50 E 10m
  = 52 14 5.000 N 0 8 50.000 E 10.00m 1m 10000m 10m
  001216138b3556c88008165000989a68
LOC 32 7 19 S 116 2 25 E 10m
  = 32 7 19.000 S 116 2 25.000 E 10.00m 1m 10000m 10m
  00121613791b7d2898e6486800989a68
LOC 42 21 28.764 N 71 00 51.617 W -44m 2000m
  = 42 21 28.764 N 71 0 51.617 W -44.00m 2000m 10000m 10m
  002516138916cb3c70c310df00988550
LOC 90 N 180 W -100000.00 0 0.01m 90000000.00m
  = 90 0 0.000 N 180 0 0.000 W -100000.00m 0m 0.01m 90000000m
  00001099934fd90059604e0000000000
LOC 10 N 20 E 42849672.95m 12.34m 9m 99999m
  = 10 0 0.000 N 20 0 0.000 E 42849672.95m 10m 9m 90000m
  0013929682255100844aa200ffffffff
LOC 10 N 20 E 5.5 0.5m
  = 10 0 0.000 N 20 0 0.000 E 5.50m 0.50m 10000m 10m
  0051161382255100844aa200009898a6
LOC 0 S 0 W 0
  = 0 0 0.000 N 0 0 0.000 E 0.00m 1m 10000m 10m
  00121613800000008000000000989680
APL 1:192.168.32.0/21 !1:192.168.38.0/28
  00011503c0a82000011c83c0a826
APL 1:192.168.42.0/26 1:192.168.42.64/26 !1:192.168.42.128/25
  00011a03c0a82a00011a04c0a82a4000011984c0a82a80
APL 1:127.0.0.1/32 1:172.16.64.0/22
  000120047f00000100011603ac1040
APL 1:224.0.0.0/4 2:FF00:0:0:0:0:0:0:0/8
  = 1:224.0.0.0/4 2:ff00::/8
  00010401e000020801ff
APL
  -
APL 1:0.0.0.0/0
  00010000
APL !2:::/0
  00020080
# Names, addresses and texts of later documents
AAAA 2001:DB8::1
  = 2001:db8::1
  20010db8000000000000000000000001
AAAA ::ffff:192.0.2.1
  00000000000000000000ffffc0000201
AAAA ::192.0.2.1
  = ::c000:201
  000000000000000000000000c0000201
SRV 0 5 5060 sip
  = 0 5 5060 sip.example.
  0000000513c403736970076578616d706c6500
SRV 0 0 0 .
  00000000000000
NAPTR 100 10 "" "" "!^urn:cid:.+@([^\\.]+\\.)(.*)$!\\2!i" .
  0064000a000021215e75726e3a6369643a2e2b40285b5e5c2e5d2b5c2e29282e2a2924215c32216900
NAPTR 100 50 "s" "http+I2L+I2C+I2R" "" _http._tcp.gatech.edu.
  00640032017310687474702b49324c2b4932432b49325200055f68747470045f746370066761746563680365647500
NAPTR 100 50 a "z3950+N2L+N2C" "" cidserver.example.com.
  = 100 50 "a" "z3950+N2L+N2C" "" cidserver.example.com.
  0064003201610d7a333935302b4e324c2b4e32430009636964736572766572076578616d706c6503636f6d00
NAPTR 100 50 a! "z" "" x
  = 100 50 "a!" "z" "" x.example.
  00640032026121017a000178076578616d706c6500
NAPTR 100 10 "u" "E2U+sip" "!^.*$!sip:info@example.com!" .
  0064000a0175074532552b7369701b215e2e2a24217369703a696e666f406578616d706c652e636f6d2100
NAPTR 100 10 "u" "E2U+sip" "bad" .
  0064000a0175074532552b7369700362616400
KX 10 kx
  = 10 kx.example.
  000a026b78076578616d706c6500
DNAME other
  = other.example.
  056f74686572076578616d706c6500
SPF "v=spf1 -all"
  0b763d73706631202d616c6c
AVC "app-name:WOLFGANG|app-class:OAM"
  1f6170702d6e616d653a574f4c4647414e477c6170702d636c6173733a4f414d
NINFO "x"
  0178
RESINFO qnamemin exterr=15,16,17 infourl=https://resolver.example.com/guide
  = "qnamemin" "exterr=15,16,17" "infourl=https://resolver.example.com/guide"
  08716e616d656d696e0f6578746572723d31352c31362c31372a696e666f75726c3d68747470733a2f2f7265736f6c7665722e6578616d706c652e636f6d2f6775696465
WALLET "BTC" "x"
  034254430178
CLA "TCP-v4-v6"
  095443502d76342d7636
TALINK a b
  = a.example. b.example.
  0161076578616d706c65000162076578616d706c6500
EID e32c6f78163a9348
  = E32C6F78163A9348
  e32c6f78163a9348
NIMLOC 75234159eac457
  = 75234159EAC457
  75234159eac457
IPN 977000
  00000000000ee868
# DNSSEC and delegation
CERT PKIX 1 RSASHA1 AQID
  = PKIX 1 5 AQID
  0001000105010203
CERT PGP 0 0 AQID
  0003000000010203
CERT 65534 65535 254 AQID BAUG
  = 65534 65535 254 AQIDBAUG
  fffefffffe010203040506
CERT URI 0 0 AQID
  00fd000000010203
DS 60485 5 1 2BB183AF5F22588179A53B0A 98631FAD1A292118
  = 60485 5 1 2BB183AF5F22588179A53B0A98631FAD1A292118
  ec4505012bb183af5f22588179a53b0a98631fad1a292118
DS 60485 RSASHA256 2 D4B7D520E7BB5F0F67674A0CCEB1E3E0614B93C4F9E99B8383F6A1E4469DA50A
  = 60485 8 2 D4B7D520E7BB5F0F67674A0CCEB1E3E0614B93C4F9E99B8383F6A1E4469DA50A
  ec450802d4b7d520e7bb5f0f67674a0cceb1e3e0614b93c4f9e99b8383f6a1e4469da50a
DS 60485 RSASHA256 SHA-256 D4B7D520E7BB5F0F67674A0CCEB1E3E0614B93C4F9E99B8383F6A1E4469DA50A
  = 60485 8 2 D4B7D520E7BB5F0F67674A0CCEB1E3E0614B93C4F9E99B8383F6A1E4469DA50A
  ec450802d4b7d520e7bb5f0f67674a0cceb1e3e0614b93c4f9e99b8383f6a1e4469da50a
DS 60485 5 250 2BB183
  ec4505fa2bb183
DS 12345 13 4 72D7B62976CE06438E9C0BF319013CF801F09ECC84B8D7E9495F27E305C6A9B0563A9B5F4D288405C3008A946DF983D6
  30390d0472d7b62976ce06438e9c0bf319013cf801f09ecc84b8d7e9495f27e305c6a9b0563a9b5f4d288405c3008a946df983d6
CDS 0 0 0 00
  0000000000
DLV 60485 5 1 2BB183AF5F22588179A53B0A98631FAD1A292118
  ec4505012bb183af5f22588179a53b0a98631fad1a292118
TA 60485 5 1 2BB183AF5F22588179A53B0A98631FAD1A292118
  ec4505012bb183af5f22588179a53b0a98631fad1a292118
DNSKEY 256 3 5 AQPSKmynfzW4kyBv015MUG2DeIQ3 Cbl+BBZH4b/0PY1kxkmvHjcZc8no kfzj31GajIQKY+5CptLr3buXA10h WqTkF7H6RfoRqXQeogmMHfpftf6z Mv1LyBUgia7za6ZEzOJBOztyvhjL 742iU/TpPSEDhm2SNKLijfUppn1U aNvv4w==
  = 256 3 5 AQPSKmynfzW4kyBv015MUG2DeIQ3Cbl+BBZH4b/0PY1kxkmvHjcZc8nokfzj31GajIQKY+5CptLr3buXA10hWqTkF7H6RfoRqXQeogmMHfpftf6zMv1LyBUgia7za6ZEzOJBOztyvhjL742iU/TpPSEDhm2SNKLijfUppn1UaNvv4w==
  010003050103d22a6ca77f35b893206fd35e4c506d8378843709b97e041647e1bff43d8d64c649af1e371973c9e891fce3df519a8c840a63ee42a6d2ebddbb97035d215aa4e417b1fa45fa11a9741ea2098c1dfa5fb5feb332fd4bc8152089aef36ba644cce2413b3b72be18cbef8da253f4e93d2103866d9234a2e28df529a67d5468dbefe3
DNSKEY 257 3 ECDSAP256SHA256 AQID
  = 257 3 13 AQID
  0101030d010203
DNSKEY 257 3 99 AQID
  01010363010203
CDNSKEY 0 3 0 AA==
  0000030000
RKEY 0 3 5 AQID
  00000305010203
KEY 256 3 5 AQPSKmynfzW4kyBv015MUG2DeIQ3
  010003050103d22a6ca77f35b893206fd35e4c506d83788437
KEY 49152 3 5
  c0000305
RRSIG A 5 3 86400 20030322173103 20030220173103 2642 example.com. oJB1W6WNGv+ldvQ3WDG0MQkg5IEhjRip8WTr PYGv07h108dUKGMeDPKijVCHX3DDKdfb+v6o B9wfuh3DTJXUAfI/M0zmO/zz8bW0Rznl8O3t GNazPwQKkRN20XPXV6nwwfoXmJQbsLNrLfkG J5D6fwFm8nN+6pBzeDQfsS3Ap3o=
  = A 5 3 86400 20030322173103 20030220173103 2642 example.com. oJB1W6WNGv+ldvQ3WDG0MQkg5IEhjRip8WTrPYGv07h108dUKGMeDPKijVCHX3DDKdfb+v6oB9wfuh3DTJXUAfI/M0zmO/zz8bW0Rznl8O3tGNazPwQKkRN20XPXV6nwwfoXmJQbsLNrLfkGJ5D6fwFm8nN+6pBzeDQfsS3Ap3o=
  00010503000151803e7c9dd73e5510d70a52076578616d706c6503636f6d00a090755ba58d1affa576f4375831b4310920e481218d18a9f164eb3d81afd3b875d3c75428631e0cf2a28d50875f70c329d7dbfafea807dc1fba1dc34c95d401f23f334ce63bfcf3f1b5b44739e5f0eded18d6b33f040a911376d173d757a9f0c1fa1798941bb0b36b2df9062790fa7f0166f2737eea907378341fb12dc0a77a
SIG A 5 3 86400 20030322173103 20030220173103 2642 example.com. oJB1
  00010503000151803e7c9dd73e5510d70a52076578616d706c6503636f6d00a09075
NSEC host.example.com. A MX RRSIG NSEC TYPE1234
  04686f7374076578616d706c6503636f6d000006400100000003041b000000000000000000000000000000000000000000000000000020
NSEC host.example.com. NSEC RRSIG MX A A
  = host.example.com. A MX RRSIG NSEC
  04686f7374076578616d706c6503636f6d000006400100000003
NSEC host.example.com. A CAA URI TYPE65535 LUA
  = host.example.com. A URI CAA LUA TYPE65535
  04686f7374076578616d706c6503636f6d000001400101c0ff200000000000000000000000000000002000000000000000000000000000000001
NSEC host.example.com. ANY
  04686f7374076578616d706c6503636f6d0000200000000000000000000000000000000000000000000000000000000000000001
NSEC3 1 1 12 aabbccdd 2t7b4g4vsa5smi47k61mv5bv1a22bojr MX DNSKEY NS SOA NSEC3PARAM RRSIG
  = 1 1 12 AABBCCDD 2t7b4g4vsa5smi47k61mv5bv1a22bojr NS SOA MX RRSIG DNSKEY NSEC3PARAM
  0101000c04aabbccdd14174eb2409fe28bcb4887a1836f957f0a8425e27b000722010000000290
NSEC3 1 0 0 - 2T7B4G4VSA5SMI47K61MV5BV1A22BOJR
  = 1 0 0 - 2t7b4g4vsa5smi47k61mv5bv1a22bojr
  010000000014174eb2409fe28bcb4887a1836f957f0a8425e27b
NSEC3 SHA-1 0 0 - 2T7B4G4VSA5SMI47K61MV5BV1A22BOJR A
  = 1 0 0 - 2t7b4g4vsa5smi47k61mv5bv1a22bojr A
  010000000014174eb2409fe28bcb4887a1836f957f0a8425e27b000140
NSEC3PARAM 1 0 12 aabbccdd
  = 1 0 12 AABBCCDD
  0100000c04aabbccdd
NSEC3PARAM 1 0 0 -
  0100000000
CSYNC 66 3 A NS AAAA
  000000420003000460000008
CSYNC 66 3
  000000420003
ZONEMD 2018031900 1 1 c68090d90a7aed716bc459f9340e3d7c1370d4d24b7e2fc3a1ddc0b9a87153b9a9713b3c9ae5cc27777f98b8e730044c
  = 2018031900 1 1 C68090D90A7AED716BC459F9340E3D7C1370D4D24B7E2FC3A1DDC0B9A87153B9A9713B3C9AE5CC27777F98B8E730044C
  7848b91c0101c68090d90a7aed716bc459f9340e3d7c1370d4d24b7e2fc3a1ddc0b9a87153b9a9713b3c9ae5cc27777f98b8e730044c
ZONEMD 1 1 240 e2d523f654b9422a96c5a8f44607bbee
  = 1 1 240 E2D523F654B9422A96C5A8F44607BBEE
  0000000101f0e2d523f654b9422a96c5a8f44607bbee
DSYNC CDS NOTIFY 5359 cds-scanner
  = CDS NOTIFY 5359 cds-scanner.example.
  003b0114ef0b6364732d7363616e6e6572076578616d706c6500
DSYNC CSYNC 200 5300 x
  = CSYNC 200 5300 x.example.
  003ec814b40178076578616d706c6500
# Keys, certificates and digests
SSHFP 2 1 123456789abcdef67890123456789abcdef67890
  = 2 1 123456789ABCDEF67890123456789ABCDEF67890
  0201123456789abcdef67890123456789abcdef67890
SSHFP 4 2 A87F1B687AC0E57D2A081A2F282672334D90ED316D2B818CA9580EA384D92401
  0402a87f1b687ac0e57d2a081a2f282672334d90ed316d2b818ca9580ea384d92401
SSHFP 4 9 A87F
  0409a87f
IPSECKEY 10 1 2 192.0.2.38 AQNRU3mG7TVTO2BkR47usntb102uFJtugbo6BSGvgqt4AQ==
  0a0102c0000226010351537986ed35533b6064478eeeb27b5bd74dae149b6e81ba3a0521af82ab7801
IPSECKEY 10 0 2 . AQNRU3mG7TVTO2BkR47usntb102uFJtugbo6BSGvgqt4AQ==
  0a0002010351537986ed35533b6064478eeeb27b5bd74dae149b6e81ba3a0521af82ab7801
IPSECKEY 10 3 2 mygateway.example.com. AQNRU3mG7TVTO2BkR47usntb102uFJtugbo6BSGvgqt4AQ==
  0a0302096d7967617465776179076578616d706c6503636f6d00010351537986ed35533b6064478eeeb27b5bd74dae149b6e81ba3a0521af82ab7801
IPSECKEY 10 2 2 2001:0DB8:0:8002::2000:1 AQNRU3mG7TVTO2BkR47usntb102uFJtugbo6BSGvgqt4AQ==
  = 10 2 2 2001:db8:0:8002::2000:1 AQNRU3mG7TVTO2BkR47usntb102uFJtugbo6BSGvgqt4AQ==
  0a020220010db8000080020000000020000001010351537986ed35533b6064478eeeb27b5bd74dae149b6e81ba3a0521af82ab7801
IPSECKEY 10 0 0 .
  0a0000
IPSECKEY 10 0 0 . AQID
  0a0000010203
AMTRELAY 10 0 0 .
  0a00
AMTRELAY 10 1 1 203.0.113.15
  0a81cb00710f
AMTRELAY 10 0 2 2001:db8::15
  0a0220010db8000000000000000000000015
AMTRELAY 128 1 3 amtrelays.example.com.
  808309616d7472656c617973076578616d706c6503636f6d00
HIP 2 200100107B1A74DF365639CC39F1D578 AwEAAbdxyhNuSutc5EMzxTs9LBPCIkOFH8cIvM4p9+LrV4e19WzK00+CI6zBCQTdtWsuxKbWIy87UOoJTwkUs7lBu+Upr1gsNrut79ryra+bSRGQb1slImA8YVJyuIDsj7kwzG7jnERNqnWxZ48AWkskmdHaVDP4BcelrTI3rMXdXF5D
  10020084200100107b1a74df365639cc39f1d57803010001b771ca136e4aeb5ce44333c53b3d2c13c22243851fc708bcce29f7e2eb5787b5f56ccad34f8223acc10904ddb56b2ec4a6d6232f3b50ea094f0914b3b941bbe529af582c36bbadefdaf2adaf9b4911906f5b2522603c615272b880ec8fb930cc6ee39c444daa75b1678f005a4b2499d1da5433f805c7a5ad3237acc5dd5c5e43
HIP 2 200100107B1A74DF365639CC39F1D578 AQID rvs.example.com. rvs2
  = 2 200100107B1A74DF365639CC39F1D578 AQID rvs.example.com. rvs2.example.
  10020003200100107b1a74df365639cc39f1d57801020303727673076578616d706c6503636f6d000472767332076578616d706c6500
DHCID AAIBY2/AuCccgoJbsaxcQc9TUapptP69lOjxfNuVAA2kjEA=
  000201636fc0b8271c82825bb1ac5c41cf5351aa69b4febd94e8f17cdb95000da48c40
TLSA 0 0 1 d2abde240d7cd3ee6b4b28c54df034b9 7983a1d16e8a410e4561cb106618e971
  = 0 0 1 D2ABDE240D7CD3EE6B4B28C54DF034B97983A1D16E8A410E4561CB106618E971
  000001d2abde240d7cd3ee6b4b28c54df034b97983a1d16e8a410e4561cb106618e971
TLSA 1 1 2 92003ba34942dc74152e2f2c408d29ec
  = 1 1 2 92003BA34942DC74152E2F2C408D29EC
  01010292003ba34942dc74152e2f2c408d29ec
SMIMEA 0 0 1 d2abde240d7cd3ee6b4b28c54df034b97983a1d16e8a410e4561cb106618e971
  = 0 0 1 D2ABDE240D7CD3EE6B4B28C54DF034B97983A1D16E8A410E4561CB106618E971
  000001d2abde240d7cd3ee6b4b28c54df034b97983a1d16e8a410e4561cb106618e971
OPENPGPKEY AQID BAUG
  = AQIDBAUG
  010203040506
HHIT gwppM2ZmOCBmMDAxOjE=
  830a693366663820663030313a31
BRID gwppM2ZmOCBmMDAxOjE=
  830a693366663820663030313a31
# RFC 9460, appendix D first
SVCB 0 foo.example.com.
  000003666f6f076578616d706c6503636f6d00
SVCB 1 .
  000100
SVCB 16 foo.example.com. port=53
  001003666f6f076578616d706c6503636f6d00000300020035
SVCB 1 foo.example.com. key667=hello
  = 1 foo.example.com. key667="hello"
  000103666f6f076578616d706c6503636f6d00029b000568656c6c6f
SVCB 1 foo.example.com. key667="hello\210qoo"
  000103666f6f076578616d706c6503636f6d00029b000968656c6c6fd2716f6f
SVCB 1 foo.example.com. key667="a b"
  000103666f6f076578616d706c6503636f6d00029b0003612062
SVCB 1 foo.example.com. key667
  000103666f6f076578616d706c6503636f6d00029b0000
SVCB 1 foo.example.com. key667=
  = 1 foo.example.com. key667
  000103666f6f076578616d706c6503636f6d00029b0000
SVCB 1 foo.example.com. ipv6hint="2001:db8::1,2001:db8::53:1"
  = 1 foo.example.com. ipv6hint=2001:db8::1,2001:db8::53:1
  000103666f6f076578616d706c6503636f6d000006002020010db800000000000000000000000120010db8000000000000000000530001
SVCB 1 example.com. ipv6hint="2001:db8:122:344::192.0.2.33"
  = 1 example.com. ipv6hint=2001:db8:122:344::c000:221
  0001076578616d706c6503636f6d000006001020010db80122034400000000c0000221
SVCB 16 foo.example.org. alpn=h2,h3-19 mandatory=ipv4hint,alpn ipv4hint=192.0.2.1
  = 16 foo.example.org. mandatory=alpn,ipv4hint alpn="h2,h3-19" ipv4hint=192.0.2.1
  001003666f6f076578616d706c65036f7267000000000400010004000100090268320568332d313900040004c0000201
SVCB 16 foo.example.org. alpn="f\\\\oo\\,bar,h2"
  001003666f6f076578616d706c65036f7267000001000c08665c6f6f2c626172026832
SVCB 16 foo.example.org. alpn=f\\\092oo\092,bar,h2
  = 16 foo.example.org. alpn="f\\\\oo\\,bar,h2"
  001003666f6f076578616d706c65036f7267000001000c08665c6f6f2c626172026832
SVCB 1 foo.example.com. no-default-alpn alpn=h2
  = 1 foo.example.com. alpn="h2" no-default-alpn
  000103666f6f076578616d706c6503636f6d000001000302683200020000
SVCB 1 foo.example.com. no-default-alpn= alpn=h2
  = 1 foo.example.com. alpn="h2" no-default-alpn
  000103666f6f076578616d706c6503636f6d000001000302683200020000
SVCB 0 foo.example.com. port=53
  000003666f6f076578616d706c6503636f6d00000300020035
HTTPS 1 . alpn="h3,h2" ech=AEj+DQBEAQAgACAdd+scUi0IYFsXnUIU7ko2Nd9+F8M26pAGZVpz/KrWPgAEAAEAAWQVZWNoLXNpdGVzLmV4YW1wbGUubmV0AAA= ipv4hint=1.2.3.4
  = 1 . alpn="h3,h2" ipv4hint=1.2.3.4 ech=AEj+DQBEAQAgACAdd+scUi0IYFsXnUIU7ko2Nd9+F8M26pAGZVpz/KrWPgAEAAEAAWQVZWNoLXNpdGVzLmV4YW1wbGUubmV0AAA=
  0001000001000602683302683200040004010203040005004a0048fe0d004401002000201d77eb1c522d08605b179d4214ee4a3635df7e17c336ea9006655a73fcaad63e00040001000164156563682d73697465732e6578616d706c652e6e65740000
HTTPS 1 . ech="AEj+DQ=="
  = 1 . ech=AEj+DQ==
  000100000500040048fe0d
HTTPS 1 . dohpath=/dns-query{?dns}
  = 1 . dohpath="/dns-query{?dns}"
  000100000700102f646e732d71756572797b3f646e737d
HTTPS 1 . alpn=h2 dohpath="/q{?dns}" ohttp
  = 1 . alpn="h2" dohpath="/q{?dns}" ohttp
  00010000010003026832000700082f717b3f646e737d00080000
HTTPS 1 . key1=\002h2
  = 1 . alpn="h2"
  00010000010003026832
HTTPS 1 . key3=\001\187
  = 1 . port=443
  0001000003000201bb
HTTPS 1 . port="443"
  = 1 . port=443
  0001000003000201bb
HTTPS 1 . ipv4hint=1.2.3.4,1.2.3.5 ipv6hint=::1
  0001000004000801020304010203050006001000000000000000000000000000000001
HTTPS 1 . alpn="a b"
  0001000001000403612062
HTTPS 1 . alpn=a\"b
  = 1 . alpn="a\"b"
  0001000001000403612262
HTTPS 1 . alpn=a\,b
  = 1 . alpn="a,b"
  0001000001000401610162
HTTPS 1 . alpn=a\120
  = 1 . alpn="ax"
  00010000010003026178
HTTPS 1 . alpn=a\\,b
  = 1 . alpn="a\\,b"
  0001000001000403612c62
# Identifiers and the rest
NID 10 0014:4fff:ff20:ee64
  000a00144fffff20ee64
NID 10 14:4fff:ff20:e
  = 10 0014:4fff:ff20:000e
  000a00144fffff20000e
L32 10 10.1.2.0
  000a0a010200
L64 10 2001:0DB8:1140:1000
  = 10 2001:0db8:1140:1000
  000a20010db811401000
LP 10 l64-subnet
  = 10 l64-subnet.example.
  000a0a6c36342d7375626e6574076578616d706c6500
EUI48 00-00-5e-00-53-2a
  00005e00532a
EUI48 00-00-5E-00-53-2A
  = 00-00-5e-00-53-2a
  00005e00532a
EUI64 00-00-5e-ef-10-00-00-2a
  00005eef1000002a
URI 10 1 "ftp://ftp1.example.com/public"
  000a00016674703a2f2f667470312e6578616d706c652e636f6d2f7075626c6963
URI 10 1 ftp://ftp1.example.com/public
  = 10 1 "ftp://ftp1.example.com/public"
  000a00016674703a2f2f667470312e6578616d706c652e636f6d2f7075626c6963
CAA 0 issue "ca.example.net; policy=ev"
  0005697373756563612e6578616d706c652e6e65743b20706f6c6963793d6576
CAA 128 tbs "Unknown"
  8003746273556e6b6e6f776e
CAA 0 iodef mailto:security@example.com
  = 0 iodef "mailto:security@example.com"
  0005696f6465666d61696c746f3a7365637572697479406578616d706c652e636f6d
CAA 0 issue ";"
  000569737375653b
CAA 0 ISSUE ""
  00054953535545
CAA 0 issue "\200"
  00056973737565c8
"##;

/// One entry of `VECTORS`.
#[derive(Clone, Debug)]
struct Vector {
    rtype: Rtype,
    text: &'static str,
    canonical: &'static str,
    wire: Vec<u8>,
}

fn vectors() -> Vec<Vector> {
    entries(VECTORS)
        .map(|(rtype, text, below)| match below[..] {
            [hex] => Vector { rtype, text, canonical: text, wire: octets(hex) },
            [canonical, hex] => {
                let canonical = canonical.strip_prefix("= ").expect("a canonical text begins with `=`");
                Vector { rtype, text, canonical, wire: octets(hex) }
            }
            _ => panic!("{rtype} {text} has {} lines below it", below.len()),
        })
        .collect()
}

/// Splits a block into types, texts, and the indented lines below them; lines with `#` are headings.
fn entries(block: &'static str) -> impl Iterator<Item = (Rtype, &'static str, Vec<&'static str>)> {
    let mut lines = block.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).peekable();
    std::iter::from_fn(move || {
        let head = lines.next()?;
        let (rtype, text) = head.split_once(' ').unwrap_or((head, ""));
        let below = std::iter::from_fn(|| lines.next_if(|line| line.starts_with("  "))).map(str::trim_start).collect();
        Some((Rtype::parse(rtype.as_bytes()).expect("an entry begins with a type"), text, below))
    })
}

/// Reads hexadecimal with blanks; `-` is none.
fn octets(hex: &str) -> Vec<u8> {
    let digits: String = hex.split_whitespace().filter(|word| *word != "-").collect();
    HEXLOWER.decode(digits.as_bytes()).expect("a test's hexadecimal is well-formed")
}

#[test]
fn every_text_reads_as_its_octets_and_they_write_as_the_canonical_text() {
    for Vector { rtype, text, canonical, wire } in vectors() {
        assert_eq!(read_line(rtype, text).as_ref(), Ok(&wire), "{rtype} {text}");
        assert_eq!(write(rtype, &wire), canonical, "{rtype} {text}");
        assert_eq!(read_line(rtype, canonical).as_ref(), Ok(&wire), "{rtype} {canonical}");
        let generic = format!("\\# {} {}", wire.len(), HEXLOWER.encode(&wire));
        assert_eq!(read_line(rtype, &generic).as_ref(), Ok(&wire), "{rtype} {generic}");
    }
}

#[test]
fn every_type_of_the_table_has_a_vector() {
    let vectors = vectors();
    for rtype in (0..=u16::MAX).map(Rtype).filter(|rtype| layout(*rtype).is_some()) {
        assert!(vectors.iter().any(|vector| vector.rtype == rtype), "{rtype}");
        assert!(rtype.mnemonic().is_some_and(|_| !rtype.is_meta()), "{rtype}");
    }
}

#[test]
fn lengths_are_taken_up_to_their_limits() {
    let (longest, too_long) = ("a".repeat(255), "a".repeat(256));
    let longest_salt = "ab".repeat(255);
    let longest_value = "a".repeat(RDATA_OCTETS_MAX - 7);
    for (rtype, text, length) in [
        (Rtype::TXT, format!("\"{longest}\""), 256),
        (Rtype::TXT, format!("{}\\097", &longest[1..]), 256),
        (Rtype::CAA, format!("0 issue {longest_value}"), RDATA_OCTETS_MAX),
        (Rtype::CAA, format!("0 {longest} x"), 258),
        (Rtype::NSEC3PARAM, format!("1 0 0 {longest_salt}"), 260),
    ] {
        assert_eq!(read_line(rtype, &text).map(|wire| wire.len()), Ok(length), "{rtype}");
    }
    for (rtype, text, message) in [
        (Rtype::TXT, format!("x {too_long}"), "is 256 octets long; a character-string holds at most 255"),
        (Rtype::CAA, format!("0 issue a{longest_value}"), "the data is 65536 octets long; at most 65535 fit"),
        (Rtype::CAA, format!("0 {too_long} x"), "tag is 256 octets long; at most 255 fit"),
        (Rtype::NSEC3PARAM, format!("1 0 0 {longest_salt}ab"), "salt is 256 octets long; at most 255 fit"),
    ] {
        let error = read_line(rtype, &text).expect_err(message);
        assert!(error.message.ends_with(message), "{error}");
        assert!(error.message.len() < 200, "a message shows the whole of a long text: {error}");
    }
}

#[test]
fn a_text_that_is_too_long_may_be_split() {
    let error = read_line(Rtype::TXT, &"a".repeat(300)).expect_err("300 octets do not fit");
    assert_eq!(
        error.help.as_deref(),
        Some("split it into several texts of at most 255 octets; who reads them joins them")
    );
}

#[test]
fn wrong_texts_are_refused_with_their_field_and_what_to_do() {
    for (rtype, text, below) in entries(REFUSALS) {
        let error = read_line(rtype, text).expect_err(text);
        let help = format!("help: {}", error.help.as_deref().expect(text));
        assert_eq!([format!("{}: {error}", error.field), help], below[..], "{rtype} {text}");
    }
}

/// A type and a text, below it the field at fault and what is said of it.
const REFUSALS: &str = r##"
A 192.0.2.01
  0: address `192.0.2.01` is not an IPv4 address
  help: write four numbers from 0 to 255 with dots between, as in `192.0.2.1`
A 192.0.2
  0: address `192.0.2` is not an IPv4 address
  help: write four numbers from 0 to 255 with dots between, as in `192.0.2.1`
A 1.2.3.4 5
  1: `A` has no place for `5`
  help: write `A <address>`
A "192.0.2.1"
  0: address `192.0.2.1` stands in quotes
  help: remove the quotes
A \# 3 0A0000
  2: `0A0000` is not a well-formed `A`
  help: write `A <address>`
SOA ns hostmaster 1 1h30 900 1209600 300
  3: refresh `1h30` is not a number of seconds from 0 to 4294967295
  help: write seconds as in `3600`, or units as in `1h30m`
SOA ns hostmaster 1 -1 900 1209600 300
  3: refresh `-1` is not a number of seconds from 0 to 4294967295
  help: write seconds as in `3600`, or units as in `1h30m`
HINFO a
  1: `HINFO` lacks its OS
  help: write `HINFO <CPU> <OS>`
MX 65536 mail
  0: preference `65536` is not a number from 0 to 65535
  help: write `MX <preference> <exchange>`
MX 10
  1: `MX` lacks its exchange
  help: write `MX <preference> <exchange>`
TXT
  0: `TXT` lacks its text
  help: write `TXT <text>...`
AAAA 2001:db8::1%eth0
  0: address `2001:db8::1%eth0` is not an IPv6 address
  help: write hexadecimal groups with colons between, as in `2001:db8::1`
LOC 90 0 0.001 N 180 W 0
  3: latitude is more than 90 degrees
  help: look at the degrees; the latitude comes first
LOC 91 N 180 W 0
  1: latitude is more than 90 degrees
  help: look at the degrees; the latitude comes first
LOC 10 n 20 e 42849672.96m
  4: altitude `42849672.96m` is not a number of metres from -100000.00 to 42849672.95
  help: write it as in `-24.50m`
LOC 10 60 N 20 E 0
  1: latitude `60` is not a number of minutes from 0 to 59 or a half
  help: write it as in `52 22 23.000 N`; the halves are `N` and `S`
LOC 10 5 60 N 20 E 0
  2: latitude `60` is not a number of seconds from 0 to 59.999 or a half
  help: write it as in `52 22 23.000 N`; the halves are `N` and `S`
LOC 10 5 1.2345 N 20 E 0
  2: latitude `1.2345` is not a number of seconds from 0 to 59.999 or a half
  help: write it as in `52 22 23.000 N`; the halves are `N` and `S`
LOC 10 N 20 E
  4: `LOC` lacks its altitude
  help: write `LOC <degrees> [<minutes> [<seconds>]] N|S <degrees> [<minutes> [<seconds>]] E|W <altitude>m [<size>m [<horizontal precision>m [<vertical precision>m]]]`
LOC 10 N 20 E 5 1m 1m 1m 1m
  8: `LOC` has no place for `1m`
  help: write `LOC <degrees> [<minutes> [<seconds>]] N|S <degrees> [<minutes> [<seconds>]] E|W <altitude>m [<size>m [<horizontal precision>m [<vertical precision>m]]]`
CERT FOO 0 0 AQID
  0: certificate type `FOO` is not a known mnemonic or a number from 0 to 65535
  help: write `PKIX`, `PGP` or the number
CERT PGP 0 0
  3: `CERT` lacks its data
  help: write `CERT <certificate type> <key tag> <algorithm> <data>...`
APL 1:1.2.3.4/33
  0: prefix `1:1.2.3.4/33` is not an address prefix
  help: write `1:192.0.2.0/24` for IPv4, `2:2001:db8::/32` for IPv6, and `!` before it to exclude it
APL 3:1.2.3.4/3
  0: prefix `3:1.2.3.4/3` is not an address prefix
  help: write `1:192.0.2.0/24` for IPv4, `2:2001:db8::/32` for IPv6, and `!` before it to exclude it
APL 1:1.2.3.4
  0: prefix `1:1.2.3.4` is not an address prefix
  help: write `1:192.0.2.0/24` for IPv4, `2:2001:db8::/32` for IPv6, and `!` before it to exclude it
DS 60485 5 1 2BB183
  3: digest of kind 1 is 3 octets long, not 20
  help: look for missing digits, or another kind
DS 60485 5 250
  3: `DS` lacks its digest
  help: write `DS <key tag> <algorithm> <digest type> <digest>...`
SSHFP 4 2 A87F
  2: fingerprint of kind 2 is 2 octets long, not 32
  help: look for missing digits, or another kind
IPSECKEY 10 0 2 .
  4: `IPSECKEY` lacks its key
  help: write `IPSECKEY <precedence> <gateway type> <algorithm> <gateway> [<key>...]`
IPSECKEY 10 4 2 . AQID
  1: gateway of kind `4` has no text
  help: write kind 0 for none, 1 for an IPv4 address, 2 for an IPv6 address, 3 for a name; others only as `\# length hex`
IPSECKEY 10 0 2 foo AQID
  3: gateway `foo` is not `.`
  help: kind 0 means that there is none, which is written `.`
RRSIG TYPE65280 ED25519 3 1h 4294967295 0 2642 example.com. oJB1
  3: original TTL `1h` is not a number from 0 to 4294967295
  help: write `RRSIG <covered type> <algorithm> <labels> <original TTL> <expiration> <inception> <key tag> <signer> <signature>...`
RRSIG A 5 3 86400 20030230173103 20030220173103 2642 example.com. oJB1
  4: expiration `20030230173103` is not a time between 1970 and 2106
  help: write `YYYYMMDDHHmmSS` in UTC, or seconds since the start of 1970
RRSIG A 5 3 86400 21070322173103 20030220173103 2642 example.com. oJB1
  4: expiration `21070322173103` is not a time between 1970 and 2106
  help: write `YYYYMMDDHHmmSS` in UTC, or seconds since the start of 1970
RRSIG A 5 3 86400 20030322173103 20030220173103 2642 example.com.
  8: `RRSIG` lacks its signature
  help: write `RRSIG <covered type> <algorithm> <labels> <original TTL> <expiration> <inception> <key tag> <signer> <signature>...`
NSEC host.example.com.
  1: `NSEC` lacks its type
  help: write `NSEC <next name> <type>...`
NSEC host.example.com. BOGUS
  1: type `BOGUS` is not a record type
  help: write a mnemonic as in `AAAA`, or `TYPE` and the number
DNSKEY 257 3 FOO AQID
  2: algorithm `FOO` is not a known mnemonic or a number from 0 to 255
  help: the known ones are 0 DELETE, 1 RSAMD5, 2 DH, 3 DSA, 5 RSASHA1, 6 DSA-NSEC3-SHA1, 6 NSEC3DSA, 7 RSASHA1-NSEC3-SHA1, 7 NSEC3RSASHA1, 8 RSASHA256, 10 RSASHA512, 12 ECC-GOST, 12 ECCGOST, 13 ECDSAP256SHA256, 14 ECDSAP384SHA384, 15 ED25519, 16 ED448, 17 SM2SM3, 23 ECC-GOST12, 252 INDIRECT, 253 PRIVATEDNS, 254 PRIVATEOID
DNSKEY 257 3 8 AQI
  3: key `AQI` is not in base64
  help: look for a missing end: the digits, `=` included, come in fours
DNSKEY 257 3 8
  3: `DNSKEY` lacks its key
  help: write `DNSKEY <flags> <protocol> <algorithm> <key>...`
DNSKEY 257 3 8 AQJ=
  3: key `AQJ=` is not in base64
  help: look for a missing end: the digits, `=` included, come in fours
NSEC3 1 0 0 aab 2T7B4G4VSA5SMI47K61MV5BV1A22BOJR A
  3: salt `aab` is not in hexadecimal
  help: write an even number of digits from `0` to `9` and `a` to `f`
NSEC3 1 0 0 - 2T7B4G4VSA5SMI47K61MV5BV1A22BOJRX A
  4: next hash `2T7B4G4VSA5SMI47K61MV5BV1A22BOJRX` is not in base32hex
  help: write digits from `0` to `9` and `a` to `v`, without `=`
TLSA 3 1 1
  3: `TLSA` lacks its data
  help: write `TLSA <usage> <selector> <matching type> <data>...`
HIP 2 - AQID
  1: tag `-` is not in hexadecimal
  help: write an even number of digits from `0` to `9` and `a` to `f`
ZONEMD 2018031500 1 1 616c6c6f7765640a62757420756e73757070 6f727465642e0a616c6c6f776564 62757420756e73757070 6f727465642e0a616c6c6f
  6: digest of kind 1 is 53 octets long, not 48
  help: look for missing digits, or another kind
ZONEMD 1 1 240 e2d523f654b9422a96c5a8
  3: digest of kind 240 is 11 octets long, not 12 or more
  help: look for missing digits, or another kind
SVCB 1 foo.example.com. key123=abc key123=def
  3: parameter `key123` stands twice
  help: keep one of them
SVCB 1 foo.example.com. mandatory
  2: `mandatory` lacks its value
  help: write it as in `mandatory=alpn,port`
SVCB 1 foo.example.com. alpn
  2: `alpn` lacks its value
  help: write it as in `alpn=h2,h3`
SVCB 1 foo.example.com. port
  2: `port` lacks its value
  help: write it as in `port=8443`
SVCB 1 foo.example.com. ipv4hint
  2: `ipv4hint` lacks its value
  help: write it as in `ipv4hint=192.0.2.1,192.0.2.2`
SVCB 1 foo.example.com. no-default-alpn="abc"
  2: `abc` is not a value of `no-default-alpn`
  help: write `no-default-alpn` without a value
SVCB 1 foo.example.com. mandatory=key123
  2: `mandatory` needs `key123`, which is not there
  help: add `key123`, or take out what needs it (RFC 9460 sections 7.1.1 and 8)
SVCB 1 foo.example.com. mandatory=mandatory
  2: `mandatory` is not a value of `mandatory`
  help: write it as in `mandatory=alpn,port`
SVCB 1 foo.example.com. mandatory=key123,key123 key123=abc
  2: `key123,key123` is not a value of `mandatory`
  help: write it as in `mandatory=alpn,port`
SVCB 1 foo.example.com. no-default-alpn
  2: `no-default-alpn` needs `alpn`, which is not there
  help: add `alpn`, or take out what needs it (RFC 9460 sections 7.1.1 and 8)
HTTPS 1 . ech=
  2: `ech` lacks its value
  help: write it as in `ech=AEj+DQ==`
HTTPS 1 . dohpath=/dns-query
  2: `/dns-query` is not a value of `dohpath`
  help: write it as in `dohpath=/dns-query{?dns}`
HTTPS 1 . key1=h2
  2: `h2` is not a value of `alpn`
  help: write the octets of the wire form, with `\DDD` for those that have no character
HTTPS 1 . key65535=x
  2: parameter `key65535` is not known
  help: the keys are mandatory, alpn, no-default-alpn, port, ipv4hint, ech, ipv6hint, dohpath, ohttp, and `key0` to `key65534`
HTTPS 1 . key01=x
  2: parameter `key01` is not known
  help: the keys are mandatory, alpn, no-default-alpn, port, ipv4hint, ech, ipv6hint, dohpath, ohttp, and `key0` to `key65534`
HTTPS 1 . KEY7=x
  2: parameter `KEY7` is not known
  help: write it in lower case
HTTPS 1 . ALPN=h2
  2: parameter `ALPN` is not known
  help: write it in lower case
HTTPS 1 . port=65536
  2: `65536` is not a value of `port`
  help: write it as in `port=8443`
HTTPS 1 . foo=bar
  2: parameter `foo` is not known
  help: the keys are mandatory, alpn, no-default-alpn, port, ipv4hint, ech, ipv6hint, dohpath, ohttp, and `key0` to `key65534`
HTTPS 1 . alpn=,h2
  2: `,h2` is not a value of `alpn`
  help: write it as in `alpn=h2,h3`
HTTPS 1 . alpn=h2, h3
  2: `h2,` is not a value of `alpn`
  help: write it as in `alpn=h2,h3`
HTTPS 1 . ipv4hint=1.2.3.4,
  2: `1.2.3.4,` is not a value of `ipv4hint`
  help: write it as in `ipv4hint=192.0.2.1,192.0.2.2`
HTTPS 1 . "alpn=h2"
  2: parameter `alpn=h2` stands in quotes
  help: remove the quotes
HTTPS 1 . alpn="h2" "x"
  3: parameter `x` stands in quotes
  help: remove the quotes
HTTPS 1 . alpn="h2"x
  2: value `"h2"x` of `alpn` has a quote inside
  help: put the quotes around the whole value, or write `\"` for a quote in it
NID 10 ::1
  1: node identifier `::1` is not four groups of hexadecimal digits
  help: write it as in `0014:4fff:ff20:ee64`, without `::`
NID 10 0014:4fff:ff20:ee641
  1: node identifier `0014:4fff:ff20:ee641` is not four groups of hexadecimal digits
  help: write it as in `0014:4fff:ff20:ee64`, without `::`
EUI48 00:00:5e:00:53:2a
  0: address `00:00:5e:00:53:2a` is not 6 pairs of hexadecimal digits
  help: write it with dashes between the pairs, as in `00-00-5e-00-53-2a`
EUI48 0-0-5e-00-53-2a
  0: address `0-0-5e-00-53-2a` is not 6 pairs of hexadecimal digits
  help: write it with dashes between the pairs, as in `00-00-5e-00-53-2a`
URI 10 1 ""
  2: target is empty
  help: write a URI in quotes (RFC 7553 section 4.4)
CAA 0 is-sue "x"
  1: tag `is-sue` is not made of letters and digits
  help: write `issue`, `issuewild` or `iodef`
CAA 0 "issue" "x"
  1: tag `issue` stands in quotes
  help: remove the quotes
CAA 256 issue "x"
  0: flags `256` is not a number from 0 to 255
  help: write `CAA <flags> <tag> <value>`
CAA 0 issue
  2: `CAA` lacks its value
  help: write `CAA <flags> <tag> <value>`
AMTRELAY 10 2 0 .
  1: discovery flag `2` is not 0 or 1
  help: write 1 if a gateway may skip the discovery, else 0 (RFC 8777 section 4.2.2)
AMTRELAY 10 0 4 .
  2: relay of kind `4` has no text
  help: write kind 0 for none, 1 for an IPv4 address, 2 for an IPv6 address, 3 for a name; others only as `\# length hex`
TYPE65280 \# 4 01 02 03
  1: length `4` is not that of the 3 octets after it
  help: write `\# 3`
TYPE65280 \# 1 0102
  1: length `1` is not that of the 2 octets after it
  help: write `\# 2`
TYPE65280 \# 1 0g
  2: octets `0g` is not in hexadecimal
  help: write an even number of digits from `0` to `9` and `a` to `f`
TYPE65280 foo
  0: `TYPE65280` has no presentation form of its own
  help: write `TYPE65280 \# <length> <hexadecimal digits>...` (RFC 3597 section 5)
TYPE65280 \#
  1: `TYPE65280` lacks its length
  help: write `TYPE65280 \# <length> <hexadecimal digits>...`
TXT \# 3 0161
  1: length `3` is not that of the 2 octets after it
  help: write `\# 2`
MX 10 a..b
  1: exchange `a..b` is not a domain name: the name has an empty label
  help: put one dot between labels, and none before the first
MX 10 a\25
  1: exchange `a\25` is not a domain name: the name has a malformed escape
  help: write `\.` for a dot in a label and `\DDD` with three decimal digits up to 255
MX -1 mail
  0: preference `-1` is not a number from 0 to 65535
  help: write `MX <preference> <exchange>`
AAAA 192.0.2.1
  0: address `192.0.2.1` is not an IPv6 address
  help: an IPv4 address goes into an A record
A 2001:db8::1
  0: address `2001:db8::1` is not an IPv4 address
  help: an IPv6 address goes into an AAAA record
TXT "\256"
  0: text `\256` has a malformed escape
  help: write `\\` for a backslash and `\DDD` with three decimal digits up to 255 for any octet
CAA 0 issue "\1"
  2: value `\1` has a malformed escape
  help: write `\\` for a backslash and `\DDD` with three decimal digits up to 255 for any octet
LOC 10 20 E 30
  2: latitude `E` is not a number of seconds from 0 to 59.999 or a half
  help: write it as in `52 22 23.000 N`; the halves are `N` and `S`
LOC 10 X
  1: latitude `X` is not a number of minutes from 0 to 59 or a half
  help: write it as in `52 22 23.000 N`; the halves are `N` and `S`
LOC 10 N 20 E 5 1.234m
  5: size `1.234m` is not a number of metres from 0 to 90000000.00
  help: write it as in `30m`
NSAP 47
  0: address `47` is not in hexadecimal after `0x`
  help: write it as in `0x47.0005.80`; dots may stand anywhere
X25 1 2
  1: `X25` has no place for `2`
  help: write `X25 <address>`
ISDN 1 2 3
  2: `ISDN` has no place for `3`
  help: write `ISDN <address> [<subaddress>]`
APL foo
  0: prefix `foo` is not an address prefix
  help: write `1:192.0.2.0/24` for IPv4, `2:2001:db8::/32` for IPv6, and `!` before it to exclude it
HIP 2 200100107B1A74DF365639CC39F1D578
  2: `HIP` lacks its key
  help: write `HIP <algorithm> <tag> <key> [<rendezvous server>...]`
HTTPS 1 . alpn=a\\x
  2: `a\\x` is not a value of `alpn`
  help: write it as in `alpn=h2,h3`
HTTPS 1 . ipv6hint=1.2.3.4
  2: `1.2.3.4` is not a value of `ipv6hint`
  help: write it as in `ipv6hint=2001:db8::1,2001:db8::2`
HTTPS 1 . mandatory=alpn,port alpn=h2
  2: `mandatory` needs `port`, which is not there
  help: add `port`, or take out what needs it (RFC 9460 sections 7.1.1 and 8)
DSYNC CDS PING 5359 x
  1: scheme `PING` is not a known mnemonic or a number from 0 to 255
  help: the known ones are 1 NOTIFY
NSEC3PARAM 1 0 65536 -
  2: iterations `65536` is not a number from 0 to 65535
  help: write `NSEC3PARAM <hash algorithm> <flags> <iterations> <salt>`
A
  0: `A` lacks its address
  help: write `A <address>`
SOA ns hostmaster 1 2 3 4
  6: `SOA` lacks its minimum
  help: write `SOA <primary> <mailbox> <serial> <refresh> <retry> <expire> <minimum>`
SOA ns hostmaster 1 2 3 4 5 6
  7: `SOA` has no place for `6`
  help: write `SOA <primary> <mailbox> <serial> <refresh> <retry> <expire> <minimum>`
"##;

#[test]
fn octets_without_a_text_of_their_own_take_the_form_of_rfc_3597() {
    // A known type whose octets are malformed, and whether its own form could not say them either.
    let cases = [
        (Rtype::A, "c00002", false),
        (Rtype::A, "c000020100", false),
        (Rtype::TXT, "", false),
        (Rtype::TXT, "0561", false),
        (Rtype::MX, "000ac004", false),
        (Rtype::CAA, "00 04 69732d73", false),
        (Rtype::LOC, "00 02 16 13 80000000 80000000 00989680", false),
        (Rtype::LOC, "00 a2 16 13 80000000 80000000 00989680", false),
        (Rtype::LOC, "00 12 16 13 ffffffff 80000000 00989680", false),
        (Rtype::LOC, "01 12", true),
        (Rtype::NSEC, "00", false),
        (Rtype::NSEC, "00 0000", false),
        (Rtype::NSEC, "00 000140 000140", false),
        (Rtype::NSEC, "00 00024000", false),
        (Rtype::DS, "ec45 05 01 2bb183", false),
        (Rtype::URI, "000a 0001", false),
        (Rtype::APL, "0001 18 04 c0000200", false),
        (Rtype::APL, "0001 21 04 c0000201", false),
        (Rtype::APL, "0001 18 05 c000020101", false),
        (Rtype::APL, "0003 18 03 c00002", true),
        (Rtype::IPSECKEY, "0a 00 02", false),
        (Rtype::IPSECKEY, "0a 04 02 c0000201", true),
        (Rtype::AMTRELAY, "0a 04 c0000201", true),
        (Rtype::SVCB, "0001 00 0003 0002 0035 0001 0003 026832", false),
        (Rtype::SVCB, "0001 00 0003 0002 0035 0003 0002 0035", false),
        (Rtype::SVCB, "0001 00 0003 0001 35", false),
        (Rtype::SVCB, "0001 00 0003 0002 35", false),
        (Rtype::SVCB, "0001 00 0004 0000", false),
        (Rtype::SVCB, "0001 00 ffff 0000", false),
        (Rtype::SVCB, "0001 00 0000 0002 0003", true),
        (Rtype::SVCB, "0001 00 0002 0000", true),
        (Rtype(65280), "010203", true),
    ];
    for (rtype, hex, is_sound) in cases {
        let wire = octets(hex);
        assert_eq!(is_well_formed(rtype, &wire), is_sound, "{rtype} {hex}");
        let text = format!("\\# {} {}", wire.len(), HEXUPPER.encode(&wire));
        assert_eq!(write(rtype, &wire), text.trim_end(), "{rtype} {hex}");
        assert_eq!(read_line(rtype, &text).is_ok(), is_sound, "{rtype} {hex}");
    }
}

#[test]
fn a_quoted_value_may_follow_its_key_as_a_field_of_its_own() {
    let split = |gap: u32, line: u32| {
        let word = |text, column| Field { text, quoted: false, line: 1, column };
        let value = Field { text: &b"h2,h3"[..], quoted: true, line, column: 10 + gap };
        read_fields(Rtype::HTTPS, &[word(b"1", 1), word(b".", 3), word(b"alpn=", 5), value, word(b"port=443", 18)])
    };
    assert_eq!(split(0, 1), read_line(Rtype::HTTPS, "1 . alpn=h2,h3 port=443"));
    for (gap, line) in [(1, 1), (0, 2)] {
        assert_eq!(
            split(gap, line).map_err(|error| (error.field, error.message)),
            Err((2, "`alpn` lacks its value".to_owned()))
        );
    }
}

#[test]
fn names_without_an_origin_are_absolute() {
    let mut wire = Vec::new();
    assert_eq!(read(Rtype::CNAME, &fields("www"), None, &mut wire), Ok(()));
    assert_eq!(wire, b"\x03www\0");
}

#[test]
fn ttls_are_seconds_or_numbers_with_units() {
    let cases = [
        ("0", Some(0)),
        ("3600", Some(3600)),
        ("1h30m", Some(5400)),
        ("1W2D3H4M5S", Some(788_645)),
        ("30m1h", Some(5400)),
        ("2147483647", Some(TTL_SECS_MAX)),
        ("2147483648", None),
        ("3551w", None),
        ("99999999999999999999", None),
        ("99999999999999999w", None),
        ("18446744073709551615s1s", None),
        ("", None),
        ("h", None),
        ("1h30", None),
        ("1x", None),
        ("-1", None),
        ("+1", None),
        ("1.5h", None),
    ];
    for (text, seconds) in cases {
        assert_eq!(parse_ttl(text.as_bytes()), seconds, "{text}");
    }
}

#[test]
fn only_names_in_types_of_rfc_1035_may_be_compressed() {
    let cases = [
        (Rtype::NS, "ns1", vec!["ns1.example."]),
        (Rtype::MX, "10 mail", vec!["mail.example."]),
        (Rtype::SOA, "ns hostmaster 1 2 3 4 5", vec!["ns.example.", "hostmaster.example."]),
        (Rtype::MINFO, "a b", vec!["a.example.", "b.example."]),
        (Rtype::SRV, "0 0 0 sip", vec![]),
        (Rtype::DNAME, "other", vec![]),
        (Rtype::RP, "a b", vec![]),
        (Rtype::TXT, "ns1", vec![]),
        (Rtype(65280), "\\# 1 00", vec![]),
    ];
    for (rtype, text, expected) in cases {
        let wire = read_line(rtype, text).expect("a well-formed text");
        let names: Vec<String> = names_in(rtype, &wire)
            .map(|range| Name::from_wire(&wire[range]).expect("the range is a name").to_string())
            .collect();
        assert_eq!(names, expected, "{rtype} {text}");
    }
}

#[test]
fn rdata_leads_to_what_is_asked_for_next() {
    const ADDRESSES: &str = "A AAAA";
    let cases = [
        (Rtype::MX, "10 mail", Some(("mail.example.", ADDRESSES))),
        (Rtype::RT, "10 relay", Some(("relay.example.", ADDRESSES))),
        (Rtype::KX, "10 keys", Some(("keys.example.", ADDRESSES))),
        (Rtype::AFSDB, "1 cell", Some(("cell.example.", ADDRESSES))),
        (Rtype::NAPTR, "1 1 S x \"\" _sip._udp", Some(("_sip._udp.example.", "SRV"))),
        (Rtype::NAPTR, "1 1 a x \"\" server", Some(("server.example.", ADDRESSES))),
        (Rtype::NAPTR, "1 1 S x \"\" .", None),
        (Rtype::NAPTR, "1 1 SA x \"\" server", None),
        (Rtype::NAPTR, "1 1 \"\" x \"\" server", None),
        (Rtype::SVCB, "0 pool", Some(("pool.example.", "SVCB A AAAA"))),
        (Rtype::HTTPS, "0 pool", Some(("pool.example.", "HTTPS A AAAA"))),
        (Rtype::HTTPS, "1 pool", Some(("pool.example.", ADDRESSES))),
        (Rtype::LP, "10 locators", Some(("locators.example.", "L32 L64"))),
        (Rtype::LP, "10 .", None),
        (Rtype::DNAME, "www", None),
        (Rtype::PX, "10 a b", None),
    ];
    for (rtype, text, expected) in cases {
        let wire = read_line(rtype, text).expect("a well-formed text");
        let came = lead(rtype, &wire).map(|lead| {
            let rtypes: Vec<String> = lead.rtypes.iter().map(Rtype::to_string).collect();
            (lead.name.to_string(), rtypes.join(" "))
        });
        let expected = expected.map(|(name, rtypes)| (name.to_owned(), rtypes.to_owned()));
        assert_eq!(came, expected, "{rtype} {text}");
    }
}

#[test]
fn targets_are_the_names_whose_addresses_help() {
    let cases = [
        (Rtype::NS, "ns1", Some("ns1.example.")),
        (Rtype::MX, "10 mail", Some("mail.example.")),
        (Rtype::MX, "0 .", None),
        (Rtype::SRV, "0 0 5060 sip", Some("sip.example.")),
        (Rtype::SRV, "0 0 0 .", None),
        (Rtype::HTTPS, "0 www", Some("www.example.")),
        (Rtype::HTTPS, "0 .", None),
        (Rtype::HTTPS, "1 www port=443", Some("www.example.")),
        (Rtype::HTTPS, "1 .", Some(".")),
        (Rtype::NAPTR, "1 1 a x \"\" server", Some("server.example.")),
        (Rtype::NAPTR, "1 1 s x \"\" server", None),
        (Rtype::CNAME, "www", None),
        (Rtype::PTR, "www", None),
        (Rtype::A, "192.0.2.1", None),
    ];
    for (rtype, text, expected) in cases {
        let wire = read_line(rtype, text).expect("a well-formed text");
        assert_eq!(target(rtype, &wire).map(|name| name.to_string()).as_deref(), expected, "{rtype} {text}");
    }
}

/// Octets near those of a vector: cut, extended or changed here and there, sometimes under another type.
fn near_wire() -> impl Strategy<Value = (Rtype, Vec<u8>)> {
    let change = (any::<prop::sample::Index>(), any::<u8>());
    let tail = prop::collection::vec(any::<u8>(), 0..4);
    let types = (prop::sample::select(vectors()), prop::sample::select(vectors()), 0..8u8);
    (types, prop::collection::vec(change, 0..4), tail, prop::option::of(any::<prop::sample::Index>())).prop_map(
        |((vector, other, swap), changes, tail, cut)| {
            let mut wire = vector.wire;
            for (at, octet) in changes {
                if !wire.is_empty() {
                    *at.get_mut(&mut wire[..]) = octet;
                }
            }
            if let Some(cut) = cut {
                wire.truncate(cut.index(wire.len() + 1));
            }
            wire.extend(tail);
            (if swap == 0 { other.rtype } else { vector.rtype }, wire)
        },
    )
}

/// A text near that of a vector: octets put in, taken out or changed.
fn near_text() -> impl Strategy<Value = (Rtype, String)> {
    let put = prop::sample::select(vec!["", " ", "\"", "\\", ".", ",", "=", "-", "0", "9", "a", "\u{e9}", "!", ":"]);
    let change = (any::<prop::sample::Index>(), 0..2usize, put);
    (prop::sample::select(vectors()), prop::collection::vec(change, 0..4)).prop_map(|(vector, changes)| {
        let mut chars: Vec<char> = vector.text.chars().collect();
        for (at, taken, put) in changes {
            let at = at.index(chars.len() + 1);
            let end = chars.len().min(at + taken);
            chars.splice(at..end, put.chars());
        }
        (vector.rtype, chars.into_iter().collect())
    })
}

/// Checks what must hold for any octets of any type.
fn check_octets(rtype: Rtype, wire: &[u8]) -> Result<(), TestCaseError> {
    let text = write(rtype, wire);
    if is_well_formed(rtype, wire) {
        prop_assert_eq!(read_line(rtype, &text), Ok(wire.to_vec()), "{} {}", rtype, text);
    } else {
        prop_assert!(text.starts_with("\\# "), "{} {}", rtype, text);
        prop_assert!(read_line(rtype, &text).is_err(), "{} {}", rtype, text);
        prop_assert_eq!(read_line(Rtype(65280), &text), Ok(wire.to_vec()));
    }
    for range in names_in(rtype, wire) {
        prop_assert!(Name::from_wire(&wire[range]).is_ok());
    }
    let _ = target(rtype, wire);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn octets_near_well_formed_ones_survive_their_text((rtype, wire) in near_wire()) {
        check_octets(rtype, &wire)?;
    }

    #[test]
    fn any_octets_of_any_type_survive_their_text(number in 0u16..300, wire in prop::collection::vec(any::<u8>(), 0..80)) {
        check_octets(Rtype(number), &wire)?;
    }

    #[test]
    fn any_text_is_refused_or_read_as_well_formed_octets((rtype, text) in near_text()) {
        let fields = fields(&text);
        match read_fields(rtype, &fields) {
            Ok(wire) => {
                prop_assert!(is_well_formed(rtype, &wire), "{} {}", rtype, text);
                check_octets(rtype, &wire)?;
            }
            Err(error) => prop_assert!(error.field <= fields.len() && error.help.is_some(), "{} {} {}", rtype, text, error),
        }
    }
}

#[test]
fn only_the_letters_of_names_are_folded() {
    let cases: [(Rtype, &[u8], &[u8]); 6] = [
        (Rtype::NS, b"\x02NS\x02Ab\0", b"\x02ns\x02ab\0"),
        (Rtype::MX, b"AB\x01C\0", b"AB\x01c\0"),
        (Rtype::SRV, b"ABCDEF\x01G\0", b"ABCDEF\x01g\0"),
        (Rtype::NAPTR, b"ABCD\x01S\x01T\x01U\x01V\0", b"ABCD\x01S\x01T\x01U\x01v\0"),
        (Rtype::TXT, b"\x02AB", b"\x02AB"),
        (Rtype(65280), b"\x02AB\0", b"\x02AB\0"),
    ];
    for (rtype, wire, expected) in cases {
        assert_eq!(*folded(rtype, wire), *expected, "{rtype}");
        for cut in 0..wire.len() {
            assert_eq!(folded(rtype, &wire[..cut]).len(), cut, "{rtype} cut off at {cut}");
        }
    }
}
