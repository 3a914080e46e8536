//! What Linux offers beyond other systems: sockets that share a port, and datagrams in batches that know which
//! address was asked.
//!
//! The only file of this folder with unsafe code: calls of `recvmmsg`, `sendmmsg` and `setsockopt`, and views of the C
//! structs they fill.

use std::ffi::c_int;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, RawFd};
use std::{mem, ptr};

use socket2::Socket;
use tokio::io::Interest;
use tokio::net::UdpSocket;

use super::canonical;
use super::udp::{Held, REQUEST_OCTETS_MAX, Sending};
use super::waiting::{Attempt, Wait};
use crate::answer::{Client, Transport};
use crate::metrics;

/// Whether a listener needs `SO_REUSEADDR` to be bound again soon.
pub(super) const RESTART_NEEDS_REUSE: bool = true;

/// Makes `count` sockets of a bound one: they share its address, and the kernel spreads clients over them.
///
/// `first` must have been bound alone, without `SO_REUSEPORT`: then no other program is there already. None can
/// join afterwards either, if it takes its first socket in the same way.
pub(super) fn share(first: Socket, count: usize, another: impl Fn() -> io::Result<Socket>) -> io::Result<Vec<Socket>> {
    first.set_reuse_port(true)?;
    let address = first.local_addr()?;
    let mut sockets = vec![first];
    while sockets.len() < count {
        let socket = another()?;
        socket.set_reuse_port(true)?;
        socket.bind(&address)?;
        sockets.push(socket);
    }
    Ok(sockets)
}

/// Lets a socket be bound to an address that the machine does not have yet.
pub(super) fn bind_ahead(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    match address {
        SocketAddr::V4(_) => socket.set_freebind_v4(true),
        SocketAddr::V6(_) => socket.set_freebind_v6(true),
    }
}

/// Sets the options of a UDP socket that is to be bound to `address`.
pub(super) fn prepare_udp(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    let (level, discover, omit, info) = match address {
        SocketAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_OMIT, libc::IP_PKTINFO),
        SocketAddr::V6(_) => {
            (libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::IPV6_PMTUDISC_OMIT, libc::IPV6_RECVPKTINFO)
        }
    };
    // A forged "fragmentation needed" must not make the kernel cut our replies into fragments, which can be
    // replaced on their way. Kernels and sandboxes without the option serve all the same.
    let _ = set_option(socket, level, discover, omit);
    if address.ip().is_unspecified() {
        set_option(socket, level, info, 1)?;
    }
    Ok(())
}

/// Lets clients of a listener ask with their first segment, if they were here before (RFC 7413).
///
/// At most `queue` of them may be half open; 0 switches it off. It is up to the kernel whether it does so:
/// `net.ipv4.tcp_fastopen` must have the bit of value 2.
pub(super) fn offer_fast_open(listener: &Socket, queue: usize) -> io::Result<()> {
    let queue = c_int::try_from(queue).unwrap_or(c_int::MAX);
    set_option(listener, libc::IPPROTO_TCP, libc::TCP_FASTOPEN, queue)
}

/// Sets an option whose value is a C int.
fn set_option(socket: &Socket, level: c_int, option: c_int, value: c_int) -> io::Result<()> {
    let length = size_of::<c_int>() as libc::socklen_t;
    // SAFETY: the pointer and the length describe `value`, which lives through the call.
    let outcome = unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const value).cast(), length) };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Room for datagrams that are taken at once, and for their replies, which are sent at once.
pub(super) struct Batch {
    bound: SocketAddr,
    slots: Box<[Slot]>,
    /// What the system calls read and write. The pointers in both are set before each call and stale after it.
    headers: Box<[libc::mmsghdr]>,
    parts: Box<[libc::iovec]>,
    /// How many slots, from the first, hold a datagram.
    received: usize,
    /// How many of those have a reply that is still to be sent.
    due: usize,
}

/// One datagram with what the kernel says of it, and the reply.
///
/// The small fields keep the slots from beginning at the same offset of every page, where they would fight for
/// the same few lines of the cache.
struct Slot {
    octets: [u8; REQUEST_OCTETS_MAX],
    peer: Peer,
    control: Control,
    reply: Vec<u8>,
    reply_due: bool,
}

/// The sender's address, in the form of the socket's family.
#[repr(C)]
#[derive(Clone, Copy)]
union Peer {
    v4: libc::sockaddr_in,
    v6: libc::sockaddr_in6,
}

/// A control message that carries the address asked.
#[repr(C)]
#[derive(Clone, Copy)]
struct Control {
    header: libc::cmsghdr,
    info: PacketInfo,
}

