//! Asking for all to be read again, and learning when it has been.

use std::convert::Infallible;

use tokio::sync::mpsc;

/// Asks one who follows files to read them all again.
#[derive(Clone, Debug)]
pub struct Reload(mpsc::UnboundedSender<Pass>);

/// What the one who follows them is asked by.
#[derive(Debug)]
pub struct Reloads(mpsc::UnboundedReceiver<Pass>);

/// One time that all is read again, held by whoever is not done with it.
#[derive(Clone, Debug)]
pub struct Pass(#[expect(dead_code, reason = "to hold it is all it is for")] mpsc::Sender<Infallible>);

/// Tells when a [`Pass`] is held by nobody any more.
#[derive(Debug)]
pub struct Passing(mpsc::Receiver<Infallible>);

/// Makes both ends for one who follows files.
pub fn reloads() -> (Reload, Reloads) {
    let (ask, asked) = mpsc::unbounded_channel();
    (Reload(ask), Reloads(asked))
}

impl Reload {
    /// Asks; who follows nothing any more is done at once.
    pub fn ask(&self, pass: &Pass) {
        // What cannot be sent is dropped.
        let _ = self.0.send(pass.clone());
    }
}

impl Reloads {
    /// Waits until it is asked; all that asked meanwhile are served by one time of reading.
    pub async fn asked(&mut self) -> Vec<Pass> {
        let Some(first) = self.0.recv().await else { return std::future::pending().await };
        std::iter::once(first).chain(std::iter::from_fn(|| self.0.try_recv().ok())).collect()
    }
}

impl Pass {
    /// A time that has begun.
    pub fn begin() -> (Self, Passing) {
        let (holder, held) = mpsc::channel(1);
        (Self(holder), Passing(held))
    }
}

impl Passing {
    /// Waits until all is read.
    pub async fn over(&mut self) {
        // There is nothing that could be sent.
        let _ = self.0.recv().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Poll;

    /// Whether a pass is over by now.
    fn is_over(passing: &mut Passing) -> bool {
        let mut over = std::pin::pin!(passing.over());
        matches!(over.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop())), Poll::Ready(()))
    }

    #[tokio::test]
    async fn a_pass_is_over_once_all_who_were_asked_are_done() {
        let (first, mut first_asked) = reloads();
        let (second, second_asked) = reloads();
        let (pass, mut passing) = Pass::begin();
        [first, second].iter().for_each(|one| one.ask(&pass));
        drop(pass);
        let held = first_asked.asked().await;
        assert!(!is_over(&mut passing));
        drop(held);
        assert!(!is_over(&mut passing), "the second was not even begun");
        // Who ends has nothing more to read.
        drop(second_asked);
        assert!(is_over(&mut passing));
    }

    #[tokio::test]
    async fn who_is_asked_twice_reads_once() {
        let (ask, mut asked) = reloads();
        let (pass, _passing) = Pass::begin();
        ask.ask(&pass);
        ask.ask(&pass);
        assert_eq!(asked.asked().await.len(), 2);
    }
}
