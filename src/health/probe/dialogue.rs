//! TCP: what is said on a connection, and what must come back.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{self, Instant};

use super::connect::Terms;
use super::pattern::{Patterns, SEARCHED_MAX};
use super::{Prober, lost};
use crate::health::Reason;
use crate::health::check::{Dialogue, Endpoint, Pattern};

/// How many octets are read at a time.
const PIECE_OCTETS: usize = 4 << 10;

/// How long before the end of a probe it is judged by what has come.
const VERDICT_MARGIN: Duration = Duration::from_millis(20);

impl Prober {
    /// Connects, speaks TLS if that is wanted, sends what is to be sent and waits for what is expected.
    pub(super) async fn converse(
        &self,
        target: &Endpoint,
        dialogue: &Dialogue,
        terms: &Terms<'_>,
    ) -> Result<Option<u32>, Reason> {
        let stream = self.connect(target, terms).await?;
        match &dialogue.tls {
            None => self.exchange(stream, dialogue, terms).await?,
            Some(tls) => {
                let stream = self.handshake(stream, tls, &target.host.to_string(), &[]).await?;
                self.exchange(stream, dialogue, terms).await?;
            }
        }
        Ok(None)
    }

    /// Holds a dialogue on a connection.
    async fn exchange<S>(&self, stream: S, dialogue: &Dialogue, terms: &Terms<'_>) -> Result<(), Reason>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let (mut reader, mut writer) = tokio::io::split(stream);
        let sending = async {
            writer.write_all(&dialogue.send).await?;
            writer.flush().await
        };
        let Some(expected) = &dialogue.expect else { return sending.await.map_err(|error| lost(&error)) };
        let end = terms.shortly_before(VERDICT_MARGIN);
        let mut receiving = std::pin::pin!(receive(&mut reader, (expected, &self.patterns), end));
        // A server that talks before it listens is heard meanwhile; and what it said counts if it will not listen.
        tokio::select! {
            outcome = &mut receiving => outcome,
            sent = sending => match sent {
                Ok(()) | Err(_) => receiving.await,
            },
        }
    }
}

/// Reads until something matches `expected`, or nothing can any more.
///
/// What has come by `end` and does not match is the verdict, rather than that the time is over.
async fn receive(
    stream: &mut (impl AsyncRead + Unpin),
    (expected, patterns): (&Pattern, &Patterns),
    end: Instant,
) -> Result<(), Reason> {
    let is_match = |received: &[u8]| patterns.is_match(expected, received);
    let no_match = || Err(Reason::NoMatch(expected.0.to_string()));
    let mut received = Vec::new();
    let mut searched = None;
    loop {
        let mut piece = [0; PIECE_OCTETS];
        let room = (SEARCHED_MAX - received.len()).min(PIECE_OCTETS);
        let is_news = searched != Some(received.len());
        tokio::select! {
            biased;
            // All there is at once is searched at once: octet by octet would take time in the square of their number.
            read = stream.read(&mut piece[..room]), if room > 0 => match read {
                Ok(length @ 1..) => received.extend_from_slice(&piece[..length]),
                Ok(0) if is_match(&received)? => return Ok(()),
                Ok(0) if received.is_empty() => return Err(Reason::Closed),
                Ok(0) => return no_match(),
                Err(_) if is_match(&received)? => return Ok(()),
                Err(error) => return Err(lost(&error)),
            },
            () = std::future::ready(()), if is_news => {
                if is_match(&received)? {
                    return Ok(());
                }
                searched = Some(received.len());
                if room == 0 {
                    return no_match();
                }
            },
            () = time::sleep_until(end), if !received.is_empty() => return no_match(),
        }
    }
}