/// The address asked, in the form of the socket's family.
#[repr(C)]
#[derive(Clone, Copy)]
union PacketInfo {
    v4: libc::in_pktinfo,
    v6: libc::in6_pktinfo,
}

// SAFETY: CMSG_LEN only computes.
const _: () = assert!(mem::offset_of!(Control, info) == unsafe { libc::CMSG_LEN(0) } as usize);
// SAFETY: CMSG_SPACE only computes.
const _: () = assert!(size_of::<Control>() >= unsafe { libc::CMSG_SPACE(IN6_PKTINFO_OCTETS) } as usize);

const IN_PKTINFO_OCTETS: u32 = size_of::<libc::in_pktinfo>() as u32;
const IN6_PKTINFO_OCTETS: u32 = size_of::<libc::in6_pktinfo>() as u32;

impl Batch {
    /// Makes room for up to `capacity` datagrams (at least one) of a socket that is bound to `bound`.
    pub(super) fn new(bound: SocketAddr, capacity: usize) -> Self {
        let capacity = capacity.max(1);
        Self {
            bound,
            slots: (0..capacity).map(|_| Slot::new()).collect(),
            headers: (0..capacity).map(|_| empty_header()).collect(),
            parts: vec![EMPTY_PART; capacity].into_boxed_slice(),
            received: 0,
            due: 0,
        }
    }

    /// How many datagrams fit.
    pub(super) fn capacity(&self) -> usize {
        self.slots.len()
    }

