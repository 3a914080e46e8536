//! Zone-file text to tokens that know line and column.
