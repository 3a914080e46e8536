//! One question to a server and what it answers, for the commands and the probes that ask.
//!
//! The only file that names hickory-proto: a second pair of eyes on what our own octets say.

use hickory_proto::op::{Message, MessageType, OpCode, Query};
use hickory_proto::rr::{Name, Record, RecordType};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder, BinEncodable, BinEncoder, NameEncoding};

use super::{Class, NameRef, Rcode, Rtype, rdata};

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
    /// The response to a question for another name or type.
    #[error("the answer is to another question: `{0}`")]
    OtherName(String),
}

/// A question of class IN, asked without EDNS.
#[derive(Debug, Clone, Copy)]
pub struct Question<'n> {
    /// By which its response is known.
    pub id: u16,
    /// The name.
    pub name: NameRef<'n>,
    /// The type.
    pub rtype: Rtype,
    /// Whether recursion is asked for.
    pub recursion: bool,
}

/// What a server answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The RCODE, extended bits included.
    pub rcode: Rcode,
    /// Whether it was cut to fit.
    pub truncated: bool,
    /// The RDATA of each record of the answer section, in presentation form.
    pub answer: Vec<String>,
}

impl Question<'_> {
    /// Writes the query.
    pub fn to_octets(&self) -> Vec<u8> {
        let mut message = Message::new(self.id, MessageType::Query, OpCode::Query);
        message.metadata.recursion_desired = self.recursion;
        message.add_query(Query::query(self.hickory_name(), RecordType::from(self.rtype.0)));
        message.to_vec().expect("one question fits into a message")
    }

    /// Reads the response.
    ///
    /// It need not repeat the question if the server says that it could not read it, or would not.
    pub fn read(&self, octets: &[u8]) -> Result<Reply, ProbeError> {
        let message = match read_response(octets, self.id) {
            // Some servers cut in the middle of a record.
            Err(ProbeError::Malformed(_)) if is_cut(octets, self.id) => {
                return Ok(Reply { rcode: Rcode(u16::from(octets[3] & 0xf)), truncated: true, answer: Vec::new() });
            }
            message => message?,
        };
        let rcode = Rcode(message.metadata.response_code.into());
        let is_repeated = |query: &Query| {
            let (rtype, class) = (u16::from(query.query_type()), u16::from(query.query_class()));
            // Names are equal in any letter case.
            *query.name() == self.hickory_name() && Rtype(rtype) == self.rtype && Class(class) == Class::IN
        };
        match &message.queries[..] {
            [one] if is_repeated(one) => {}
            [] if ![Rcode::NOERROR, Rcode::NXDOMAIN].contains(&rcode) => {}
            others => {
                let others: Vec<_> = others.iter().map(ToString::to_string).collect();
                return Err(ProbeError::OtherName(others.join(", ")));
            }
        }
        let answer = message.answers.iter().map(presentation).collect::<Option<_>>();
        let answer = answer.ok_or_else(|| ProbeError::Malformed("a record cannot be read".to_owned()))?;
        Ok(Reply { rcode, truncated: message.metadata.truncation, answer })
    }

    fn hickory_name(&self) -> Name {
        let mut name = Name::read(&mut BinDecoder::new(self.name.wire())).expect("a `NameRef` is a well-formed name");
        name.set_fqdn(true);
        name
    }
}

/// Whether octets begin as a response with this ID does that was cut to fit.
fn is_cut(octets: &[u8], id: u16) -> bool {
    const RESPONSE_CUT: u8 = 0x82;
    octets.len() >= 12 && octets[..2] == id.to_be_bytes() && octets[2] & RESPONSE_CUT == RESPONSE_CUT
}

/// The RDATA of a record, as a zone file has it.
fn presentation(record: &Record) -> Option<String> {
    let mut wire = Vec::new();
    let mut encoder = BinEncoder::new(&mut wire);
    encoder.set_name_encoding(NameEncoding::Uncompressed);
    record.data.emit(&mut encoder).ok()?;
    Some(rdata::write(Rtype(record.record_type().into()), &wire))
}

/// Writes a query of class IN, without recursion and without EDNS.
pub fn question(id: u16, name: NameRef<'_>, rtype: Rtype) -> Vec<u8> {
    Question { id, name, rtype, recursion: false }.to_octets()
}

/// Reads the RCODE, extended bits included, of the response to the question with this ID.
pub fn read_rcode(octets: &[u8], id: u16) -> Result<Rcode, ProbeError> {
    Ok(Rcode(read_response(octets, id)?.metadata.response_code.into()))
}

