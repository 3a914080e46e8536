//! One question to a server and the RCODE it answers with, for the commands that ask.
//!
//! The only file that names hickory-proto: a second pair of eyes on what our own octets say.

use hickory_proto::op::{Message, MessageType, OpCode, Query};
use hickory_proto::rr::{Name, RecordType};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder};

use super::{NameRef, Rcode, Rtype};

/// Why octets are not the answer to a question.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProbeError {
    /// Not a DNS message.
    #[error("the answer is malformed: {0}")]
    Malformed(String),
    /// A request, where a response is due.
    #[error("the answer is not a response")]
    NotAResponse,
    /// The response to some other question.
    #[error("the answer is to question `{answered}`, not `{asked}`")]
    OtherQuestion {
        /// The ID that was asked with.
        asked: u16,
        /// The ID in the response.
        answered: u16,
    },
}

/// Writes a query of class IN, without recursion and without EDNS.
pub fn question(id: u16, name: NameRef<'_>, rtype: Rtype) -> Vec<u8> {
    let name = Name::read(&mut BinDecoder::new(name.wire())).expect("a `NameRef` is a well-formed name");
    let mut message = Message::new(id, MessageType::Query, OpCode::Query);
    message.add_query(Query::query(name, RecordType::from(rtype.0)));
    message.to_vec().expect("one question fits into a message")
}

/// Reads the RCODE, extended bits included, of the response to the question with this ID.
pub fn read_rcode(octets: &[u8], id: u16) -> Result<Rcode, ProbeError> {
    let message = Message::from_vec(octets).map_err(|error| ProbeError::Malformed(error.to_string()))?;
    let header = &message.metadata;
    if header.id != id {
        return Err(ProbeError::OtherQuestion { asked: id, answered: header.id });
    }
    if header.message_type != MessageType::Response {
        return Err(ProbeError::NotAResponse);
    }
    Ok(Rcode(header.response_code.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::Name as OurName;
    use proptest::prelude::*;

    fn soa_question() -> Vec<u8> {
        question(0x1234, OurName::parse_absolute(b"Example.org").unwrap().as_ref(), Rtype::SOA)
    }

    #[test]
    fn a_question_is_a_plain_query() {
        let expected: &[u8] = b"\x12\x34\0\0\0\x01\0\0\0\0\0\0\x07Example\x03org\0\0\x06\0\x01";
        assert_eq!(soa_question(), expected);
    }

    #[test]
    fn an_answer_is_read_or_refused() {
        let response = |flags: [u8; 2]| {
            let mut octets = soa_question();
            octets[2..4].copy_from_slice(&flags);
            octets
        };
        let cases = [
            (response([0x80, 0]), 0x1234, Ok(Rcode::NOERROR)),
            (response([0x84, 3]), 0x1234, Ok(Rcode::NXDOMAIN)),
            (response([0x80, 5]), 0x1234, Ok(Rcode::REFUSED)),
            (response([0x80, 0]), 0x4321, Err(ProbeError::OtherQuestion { asked: 0x4321, answered: 0x1234 })),
            (soa_question(), 0x1234, Err(ProbeError::NotAResponse)),
        ];
        for (octets, id, expected) in cases {
            assert_eq!(read_rcode(&octets, id), expected, "{octets:02x?}");
        }
        assert!(matches!(read_rcode(&[0; 5], 0), Err(ProbeError::Malformed(_))));
    }

    #[test]
    fn extended_bits_of_the_rcode_are_read() {
        let mut octets = soa_question();
        octets[2] = 0x80;
        octets[11] = 1;
        // OPT with extended RCODE 1, so 16 in all (RFC 6891 section 6.1.3).
        octets.extend_from_slice(b"\0\0\x29\x04\xd0\x01\0\0\0\0\0");
        assert_eq!(read_rcode(&octets, 0x1234), Ok(Rcode::BADVERS));
    }

    proptest! {
        #[test]
        fn reading_never_panics(octets in proptest::collection::vec(any::<u8>(), 0..600), id in any::<u16>()) {
            let _ = read_rcode(&octets, id);
        }
    }
}
