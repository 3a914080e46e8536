//! One request in, one outcome out; no socket, no await, no clock.
//!
//! `Responder::respond` is the whole pipeline, its stages in the order they run: `access.rs`, decode (`dns/wire.rs`),
//! `cookie.rs`, `gate.rs`, `query.rs` with `synthesize.rs` for LUA records, or `chaos.rs`, `limit.rs`, encode
//! (`dns/wire.rs`). No stage calls the next and none can send. Absent on purpose: where octets come from and go to, and
//! how zones got here.

pub mod access;
pub mod limit;

mod chaos;
pub mod cookie;
mod gate;
mod query;
mod synthesize;

use std::sync::Arc;
use std::time::Duration;

use bumpalo::Bump;

pub use self::chaos::Chaos;
pub use crate::dns::{Client, Now, Transport};
pub use crate::resolve::table::Awaited;
pub use crate::script::Patience;

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
use crate::script::{Surroundings, Vm};

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

/// One worker's way from requests to responses.
pub struct Responder {
    world: Arc<World>,
    vm: Vm,
    counters: metrics::Share,
    /// What one answer needs for a moment: synthesized RRsets and names. Emptied after each.
    arena: Bump,
    /// Where RRsets of the next answer begin.
    rotation: Rotation,
}

impl Responder {
    /// A responder that answers from `world`, and counts as one worker.
    pub fn new(world: Arc<World>, mut vm: Vm, counters: metrics::Share) -> Self {
        vm.turn_to(&world.surroundings);
        Self { world, vm, counters, arena: Bump::new(), rotation: Rotation::default() }
    }

    /// Answers from another world from the next request on.
    pub fn swap(&mut self, world: Arc<World>) {
        self.vm.turn_to(&world.surroundings);
        self.world = world;
    }

    /// Answers one request: appends nothing or one whole message (without a length prefix) to `out`.
    ///
    /// Awaits only while there is patience left. To answer again is to run scripts anew.
    ///
    /// The stages run in the order they are written here.
    pub fn respond(
        &mut self,
        now: Now,
        client: &Client,
        octets: &[u8],
        patience: Patience,
        out: &mut Vec<u8>,
    ) -> Outcome {
        let access = self.world.settings.access.as_ref().map(|access| access.of(client.address.ip()));
        if access.is_some_and(|access| access.is_dropped()) {
            return self.turn_away();
        }
        let request = match wire::decode(octets) {
            Ok(request) => request,
            Err(refusal) => return self.refuse(refusal, now, client, octets, out),
        };
        let action = access.map_or(Action::Allow, |access| access.judge(&request));
        if action == Action::Drop {
            return self.turn_away();
        }
        let judged = self.judge(request.edns.as_ref(), now, client);
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
                    (now, patience),
                    client,
                    &request,
                    &self.world,
                );
                let any = match client.transport {
                    Transport::Udp => self.world.settings.any,
                    Transport::Tcp => Any::Full,
                };
                let extent = Extent { any, minimal: self.world.settings.minimal };
                query::answer(zones, &request, extent, &mut synthesizer)
            }
        };
        if let Some(awaited) = self.vm.awaited() {
            drop(response);
            self.arena.reset();
            return Outcome::Await(awaited);
        }
        let limiter = self.limiter(client, judged.standing);
        let verdict = limiter.map(|limiter| limiter.judge(now.monotonic, client.address.ip(), &request, &response));
        let is_sent = self.may_be_sent(verdict);
        if is_sent {
            if verdict == Some(Verdict::Slip) {
                slip(&mut response, judged.standing);
            }
            if self.world.settings.rotate {
                response.rotation = self.rotation;
                self.rotation = self.rotation.next();
            }
            wire::encode(&request, &response, &envelope(&self.world.settings, client, &judged), out);
        }
        drop(response);
        self.arena.reset();
        if is_sent { Outcome::Reply } else { Outcome::Silence }
    }

    /// Leaves a query without an answer, as a rule of access says.
    fn turn_away(&self) -> Outcome {
        self.counters.answers.access_dropped.add(1);
        Outcome::Close
    }

    /// Answers a message that is no request.
    fn refuse(&self, refusal: Refusal, now: Now, client: &Client, octets: &[u8], out: &mut Vec<u8>) -> Outcome {
        let Some(remains) = Remains::of(octets) else { return Outcome::Silence };
        let judged = self.judge(remains.edns.as_ref(), now, client);
        let Some(said) = gate::refuse(refusal, &remains, judged.standing) else { return Outcome::Silence };
        self.counters.answers.refusals.add(1);
        let limiter = self.limiter(client, judged.standing);
        let verdict = limiter.map(|limiter| limiter.judge_refusal(now.monotonic, client.address.ip()));
        if !self.may_be_sent(verdict) {
            return Outcome::Silence;
        }
        wire::encode_refusal(&remains, said, &envelope(&self.world.settings, client, &judged), out);
        Outcome::Reply
    }

    /// Looks at the cookie of a request.
    fn judge(&self, edns: Option<&Edns>, now: Now, client: &Client) -> Judgement {
        let cookie = edns.and_then(|edns| edns.cookie.as_ref());
        let judged = self.world.settings.cookies.judge(cookie, client.address.ip(), now.unix_secs);
        if let Some(counter) = match judged.standing {
            Standing::Absent => None,
            Standing::New => Some(&self.counters.answers.cookies_new),
            Standing::Bad => Some(&self.counters.answers.cookies_bad),
            Standing::Valid => Some(&self.counters.answers.cookies_valid),
        } {
            counter.add(1);
        }
        judged
    }

    /// Who limits the responses to this client: nobody if it is sure to be where it says, by its stream or its cookie.
    fn limiter(&self, client: &Client, standing: Standing) -> Option<&Limiter> {
        let is_sure = client.transport == Transport::Tcp || standing == Standing::Valid;
        self.world.settings.limiter.as_deref().filter(|_| !is_sure)
    }

    /// Counts what comes of a response, and tells whether it is sent.
    fn may_be_sent(&self, verdict: Option<Verdict>) -> bool {
        let counters = &self.counters.answers;
        match verdict {
            None | Some(Verdict::Send) => {}
            Some(Verdict::WouldDrop) => counters.rate_would_drop.add(1),
            Some(Verdict::Slip) => counters.rate_slipped.add(1),
            Some(Verdict::Drop) => counters.rate_dropped.add(1),
        }
        verdict != Some(Verdict::Drop)
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