/// Reads the response to the question with this ID.
fn read_response(octets: &[u8], id: u16) -> Result<Message, ProbeError> {
    let message = Message::from_vec(octets).map_err(|error| ProbeError::Malformed(error.to_string()))?;
    let header = &message.metadata;
    if header.id != id {
        return Err(ProbeError::OtherQuestion { asked: id, answered: header.id });
    }
    if header.message_type != MessageType::Response {
        return Err(ProbeError::NotAResponse);
    }
    Ok(message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::Name as OurName;
    use proptest::prelude::*;

    fn soa_question() -> Vec<u8> {
        ask(|question| question.to_octets())
    }

    fn ask<T>(with: impl FnOnce(Question<'_>) -> T) -> T {
        let name = OurName::parse_absolute(b"Example.org").unwrap();
        with(Question { id: 0x1234, name: name.as_ref(), rtype: Rtype::SOA, recursion: false })
    }

    /// The question as a response to it begins, with these flags and so many records in the answer section.
    fn response(flags: [u8; 2], answers: u8) -> Vec<u8> {
        let mut octets = soa_question();
        octets[2..4].copy_from_slice(&flags);
        octets[7] = answers;
        octets
    }

    #[test]
    fn a_question_is_a_plain_query() {
        let expected: &[u8] = b"\x12\x34\0\0\0\x01\0\0\0\0\0\0\x07Example\x03org\0\0\x06\0\x01";
        assert_eq!(soa_question(), expected);
    }

    #[test]
    fn an_answer_is_read_or_refused() {
        let response = |flags| response(flags, 0);
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

    #[test]
    fn recursion_is_asked_for_by_its_flag() {
        assert_eq!(ask(|question| Question { recursion: true, ..question }.to_octets())[2..4], [1, 0]);
    }

    #[test]
    fn records_are_read_as_text() {
        // Names in RDATA are compressed.
        let records: [(&[u8], &str); 4] = [
            (b"\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\xc0\0\x02\x01", "192.0.2.1"),
            (b"\xc0\x0c\0\x0f\0\x01\0\0\0\x3c\0\x07\0\x0a\x02mx\xc0\x0c", "10 mx.Example.org."),
            (b"\xc0\x0c\0\x10\0\x01\0\0\0\x3c\0\x05\x01a\x02 \"", "\"a\" \" \\\"\""),
            (b"\xc0\x0c\xff\0\0\x01\0\0\0\x3c\0\x02\xab\xcd", "\\# 2 ABCD"),
        ];
        for (record, text) in records {
            let octets = [&response([0x84, 0], 1), record].concat();
            assert_eq!(ask(|question| question.read(&octets)).unwrap().answer, [text]);
        }
        let truncated = ask(|question| question.read(&response([0x86, 0], 0))).unwrap();
        let expected = Reply { rcode: Rcode::NOERROR, truncated: true, answer: Vec::new() };
        assert_eq!(truncated, expected);
        let torn = [&response([0x86, 0], 1), &records[0].0[..9]].concat();
        assert_eq!(ask(|question| question.read(&torn)), Ok(expected));
        let torn = [&response([0x84, 0], 1), &records[0].0[..9]].concat();
        assert!(matches!(ask(|question| question.read(&torn)), Err(ProbeError::Malformed(_))));
    }

    #[test]
    fn a_response_repeats_its_question_unless_it_is_a_refusal() {
        let renamed = |octets: &mut Vec<u8>| octets[13] = b'f';
        let recased = |octets: &mut Vec<u8>| octets[13] = b'e';
        let retyped = |octets: &mut Vec<u8>| octets[26] = 1;
        let without = |octets: &mut Vec<u8>| {
            octets[5] = 0;
            octets.truncate(12);
        };
        type Change<'c> = &'c dyn Fn(&mut Vec<u8>);
        let rows: [(u8, Change<'_>, bool); 7] = [
            (0, &|_| {}, true),
            (0, &recased, true),
            (0, &renamed, false),
            (0, &retyped, false),
            (0, &without, false),
            (5, &without, true),
            (3, &without, false),
        ];
        for (index, (rcode, change, expected)) in rows.into_iter().enumerate() {
            let mut octets = response([0x80, rcode], 0);
            change(&mut octets);
            let read = ask(|question| question.read(&octets));
            assert_eq!(read.is_ok(), expected, "row {index}: {read:?}");
        }
    }

    proptest! {
        #[test]
        fn reading_never_panics(octets in proptest::collection::vec(any::<u8>(), 0..600), id in any::<u16>()) {
            let _ = read_rcode(&octets, id);
            let mut octets = octets;
            if octets.len() > 3 {
                octets[..3].copy_from_slice(&[0x12, 0x34, 0x80]);
            }
            let _ = ask(|question| question.read(&octets));
        }
    }
}
