//! Writes MaxMind DB files: a search tree over the bits of addresses, the entries, and the metadata.
//!
//! By the specification of the format, version 2.0; entries are given as JSON. What was written before is pointed at,
//! as in the files that databases are shipped as.

use std::collections::HashMap;

use ipnet::IpNet;
use serde_json::{Value, json};

/// What is where: the more specific networks after those that hold them.
pub(crate) struct Mmdb {
    /// Its type, as in `Test-City`.
    pub(crate) kind: &'static str,
    /// 4 or 6; IPv4 networks are in `::/96` of a tree for 6.
    pub(crate) ip_version: u16,
    /// 24, 28 or 32 bits.
    pub(crate) record_bits: u16,
    /// Networks and their entries.
    pub(crate) entries: Vec<(IpNet, Value)>,
}

/// Values one after another.
#[derive(Default)]
struct Section {
    octets: Vec<u8>,
    /// Where values begin, by their JSON.
    written: HashMap<String, usize>,
}

/// Where one side of a node leads.
#[derive(Clone, Copy)]
enum Record {
    Nothing,
    Node(usize),
    /// An offset in the data section.
    Data(usize),
}

impl Mmdb {
    /// A database for both families with records of 28 bits, as most are.
    pub(crate) fn new<'n>(kind: &'static str, entries: impl IntoIterator<Item = (&'n str, Value)>) -> Self {
        let entries =
            entries.into_iter().map(|(network, entry)| (network.parse().expect("a network"), entry)).collect();
        Self { kind, ip_version: 6, record_bits: 28, entries }
    }

    /// The file.
    pub(crate) fn octets(&self) -> Vec<u8> {
        let (mut tree, mut data) = (vec![[Record::Nothing; 2]], Section::default());
        for (network, entry) in &self.entries {
            insert(&mut tree, &self.bits(*network), data.put(entry));
        }
        let mut file = Vec::new();
        for [left, right] in &tree {
            let [left, right] = [left, right].map(|record| match record {
                Record::Nothing => tree.len(),
                Record::Node(node) => *node,
                Record::Data(offset) => tree.len() + 16 + offset,
            });
            file.extend(self.node(left as u32, right as u32));
        }
        file.extend([0; 16]);
        file.extend(data.octets);
        file.extend(b"\xab\xcd\xefMaxMind.com");
        file.extend(self.metadata(tree.len()).octets);
        file
    }

    /// The bits of a network, from the top of the tree.
    fn bits(&self, network: IpNet) -> Vec<usize> {
        let (address, length) = match (network, self.ip_version) {
            (IpNet::V4(network), 4) => (u128::from(network.network().to_bits()) << 96, network.prefix_len()),
            (IpNet::V4(network), _) => (network.network().to_bits().into(), 96 + network.prefix_len()),
            (IpNet::V6(network), _) => (network.network().to_bits(), network.prefix_len()),
        };
        (0..length).map(|bit| (address >> (127 - bit) & 1) as usize).collect()
    }

    /// Two records side by side.
    fn node(&self, left: u32, right: u32) -> Vec<u8> {
        let (l, r) = (left.to_be_bytes(), right.to_be_bytes());
        match self.record_bits {
            24 => [&l[1..], &r[1..]].concat(),
            28 => [&l[1..], &[l[0] << 4 | r[0]], &r[1..]].concat(),
            32 => [l, r].concat(),
            other => panic!("records have 24, 28 or 32 bits, not {other}"),
        }
    }

    fn metadata(&self, node_count: usize) -> Section {
        let mut section = Section::default();
        let numbers = [
            ("binary_format_major_version", 5, 2),
            ("binary_format_minor_version", 5, 0),
            ("build_epoch", 9, 1_700_000_000),
            ("ip_version", 5, u64::from(self.ip_version)),
            ("node_count", 6, node_count as u64),
            ("record_size", 5, u64::from(self.record_bits)),
        ];
        let others = [
            ("database_type", json!(self.kind)),
            ("description", json!({ "en": "made by a test" })),
            ("languages", json!(["en", "de"])),
        ];
        section.put_head(7, numbers.len() + others.len());
        for (name, kind, number) in numbers {
            section.put_part(&json!(name));
            section.put_number(kind, number);
        }
        for (name, value) in others {
            section.put_part(&json!(name));
            section.put_part(&value);
        }
        section
    }
}

