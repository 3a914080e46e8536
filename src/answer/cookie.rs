//! Cookies: who is known to be where it says it is (RFC 7873), by server cookies that any server with the same secret
//! makes and knows (RFC 9018).

use std::net::IpAddr;
use std::sync::Arc;

use siphasher::sip::SipHasher24;

use crate::config::CookiePolicy;
use crate::dns::Transport;
use crate::dns::edns::cookie::{Cookie, Given, SERVER_OCTETS, Secret, ServerPart};

/// The one version of server cookies there is (RFC 9018 section 4.1).
const VERSION: u8 = 1;
/// How old a server cookie may be, in seconds (RFC 9018 section 4.3).
const AGE_MAX: i32 = 3600;
/// How far in the future it may have been made: clocks of servers that share a secret differ.
const SKEW_MAX: i32 = 300;
/// The age from which on a client gets a fresh one.
const AGE_OF_RENEWAL: i32 = 1800;

/// How cookies are made, known and acted on.
#[derive(Clone, Debug)]
pub struct Cookies {
    /// What server cookies are signed with: the first signs, all verify. Without any, cookies are an unknown option.
    pub secrets: Arc<[Secret]>,
    /// What clients get by UDP that bring no valid server cookie.
    pub policy: CookiePolicy,
    /// The most octets of a response by UDP to those clients.
    pub udp_payload_max: u16,
}

/// What the cookie of a request says of its client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// Nothing: there is none, or it is not looked at.
    Absent,
    /// That it knows of cookies, and has none of this server yet.
    New,
    /// Nothing to rely on: the server cookie is of another server or address, too old, or made up.
    Bad,
    /// That it gets what is sent to its address: it brought back what this server, or one with its secret, sent there.
    Valid,
}

/// What came of looking at a request's cookie.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Judgement {
    /// What it says of the client.
    pub standing: Standing,
    /// What the response brings; nothing if the request brought none.
    pub given: Option<Given>,
}

/// What a client gets instead of an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Instead {
    /// BADCOOKIE with a cookie that is good: the client asks again with it.
    BadCookie,
    /// TC: the client asks again over a stream.
    Truncated,
}

impl Cookies {
    /// Whether cookies are looked at and given.
    pub fn are_on(&self) -> bool {
        !self.secrets.is_empty()
    }

    /// Looks at the cookie that came from `address` at `unix_secs`, and makes the one to send back.
    pub fn judge(&self, cookie: Option<&Cookie>, address: IpAddr, unix_secs: u64) -> Judgement {
        let (Some(cookie), Some(first)) = (cookie, self.secrets.first()) else {
            return Judgement { standing: Standing::Absent, given: None };
        };
        // The 32 bits of the time in a cookie begin anew in 2106; only differences count.
        let (address, now) = (address.to_canonical(), unix_secs as u32);
        let standing = match cookie.server {
            ServerPart::Absent => Standing::New,
            ServerPart::Foreign => Standing::Bad,
            ServerPart::Like(server) => {
                let signer = self.secrets.iter().position(|secret| is_signed(secret, cookie, &server, address));
                let age = age(&server, now);
                // Bits without a meaning are never sent by us, but may be by others that share the secret.
                let is_ours = server[..4] == [VERSION, 0, 0, 0];
                if signer == Some(0) && is_ours && (-SKEW_MAX..AGE_OF_RENEWAL).contains(&age) {
                    return Judgement { standing: Standing::Valid, given: Some(cookie.with(server)) };
                }
                let is_valid = signer.is_some() && (-SKEW_MAX..=AGE_MAX).contains(&age);
                if is_valid { Standing::Valid } else { Standing::Bad }
            }
        };
        Judgement { standing, given: Some(cookie.with(make(first, cookie, address, now))) }
    }

    /// What such a client gets instead of an answer, if this is enforced.
    ///
    /// ```text
    /// policy      Absent     New, Bad    Valid     over a stream
    /// answer      -          -           -         -
    /// badcookie   -          BADCOOKIE   -         -
    /// require     TC         BADCOOKIE   -         -
    /// ```
    ///
    /// A stream shows by itself that its client is where it says.
    pub(super) fn instead(&self, standing: Standing, transport: Transport) -> Option<Instead> {
        if transport != Transport::Udp || !self.are_on() {
            return None;
        }
        match (self.policy, standing) {
            (CookiePolicy::Answer, _) | (_, Standing::Valid) | (CookiePolicy::Badcookie, Standing::Absent) => None,
            (CookiePolicy::Badcookie | CookiePolicy::Require, Standing::New | Standing::Bad) => {
                Some(Instead::BadCookie)
            }
            (CookiePolicy::Require, Standing::Absent) => Some(Instead::Truncated),
        }
    }

