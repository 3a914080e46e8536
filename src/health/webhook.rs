//! Flips told to whoever listens: one POST for each, tried again, and never in anybody's way.
//!
//! [`Queue::tell`] is all that the checker meets, and never waits. [`spawn`] starts the task that empties the queue: a
//! few deliveries under way at a time, never two about one check, so that its events come in their order.

use std::collections::{HashMap, VecDeque};
use std::error::Error;
use std::hash::{BuildHasher, RandomState};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, USER_AGENT};
use reqwest::{Client, Response, StatusCode, Url, redirect, retry};
use rustls::pki_types::CertificateDer;
use serde_json::json;
use tokio::sync::Notify;
use tokio::task::{self, JoinHandle, JoinSet};
use tokio::time;

use super::events::{Event, millis};
use super::tls::Trust;
use super::{State, Tls};

/// How often an event is tried in all: with the pauses between, for about a minute and a half.
const ATTEMPTS_MAX: u32 = 7;

/// The pause after the first attempt; each further one is twice as long. A part of up to half is left out by chance, so
/// that servers that lost one receiver together do not come back together.
const PAUSE_FIRST: Duration = Duration::from_secs(1);

/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// How many deliveries are under way at a time.
const DELIVERIES_MAX: usize = 8;

/// How long the server's stop waits for what is still to be told.
pub const STOP_PATIENCE: Duration = Duration::from_secs(1);

/// How much of a response is read, so that its connection serves the next delivery too.
const RESPONSE_OCTETS_MAX: usize = 64 << 10;

/// Where events are sent.
pub struct Receiver {
    url: Url,
    headers: HeaderMap,
}

impl Receiver {
    /// Reads an http or https URL and the token that goes with it, which may be empty; or says what is wrong.
    pub fn parse(url: &str, token: &str) -> Result<Self, String> {
        let url = Url::parse(url).map_err(|error| error.to_string())?;
        if !["http", "https"].contains(&url.scheme()) {
            return Err(format!("`{}` is spoken by none here, only http and https", url.scheme()));
        }
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("perigee/", env!("CARGO_PKG_VERSION"))));
        if !token.is_empty() {
            let bearer = HeaderValue::from_str(&format!("Bearer {token}"));
            let mut bearer = bearer.map_err(|_| "the token has characters that no header can have".to_owned())?;
            bearer.set_sensitive(true);
            headers.insert(AUTHORIZATION, bearer);
        }
        Ok(Self { url, headers })
    }

    /// Makes the client that keeps the connections to it.
    fn client(&self, timeout: Duration, extra_roots: Vec<CertificateDer<'static>>) -> Result<Client, String> {
        // Without https nothing is verified, so a system without roots is none of its business.
        let tls = if self.url.scheme() == "https" { Tls::Verify } else { Tls::AcceptAny };
        let shared = Trust::new(extra_roots).client_config(tls).map_err(|error| in_words(&error))?;
        let mut config = rustls::ClientConfig::clone(&shared);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Client::builder()
            .no_proxy()
            // Whoever is redirected to was not told the token by the operator.
            .redirect(redirect::Policy::none())
            .retry(retry::never())
            .timeout(timeout)
            .default_headers(self.headers.clone())
            .tls_backend_preconfigured(config)
            .build()
            .map_err(|error| in_words(&error))
    }
}

/// Events that are still to be told.
pub struct Queue {
    inner: Mutex<Inner>,
    news: Notify,
    length_max: usize,
}

/// What the lock of a queue guards.
#[derive(Default)]
struct Inner {
    events: VecDeque<(u64, Event)>,
    /// How many events there were.
    told: u64,
    /// How many were dropped since the queue was last empty.
    dropped: u64,
}

impl Queue {
    /// A queue of at most so many events.
    pub fn new(length_max: usize) -> Self {
        Self { inner: Mutex::default(), news: Notify::new(), length_max }
    }

