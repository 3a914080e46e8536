//! One request in, one outcome out; no socket, no await, no clock.
//!
//! `Responder::respond` is the whole pipeline, its stages in the order they run: `access.rs`, decode (`dns/wire.rs`),
//! `gate.rs`, `query.rs` with `synthesize.rs` for LUA records, `limit.rs`, encode (`dns/wire.rs`). No stage calls the next
//! and none can send. Absent on purpose: where octets come from and go to, and how zones got here.

pub mod access;
pub mod limit;

mod gate;
mod query;
mod synthesize;

use std::sync::Arc;
use std::time::Duration;

use bumpalo::Bump;

pub use crate::dns::{Client, Now, Transport};
pub use crate::resolve::table::Awaited;
pub use crate::script::Patience;

use crate::dns::Rcode;
use crate::dns::wire::{self, Limits, Refusal};
use crate::metrics;
use crate::script::{Surroundings, Vm};
use access::{Access, Action};
use limit::{Limiter, Verdict};

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
    /// Whether a query for ANY over UDP is sent to TCP.
    pub any_to_tcp: bool,
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
}

impl Responder {
    /// A responder that answers from `world`, and counts as one worker.
    pub fn new(world: Arc<World>, mut vm: Vm, counters: metrics::Share) -> Self {
        vm.turn_to(&world.surroundings);
        Self { world, vm, counters, arena: Bump::new() }
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
        let limits = self.world.settings.limits;
        let access = self.world.settings.access.as_ref().map(|access| access.of(client.address.ip()));
        if access.is_some_and(|access| access.is_dropped()) {
            self.count_action(Action::Drop);
            return Outcome::Close;
        }
        let request = match wire::decode(octets) {
            Ok(request) => request,
            Err(Refusal::Silence) => return Outcome::Silence,
            Err(Refusal::Rcode(rcode)) => return self.refuse(now, client, octets, rcode, out),
        };
        let action = access.map_or(Action::Allow, |access| access.judge(&request));
        self.count_action(action);
        let admitted = match action {
            Action::Allow => gate::admit(&self.world, &request),
            Action::Refuse => Err(gate::Refused::by_access()),
            Action::Drop => return Outcome::Close,
        };
        let mut response = match admitted {
            Err(refused) => refused.response(),
            Ok(zones) => {
                let mut synthesizer = synthesize::Synthesizer::new(
                    &mut self.vm,
                    &self.arena,
                    (now, patience),
                    client,
                    &request,
                    &self.world,
                );
                let any_to_tcp = self.world.settings.any_to_tcp && client.transport == Transport::Udp;
                query::answer(zones, &request, any_to_tcp, &mut synthesizer)
            }
        };
        if let Some(awaited) = self.vm.awaited() {
            drop(response);
            self.arena.reset();
            return Outcome::Await(awaited);
        }
        let judge = |limiter: &Limiter| limiter.judge(now.monotonic, client.address.ip(), &request, &response);
        let verdict = self.limiter(client).map(judge);
        let is_sent = self.may_be_sent(verdict);
        if is_sent {
            response.truncated |= verdict == Some(Verdict::Slip);
            wire::encode(&request, &response, client.transport, limits, out);
        }
        drop(response);
        self.arena.reset();
        if is_sent { Outcome::Reply } else { Outcome::Silence }
    }

    /// Answers what could not be read with an RCODE.
    fn refuse(&self, now: Now, client: &Client, octets: &[u8], rcode: Rcode, out: &mut Vec<u8>) -> Outcome {
        self.counters.answers.refusals.add(1);
        let verdict = self.limiter(client).map(|limiter| limiter.judge_refusal(now.monotonic, client.address.ip()));
        if !self.may_be_sent(verdict) {
            return Outcome::Silence;
        }
        wire::encode_refusal(octets, rcode, self.world.settings.limits, out);
        Outcome::Reply
    }

    /// Counts what rules of access say of a query.
    fn count_action(&self, action: Action) {
        match action {
            Action::Allow => {}
            Action::Refuse => self.counters.answers.access_refused.add(1),
            Action::Drop => self.counters.answers.access_dropped.add(1),
        }
    }

    /// Who limits the responses to this client; over TCP nobody, as its address is sure to be its own.
    fn limiter(&self, client: &Client) -> Option<&Limiter> {
        self.world.settings.limiter.as_deref().filter(|_| client.transport == Transport::Udp)
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
