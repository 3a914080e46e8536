//! Where zones come from; publishes whole zones, knows nothing of queries.
//!
//! A source is first read whole and then watched: it sends an [`Event`] for each zone that comes, changes, goes or
//! cannot be had. What a zone is made into is up to the function the source is given.
//!
//! - `file.rs`: zones in files; read this first
//! - `place.rs`: which files there are, and for which zones
//! - `read.rs`: reading them with their includes, without ever waiting for one
//! - `folder.rs`: reading a whole directory of a zone's, such as its modules
//! - `notice.rs`: the system's word that something changed
//! - `collection.rs`: a directory of files that are no zones and change as those do
//! - `maps.rs`: maps of networks in such files
//! - `extfile.rs`: what others say of targets in such files
//! - `reload.rs`: asking for all to be read again, and learning when it has been
//! - `watched.rs`: changes of a few files that are no zones, for whoever reads them
//!
//! Absent on purpose: the zones themselves (who receives them keeps them), and logging of what an event says.

mod collection;
mod extfile;
mod file;
mod folder;
mod maps;
mod notice;
mod place;
mod read;
mod reload;
mod watched;

pub use extfile::StateSource;
pub use file::{FileSource, Load, Loaded};
pub use maps::MapSource;
pub use place::zone_of;
pub use read::{ReadError, Refusal, Text, ZoneReader, read_regular};
pub use reload::{Pass, Passing, Reload, Reloads, reloads};
pub use watched::{Settled, Watched};

use crate::diagnostic::Diagnostic;
use crate::dns::Name;

/// What happened to a zone; `Z` is what a zone is made into.
#[derive(Debug)]
pub enum Event<Z> {
    /// The zone is new or changed, and sound.
    Changed {
        /// The apex.
        name: Name,
        /// The zone.
        zone: Z,
        /// What is odd about it.
        warnings: Vec<Diagnostic>,
    },
    /// The zone is gone; it had been sent before.
    Removed {
        /// The apex.
        name: Name,
    },
    /// A zone could not be had, or something else was off; what was sent before holds on.
    Failed {
        /// The apex; `None` if no single zone is concerned.
        name: Option<Name>,
        /// Why; may be warnings alone when no zone is concerned.
        diagnostics: Vec<Diagnostic>,
    },
}

impl<Z> Event<Z> {
    /// The zone concerned, if it is one.
    pub fn name(&self) -> Option<&Name> {
        match self {
            Self::Changed { name, .. } | Self::Removed { name } => Some(name),
            Self::Failed { name, .. } => name.as_ref(),
        }
    }

    /// Everything it tells an operator.
    pub fn diagnostics(&self) -> &[Diagnostic] {
        match self {
            Self::Changed { warnings, .. } => warnings,
            Self::Removed { .. } => &[],
            Self::Failed { diagnostics, .. } => diagnostics,
        }
    }
}
