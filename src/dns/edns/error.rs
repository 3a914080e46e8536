//! Extended errors (RFC 8914): why a response is what it is.

/// An extended error that tells why a response is what it is (RFC 8914).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ExtendedError {
    /// The INFO-CODE.
    pub code: u16,
    /// The EXTRA-TEXT, for people.
    pub text: &'static str,
}

impl ExtendedError {
    /// A failure with no code of its own.
    pub const OTHER: u16 = 0;
    /// The server is not configured to answer this client.
    pub const PROHIBITED: u16 = 18;
    /// The server has no zone for this name.
    pub const NOT_AUTHORITATIVE: u16 = 20;
    /// The server does not do what is asked for, whatever the name.
    pub const NOT_SUPPORTED: u16 = 21;

    /// An extended error with this code and text.
    pub fn new(code: u16, text: &'static str) -> Self {
        Self { code, text }
    }
}
