//! Zone files good and bad, and the messages they earn.
