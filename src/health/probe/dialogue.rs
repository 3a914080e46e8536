//! TCP: what is said on a connection, and what must come back.

use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{self, Instant};

use super::connect::Terms;
use super::pattern::{Patterns, SEARCHED_MAX};
use super::{Prober, lost};
use crate::health::Reason;
use crate::health::check::{Dialogue, Endpoint, Pattern};

/// How many octets are read at a time.
const PIECE_OCTETS: usize = 4 << 10;

/// How long nothing is searched after a search: who drips is not to have the same octets searched for each that is new.
const SEARCH_PAUSE: Duration = Duration::from_millis(10);

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
    let mut received = Vec::new();
    let mut next_search = Instant::now();
    let mut is_news = true;
    loop {
        let mut piece = [0; PIECE_OCTETS];
        let room = (SEARCHED_MAX - received.len()).min(PIECE_OCTETS);
        let step = tokio::select! {
            biased;
            // All there is at once is searched at once: octet by octet would take time in the square of their number.
            read = stream.read(&mut piece[..room]), if room > 0 => match read {
                Ok(0) if received.is_empty() => Step::End(Reason::Closed),
                Ok(0) => Step::End(no_match(expected)),
                Ok(length) => Step::Piece(length),
                Err(error) => Step::End(lost(&error)),
            },
            () = time::sleep_until(next_search), if is_news && room > 0 => Step::Pause,
            () = time::sleep_until(end), if !received.is_empty() && room > 0 => Step::End(no_match(expected)),
            else => Step::End(no_match(expected)),
        };
        if let Step::Piece(length) = step {
            received.extend_from_slice(&piece[..length]);
            is_news = true;
            continue;
        }
        if patterns.matches(expected, &Bytes::copy_from_slice(&received)).await? {
            return Ok(());
        }
        if let Step::End(reason) = step {
            return Err(reason);
        }
        (is_news, next_search) = (false, Instant::now() + SEARCH_PAUSE);
    }
}

/// What reading comes to.
enum Step {
    /// So many octets more.
    Piece(usize),
    /// Nothing for now.
    Pause,
    /// Nothing any more, which is a failure for this reason unless what has come matches.
    End(Reason),
}

fn no_match(expected: &Pattern) -> Reason {
    Reason::NoMatch(expected.0.to_string())
}
