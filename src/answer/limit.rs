//! Response-rate limiting: how many responses that are the same may go to one network within a second.
//!
//! Counted as in BIND: identical are responses of one [`Kind`] to one network about one name, as `Stream` has them.
//! A stream earns so many responses a second and pays for each; what it owes has a bound, [`Rates::window`] seconds of
//! earnings. While it owes it is limited.
//!
//! All workers share one table, since a flood is spread over them. It is made once, and made of atomics alone: a network
//! is limited as exactly over many workers as over one, but for the moment at which its stream enters the table. Then
//! each worker that is just counting a response of it may forget that one.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ipnet::IpNet;

use crate::dns::name::{Folded, NAME_OCTETS_MAX};
use crate::dns::wire::{Entry, Owner, Section};
use crate::dns::{Class, Name, NameRef, Rcode, Request, Response, Rtype};
use crate::networks::Networks;

/// How many streams are told of that begin to be limited, from one look to the next.
const NOTICES_MAX: usize = 16;
/// How many streams a set of the table holds: those fit in one line of the processor's cache.
const SET: usize = 4;

/// How much is too much, and what comes of it.
#[derive(Clone, Debug)]
pub struct Rates {
    /// The responses a stream earns in a second, by [`Kind`]; 0 for no limit.
    pub per_second: [u32; KINDS],
    /// The seconds of earnings that a stream can owe; at most 3600.
    pub window: u32,
    /// Every which limited response is sent truncated; 0 for none, at most 10.
    pub slip: u32,
    /// How many bits of an IPv4 address are the network's.
    pub ipv4_prefix_length: u8,
    /// How many bits of an IPv6 address are the network's.
    pub ipv6_prefix_length: u8,
    /// Networks without a limit.
    pub exempt: Vec<IpNet>,
    /// Whether all is sent, and only counted and told what would not be.
    pub log_only: bool,
    /// How many streams are kept account of.
    pub streams_max: usize,
}

/// What a response is, to those who count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Records of the name and type that was asked for; about that name, or that of the wildcard or DNAME they came from.
    Answer,
    /// A referral; about the zone it leads to.
    Referral,
    /// The name has no records of the type, whichever; about the name.
    NoData,
    /// The name does not exist; about the zone.
    NxDomain,
    /// Any other RCODE; about nothing.
    Error,
    /// Whatever is sent; about nothing.
    Any,
}

/// How many kinds there are.
pub const KINDS: usize = 6;

/// What is to be done with a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is sent.
    Send,
    /// It is sent, and would not be if the limit were more than a trial.
    WouldDrop,
    /// It is sent without records, so that a client that is no victim asks again by TCP or with a cookie.
    Slip,
    /// It is not sent.
    Drop,
}

/// A stream that began to be limited, for those who tell of it.
#[derive(Clone, Debug)]
pub struct Notice {
    /// Where its responses go.
    pub network: IpNet,
    /// What they are.
    pub kind: Kind,
    /// The name they are about; of those about none, nothing.
    pub name: Option<Name>,
    /// The type that was asked for, if it counts.
    pub qtype: Option<Rtype>,
    tag: u64,
}

/// The table of streams, and by what they are judged.
pub struct Limiter {
    rates: Rates,
    exempt: Networks<()>,
    hasher: RandomState,
    /// A power of two of them.
    sets: Box<[Set]>,
    notices: SyncSender<Notice>,
    noticed: Mutex<Receiver<Notice>>,
    /// Streams that were not told of because too many began at once.
    untold: AtomicU64,
}

/// Streams whose hashes share some bits.
#[derive(Default)]
#[repr(align(64))]
struct Set([Place; SET]);

/// Where one stream is kept account of.
#[derive(Default)]
struct Place {
    /// The hash of the stream; 0 for none.
    tag: AtomicU64,
    /// An [`Account`].
    account: AtomicU64,
}

