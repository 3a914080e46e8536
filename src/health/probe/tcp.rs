//! TCP: a connection.

use super::Prober;
use super::connect::Terms;
use crate::health::Reason;
use crate::health::check::Endpoint;

impl Prober {
    /// Makes a TCP connection and closes it.
    pub(super) async fn tcp(&self, target: &Endpoint, terms: &Terms<'_>) -> Result<Option<u32>, Reason> {
        self.connect(target, terms).await?;
        Ok(None)
    }
}