    /// Takes an event, unless it is that a target which nothing was known of is up: nobody need act on that.
    ///
    /// When the queue is full the oldest makes room: whoever listens then still hears how things are in the end.
    pub fn tell(&self, event: &Event) {
        if (event.flip.from, event.flip.to) == (State::Unknown, State::Up) {
            return;
        }
        let mut inner = self.lock();
        if inner.events.len() >= self.length_max.max(1) {
            inner.events.pop_front();
            inner.dropped += 1;
            if inner.dropped == 1 {
                tracing::warn!(
                    waiting = self.length_max,
                    "events come faster than the webhook takes them, the oldest are dropped"
                );
            }
        }
        inner.told += 1;
        let number = inner.told;
        inner.events.push_back((number, event.clone()));
        self.news.notify_one();
    }

    /// Takes out the oldest event that is about none of these checks, with its number.
    fn next(&self, under_way: &HashMap<task::Id, String>) -> Option<(u64, Event)> {
        let mut inner = self.lock();
        let is_free = |(_, event): &(u64, Event)| !under_way.values().any(|check| *check == event.check);
        let position = inner.events.iter().position(is_free)?;
        let next = inner.events.remove(position);
        if inner.events.is_empty() && inner.dropped > 0 {
            tracing::warn!(dropped = inner.dropped, "the webhook has caught up");
            inner.dropped = 0;
        }
        next
    }