/// What a stream has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Account {
    /// How many responses it may still have; below 0, what it owes.
    balance: i32,
    /// When it was last counted, in seconds of which some bits are kept.
    second: u32,
    /// How many limited responses there were since the last that slipped.
    slips: u32,
    /// Whether it was found to be limited since it last had all it can have.
    is_limited: bool,
}

/// The bits of a second that an account keeps: those of eight years.
const SECOND_BITS: u32 = 28;

impl Account {
    fn new(rate: i32, second: u32) -> Self {
        Self { balance: rate, second, slips: 0, is_limited: false }
    }

    // From the lowest bit: the second, the slips (4 bits), the flag (1), the balance (31, signed).
    fn unpack(word: u64) -> Self {
        Self {
            balance: (word as i64 >> 33) as i32,
            second: word as u32 & ((1 << SECOND_BITS) - 1),
            slips: (word >> SECOND_BITS) as u32 & 0xf,
            is_limited: word >> 32 & 1 != 0,
        }
    }

    fn pack(self) -> u64 {
        (i64::from(self.balance) << 33) as u64
            | u64::from(self.is_limited) << 32
            | u64::from(self.slips) << SECOND_BITS
            | u64::from(self.second)
    }

    /// How many seconds ago it was counted; 0 if it was by a worker whose clock is ahead.
    fn age(self, second: u32) -> u32 {
        let age = second.wrapping_sub(self.second) & ((1 << SECOND_BITS) - 1);
        if age < 1 << (SECOND_BITS - 1) { age } else { 0 }
    }

    /// What it has by `second`.
    fn earned(mut self, rate: i32, window: u32, second: u32) -> Self {
        let age = self.age(second);
        if age == 0 {
            return self;
        }
        self.second = second;
        let balance = i64::from(self.balance) + i64::from(rate) * i64::from(age);
        if age > window || balance > i64::from(rate) {
            return Self::new(rate, second);
        }
        self.balance = i32::try_from(balance).expect("it is not above the rate, and it was an account's before");
        self
    }

    /// Takes the price of one response; tells whether it is limited, and whether that one slips.
    fn paid(mut self, rate: i32, rates: &Rates) -> (Self, Option<bool>) {
        self.balance -= 1;
        if self.balance >= 0 {
            return (self, None);
        }
        let window = i32::try_from(rates.window).expect("a window has an hour at most");
        self.balance = self.balance.max(-window * rate);
        let slips = rates.slip > 0 && self.slips == 0;
        self.slips = if self.slips + 1 >= rates.slip { 0 } else { self.slips + 1 };
        self.is_limited = true;
        (self, Some(slips))
    }
}

/// Identical responses: to one network, of one kind, about one name.
#[derive(Debug)]
struct Stream<'n> {
    kind: Kind,
    /// The name in lower-case wire form; empty for none.
    name: &'n [u8],
    qtype: Rtype,
    qclass: Class,
}

impl<'n> Stream<'n> {
    /// Responses that are counted whatever they are about.
    const fn about_nothing(kind: Kind) -> Self {
        Stream { kind, name: &[], qtype: Rtype(0), qclass: Class(0) }
    }

    /// What `response` is one of.
    fn of(request: &'n Request<'_>, response: &Response<'_>) -> Self {
        let first = response.entries.first();
        let qname = &request.folded;
        let about = |kind, name| Stream { kind, name, qtype: Rtype(0), qclass: request.qclass };
        match (response.rcode, first.map(|entry| entry.section)) {
            // What was found at the first name counts, wherever its CNAME leads.
            (Rcode::NOERROR | Rcode::NXDOMAIN | Rcode::YXDOMAIN, Some(Section::Answer)) => {
                let from = first.filter(|entry| entry.rrset.rtype == Rtype::DNAME);
                let name = from.map_or_else(|| source_of(qname, response), |entry| owner_of(qname, entry));
                Stream { qtype: request.qtype, ..about(Kind::Answer, name) }
            }
            (Rcode::NXDOMAIN, Some(_)) => about(Kind::NxDomain, first.map_or(&[], |entry| owner_of(qname, entry))),
            (Rcode::NOERROR, Some(_)) => match first.filter(|entry| entry.rrset.rtype == Rtype::NS) {
                Some(entry) => about(Kind::Referral, owner_of(qname, entry)),
                None => about(Kind::NoData, source_of(qname, response)),
            },
            (Rcode::NOERROR, None) => {
                Stream { qtype: request.qtype, ..about(Kind::Answer, source_of(qname, response)) }
            }
            _ => Self::about_nothing(Kind::Error),
        }
    }
}