    /// Takes what the socket holds, as far as there is room; `WouldBlock` if it holds nothing.
    pub(super) fn receive(&mut self, socket: &UdpSocket) -> io::Result<()> {
        self.received = 0;
        let attempt = socket.try_io(Interest::READABLE, || {
            self.received = self.receive_once(socket.as_raw_fd())?;
            // The kernel stopped early as the queue was empty. Telling tokio so saves a call that would only
            // learn the same: a later datagram is a new event, and events are taken on this thread alone.
            if self.received < self.capacity() { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
        });
        match attempt {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && self.received > 0 => Ok(()),
            outcome => outcome,
        }
    }

    /// Calls `recvmmsg`, again when a signal came between; returns the number of datagrams.
    fn receive_once(&mut self, socket: RawFd) -> io::Result<usize> {
        let with_info = self.bound.ip().is_unspecified();
        for ((header, part), slot) in self.headers.iter_mut().zip(&mut self.parts).zip(&mut self.slots) {
            slot.expect_datagram(&mut header.msg_hdr, part, with_info);
        }
        loop {
            // SAFETY: there are as many headers as the call is told. `expect_datagram` has just pointed each to
            // its own part and slot, with their lengths; no reference to either is used meanwhile.
            let received = unsafe {
                libc::recvmmsg(socket, self.headers.as_mut_ptr(), self.headers.len() as u32, 0, ptr::null_mut())
            };
            match usize::try_from(received) {
                Ok(received) => return Ok(received),
                Err(_) => retry_if_interrupted()?,
            }
        }
    }

    /// Calls `respond` for each datagram in turn, and keeps the replies to be sent.
    ///
    /// Returns the datagrams that are to be answered later.
    pub(super) fn answer(
        &mut self,
        counters: &metrics::Udp,
        mut respond: impl FnMut(&Client, &[u8], &mut Vec<u8>) -> Attempt,
    ) -> Vec<(Held<Self>, Wait)> {
        let mut held = Vec::new();
        let (mut requests, mut dropped, mut truncated) = (0, 0, 0);
        self.due = 0;
        for (header, slot) in self.headers.iter().zip(&mut self.slots).take(self.received) {
            slot.reply_due = false;
            if header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0 {
                truncated += 1;
                continue;
            }
            let address = canonical(slot.peer(self.bound));
            if address.port() == 0 {
                dropped += 1;
                continue;
            }
            let local = slot.local(self.bound, &header.msg_hdr);
            let client = Client { address, local, transport: Transport::Udp };
            requests += 1;
            let request = &slot.octets[..header.msg_len as usize];
            match respond(&client, request, &mut slot.reply) {
                Attempt::Reply => {
                    slot.reply_due = true;
                    self.due += 1;
                }
                Attempt::Silence | Attempt::Close => dropped += 1,
                Attempt::Wait(wait) => {
                    let request = request.to_vec();
                    held.push((Held { client, request, batch: Self::of_reply(self.bound, slot) }, wait));
                }
            }
        }
        counters.requests.add(requests);
        counters.dropped.add(dropped);
        counters.truncated.add(truncated);
        held
    }

    /// Room for the reply to the datagram in a slot, which others need meanwhile.
    fn of_reply(bound: SocketAddr, datagram: &Slot) -> Self {
        let mut batch = Self::new(bound, 1);
        (batch.slots[0].peer, batch.slots[0].control) = (datagram.peer, datagram.control);
        batch
    }

    /// Takes the reply of a batch that was made for it, to be sent.
    pub(super) fn put(&mut self, reply: Vec<u8>) {
        (self.slots[0].reply, self.slots[0].reply_due) = (reply, true);
        (self.received, self.due) = (1, 1);
    }

    /// Sends the replies; to be called again when the socket is writable if it is blocked.
    ///
    /// A reply that the system refuses is counted and left out; the ones after it are sent.
    pub(super) fn send(&mut self, socket: &UdpSocket, counters: &metrics::Udp) -> Sending {
        while self.due > 0 {
            match socket.try_io(Interest::WRITABLE, || self.send_once(socket.as_raw_fd())) {
                Ok(sent) => {
                    counters.replies.add(sent as u64);
                    self.settle(sent);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Sending::Blocked,
                Err(_) => {
                    counters.send_failures.add(1);
                    self.settle(1);
                }
            }
        }
        Sending::Done
    }

    /// Calls `sendmmsg`, again when a signal came between; returns how many replies went out.
    ///
    /// An error concerns the first that did not.
    fn send_once(&mut self, socket: RawFd) -> io::Result<usize> {
        let with_info = self.bound.ip().is_unspecified();
        let due = self.slots.iter_mut().take(self.received).filter(|slot| slot.reply_due);
        for ((header, part), slot) in self.headers.iter_mut().zip(&mut self.parts).zip(due) {
            slot.offer_reply(&mut header.msg_hdr, part, self.bound, with_info);
        }
        loop {
            // SAFETY: as many slots are marked as `due` counts, so `offer_reply` has just pointed that many
            // headers to parts and slots of their own, with their lengths; no reference to either is used meanwhile.
            let sent = unsafe { libc::sendmmsg(socket, self.headers.as_mut_ptr(), self.due as u32, 0) };
            match usize::try_from(sent) {
                Ok(sent) => return Ok(sent),
                Err(_) => retry_if_interrupted()?,
            }
        }
    }

    /// Marks the first `count` replies that were due as done with.
    fn settle(&mut self, count: usize) {
        let due = self.slots.iter_mut().take(self.received).filter(|slot| slot.reply_due);
        due.take(count).for_each(|slot| slot.reply_due = false);
        self.due -= count;
    }
}

impl Slot {
    fn new() -> Self {
        Self {
            octets: [0; REQUEST_OCTETS_MAX],
            // SAFETY: these are C structs of integers, for which all octets 0 is a value.
            peer: unsafe { mem::zeroed() },
            // SAFETY: as above.
            control: unsafe { mem::zeroed() },
            reply: Vec::new(),
            reply_due: false,
        }
    }

    /// Points `header` here by way of `part`, for the kernel to write.
    fn expect_datagram(&mut self, header: &mut libc::msghdr, part: &mut libc::iovec, with_info: bool) {
        *part = libc::iovec { iov_base: (&raw mut self.octets).cast(), iov_len: REQUEST_OCTETS_MAX };
        point(header, &raw mut self.peer, size_of::<Peer>(), part);
        if with_info {
            header.msg_control = (&raw mut self.control).cast();
            header.msg_controllen = size_of::<Control>() as _;
        }
    }

    /// Points `header` here by way of `part`, for the kernel to read: the reply, where to, and where from.
    fn offer_reply(&mut self, header: &mut libc::msghdr, part: &mut libc::iovec, bound: SocketAddr, with_info: bool) {
        *part = libc::iovec { iov_base: self.reply.as_mut_ptr().cast(), iov_len: self.reply.len() };
        let peer_octets = match bound {
            SocketAddr::V4(_) => size_of::<libc::sockaddr_in>(),
            SocketAddr::V6(_) => size_of::<libc::sockaddr_in6>(),
        };
        point(header, &raw mut self.peer, peer_octets, part);
        if with_info && self.control.header.cmsg_len != 0 {
            header.msg_controllen = self.control.leave_route_open(bound) as _;
            header.msg_control = (&raw mut self.control).cast();
        }
    }

    /// The sender of the datagram.
    fn peer(&self, bound: SocketAddr) -> SocketAddr {
        match bound {
            SocketAddr::V4(_) => {
                // SAFETY: both fields are integers only, so whatever the octets are, they are a value.
                let peer = unsafe { self.peer.v4 };
                let ip = Ipv4Addr::from(u32::from_be(peer.sin_addr.s_addr));
                SocketAddrV4::new(ip, u16::from_be(peer.sin_port)).into()
            }
            SocketAddr::V6(_) => {
                // SAFETY: as above.
                let peer = unsafe { self.peer.v6 };
                let ip = Ipv6Addr::from(peer.sin6_addr.s6_addr);
                let port = u16::from_be(peer.sin6_port);
                SocketAddrV6::new(ip, port, peer.sin6_flowinfo, peer.sin6_scope_id).into()
            }
        }
    }

    /// The address asked: the socket's, or what the kernel said where the socket has all addresses.
    fn local(&mut self, bound: SocketAddr, header: &libc::msghdr) -> SocketAddr {
        if !bound.ip().is_unspecified() {
            return bound;
        }
        if header.msg_controllen == 0 || header.msg_flags & libc::MSG_CTRUNC != 0 {
            // The system had no memory for it. The reply then leaves from where the system thinks best.
            self.control.header.cmsg_len = 0;
            return bound;
        }
        SocketAddr::new(self.control.address(bound).to_canonical(), bound.port())
    }
}

impl Control {
    /// The local address in the message; for a datagram to a group, the one to reply from.
    fn address(&self, bound: SocketAddr) -> IpAddr {
        match bound {
            // SAFETY: both fields are integers only, so whatever the octets are, they are a value.
            SocketAddr::V4(_) => Ipv4Addr::from(u32::from_be(unsafe { self.info.v4 }.ipi_spec_dst.s_addr)).into(),
            // SAFETY: as above.
            SocketAddr::V6(_) => Ipv6Addr::from(unsafe { self.info.v6 }.ipi6_addr.s6_addr).into(),
        }
    }

    /// Makes the message fit to be sent: this address, by whichever interface; returns its length.
    ///
    /// Replies may well leave by another interface than requests came by, so the kernel's routes decide. A
    /// link-local address means something on its own link only and keeps it.
    fn leave_route_open(&mut self, bound: SocketAddr) -> u32 {
        match self.address(bound) {
            IpAddr::V4(_) => {
                self.info.v4.ipi_ifindex = 0;
                // SAFETY: CMSG_SPACE only computes.
                unsafe { libc::CMSG_SPACE(IN_PKTINFO_OCTETS) }
            }
            IpAddr::V6(address) => {
                if !address.is_unicast_link_local() {
                    self.info.v6.ipi6_ifindex = 0;
                }
                // SAFETY: CMSG_SPACE only computes.
                unsafe { libc::CMSG_SPACE(IN6_PKTINFO_OCTETS) }
            }
        }
    }
}

/// Points `header` to a peer of so many octets and to a part, and to nothing else.
fn point(header: &mut libc::msghdr, peer: *mut Peer, peer_octets: usize, part: *mut libc::iovec) {
    header.msg_name = peer.cast();
    header.msg_namelen = peer_octets as libc::socklen_t;
    header.msg_iov = part;
    header.msg_iovlen = 1;
    header.msg_control = ptr::null_mut();
    header.msg_controllen = 0;
    header.msg_flags = 0;
}

/// A part that points nowhere.
const EMPTY_PART: libc::iovec = libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 };

/// A header that points nowhere.
fn empty_header() -> libc::mmsghdr {
    // SAFETY: a C struct of integers and pointers, for which all octets 0 is a value.
    unsafe { mem::zeroed() }
}

/// Returns the last call's error, unless a signal came before it had done anything.
fn retry_if_interrupted() -> io::Result<()> {
    let error = io::Error::last_os_error();
    if error.kind() == io::ErrorKind::Interrupted { Ok(()) } else { Err(error) }
}

#[cfg(test)]
mod tests {
    use socket2::{Domain, Type};

    use super::*;

    #[test]
    fn a_listener_offers_fast_open_for_as_many_as_it_is_told() {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        listener.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
        listener.listen(16).unwrap();
        for queue in [7, 0] {
            offer_fast_open(&listener, queue).unwrap();
            let (mut value, mut length): (c_int, _) = (-1, size_of::<c_int>() as libc::socklen_t);
            // SAFETY: the pointers are to `value` and to its length, which live through the call.
            let outcome = unsafe {
                let (value, length) = ((&raw mut value).cast(), &raw mut length);
                libc::getsockopt(listener.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_FASTOPEN, value, length)
            };
            assert_eq!((outcome, value), (0, queue as c_int));
        }
    }
}
