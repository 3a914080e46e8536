//! A resolver that answers as it is told and when it is told, and tells what it was asked.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;

use hickory_proto::op::{Message, MessageType, ResponseCode};
use hickory_proto::rr::{Name, RData, Record};

use super::PATIENCE;

/// A resolver on a loopback port of its own; it speaks UDP.
pub(crate) struct Resolver {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    asked: Receiver<String>,
    socket: UdpSocket,
    desk: Arc<Mutex<Desk>>,
}

/// What a question gets.
#[derive(Clone)]
pub(crate) enum Reply {
    /// Records: owner, TTL, data.
    Records(Vec<(String, u32, RData)>),
    /// An RCODE and nothing else.
    Code(ResponseCode),
    /// Nothing until told otherwise; then what it is told.
    Hold,
}

impl Reply {
    /// One A record of the name asked for.
    pub(crate) fn a(owner: &str, ttl: u32, address: [u8; 4]) -> Self {
        Self::Records(vec![(owner.to_owned(), ttl, RData::A(Ipv4Addr::from(address).into()))])
    }
}

/// What the resolver's thread and its owner share.
#[derive(Default)]
struct Desk {
    replies: HashMap<String, Reply>,
    held: Vec<(String, SocketAddr, Message)>,
}

impl Resolver {
    /// Starts one that answers NXDOMAIN to whatever it is not told of.
    pub(crate) fn start() -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
        let address = socket.local_addr().expect("it is bound");
        let (tell, asked) = channel();
        let desk = Arc::new(Mutex::new(Desk::default()));
        let (thread_socket, thread_desk) = (socket.try_clone().expect("a clone"), desk.clone());
        thread::spawn(move || serve(&thread_socket, &thread_desk, &tell));
        Self { address, asked, socket, desk }
    }

    /// Says what a question such as `www.example. A` gets from now on, those that are held too.
    pub(crate) fn reply(&self, question: &str, reply: Reply) {
        let mut desk = self.desk.lock().expect("no thread panics here");
        desk.replies.insert(question.to_owned(), reply.clone());
        for (_, from, request) in desk.held.extract_if(.., |(held, ..)| held == question) {
            send(&self.socket, from, &request, &reply);
        }
    }

    /// Waits until it is asked this; returns what it was asked before.
    pub(crate) fn wait_for(&self, question: &str) -> Vec<String> {
        let mut before = Vec::new();
        loop {
            match self.asked.recv_timeout(PATIENCE) {
                Ok(asked) if asked == question => return before,
                Ok(asked) => before.push(asked),
                Err(_) => panic!("`{question}` was not asked; there were {before:?}"),
            }
        }
    }

    /// What it was asked and nobody has waited for.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.try_iter().collect()
    }
}

impl Drop for Resolver {
    fn drop(&mut self) {
        // An empty datagram ends the thread.
        let _ = self.socket.send_to(&[], self.address);
    }
}

fn serve(socket: &UdpSocket, desk: &Mutex<Desk>, tell: &Sender<String>) {
    let mut octets = [0; 4096];
    while let Ok((length, from)) = socket.recv_from(&mut octets) {
        if length == 0 {
            return;
        }
        let request = Message::from_vec(&octets[..length]).expect("a well-formed question");
        let query = &request.queries[0];
        let question = format!("{} {}", query.name().to_lowercase(), query.query_type());
        let mut desk = desk.lock().expect("no test panics here");
        let reply = desk.replies.get(&question).cloned().unwrap_or(Reply::Code(ResponseCode::NXDomain));
        // Who hears of the question may ask at once what became of it: what is held is held by then, and a reply has
        // not been sent before it was told.
        let is_held = matches!(reply, Reply::Hold);
        if is_held {
            desk.held.push((question.clone(), from, request.clone()));
        }
        if tell.send(question).is_err() {
            return;
        }
        if !is_held {
            send(socket, from, &request, &reply);
        }
    }
}

fn send(socket: &UdpSocket, to: SocketAddr, request: &Message, reply: &Reply) {
    let mut response = request.clone();
    response.metadata.message_type = MessageType::Response;
    response.metadata.recursion_available = true;
    match reply {
        Reply::Records(records) => {
            for (owner, ttl, data) in records {
                let owner = Name::from_ascii(owner).expect("a name");
                response.add_answer(Record::from_rdata(owner, *ttl, data.clone()));
            }
        }
        Reply::Code(code) => response.metadata.response_code = *code,
        Reply::Hold => return,
    }
    let octets = response.to_vec().expect("encoded");
    socket.send_to(&octets, to).expect("sent");
}
