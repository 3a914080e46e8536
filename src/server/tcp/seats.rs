//! Which connections may stay, and which one makes room for another.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

use super::networks::Networks;
use crate::server::Settings;

/// What the workers' seats have in common.
///
/// Half of all seats are divided among the workers, and the other half goes to whoever needs it: the kernel spreads
/// clients over the workers' sockets by chance, and no worker must be left without a seat, nor ask another for one.
pub(in crate::server) struct Hall {
    /// How many seats each worker has for itself.
    own: usize,
    /// How many seats all share.
    shared: usize,
    /// How many of those are free.
    free: AtomicUsize,
    networks: Networks,
}

impl Hall {
    /// Lays out the seats for so many workers; each has one at least.
    pub(in crate::server) fn new(settings: &Settings, workers: usize) -> Self {
        let Settings { tcp_connections_max: max, tcp_connections_per_network_max: per_network, .. } = *settings;
        Self::with(max, workers, Networks::new(per_network, settings.tcp_ipv4_prefix, settings.tcp_ipv6_prefix))
    }

    fn with(max: usize, workers: usize, networks: Networks) -> Self {
        let own = (max / (2 * workers.max(1))).max(1);
        let shared = max.saturating_sub(own * workers);
        Self { own, shared, free: AtomicUsize::new(shared), networks }
    }

    /// Takes a seat of those that all share, if there is one.
    fn take(&self) -> bool {
        self.free.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |free| free.checked_sub(1)).is_ok()
    }

    fn give_back(&self) {
        self.free.fetch_add(1, Ordering::Relaxed);
    }
}

/// The connections a worker has, so that there is an end to them.
///
/// Once no seat is free, a connection that waits must leave: of those that were answered, the one that has waited
/// longest since. Those that have not asked yet keep no more than half of the worker's seats; past that the longest
/// of them leaves instead, so that a flood of silent connections pushes out its own.
pub(in crate::server) struct Seats {
    hall: Arc<Hall>,
    taken: Cell<usize>,
    /// The place of the next connection that begins to wait.
    next_place: Cell<u64>,
    /// Those that wait and were answered before, by when they began to.
    heard: RefCell<BTreeMap<u64, Rc<Seat>>>,
    /// Those that have not asked anything yet, by when they came.
    unheard: RefCell<BTreeMap<u64, Rc<Seat>>>,
}

/// One connection's leave to stay.
pub(super) struct Seat {
    client: IpAddr,
    /// Its place among those that wait; none while it is being answered, which spares it.
    place: Cell<Option<u64>>,
    /// Whether it has asked for something that was answered.
    heard: Cell<bool>,
    /// Whether the seat is another's now.
    lost: Cell<bool>,
    /// Tells it to leave; it is not being answered.
    leave: Notify,
}

/// Why a connection gets no seat.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Refusal {
    /// Its network has as many as it may.
    Network,
    /// All seats are taken, by connections that are being answered.
    Full,
}

impl Seat {
    /// Waits until it must leave.
    pub(super) async fn lost(&self) {
        self.leave.notified().await;
    }
}

impl Seats {
    /// Has the seats of one worker.
    pub(in crate::server) fn new(hall: Arc<Hall>) -> Self {
        Self {
            hall,
            taken: Cell::default(),
            next_place: Cell::default(),
            heard: RefCell::default(),
            unheard: RefCell::default(),
        }
    }

    /// Takes a seat for a client, if need be from one that waits.
    pub(super) fn take(&self, client: IpAddr) -> Result<Rc<Seat>, Refusal> {
        if !self.hall.networks.enter(client) {
            return Err(Refusal::Network);
        }
        if self.taken.get() < self.hall.own || self.hall.take() {
            self.taken.set(self.taken.get() + 1);
        } else if !self.push_out() {
            self.hall.networks.leave(client);
            return Err(Refusal::Full);
        }
        let seat = Seat {
            client,
            place: Cell::default(),
            heard: Cell::default(),
            lost: Cell::default(),
            leave: Notify::new(),
        };
        let seat = Rc::new(seat);
        self.waiting(&seat);
        Ok(seat)
    }

    /// Marks a connection as being answered: it has asked, and is not made to leave.
    pub(super) fn answering(&self, seat: &Seat) {
        self.take_out(seat);
        seat.heard.set(true);
    }

    /// Puts a connection behind all others that wait, if it does not wait already.
    pub(super) fn waiting(&self, seat: &Rc<Seat>) {
        if seat.place.get().is_none() && !seat.lost.get() {
            let place = self.next_place.replace(self.next_place.get() + 1);
            seat.place.set(Some(place));
            self.queue(seat).borrow_mut().insert(place, seat.clone());
        }
    }

    /// Frees a seat at the end of its connection; one that was lost is another's already.
    pub(super) fn give_back(&self, seat: &Seat) {
        self.take_out(seat);
        self.hall.networks.leave(seat.client);
        if !seat.lost.get() {
            self.taken.set(self.taken.get() - 1);
            // The worker's own seats are the first to be taken and the last to be free.
            if self.taken.get() >= self.hall.own {
                self.hall.give_back();
            }
        }
    }