    /// The most octets that a client of this standing gets by UDP.
    pub(super) fn udp_payload_max(&self, standing: Standing) -> u16 {
        if standing == Standing::Valid || !self.are_on() { u16::MAX } else { self.udp_payload_max }
    }
}

/// Makes a server cookie.
fn make(secret: &Secret, cookie: &Cookie, address: IpAddr, now: u32) -> [u8; SERVER_OCTETS] {
    let mut server = [0; SERVER_OCTETS];
    server[0] = VERSION;
    server[4..8].copy_from_slice(&now.to_be_bytes());
    let hash = hash(secret, cookie, &server, address);
    server[8..].copy_from_slice(&hash);
    server
}

/// Whether a server cookie was made with this secret for this client.
fn is_signed(secret: &Secret, cookie: &Cookie, server: &[u8; SERVER_OCTETS], address: IpAddr) -> bool {
    // Two numbers are compared in one step, so the time it takes tells nothing of how much of it was guessed.
    let brought = u64::from_le_bytes(server[8..].try_into().expect("a server cookie ends with 8 octets of hash"));
    server[0] == VERSION && brought == u64::from_le_bytes(hash(secret, cookie, server, address))
}

/// The hash of RFC 9018 section 4.4: over the client cookie, the server cookie up to the hash, and the address.
///
/// The reserved bits are hashed as they came (appendix A.3). SipHash's number is written least octet first.
fn hash(secret: &Secret, cookie: &Cookie, server: &[u8; SERVER_OCTETS], address: IpAddr) -> [u8; 8] {
    let mut input = [0; 32];
    input[..8].copy_from_slice(&cookie.client);
    input[8..16].copy_from_slice(&server[..8]);
    let length = match address {
        IpAddr::V4(address) => {
            input[16..20].copy_from_slice(&address.octets());
            20
        }
        IpAddr::V6(address) => {
            input[16..].copy_from_slice(&address.octets());
            32
        }
    };
    SipHasher24::new_with_key(secret.octets()).hash(&input[..length]).to_le_bytes()
}