/// The QNAME; if a wildcard stood in for it, the name that the wildcard is below of.
fn source_of<'n>(qname: &'n Folded, response: &Response<'_>) -> &'n [u8] {
    response.wildcard.map_or_else(|| qname.wire(), |skipped| qname.suffix(skipped))
}

/// The owner of what stands first in a response; no name but the QNAME and those above it can.
fn owner_of<'n>(qname: &'n Folded, entry: &Entry<'_>) -> &'n [u8] {
    match entry.owner {
        Owner::Question(skipped) => qname.suffix(skipped),
        Owner::Name(_) => qname.wire(),
    }
}

impl Limiter {
    /// A limiter of so many streams; `None` if nothing has a limit.
    ///
    /// `hasher` must be one that nobody else knows: who could tell which streams share a set could push any out.
    pub fn new(rates: Rates, hasher: RandomState) -> Option<Self> {
        if rates.per_second == [0; KINDS] {
            return None;
        }
        let count = rates.streams_max.div_ceil(SET).next_power_of_two();
        let sets = (0..count).map(|_| Set::default()).collect();
        let mut exempt = rates.exempt.clone();
        exempt.sort_unstable();
        exempt.dedup();
        let exempt = exempt.into_iter().map(|network| (network, ())).collect();
        let exempt = Networks::build(exempt).expect("those given twice were left out");
        let (notices, noticed) = sync_channel(NOTICES_MAX);
        Some(Self { rates, exempt, hasher, sets, notices, noticed: Mutex::new(noticed), untold: AtomicU64::new(0) })
    }

    /// Counts a response to a request and says what is to be done with it.
    ///
    /// One that only gives a cookie has no limit: it is hardly longer than the request, and a client that never gets it
    /// could not show that it asks from its own address.
    pub(super) fn judge(
        &self,
        now: Duration,
        client: IpAddr,
        request: &Request<'_>,
        response: &Response<'_>,
    ) -> Verdict {
        match response.rcode {
            Rcode::BADCOOKIE => Verdict::Send,
            _ => self.count(now, client, &Stream::of(request, response)),
        }
    }

    /// As [`Limiter::judge`], for a response with this code to what has no question that could be read.
    pub(super) fn judge_refusal(&self, now: Duration, client: IpAddr, rcode: Rcode) -> Verdict {
        match rcode {
            // To a message that asks for a cookie and nothing else (RFC 7873 section 5.4).
            Rcode::NOERROR | Rcode::BADCOOKIE => Verdict::Send,
            _ => self.count(now, client, &Stream::about_nothing(Kind::Error)),
        }
    }

    fn count(&self, now: Duration, client: IpAddr, stream: &Stream<'_>) -> Verdict {
        let client = client.to_canonical();
        if self.exempt.lookup(client).entry.is_some() {
            return Verdict::Send;
        }
        let network = self.network_of(client);
        let second = now.as_secs() as u32 & ((1 << SECOND_BITS) - 1);
        let own = self.debit(second, network, stream);
        let all = self.debit(second, network, &Stream::about_nothing(Kind::Any));
        match (own, all) {
            (None, None) => Verdict::Send,
            _ if self.rates.log_only => Verdict::WouldDrop,
            // Many resolvers take a truncated error for what it says; and over the limit of all is to come nothing.
            (Some(true), None) if stream.kind != Kind::Error => Verdict::Slip,
            (Some(_), _) | (_, Some(_)) => Verdict::Drop,
        }
    }