    /// How many wait.
    fn len(&self) -> usize {
        self.lock().events.len()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts to tell a receiver what is in the queue and will be, until `shutdown` ends, and for [`STOP_PATIENCE`] after
/// that; or says why it cannot.
///
/// `server` is the name this server has in events, and `timeout` is for one attempt. Certificates are verified by the
/// system's roots and `extra_roots`. Needs a tokio runtime with time and sockets.
pub fn spawn(
    queue: Arc<Queue>,
    (receiver, timeout): (Receiver, Duration),
    server: String,
    extra_roots: Vec<CertificateDer<'static>>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<JoinHandle<()>, String> {
    let client = receiver.client(timeout, extra_roots)?;
    let url = receiver.url;
    let post = move |number, event: &Event| {
        let request = client.post(url.clone()).body(body(number, event, &server));
        async move { answer_of(request.send().await).await }
    };
    Ok(tokio::spawn(run(queue, Arc::new(post), shutdown)))
}

/// What became of one attempt.
#[derive(Clone, Debug)]
enum Attempt {
    /// The receiver has taken the event.
    Taken,
    /// It will not take it.
    Refused(String),
    /// It may take it later.
    Failed(String),
}

/// Judges an answer, or why there is none.
async fn answer_of(response: reqwest::Result<Response>) -> Attempt {
    let mut response = match response {
        Ok(response) => response,
        Err(error) => return Attempt::Failed(in_words(&error.without_url())),
    };
    let status = response.status();
    let mut left = RESPONSE_OCTETS_MAX;
    // The status counts, whatever becomes of the rest.
    while let Ok(Some(piece)) = response.chunk().await {
        left = left.saturating_sub(piece.len());
        if left == 0 {
            break;
        }
    }
    match status {
        status if status.is_success() => Attempt::Taken,
        StatusCode::TOO_MANY_REQUESTS => Attempt::Failed(format!("status {status}")),
        status if status.is_server_error() => Attempt::Failed(format!("status {status}")),
        status => Attempt::Refused(format!("status {status}")),
    }
}

/// An error in the words of its innermost cause.
fn in_words(error: &(dyn Error + 'static)) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

/// What is sent: the shape is told in `docs/health.md`, and only ever gains members.
fn body(number: u64, event: &Event, server: &str) -> String {
    let time = i64::try_from(event.at).ok().and_then(|at| Timestamp::from_second(at).ok());
    let record =
        |record: &Arc<super::Record>| json!({ "name": record.name, "zone": record.zone, "position": record.position });
    let body = json!({
        "time": time.map(|time| time.to_string()),
        "server": server,
        "number": number,
        "check": event.check,
        "target": event.target,
        "zones": event.zones,
        "records": event.records.iter().map(record).collect::<Vec<_>>(),
        "records_left_out": event.records_left_out,
        "from": event.flip.from.as_str(),
        "to": event.flip.to.as_str(),
        "reason": event.reason.as_ref().map(|(name, text)| json!({ "name": name, "text": text })),
        "took_ms": millis(event.took),
    });
    body.to_string()
}

/// Empties the queue until `shutdown` ends, and a little longer.
async fn run<P, F>(queue: Arc<Queue>, post: Arc<P>, shutdown: impl Future<Output = ()>)
where
    P: Fn(u64, &Event) -> F + Send + Sync + 'static,
    F: Future<Output = Attempt> + Send + 'static,
{
    let mut deliveries = Deliveries { queue: Arc::clone(&queue), post, tasks: JoinSet::new(), checks: HashMap::new() };
    let mut shutdown = pin!(shutdown);
    loop {
        deliveries.start_some();
        tokio::select! {
            () = &mut shutdown => break,
            () = deliveries.end_one() => {}
            () = queue.news.notified() => {}
        }
    }
    let rest = async {
        deliveries.start_some();
        while !deliveries.tasks.is_empty() {
            deliveries.end_one().await;
            deliveries.start_some();
        }
    };
    // What is left says whether the patience ended first.
    let _ = time::timeout(STOP_PATIENCE, rest).await;
    let lost = deliveries.tasks.len() + queue.len();
    if lost > 0 {
        tracing::warn!(lost, "stopped before the webhook had taken all events");
    }
}

/// What is being delivered.
struct Deliveries<P> {
    queue: Arc<Queue>,
    post: Arc<P>,
    tasks: JoinSet<()>,
    /// The check that each is about.
    checks: HashMap<task::Id, String>,
}

impl<P, F> Deliveries<P>
where
    P: Fn(u64, &Event) -> F + Send + Sync + 'static,
    F: Future<Output = Attempt> + Send + 'static,
{
    /// Starts as many as there may be.
    fn start_some(&mut self) {
        while self.tasks.len() < DELIVERIES_MAX {
            let Some((number, event)) = self.queue.next(&self.checks) else { return };
            let check = event.check.clone();
            let delivery = self.tasks.spawn(deliver(Arc::clone(&self.post), number, event));
            self.checks.insert(delivery.id(), check);
        }
    }

    /// Waits until one has ended; for ever if there is none.
    async fn end_one(&mut self) {
        let id = match self.tasks.join_next_with_id().await {
            Some(Ok((id, ()))) => id,
            Some(Err(error)) => error.id(),
            None => return std::future::pending().await,
        };
        self.checks.remove(&id);
    }
}

/// Tries to tell one event until it is taken, refused or tried often enough.
async fn deliver<P, F>(post: Arc<P>, number: u64, event: Event)
where
    P: Fn(u64, &Event) -> F,
    F: Future<Output = Attempt>,
{
    let check = &event.check;
    for attempt in 1..=ATTEMPTS_MAX {
        match post(number, &event).await {
            Attempt::Taken => return tracing::debug!(check, number, attempt, "webhook told"),
            Attempt::Failed(reason) if attempt < ATTEMPTS_MAX => {
                tracing::debug!(check, number, attempt, reason, "webhook failed, to be tried again");
                time::sleep(pause(attempt)).await;
            }
            Attempt::Failed(reason) | Attempt::Refused(reason) => {
                tracing::warn!(check, number, attempt, reason, "webhook did not take an event");
                return;
            }
        }
    }
}

/// How long to wait after so many attempts.
fn pause(attempt: u32) -> Duration {
    let whole = PAUSE_FIRST.saturating_mul(1 << attempt.saturating_sub(1).min(16)).min(PAUSE_MAX);
    // Each has keys of its own, so this differs from call to call.
    let draw = u32::try_from(RandomState::new().hash_one(attempt) >> 32).expect("32 bits are left");
    whole.mul_f64(1.0 - 0.5 * f64::from(draw) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use std::future;

    use tokio::time::Instant;

    use super::*;
    use crate::health::hysteresis::Flip;

    /// A receiver that answers as it is told, and remembers when it was asked what.
    #[derive(Default)]
    struct Fake {
        /// What the next attempts come to; once there are no more, each is taken.
        answers: Mutex<VecDeque<Attempt>>,
        /// Whether it answers at all.
        hangs: bool,
        asked: Mutex<Vec<(u64, Duration)>>,
    }

    impl Fake {
        fn answering(answers: impl IntoIterator<Item = Attempt>) -> Self {
            Self { answers: Mutex::new(answers.into_iter().collect()), ..Self::default() }
        }

        fn numbers(&self) -> Vec<u64> {
            self.asked.lock().unwrap().iter().map(|(number, _)| *number).collect()
        }
    }

    /// A flip of the check `name` to down.
    fn event(name: &str) -> Event {
        Event {
            at: 1_790_000_000,
            check: name.to_owned(),
            target: None,
            zones: Vec::new(),
            records: Vec::new(),
            records_left_out: 0,
            flip: Flip { from: State::Up, to: State::Down },
            reason: Some(("refused", "connection refused".to_owned())),
            took: Duration::from_millis(12),
        }
    }

    /// Starts to empty a queue into a fake, until `shutdown`.
    fn start(
        queue: &Arc<Queue>,
        fake: Fake,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> (Arc<Fake>, JoinHandle<()>) {
        let (fake, start) = (Arc::new(fake), Instant::now());
        let receiver = Arc::clone(&fake);
        let post = move |number, _: &Event| {
            let receiver = Arc::clone(&receiver);
            async move {
                receiver.asked.lock().unwrap().push((number, start.elapsed()));
                if receiver.hangs {
                    future::pending::<()>().await;
                }
                receiver.answers.lock().unwrap().pop_front().unwrap_or(Attempt::Taken)
            }
        };
        (fake, tokio::spawn(run(Arc::clone(queue), Arc::new(post), shutdown)))
    }

    fn failed() -> Attempt {
        Attempt::Failed("status 503".to_owned())
    }

    #[tokio::test(start_paused = true)]
    async fn an_event_is_tried_again_after_pauses_that_grow() {
        let queue = Arc::new(Queue::new(10));
        let (fake, _task) = start(&queue, Fake::answering([failed(), failed(), failed()]), future::pending());
        queue.tell(&event("a"));
        time::sleep(Duration::from_secs(100)).await;
        let asked = fake.asked.lock().unwrap().clone();
        let pauses: Vec<_> = asked.windows(2).map(|pair| pair[1].1 - pair[0].1).collect();
        assert_eq!(pauses.len(), 3);
        for (pause, whole) in pauses.iter().zip([1, 2, 4]) {
            let whole = Duration::from_secs(whole);
            assert!(*pause >= whole / 2 && *pause <= whole + Duration::from_millis(1), "{pauses:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn attempts_end_and_the_next_event_has_its_own() {
        let queue = Arc::new(Queue::new(10));
        let attempts = ATTEMPTS_MAX as usize;
        let (fake, _task) = start(&queue, Fake::answering(vec![failed(); attempts]), future::pending());
        queue.tell(&event("a"));
        queue.tell(&event("a"));
        time::sleep(Duration::from_secs(300)).await;
        assert_eq!(fake.numbers(), [vec![1; attempts], vec![2]].concat());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_refused_is_not_tried_again() {
        let queue = Arc::new(Queue::new(10));
        let (fake, _task) = start(&queue, Fake::answering([Attempt::Refused("status 404".into())]), future::pending());
        queue.tell(&event("a"));
        time::sleep(Duration::from_secs(100)).await;
        assert_eq!(fake.numbers(), [1]);
    }

    #[tokio::test(start_paused = true)]
    async fn events_of_one_check_keep_their_order_and_those_of_others_do_not_wait() {
        let queue = Arc::new(Queue::new(10));
        let (fake, _task) = start(&queue, Fake::answering([failed(), failed()]), future::pending());
        queue.tell(&event("a"));
        task::yield_now().await;
        for name in ["a", "b", "a"] {
            queue.tell(&event(name));
        }
        time::sleep(Duration::from_secs(100)).await;
        let numbers = fake.numbers();
        let of_a: Vec<_> = numbers.iter().filter(|number| **number != 3).copied().collect();
        assert!(of_a.is_sorted(), "{numbers:?}");
        assert!(numbers.iter().position(|number| *number == 3) < numbers.iter().position(|number| *number == 2));
        assert_eq!(numbers.len(), 6);
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_queue_drops_the_oldest_and_who_tells_never_waits() {
        let queue = Arc::new(Queue::new(4));
        let (fake, _task) = start(&queue, Fake::answering([failed()]), future::pending());
        for _ in 0..100 {
            queue.tell(&event("a"));
        }
        task::yield_now().await;
        assert_eq!(queue.lock().dropped, 96);
        time::sleep(Duration::from_secs(10)).await;
        assert_eq!(fake.numbers(), [97, 97, 98, 99, 100]);
        assert_eq!(queue.lock().dropped, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_deliveries_are_under_way_than_there_may_be() {
        let queue = Arc::new(Queue::new(100));
        let (fake, _task) = start(&queue, Fake { hangs: true, ..Fake::default() }, future::pending());
        for number in 0..50 {
            queue.tell(&event(&number.to_string()));
        }
        time::sleep(Duration::from_secs(1)).await;
        assert_eq!(fake.numbers().len(), DELIVERIES_MAX);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_waits_for_what_is_told_at_once_and_for_nothing_longer() {
        let queue = Arc::new(Queue::new(100));
        for number in 0..50 {
            queue.tell(&event(&number.to_string()));
        }
        let (fake, task) = start(&queue, Fake::default(), future::ready(()));
        task.await.unwrap();
        assert_eq!(fake.numbers().len(), 50);

        queue.tell(&event("a"));
        let before = Instant::now();
        let (_, task) = start(&queue, Fake { hangs: true, ..Fake::default() }, future::ready(()));
        task.await.unwrap();
        assert!(before.elapsed() <= STOP_PATIENCE + Duration::from_millis(1));
    }

    #[test]
    fn that_a_new_target_is_up_is_no_news_and_that_it_is_down_is() {
        let queue = Queue::new(10);
        let flips = [(State::Unknown, State::Up), (State::Unknown, State::Down), (State::Down, State::Up)];
        for (from, to) in flips {
            queue.tell(&Event { flip: Flip { from, to }, ..event("a") });
        }
        assert_eq!(queue.len(), 2);
    }

    #[test]
    fn a_receiver_has_an_http_url_and_a_token_that_fits_a_header() {
        let rows = [
            ("https://hooks.example.net/perigee", "secret", None),
            ("http://127.0.0.1:8080/", "", None),
            ("ftp://hooks.example.net/", "", Some("`ftp` is spoken by none here, only http and https")),
            ("hooks.example.net", "", Some("relative URL without a base")),
            ("https://", "", Some("empty host")),
            ("https://hooks.example.net/", "a\nb", Some("the token has characters that no header can have")),
        ];
        for (url, token, error) in rows {
            assert_eq!(Receiver::parse(url, token).err().as_deref(), error, "{url}");
        }
    }

    #[test]
    fn pauses_double_up_to_a_bound() {
        let rows = [(1, 1), (2, 2), (3, 4), (5, 16), (6, 30), (100, 30)];
        for (attempt, whole) in rows {
            let (pause, whole) = (pause(attempt), Duration::from_secs(whole));
            assert!(pause >= whole / 2 && pause <= whole, "{attempt}: {pause:?}");
        }
    }

    #[test]
    fn an_event_is_sent_in_the_shape_that_the_manual_shows() {
        let www = super::super::Record {
            zone: "example.org".to_owned(),
            name: "www.example.org/A".to_owned(),
            position: "zones/example.org.zone:12:9".to_owned(),
        };
        let event = Event {
            target: Some("192.0.2.1".to_owned()),
            zones: vec!["example.org".to_owned()],
            records: vec![Arc::new(www)],
            ..event("tcp 192.0.2.1:443")
        };
        let sent: serde_json::Value = serde_json::from_str(&body(7, &event, "ns1.example.net")).unwrap();
        let manual = include_str!("../../docs/health.md");
        let shown = manual.split("```json").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
        assert_eq!(sent, serde_json::from_str::<serde_json::Value>(shown).unwrap());
    }
}