/// Puts data where the bits lead; what was there holds for the rest of its network.
fn insert(tree: &mut Vec<[Record; 2]>, bits: &[usize], offset: usize) {
    let (last, before) = bits.split_last().expect("a network of all addresses has no node above it");
    let mut node = 0;
    for &bit in before {
        node = match tree[node][bit] {
            Record::Node(next) => next,
            leaf @ (Record::Nothing | Record::Data(_)) => {
                tree.push([leaf; 2]);
                tree[node][bit] = Record::Node(tree.len() - 1);
                tree.len() - 1
            }
        };
    }
    tree[node][*last] = Record::Data(offset);
}

impl Section {
    /// Puts a value if it does not stand anywhere yet; returns where it does.
    fn put(&mut self, value: &Value) -> usize {
        let json = value.to_string();
        if let Some(&offset) = self.written.get(&json) {
            return offset;
        }
        let offset = self.octets.len();
        self.put_here(value);
        self.written.insert(json, offset);
        offset
    }

    /// Puts a value at the end: whole numbers as 32 bits where they fit and else as 64, others as doubles.
    fn put_here(&mut self, value: &Value) {
        match value {
            Value::Null => panic!("the format has no such thing"),
            Value::Bool(value) => self.put_head(14, usize::from(*value)),
            Value::Number(number) => match number.as_u64() {
                Some(number) => self.put_number(if number > u32::MAX.into() { 9 } else { 6 }, number),
                None => {
                    self.put_head(3, 8);
                    self.octets.extend(number.as_f64().expect("a number").to_be_bytes());
                }
            },
            Value::String(text) => {
                self.put_head(2, text.len());
                self.octets.extend(text.as_bytes());
            }
            Value::Array(values) => {
                self.put_head(11, values.len());
                values.iter().for_each(|value| self.put_part(value));
            }
            Value::Object(values) => {
                self.put_head(7, values.len());
                for (name, value) in values {
                    self.put_part(&json!(name));
                    self.put_part(value);
                }
            }
        }
    }

    /// Puts a value inside another, or a pointer to where it stands already.
    fn put_part(&mut self, value: &Value) {
        if matches!(value, Value::Bool(_) | Value::Number(_)) {
            return self.put_here(value);
        }
        match self.written.get(&value.to_string()) {
            Some(&offset) => self.put_pointer(offset),
            None => {
                self.put(value);
            }
        }
    }

    /// Puts a pointer of four octets, whatever would do.
    fn put_pointer(&mut self, offset: usize) {
        self.octets.push(1 << 5 | 3 << 3);
        self.octets.extend(u32::try_from(offset).expect("nothing here is that large").to_be_bytes());
    }

    /// Puts a number without its leading zeros.
    fn put_number(&mut self, kind: u8, number: u64) {
        let octets = number.to_be_bytes();
        let used = &octets[number.leading_zeros() as usize / 8..];
        self.put_head(kind, used.len());
        self.octets.extend(used);
    }

    /// Puts what a value is and how large.
    fn put_head(&mut self, kind: u8, size: usize) {
        let (short, rest) = match size {
            0..29 => (size, vec![]),
            29..285 => (29, vec![size - 29]),
            _ => (30, vec![(size - 285) >> 8, (size - 285) & 255]),
        };
        let kind_or_later = if kind < 8 { kind } else { 0 };
        self.octets.push(kind_or_later << 5 | short as u8);
        if kind >= 8 {
            self.octets.push(kind - 7);
        }
        self.octets.extend(rest.into_iter().map(|octet| octet as u8));
    }
}