    fn network_of(&self, client: IpAddr) -> IpNet {
        let bits = match client {
            IpAddr::V4(_) => self.rates.ipv4_prefix_length,
            IpAddr::V6(_) => self.rates.ipv6_prefix_length,
        };
        IpNet::new(client, bits).map_or_else(|_| client.into(), |network| network.trunc())
    }

    /// Counts a response of a stream; `None` if it is within the limit, else whether it slips.
    fn debit(&self, second: u32, network: IpNet, stream: &Stream<'_>) -> Option<bool> {
        let rate = self.rates.per_second[stream.kind as usize];
        if rate == 0 {
            return None;
        }
        let rate = i32::try_from(rate).unwrap_or(i32::MAX);
        let tag = self.tag_of(network, stream);
        let place = self.place_of(tag, rate, second);
        let mut word = place.account.load(Ordering::Relaxed);
        loop {
            let before = Account::unpack(word).earned(rate, self.rates.window, second);
            let (after, limited) = before.paid(rate, &self.rates);
            let packed = after.pack();
            // One that owes all it can is not written to, unless it counts slips: workers need not wait for each other.
            let outcome = if packed == word {
                Ok(word)
            } else {
                place.account.compare_exchange_weak(word, packed, Ordering::Relaxed, Ordering::Relaxed)
            };
            match outcome {
                Ok(_) => {
                    if after.is_limited && !before.is_limited {
                        self.notice(network, stream, tag);
                    }
                    return limited;
                }
                Err(newer) => word = newer,
            }
        }
    }

    /// The hash that stands for a stream; never 0.
    fn tag_of(&self, network: IpNet, stream: &Stream<'_>) -> u64 {
        const HEAD: usize = 22;
        let mut key = [0; HEAD + NAME_OCTETS_MAX];
        key[0] = stream.kind as u8;
        match network.addr() {
            IpAddr::V4(address) => key[2..6].copy_from_slice(&address.octets()),
            IpAddr::V6(address) => {
                key[1] = 1;
                key[2..18].copy_from_slice(&address.octets());
            }
        }
        key[18..20].copy_from_slice(&stream.qtype.0.to_be_bytes());
        key[20..HEAD].copy_from_slice(&stream.qclass.0.to_be_bytes());
        key[HEAD..HEAD + stream.name.len()].copy_from_slice(stream.name);
        self.hasher.hash_one(&key[..HEAD + stream.name.len()]).max(1)
    }

    fn set_of(&self, tag: u64) -> &[Place; SET] {
        &self.sets[tag as usize & (self.sets.len() - 1)].0
    }

    /// Finds a stream's place, or gives it the one that is missed least.
    ///
    /// That is an empty one, or else the one that was not counted the longest of those that owe nothing, or else of all:
    /// a flood of new streams frees no stream that is limited before all its neighbours are.
    fn place_of(&self, tag: u64, rate: i32, second: u32) -> &Place {
        let set = self.set_of(tag);
        loop {
            if let Some(place) = set.iter().find(|place| place.tag.load(Ordering::Relaxed) == tag) {
                return place;
            }
            let worth = |place: &&Place| {
                let account = Account::unpack(place.account.load(Ordering::Relaxed));
                let age = account.age(second);
                let owes = account.balance < 0 && age <= self.rates.window;
                (place.tag.load(Ordering::Relaxed) != 0, owes, std::cmp::Reverse(age))
            };
            let place = set.iter().min_by_key(worth).expect("a set has places");
            let there = place.tag.load(Ordering::Relaxed);
            // If another worker took it meanwhile, that may have been for the same stream.
            if place.tag.compare_exchange(there, tag, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
                place.account.store(Account::new(rate, second).pack(), Ordering::Relaxed);
                return place;
            }
        }
    }

