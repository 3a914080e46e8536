//! One request in, one outcome out; no socket, no await, no clock.
//!
//! `Responder::respond` is the whole pipeline, its stages in the order they run: `access.rs`, decode (`dns/wire.rs`),
//! `cookie.rs`, `gate.rs`, `query.rs` with `synthesize.rs` for LUA records, or `chaos.rs`, `limit.rs`, encode
//! (`dns/wire.rs`). No stage calls the next and none can send. `account.rs` is what is told of a request once it has come
//! to its end. Absent on purpose: where octets come from and go to, and how zones got here.

pub mod access;
pub mod limit;

mod account;
mod chaos;
pub mod cookie;
mod gate;
mod query;
mod synthesize;

use std::sync::Arc;
use std::time::Duration;

use bumpalo::Bump;

pub use self::account::{Account, Observer, Remark, Why};
pub use self::chaos::Chaos;
pub use crate::dns::{Client, Now, Transport};
pub use crate::resolve::table::Awaited;
pub use crate::script::{Load, Patience};

use self::access::{Access, Action};
use self::cookie::{Cookies, Judgement, Standing};
use self::gate::Admitted;
use self::limit::{Limiter, Verdict};
use self::query::Extent;
use crate::config::Any;
use crate::dns::edns::Edns;
use crate::dns::rrset::Rotation;
use crate::dns::wire::{self, Envelope, Limits, Refusal, Remains};
use crate::dns::{Rcode, Response};
use crate::metrics;
use crate::script::{Expenses, Surroundings, Vm};

/// Everything that answers are made from; never changed, swapped whole.
pub struct World {
    /// The zones with their scripts, and what scripts may look up beside.
    pub surroundings: Arc<Surroundings>,
    /// What the configuration says of answers.
    pub settings: Arc<Settings>,
}

/// What the configuration says of answers; `daemon/settings.rs` makes it.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What responses may hold.
    pub limits: Limits,
    /// How cookies are made, known and acted on.
    pub cookies: Cookies,
    /// How much a query for ANY over UDP is answered with.
    pub any: Any,
    /// Whether the additional section has nothing but what a referral needs.
    pub minimal: bool,
    /// Whether an RRset begins with another record in each answer.
    pub rotate: bool,
    /// What the server says of itself.
    pub chaos: Chaos,
    /// The least TTL that the health of targets may bring an answer down to; `None` if health has no say in TTLs.
    pub ttl_min_of_state: Option<Duration>,
    /// Whose queries are answered; `None` for everybody's.
    pub access: Option<Arc<Access>>,
    /// How many responses a network gets; `None` for any number.
    pub limiter: Option<Arc<Limiter>>,
    /// Whether a query gets no answer whose script is not run in an overload, rather than SERVFAIL.
    pub drop_shed: bool,
}

/// What is to be done with a request.
pub enum Outcome {
    /// The octets in `out` are sent.
    Reply,
    /// Nothing is sent.
    Silence,
    /// Nothing is sent, and a stream that it came by ends.
    Close,
    /// Nothing is sent yet: the request is answered again when this is ready.
    Await(Awaited),
}

/// What a request comes upon: what answering it may take is up to this.
#[derive(Clone, Copy, Debug)]
pub struct Occasion {
    /// Whether it can wait for names that are looked up.
    pub patience: Patience,
    /// How busy the worker is.
    pub load: Load,
}

impl From<Patience> for Occasion {
    /// The occasion of a worker that does not tell how busy it is.
    fn from(patience: Patience) -> Self {
        Self { patience, load: Load::default() }
    }
}

/// One worker's way from requests to responses.
pub struct Responder {
    world: Arc<World>,
    vm: Vm,
    counters: metrics::Share,
    observer: Option<Observer>,
    /// What one answer needs for a moment: synthesized RRsets and names. Emptied after each.
    arena: Bump,
    /// Where RRsets of the next answer begin.
    rotation: Rotation,
}

impl Responder {
    /// A responder that answers from `world`, and counts as one worker.
    pub fn new(world: Arc<World>, mut vm: Vm, counters: metrics::Share) -> Self {
        vm.turn_to(&world.surroundings);
        let (arena, rotation) = (Bump::new(), Rotation::default());
        Self { world, vm, counters, observer: None, arena, rotation }
    }

