//! Paceline: see the README.
pub mod limiter;