    /// Tells that a stream begins to be limited, unless too many do.
    fn notice(&self, network: IpNet, stream: &Stream<'_>, tag: u64) {
        let name = NameRef::split_from(stream.name).ok().map(|(name, _)| name.to_owned());
        let qtype = (stream.qtype != Rtype(0)).then_some(stream.qtype);
        if self.notices.try_send(Notice { network, kind: stream.kind, name, qtype, tag }).is_err() {
            self.untold.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Streams that began to be limited since the last look, and how many more did.
    pub fn began(&self) -> (Vec<Notice>, u64) {
        // Who counts responses never takes this lock.
        let noticed = self.noticed.lock().unwrap_or_else(PoisonError::into_inner);
        (noticed.try_iter().collect(), self.untold.swap(0, Ordering::Relaxed))
    }

    /// Whether a stream is limited no more: it has again all it can have, or is not kept account of.
    pub fn is_over(&self, now: Duration, notice: &Notice) -> bool {
        let Some(place) = self.set_of(notice.tag).iter().find(|place| place.tag.load(Ordering::Relaxed) == notice.tag)
        else {
            return true;
        };
        let rate = i32::try_from(self.rates.per_second[notice.kind as usize]).unwrap_or(i32::MAX);
        let account = Account::unpack(place.account.load(Ordering::Relaxed));
        let second = now.as_secs() as u32 & ((1 << SECOND_BITS) - 1);
        !account.earned(rate, self.rates.window, second).is_limited
    }

    /// Whether all is sent, whatever the limit.
    pub fn is_trial(&self) -> bool {
        self.rates.log_only
    }
}

impl Kind {
    /// What operators call responses of this kind.
    pub fn name(self) -> &'static str {
        match self {
            Self::Answer => "answers",
            Self::Referral => "referrals",
            Self::NoData => "nodata",
            Self::NxDomain => "nxdomains",
            Self::Error => "errors",
            Self::Any => "all",
        }
    }
}

impl fmt::Debug for Limiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limiter").field("rates", &self.rates).field("sets", &self.sets.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::thread;

    use proptest::prelude::*;

    use super::*;

    fn rates() -> Rates {
        Rates {
            per_second: [5; KINDS],
            window: 15,
            slip: 2,
            ipv4_prefix_length: 24,
            ipv6_prefix_length: 56,
            exempt: Vec::new(),
            log_only: false,
            streams_max: 10_000,
        }
    }

    fn limiter(rates: Rates) -> Limiter {
        Limiter::new(rates, RandomState::new()).unwrap()
    }

