//! A connection that asks little of the system: one send a request, and no setting of a time-out that is set already.
//!
//! The agent hands over the head and the body of a request one after the other, tells the time that is left before each
//! send and each receive, and looks whether a connection is open both when it puts it back and when it takes it. Here
//! what is to be sent is kept until an answer is awaited or much has come together; the time is rounded up to a part of
//! the whole, so that a call that is answered soon finds it set; and only the second look asks the system.

mod buffers;
mod quiet;

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use ureq::unversioned::transport::time::Duration as Left;
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, Either, NextTimeout, Transport,
};
use ureq::{Error, Timeout};

use buffers::Paper;

/// Makes connections; what a proxy has made is passed on.
#[derive(Debug)]
pub(super) struct Tcp {
    /// Times that are left are rounded up to multiples of this.
    grain: Duration,
}

impl Tcp {
    /// For calls of which each may take so long. A time-out may come late by a small part of it.
    pub(super) fn new(timeout: Duration) -> Self {
        const PART: u32 = 64;
        Tcp {
            grain: (timeout / PART).max(Duration::from_millis(1)),
        }
    }
}

impl<In: Transport> Connector<In> for Tcp {
    type Out = Either<In, Connection>;

    fn connect(
        &self,
        details: &ConnectionDetails,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, Error> {
        if let Some(made) = chained {
            return Ok(Some(Either::A(made)));
        }
        let stream = connect(&details.addrs, time_left(&details.timeout))?;
        stream.set_nodelay(true)?;
        let paper = Paper::default();
        let (grain, set_for_read, set_for_write) = (self.grain, None, None);
        Ok(Some(Either::B(Connection {
            stream,
            paper,
            grain,
            set_for_read,
            set_for_write,
            just_read: false,
        })))
    }
}

/// Tries the addresses in order; each but the last may take half of the time that is left.
fn connect(addresses: &[SocketAddr], left: Option<Duration>) -> Result<TcpStream, Error> {
    let until = left.map(|left| Instant::now() + left);
    let mut failed = Error::ConnectionFailed;
    for (n, address) in addresses.iter().enumerate() {
        let share = if n + 1 < addresses.len() { 2 } else { 1 };
        let left = until.map(|until| until.saturating_duration_since(Instant::now()) / share);
        let made = match left {
            None => TcpStream::connect(address),
            Some(Duration::ZERO) => return Err(Error::Timeout(Timeout::Connect)),
            Some(left) => TcpStream::connect_timeout(address, left),
        };
        failed = match made {
            Ok(stream) => return Ok(stream),
            Err(error) => ran_out(error, Timeout::Connect),
        };
    }
    Err(failed)
}

fn time_left(timeout: &NextTimeout) -> Option<Duration> {
    match timeout.after {
        Left::Exact(left) => Some(left),
        Left::NotHappening => None,
    }
}

fn rounded_up(left: Duration, grain: Duration) -> Duration {
    let grains = left.as_nanos().div_ceil(grain.as_nanos()).max(1);
    grain.saturating_mul(u32::try_from(grains).unwrap_or(u32::MAX))
}

fn ran_out(error: io::Error, reason: Timeout) -> Error {
    match error.kind() {
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => Error::Timeout(reason),
        _ => Error::Io(error),
    }
}

#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    paper: Paper,
    grain: Duration,
    set_for_read: Option<Duration>,
    set_for_write: Option<Duration>,
    /// An answer was read, and nobody has asked since whether the connection is open.
    just_read: bool,
}

impl Connection {
    fn send(&mut self, timeout: &NextTimeout) -> Result<(), Error> {
        if self.paper.to_send().is_empty() {
            return Ok(());
        }
        let left = time_left(timeout).map(|left| rounded_up(left, self.grain));
        if left != self.set_for_write {
            self.stream.set_write_timeout(left)?;
            self.set_for_write = left;
        }
        let sent = self.stream.write_all(self.paper.to_send());
        self.paper.sent();
        sent.map_err(|error| ran_out(error, timeout.reason))
    }

    fn receive(&mut self, timeout: &NextTimeout) -> Result<usize, Error> {
        let left = time_left(timeout).map(|left| rounded_up(left, self.grain));
        if left != self.set_for_read {
            self.stream.set_read_timeout(left)?;
            self.set_for_read = left;
        }
        let input = self.paper.input_append_buf();
        loop {
            match self.stream.read(input) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => return read.map_err(|error| ran_out(error, timeout.reason)),
            }
        }
    }
}

impl Transport for Connection {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.paper
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        if self.paper.keep(amount) {
            self.send(&timeout)
        } else {
            Ok(())
        }
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        self.send(&timeout)?;
        let amount = self.receive(&timeout)?;
        self.paper.input_appended(amount);
        self.just_read = true;
        Ok(amount > 0)
    }

    fn is_open(&mut self) -> bool {
        std::mem::take(&mut self.just_read) || quiet::is_quiet(&self.stream).unwrap_or(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_rounded_up_so_that_a_quick_call_sets_it_once() {
        let (second, grain) = (
            Duration::from_secs(1),
            Tcp::new(Duration::from_secs(128)).grain,
        );
        assert_eq!(grain, second * 2);
        assert_eq!(rounded_up(second * 128, grain), second * 128);
        assert_eq!(
            rounded_up(second * 128 - Duration::from_millis(3), grain),
            second * 128
        );
        assert_eq!(rounded_up(Duration::from_millis(1), grain), grain);
        assert_eq!(
            rounded_up(Duration::ZERO, grain),
            grain,
            "zero would mean for ever"
        );
    }

    #[test]
    fn nobody_at_the_first_address_is_no_end() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let free = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let there = listener.local_addr().unwrap();
        let made = connect(&[free, there], Some(Duration::from_secs(60))).unwrap();
        assert_eq!(made.peer_addr().unwrap(), there);
        let Err(Error::Io(error)) = connect(&[free], None) else {
            panic!("nobody is there")
        };
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }
}
