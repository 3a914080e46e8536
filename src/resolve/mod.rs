//! Names that scripts ask for: what was asked, what is known of it, and who asks the resolvers.
//!
//! Read `table` next (where scripts and the asker meet, and how long an answer lasts), then `asker` (when to look up) and
//! `upstream` (how). This file and `table` are pure: they wait for nothing, open nothing and read no clock. Absent on
//! purpose: what is answered meanwhile; that is the server's business.

pub mod asker; // background: what to look up, how many at once
pub mod table; // the shared cache: scripts read, the asker writes
pub mod upstream; // one question to the configured resolvers

use std::fmt;
use std::time::Duration;

use crate::dns::{Name, Rtype};

/// What a script wants to know: the records of one type at a name.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Question {
    /// The name, whatever its letter case.
    pub name: Name,
    /// The type.
    pub rtype: Rtype,
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.rtype)
    }
}

/// A record that a resolver answered with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// Whose it is: the name asked for, or where its CNAMEs led.
    pub owner: Name,
    /// How many seconds it lasts from the moment it came.
    pub ttl: u32,
    /// The data, uncompressed.
    pub rdata: Box<[u8]>,
}

/// What one look-up came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// There are records of the type.
    Found(Vec<Record>),
    /// There are none, for so long as the zone's SOA says.
    Denied {
        /// What there is none of.
        denial: Denial,
        /// How long that holds; `None` if the answer had no SOA.
        ttl: Option<Duration>,
    },
    /// Nothing was learned.
    Failed(Reason),
}

/// What there is none of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Denial {
    /// The name exists without records of the type.
    NoData,
    /// The name does not exist.
    NxDomain,
}

/// Why there are no records, where it is not that the name has none of the type.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reason {
    /// The name does not exist.
    NxDomain,
    /// The resolver failed.
    ServFail,
    /// The resolver does not want to.
    Refused,
    /// No answer came in time.
    Timeout,
    /// No resolver could be reached.
    Unreachable,
    /// More names are asked for than are kept.
    Overload,
    /// An answer of another kind, or none that makes sense.
    Failed,
}

impl Reason {
    /// The reason in the one lower-case word that scripts get.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NxDomain => "nxdomain",
            Self::ServFail => "servfail",
            Self::Refused => "refused",
            Self::Timeout => "timeout",
            Self::Unreachable => "unreachable",
            Self::Overload => "overload",
            Self::Failed => "failed",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
