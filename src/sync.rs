//! What threads meet at: locks, atomics, channels and the threads themselves.
//!
//! They are taken from this one place so that they can be swapped: `tests/model` compiles the same rooms against
//! primitives that a model checker schedules.

pub(crate) use crossbeam_channel as channel;
pub(crate) use parking_lot::{Mutex, MutexGuard};
pub(crate) use std::sync::atomic;
pub(crate) use std::thread;