/// How many seconds ago a server cookie was made; below 0 if in the future (serial arithmetic, RFC 1982).
fn age(server: &[u8; SERVER_OCTETS], now: u32) -> i32 {
    let made = u32::from_be_bytes(server[4..8].try_into().expect("4 octets are 4 octets"));
    now.wrapping_sub(made) as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "e5e973e5a6b2a43f48e7dc849e37bfcf";
    const OLD: &str = "dd3bdf9344b678b185a6f5cb60fca715";
    const NEW: &str = "445536bcd2513298075a5d379663c962";
    const CLIENT: &str = "198.51.100.100";

    fn cookies(secrets: &[&str]) -> Cookies {
        let secrets = secrets.iter().map(|text| Secret::parse(text).expect("a secret")).collect();
        Cookies { secrets, policy: CookiePolicy::Answer, udp_payload_max: 512 }
    }

    fn cookie(text: &str) -> Cookie {
        let octets = data_encoding::HEXLOWER.decode(text.as_bytes()).expect("hexadecimal");
        let (client, server) = octets.split_first_chunk().expect("a client cookie");
        let server = match server.len() {
            0 => ServerPart::Absent,
            _ => server.try_into().map_or(ServerPart::Foreign, ServerPart::Like),
        };
        Cookie { client: *client, server }
    }

    fn judge(secrets: &[&str], text: &str, address: &str, now: u64) -> (Standing, String) {
        let judged = cookies(secrets).judge(Some(&cookie(text)), address.parse().expect("an address"), now);
        (judged.standing, data_encoding::HEXLOWER.encode(&judged.given.expect("a cookie is answered with one")))
    }

    /// The examples of RFC 9018 appendix A, octet for octet.
    #[test]
    fn cookies_are_those_of_the_rfc() {
        let learned = "2464c4abcf10c957010000005cf79f111f8130c3eee29480";
        let renewed = "2464c4abcf10c957010000005cf7a871d4a564a1442aca77";
        assert_eq!(judge(&[SECRET], "2464c4abcf10c957", CLIENT, 1_559_731_985), (Standing::New, learned.to_owned()));
        assert_eq!(judge(&[SECRET], learned, CLIENT, 1_559_734_385), (Standing::Valid, renewed.to_owned()));
        let (reserved, other) = ("fc93fc62807ddb8601abcdef5cf78f71a314227b6679ebf5", "203.0.113.203");
        let fresh = "fc93fc62807ddb86010000005cf7a9acf73a7810aca2381e";
        assert_eq!(judge(&[SECRET], reserved, other, 1_559_727_985).0, Standing::Valid);
        assert_eq!(judge(&[SECRET], reserved, other, 1_559_734_700), (Standing::Bad, fresh.to_owned()));
        let (before, after) =
            ("22681ab97d52c298010000005cf7c57926556bd0934c72f8", "22681ab97d52c298010000005cf7c609a6bb79d16625507a");
        let address = "2001:db8:220:1:59de:d0f4:8769:82b8";
        assert_eq!(judge(&[NEW, OLD], before, address, 1_559_741_961), (Standing::Valid, after.to_owned()));
        assert_eq!(judge(&[NEW], before, address, 1_559_741_961).0, Standing::Bad);
    }

    #[test]
    fn a_cookie_is_known_for_an_hour_and_renewed_in_half() {
        let made = 1_559_731_985_u64;
        let (_, learned) = judge(&[SECRET], "2464c4abcf10c957", CLIENT, made);
        // How long after, what it is worth, and whether the client gets another.
        let rows = [
            (-301, Standing::Bad, true),
            (-300, Standing::Valid, false),
            (0, Standing::Valid, false),
            (1799, Standing::Valid, false),
            (1800, Standing::Valid, true),
            (3600, Standing::Valid, true),
            (3601, Standing::Bad, true),
            (1 << 31, Standing::Bad, true),
        ];
        for (later, standing, is_renewed) in rows {
            let now = made.checked_add_signed(later).expect("far from the bounds");
            let (came, given) = judge(&[SECRET], &learned, CLIENT, now);
            assert_eq!((came, given != learned), (standing, is_renewed), "{later} s later");
        }
    }

    #[test]
    fn the_time_of_a_cookie_may_wrap() {
        let end = u64::from(u32::MAX);
        let (_, learned) = judge(&[SECRET], "2464c4abcf10c957", CLIENT, end - 100);
        assert_eq!(judge(&[SECRET], &learned, CLIENT, end + 100), (Standing::Valid, learned.clone()));
        assert_eq!(judge(&[SECRET], &learned, CLIENT, end + 3600).0, Standing::Bad);
    }

    #[test]
    fn no_octet_of_a_cookie_can_be_changed() {
        let now = 1_559_731_985;
        let (_, learned) = judge(&[SECRET], "2464c4abcf10c957", CLIENT, now);
        for at in 0..learned.len() {
            let digit = if learned.as_bytes()[at] == b'0' { "1" } else { "0" };
            let changed = format!("{}{digit}{}", &learned[..at], &learned[at + 1..]);
            assert_eq!(judge(&[SECRET], &changed, CLIENT, now).0, Standing::Bad, "{changed}");
        }
        for address in ["198.51.100.101", "2001:db8::1"] {
            assert_eq!(judge(&[SECRET], &learned, address, now).0, Standing::Bad, "{address}");
        }
        // A client is the same by either kind of socket.
        assert_eq!(judge(&[SECRET], &learned, "::ffff:198.51.100.100", now), (Standing::Valid, learned.clone()));
    }

    #[test]
    fn cookies_of_other_lengths_are_none_of_ours() {
        for length in [8, 15, 17, 32] {
            let text = format!("2464c4abcf10c957{}", "01".repeat(length));
            assert_eq!(judge(&[SECRET], &text, CLIENT, 0).0, Standing::Bad, "{length} octets");
        }
    }

    #[test]
    fn without_a_cookie_or_a_secret_nothing_is_given() {
        let nothing = Judgement { standing: Standing::Absent, given: None };
        let address = CLIENT.parse().expect("an address");
        assert_eq!(cookies(&[SECRET]).judge(None, address, 0), nothing);
        assert_eq!(cookies(&[]).judge(Some(&cookie("2464c4abcf10c957")), address, 0), nothing);
    }

    #[test]
    fn policies_hold_over_udp_alone() {
        use Instead::{BadCookie, Truncated};
        let standings = [Standing::Absent, Standing::New, Standing::Bad, Standing::Valid];
        let rows = [
            (CookiePolicy::Answer, [None; 4]),
            (CookiePolicy::Badcookie, [None, Some(BadCookie), Some(BadCookie), None]),
            (CookiePolicy::Require, [Some(Truncated), Some(BadCookie), Some(BadCookie), None]),
        ];
        for (policy, instead) in rows {
            let by = |secrets: &[&str]| Cookies { policy, ..cookies(secrets) };
            assert_eq!(
                standings.map(|standing| by(&[SECRET]).instead(standing, Transport::Udp)),
                instead,
                "{policy:?}"
            );
            assert_eq!(standings.map(|standing| by(&[SECRET]).instead(standing, Transport::Tcp)), [None; 4]);
            assert_eq!(standings.map(|standing| by(&[]).instead(standing, Transport::Udp)), [None; 4]);
        }
    }
}