    /// Tells somebody of each request from now on, once it has come to its end.
    pub fn tell(&mut self, observer: Observer) {
        self.observer = Some(observer);
    }

    /// Answers from another world from the next request on.
    pub fn swap(&mut self, world: Arc<World>) {
        self.vm.turn_to(&world.surroundings);
        self.world = world;
    }

    /// Answers one request: appends nothing or one whole message (without a length prefix) to `out`.
    ///
    /// Awaits only while there is patience left. To answer again is to run scripts anew.
    pub fn respond(
        &mut self,
        now: Now,
        client: &Client,
        octets: &[u8],
        occasion: Occasion,
        out: &mut Vec<u8>,
    ) -> Outcome {
        let (begin, mut remark) = (out.len(), Remark::default());
        let outcome = self.answer(now, client, octets, occasion, out, &mut remark);
        let Some(observer) = &mut self.observer else { return outcome };
        let reply = match outcome {
            Outcome::Reply => &out[begin..],
            Outcome::Silence | Outcome::Close => &[],
            // It is told when it is answered.
            Outcome::Await(_) => return outcome,
        };
        observer(&Account { now, client, request: octets, reply, remark, world: &self.world });
        outcome
    }

    /// The stages, in the order they run; what is odd about the way a request takes goes to `remark`.
    fn answer(
        &mut self,
        now: Now,
        client: &Client,
        octets: &[u8],
        occasion: Occasion,
        out: &mut Vec<u8>,
        remark: &mut Remark,
    ) -> Outcome {
        let access = self.world.settings.access.as_ref().map(|access| access.of(client.address.ip()));
        if access.is_some_and(|access| access.is_dropped()) {
            return self.turn_away(remark);
        }
        let request = match wire::decode(octets) {
            Ok(request) => request,
            Err(refusal) => return self.refuse(refusal, (now, client), octets, out, remark),
        };
        let action = access.map_or(Action::Allow, |access| access.judge(&request));
        if action == Action::Drop {
            return self.turn_away(remark);
        }
        let judged = self.judge(request.edns.as_ref(), now, client);
        remark.cookie = judged.standing;
        let mut has_shed = false;
        let admitted = if action == Action::Refuse {
            self.counters.answers.access_refused.add(1);
            Err(gate::Refused::by_access())
        } else {
            gate::admit(&self.world, &request, client, judged.standing)
        };
        let mut response = match admitted {
            Err(refused) => refused.response(),
            Ok(Admitted::Chaos(text)) => chaos::answer(text, &request),
            Ok(Admitted::Zones(zones)) => {
                let mut synthesizer = synthesize::Synthesizer::new(
                    &mut self.vm,
                    &self.arena,
                    (now, occasion),
                    client,
                    &request,
                    &self.world,
                );
                let any = match client.transport {
                    Transport::Udp => self.world.settings.any,
                    Transport::Tcp => Any::Full,
                };
                let extent = Extent { any, minimal: self.world.settings.minimal };
                let response = query::answer(zones, &request, extent, &mut synthesizer);
                has_shed = synthesizer.has_shed();
                response
            }
        };
        if let Some(Expenses { runs, time }) = self.vm.take_expenses(now) {
            self.counters.answers.spent(runs, time);
        }
        if let Some(awaited) = self.vm.awaited() {
            drop(response);
            self.arena.reset();
            return Outcome::Await(awaited);
        }
        self.count_cookie(judged.standing);
        let mut outcome = Outcome::Reply;
        if has_shed {
            self.counters.answers.shed.add(1);
            remark.why = Some(Why::Shed);
            if self.world.settings.drop_shed {
                outcome = Outcome::Silence;
            }
        }
        if let (Outcome::Reply, Some(limiter)) = (&outcome, self.limiter(client, judged.standing)) {
            match self.limited(limiter.judge(now.monotonic, client.address.ip(), &request, &response), remark) {
                Verdict::Send | Verdict::WouldDrop => {}
                Verdict::Slip => slip(&mut response, judged.standing),
                Verdict::Drop => outcome = Outcome::Silence,
            }
        }
        if self.world.settings.rotate {
            response.rotation = self.rotation;
            self.rotation = self.rotation.next();
        }
        if self.observer.is_some() {
            remark.read(&response);
        }
        if let Outcome::Reply = outcome {
            wire::encode(&request, &response, &envelope(&self.world.settings, client, &judged), out);
        }
        drop(response);
        self.arena.reset();
        outcome
    }

