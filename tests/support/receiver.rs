//! Who is told of flips: takes what is posted, or fails as it is told.

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver as Channel, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::Value;

use super::PATIENCE;

/// A receiver on a loopback port of its own. Its threads end with the test.
pub(crate) struct Receiver {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    posts: Channel<Post>,
    answers: Arc<Mutex<VecDeque<Answer>>>,
}

/// What was posted.
#[derive(Debug)]
pub(crate) struct Post {
    /// The first line of the request and its headers, as they came.
    pub(crate) head: Vec<String>,
    /// The object.
    pub(crate) event: Value,
}

impl Post {
    /// A member of the object, as a text.
    pub(crate) fn text(&self, member: &str) -> &str {
        self.event[member].as_str().unwrap_or_else(|| panic!("{member} of {} is no text", self.event))
    }
}

/// How a post is met.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Answer {
    /// With a status and a short body.
    Status(u16),
    /// The connection is closed.
    Nothing,
    /// The connection stays, and nothing comes.
    Hang,
}

impl Receiver {
    /// Starts one that meets posts with these, in their order, and takes all after them.
    pub(crate) fn start(answers: &[Answer]) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = listener.local_addr().expect("an address");
        let answers = Arc::new(Mutex::new(answers.iter().copied().collect()));
        let (sender, posts) = channel();
        thread::spawn({
            let answers = Arc::clone(&answers);
            move || {
                for stream in listener.incoming().map_while(Result::ok) {
                    let (answers, sender) = (Arc::clone(&answers), sender.clone());
                    // Clients that leave are what some tests are about.
                    thread::spawn(move || drop(serve(stream, &answers, &sender)));
                }
            }
        });
        Self { address, posts, answers }
    }

    /// The URL that perigee posts to.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    /// Meets the next posts with these.
    pub(crate) fn answer(&self, answers: &[Answer]) {
        self.answers.lock().unwrap().extend(answers);
    }

    /// Waits for the next post.
    pub(crate) fn next(&self) -> Post {
        self.posts.recv_timeout(PATIENCE).expect("a post")
    }
}

/// Serves the posts of one connection.
fn serve(stream: TcpStream, answers: &Mutex<VecDeque<Answer>>, posts: &Sender<Post>) -> io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut stream = stream;
    while let Some(post) = read_post(&mut reader)? {
        let answer = answers.lock().unwrap().pop_front().unwrap_or(Answer::Status(200));
        // The test may have lost interest.
        let _ = posts.send(post);
        match answer {
            Answer::Status(status) => write!(stream, "HTTP/1.1 {status} Told\r\nContent-Length: 2\r\n\r\nOK")?,
            Answer::Nothing => return Ok(()),
            Answer::Hang => return stream.read(&mut [0; 1]).map(drop),
        }
    }
    Ok(())
}

/// Reads a request with a body; `None` at the end.
fn read_post(reader: &mut impl BufRead) -> io::Result<Option<Post>> {
    let mut head = Vec::new();
    for line in reader.lines() {
        match line? {
            line if line.is_empty() => break,
            line => head.push(line),
        }
    }
    let length = head.iter().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    let Some(length) = length else { return Ok(None) };
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(Some(Post { head, event: serde_json::from_slice(&body)? }))
}