    /// Answers about a name.
    fn answers(name: &[u8]) -> Stream<'_> {
        Stream { kind: Kind::Answer, name, qtype: Rtype::A, qclass: Class::IN }
    }

    const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    /// What comes of so many responses at one moment: how many are sent, slip and are dropped.
    fn counted(limiter: &Limiter, second: u64, client: &str, stream: &Stream<'_>, times: usize) -> [usize; 3] {
        let verdicts = (0..times).map(|_| limiter.count(Duration::from_secs(second), client.parse().unwrap(), stream));
        verdicts.fold([0; 3], |[sent, slipped, dropped], verdict| match verdict {
            Verdict::Send | Verdict::WouldDrop => [sent + 1, slipped, dropped],
            Verdict::Slip => [sent, slipped + 1, dropped],
            Verdict::Drop => [sent, slipped, dropped + 1],
        })
    }

    #[test]
    fn a_stream_gets_what_it_earns_and_pays_for_what_it_asked_too_much() {
        let limiter = limiter(Rates { per_second: [5, 5, 5, 5, 5, 0], ..rates() });
        let stream = answers(b"\x01a\0");
        // Rows of a second, how many ask in it, and what comes of them.
        let rows = [
            (0, 9, [5, 2, 2]),
            // It owes 4, and earns 5.
            (1, 3, [1, 1, 1]),
            (2, 100, [3, 49, 48]),
            // It owes 75 at most, which it has earned again after 15 seconds; of two limited responses the first slips.
            (16, 1, [0, 0, 1]),
            (33, 6, [5, 1, 0]),
        ];
        for (second, times, expected) in rows {
            assert_eq!(counted(&limiter, second, "192.0.2.1", &stream, times), expected, "at {second}");
        }
    }

    #[test]
    fn streams_are_apart_by_network_kind_name_and_type() {
        let limiter = limiter(Rates { per_second: [1, 1, 1, 1, 1, 0], slip: 0, ..rates() });
        let a = || answers(b"\x01a\0");
        let rows = [
            ("192.0.2.1", a(), true),
            ("192.0.2.255", a(), false),
            ("::ffff:192.0.2.7", a(), false),
            ("192.0.3.1", a(), true),
            ("2001:db8::1", a(), true),
            ("2001:db8:0:ff::1", a(), false),
            ("2001:db8:0:100::1", a(), true),
            ("192.0.2.1", answers(b"\x01b\0"), true),
            ("192.0.2.1", Stream { qtype: Rtype::TXT, ..a() }, true),
            ("192.0.2.1", Stream { qclass: Class::CH, ..a() }, true),
            ("192.0.2.1", Stream { kind: Kind::NoData, ..a() }, true),
            ("192.0.2.1", Stream::about_nothing(Kind::Error), true),
            ("192.0.2.1", Stream::about_nothing(Kind::Error), false),
        ];
        for (row, (client, stream, sent)) in rows.into_iter().enumerate() {
            assert_eq!(counted(&limiter, 0, client, &stream, 1)[0] == 1, sent, "row {row}");
        }
    }

    #[test]
    fn over_the_limit_of_all_nothing_slips_and_errors_never_do() {
        let stream = answers(b"\x01a\0");
        let all = limiter(Rates { per_second: [0, 0, 0, 0, 0, 3], slip: 1, ..rates() });
        assert_eq!(counted(&all, 0, "192.0.2.1", &stream, 10), [3, 0, 7]);
        let errors = limiter(Rates { per_second: [1; KINDS], slip: 1, ..rates() });
        assert_eq!(counted(&errors, 0, "192.0.2.1", &Stream::about_nothing(Kind::Error), 10), [1, 0, 9]);
        let own = limiter(Rates { per_second: [1, 0, 0, 0, 0, 0], slip: 1, ..rates() });
        assert_eq!(counted(&own, 0, "192.0.2.1", &stream, 10), [1, 9, 0]);
    }

    #[test]
    fn those_exempt_have_no_limit_and_on_trial_nobody_has() {
        let stream = answers(b"\x01a\0");
        let exempt = ["192.0.2.0/25", "192.0.2.0/25"].map(|network| network.parse().unwrap()).to_vec();
        let some = limiter(Rates { exempt, slip: 0, ..rates() });
        assert_eq!(counted(&some, 0, "192.0.2.1", &stream, 100), [100, 0, 0]);
        assert_eq!(counted(&some, 0, "192.0.2.128", &stream, 100), [5, 0, 95]);
        let trial = limiter(Rates { log_only: true, ..rates() });
        assert_eq!(counted(&trial, 0, "192.0.2.1", &stream, 100), [100, 0, 0]);
        assert_eq!(trial.count(Duration::ZERO, CLIENT, &stream), Verdict::WouldDrop);
        assert!(Limiter::new(Rates { per_second: [0; KINDS], ..rates() }, RandomState::new()).is_none());
    }

    #[test]
    fn who_begins_to_be_limited_is_told_once_until_it_is_over() {
        let limiter = limiter(Rates { per_second: [5, 5, 5, 5, 5, 0], ..rates() });
        let stream = answers(b"\x01a\0");
        counted(&limiter, 0, "192.0.2.1", &stream, 20);
        counted(&limiter, 1, "192.0.2.1", &stream, 20);
        let (began, untold) = limiter.began();
        let [notice] = &began[..] else { panic!("{began:?}") };
        assert_eq!((notice.network.to_string(), untold), ("192.0.2.0/24".to_owned(), 0));
        assert_eq!((notice.name.as_ref().unwrap().to_string(), notice.qtype), ("a.".to_owned(), Some(Rtype::A)));
        // It owes 30 and has all it can have when it has earned 35 and more.
        assert!(!limiter.is_over(Duration::from_secs(8), notice));
        assert!(limiter.is_over(Duration::from_secs(9), notice));
        counted(&limiter, 9, "192.0.2.1", &stream, 6);
        assert_eq!(limiter.began().0.len(), 1);
        for number in 0..NOTICES_MAX + 3 {
            counted(&limiter, 9, &format!("198.51.{number}.1"), &stream, 6);
        }
        let (began, untold) = limiter.began();
        assert_eq!((began.len(), untold), (NOTICES_MAX, 3));
    }

    #[test]
    fn a_flood_of_new_streams_frees_none_that_is_limited() {
        let limiter = limiter(Rates { per_second: [5, 0, 0, 0, 0, 0], slip: 0, streams_max: 1000, ..rates() });
        assert_eq!(counted(&limiter, 0, "192.0.2.1", &answers(b"\x01a\0"), 40), [5, 0, 35]);
        for number in 0..20_000u32 {
            let address = IpAddr::V4((0x0a00_0000 + (number << 8)).into());
            limiter.count(Duration::from_secs(1), address, &answers(b"\x01a\0"));
        }
        assert_eq!(counted(&limiter, 1, "192.0.2.1", &answers(b"\x01a\0"), 40), [0, 0, 40]);
    }

    #[test]
    fn a_clock_that_is_behind_earns_nothing_twice() {
        let limiter = limiter(Rates { per_second: [5, 0, 0, 0, 0, 0], slip: 0, ..rates() });
        let stream = answers(b"\x01a\0");
        assert_eq!(counted(&limiter, 10, "192.0.2.1", &stream, 6), [5, 0, 1]);
        assert_eq!(counted(&limiter, 9, "192.0.2.1", &stream, 1), [0, 0, 1]);
        assert_eq!(counted(&limiter, 10, "192.0.2.1", &stream, 1), [0, 0, 1]);
        assert_eq!(counted(&limiter, 11, "192.0.2.1", &stream, 3), [2, 0, 1]);
    }

    #[test]
    fn accounts_survive_being_packed() {
        for balance in [i32::from(i16::MIN) * 1100, -1, 0, 1, 10_000] {
            for (second, slips, is_limited) in [(0, 0, false), ((1 << SECOND_BITS) - 1, 10, true), (77, 3, false)] {
                let account = Account { balance, second, slips, is_limited };
                assert_eq!(Account::unpack(account.pack()), account);
            }
        }
        // The seconds come round after eight years.
        let old = Account { balance: -3, second: (1 << SECOND_BITS) - 1, slips: 0, is_limited: true };
        assert_eq!((old.age(1), old.earned(2, 15, 1).balance), (2, 1));
    }

    /// How many of `times` responses at one moment are sent when four threads count them.
    fn sent_by_threads(limiter: &Limiter, times: usize) -> usize {
        let count = || {
            let stream = answers(b"\x01a\0");
            (0..times / 4).filter(|_| limiter.count(Duration::ZERO, CLIENT, &stream) == Verdict::Send).count()
        };
        thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(count)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        })
    }

    #[test]
    fn many_workers_limit_a_stream_as_one_does() {
        for round in 0..50 {
            let limiter = limiter(Rates { per_second: [100, 0, 0, 0, 0, 0], ..rates() });
            let (stream, known) = (answers(b"\x01a\0"), round % 2 == 0);
            if known {
                assert_eq!(limiter.count(Duration::ZERO, CLIENT, &stream), Verdict::Send);
            }
            let sent = sent_by_threads(&limiter, 4000) + usize::from(known);
            // While a stream enters the table, each of the four may forget the one it counts.
            let most = if known { 100 } else { 104 };
            assert!((100..=most).contains(&sent), "{sent} are sent in place of 100");
        }
    }

    /// BIND's way to count, over a table without an end.
    struct Model {
        rates: Rates,
        entries: HashMap<(IpNet, usize, &'static [u8], u16), Entry>,
    }

    struct Entry {
        responses: i64,
        slip_count: u32,
        second: u64,
    }

    impl Model {
        fn judge(&mut self, millis: u64, network: IpNet, stream: &Stream<'static>) -> Verdict {
            let about = (network, stream.kind as usize, stream.name, stream.qtype.0);
            let own = self.debit(millis / 1000, about);
            let all = self.debit(millis / 1000, (network, Kind::Any as usize, b"", 0));
            match if all == Verdict::Send { own } else { Verdict::Drop } {
                Verdict::Send => Verdict::Send,
                _ if self.rates.log_only => Verdict::WouldDrop,
                Verdict::Slip if stream.kind != Kind::Error => Verdict::Slip,
                _ => Verdict::Drop,
            }
        }

        fn debit(&mut self, second: u64, about: (IpNet, usize, &'static [u8], u16)) -> Verdict {
            let (rate, window) = (i64::from(self.rates.per_second[about.1]), i64::from(self.rates.window));
            if rate == 0 {
                return Verdict::Send;
            }
            let entry = self.entries.entry(about).or_insert(Entry { responses: rate, slip_count: 0, second });
            let age = i64::try_from(second - entry.second).unwrap();
            if age > window {
                (entry.responses, entry.slip_count) = (rate, 0);
            } else if age > 0 {
                entry.responses += rate * age;
                if entry.responses > rate {
                    (entry.responses, entry.slip_count) = (rate, 0);
                }
            }
            entry.second = second;
            entry.responses -= 1;
            if entry.responses >= 0 {
                return Verdict::Send;
            }
            entry.responses = entry.responses.max(-window * rate);
            if self.rates.slip == 0 {
                return Verdict::Drop;
            }
            let slips = entry.slip_count == 0;
            entry.slip_count += 1;
            if entry.slip_count >= self.rates.slip {
                entry.slip_count = 0;
            }
            if slips { Verdict::Slip } else { Verdict::Drop }
        }
    }

    fn any_rates() -> impl Strategy<Value = Rates> {
        let per_second = prop::array::uniform6(0..6u32);
        (per_second, 1..5u32, 0..5u32, any::<bool>()).prop_map(|(mut per_second, window, slip, log_only)| {
            per_second[Kind::Any as usize] *= 3;
            // One that limits nothing is none.
            per_second[0] += 1;
            Rates { per_second, window, slip, log_only, ..rates() }
        })
    }

    fn any_stream() -> impl Strategy<Value = Stream<'static>> {
        let kinds = [Kind::Answer, Kind::Referral, Kind::NoData, Kind::NxDomain, Kind::Error];
        (prop::sample::select(kinds.to_vec()), any::<bool>(), any::<bool>()).prop_map(
            |(kind, name, qtype)| match kind {
                Kind::Error | Kind::Any => Stream::about_nothing(kind),
                kind => Stream {
                    kind,
                    name: if name { b"\x01a\0" } else { b"\x01b\0" },
                    qtype: if qtype && kind == Kind::Answer { Rtype::A } else { Rtype(0) },
                    qclass: Class::IN,
                },
            },
        )
    }

    proptest! {
        #[test]
        fn one_thread_counts_as_bind_does(
            rates in any_rates(),
            arrivals in prop::collection::vec(
                (prop_oneof![9 => 0..400u64, 1 => 0..9000u64], 0..2u8, any_stream(), 1..4usize),
                1..200,
            ),
        ) {
            let limiter = limiter(rates.clone());
            let mut model = Model { rates, entries: HashMap::new() };
            let mut millis = 0;
            for (pause, client, stream, times) in arrivals {
                millis += pause;
                let client = IpAddr::V4([192, 0, client, 1].into());
                let network = limiter.network_of(client);
                for _ in 0..times {
                    let expected = model.judge(millis, network, &stream);
                    prop_assert_eq!(limiter.count(Duration::from_millis(millis), client, &stream), expected);
                }
            }
        }
    }
}