    /// Leaves a query without an answer, as a rule of access says.
    fn turn_away(&self, remark: &mut Remark) -> Outcome {
        self.counters.answers.access_dropped.add(1);
        remark.why = Some(Why::TurnedAway);
        Outcome::Close
    }

    /// Answers a message that is no request.
    fn refuse(
        &self,
        refusal: Refusal,
        (now, client): (Now, &Client),
        octets: &[u8],
        out: &mut Vec<u8>,
        remark: &mut Remark,
    ) -> Outcome {
        remark.why = Some(Why::NoQuery);
        let Some(remains) = Remains::of(octets) else { return Outcome::Silence };
        let judged = self.judge(remains.edns.as_ref(), now, client);
        let Some(said) = gate::refuse(refusal, &remains, judged.standing) else { return Outcome::Silence };
        let (rcode, extended_error) = said;
        *remark = Remark { rcode, extended_error, cookie: judged.standing, ..Remark::default() };
        self.counters.answers.refusals.add(1);
        self.count_cookie(judged.standing);
        if let Some(limiter) = self.limiter(client, judged.standing) {
            let verdict = limiter.judge_refusal(now.monotonic, client.address.ip(), rcode);
            if self.limited(verdict, remark) == Verdict::Drop {
                return Outcome::Silence;
            }
        }
        wire::encode_refusal(&remains, said, &envelope(&self.world.settings, client, &judged), out);
        Outcome::Reply
    }

    /// Looks at the cookie of a request.
    fn judge(&self, edns: Option<&Edns>, now: Now, client: &Client) -> Judgement {
        let cookie = edns.and_then(|edns| edns.cookie.as_ref());
        self.world.settings.cookies.judge(cookie, client.address.ip(), now.unix_secs)
    }

    /// Counts a request by its cookie, once it is answered.
    fn count_cookie(&self, standing: Standing) {
        let answers = &self.counters.answers;
        match standing {
            Standing::Absent => {}
            Standing::New => answers.cookies_new.add(1),
            Standing::Bad => answers.cookies_bad.add(1),
            Standing::Valid => answers.cookies_valid.add(1),
        }
    }

    /// Who limits the responses to this client: nobody if it is sure to be where it says, by its stream or its cookie.
    fn limiter(&self, client: &Client, standing: Standing) -> Option<&Limiter> {
        let is_sure = client.transport == Transport::Tcp || standing == Standing::Valid;
        self.world.settings.limiter.as_deref().filter(|_| !is_sure)
    }

    /// Counts what comes of a response by the limits there are.
    fn limited(&self, verdict: Verdict, remark: &mut Remark) -> Verdict {
        let counters = &self.counters.answers;
        match verdict {
            Verdict::Send => {}
            Verdict::WouldDrop => counters.rate_would_drop.add(1),
            Verdict::Slip => counters.rate_slipped.add(1),
            Verdict::Drop => counters.rate_dropped.add(1),
        }
        if let Verdict::Slip | Verdict::Drop = verdict {
            remark.why = Some(Why::Limited);
        }
        verdict
    }
}

/// Makes of a response one that sends back who is no victim: to a stream, or for a cookie who knows of them.
fn slip(response: &mut Response<'_>, standing: Standing) {
    match standing {
        Standing::Absent | Standing::Valid => response.truncated = true,
        Standing::New | Standing::Bad => *response = Response::new(Rcode::BADCOOKIE),
    }
}

/// How a response goes to a client.
fn envelope<'s>(settings: &'s Settings, client: &Client, judged: &Judgement) -> Envelope<'s> {
    Envelope {
        transport: client.transport,
        limits: &settings.limits,
        udp_payload_max: settings.cookies.udp_payload_max(judged.standing),
        cookie: judged.given,
    }
}