    /// Whether seats run short: this worker's own are taken, and at least half of those that all share.
    pub(super) fn run_short(&self) -> bool {
        self.taken.get() >= self.hall.own && self.hall.free.load(Ordering::Relaxed) <= self.hall.shared / 2
    }

    /// Takes a seat from one that waits, for another to have; `false` if everyone is being answered.
    fn push_out(&self) -> bool {
        let (mut heard, mut unheard) = (self.heard.borrow_mut(), self.unheard.borrow_mut());
        let too_many_unheard = unheard.len() * 2 >= self.taken.get();
        let first = if too_many_unheard || heard.is_empty() { unheard.pop_first() } else { heard.pop_first() };
        let Some((_, seat)) = first else { return false };
        seat.place.set(None);
        seat.lost.set(true);
        seat.leave.notify_one();
        true
    }

    fn take_out(&self, seat: &Seat) {
        if let Some(place) = seat.place.take() {
            self.queue(seat).borrow_mut().remove(&place);
        }
    }

    fn queue(&self, seat: &Seat) -> &RefCell<BTreeMap<u64, Rc<Seat>>> {
        if seat.heard.get() { &self.heard } else { &self.unheard }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    /// The seats of so many workers that share `max`.
    fn seats(max: usize, workers: usize) -> Vec<Seats> {
        let hall = Arc::new(Hall::with(max, workers, Networks::new(0, 32, 56)));
        (0..workers).map(|_| Seats::new(hall.clone())).collect()
    }

    /// Takes a seat and is answered once.
    fn heard(seats: &Seats) -> Rc<Seat> {
        let seat = seats.take(CLIENT).unwrap();
        seats.answering(&seat);
        seats.waiting(&seat);
        seat
    }

    /// Takes a seat; which of these lost theirs for it.
    fn lost_for_another(seats: &Seats, before: &[&Rc<Seat>]) -> Vec<usize> {
        let lost_before: Vec<_> = before.iter().map(|seat| seat.lost.get()).collect();
        seats.take(CLIENT).unwrap();
        (0..before.len()).filter(|index| before[*index].lost.get() && !lost_before[*index]).collect()
    }

    #[test]
    fn the_one_that_waits_longest_since_its_answer_makes_room() {
        let seats = &seats(4, 1)[0];
        let [a, b, c, d] = [(); 4].map(|()| heard(seats));
        seats.answering(&a);
        seats.waiting(&a);
        // It is being answered.
        seats.answering(&b);
        assert_eq!(lost_for_another(seats, &[&a, &b, &c, &d]), [2]);
        assert_eq!(lost_for_another(seats, &[&a, &b, &c, &d]), [3]);
    }

    #[test]
    fn silent_connections_push_out_their_own_once_they_are_half() {
        let seats = &seats(4, 1)[0];
        let [a, b] = [(); 2].map(|()| heard(seats));
        let [c, d] = [(); 2].map(|()| seats.take(CLIENT).unwrap());
        let all = [&a, &b, &c, &d];
        assert_eq!([(); 2].map(|()| lost_for_another(seats, &all)), [[2], [3]]);
        // The two new ones are as silent.
        assert_eq!(lost_for_another(seats, &all), [0; 0]);
    }

    #[test]
    fn nobody_makes_room_while_being_answered() {
        let seats = &seats(2, 1)[0];
        let [a, b] = [(); 2].map(|()| heard(seats));
        seats.answering(&a);
        seats.answering(&b);
        assert_eq!(seats.take(CLIENT).err(), Some(Refusal::Full));
        seats.give_back(&a);
        assert!(seats.take(CLIENT).is_ok());
    }

    #[test]
    fn workers_share_half_of_the_seats_and_never_have_more_than_all() {
        let workers = seats(16, 2);
        let first: Vec<_> = (0..12).map(|_| heard(&workers[0])).collect();
        assert!(workers[0].run_short() && !workers[1].run_short());
        assert!(first.iter().all(|seat| !seat.lost.get()));
        heard(&workers[0]);
        assert!(first[0].lost.get() && !first[1].lost.get());
        let second: Vec<_> = (0..4).map(|_| heard(&workers[1])).collect();
        heard(&workers[1]);
        assert!(second[0].lost.get() && !first[1].lost.get());
        assert_eq!(workers.iter().map(|seats| seats.taken.get()).collect::<Vec<_>>(), [12, 4]);

        // What one gives back, the other may have.
        workers[0].give_back(&first[1]);
        heard(&workers[1]);
        assert!(!second[1].lost.get());
        assert_eq!(workers.iter().map(|seats| seats.taken.get()).collect::<Vec<_>>(), [11, 5]);
    }

    #[test]
    fn a_seat_that_was_lost_is_not_given_back_twice() {
        let seats = &seats(2, 1)[0];
        let [a, b] = [(); 2].map(|()| heard(seats));
        let c = heard(seats);
        assert!(a.lost.get());
        seats.give_back(&a);
        assert_eq!(seats.taken.get(), 2);
        for seat in [&b, &c] {
            seats.give_back(seat);
        }
        assert_eq!((seats.taken.get(), seats.hall.free.load(Ordering::Relaxed)), (0, 1));
        assert!(seats.heard.borrow().is_empty() && seats.unheard.borrow().is_empty());
    }
}
