//! When a request arrived: a judge of gaps must not be late itself.
//!
//! A thread that sleeps until there is something to read may be woken milliseconds after it has come, on a busy machine
//! or a virtual one. Where the system says when it received the bytes (Linux), that counts.

use std::io::{self, Read};
use std::net::{TcpListener, TcpStream};
use std::time::Instant;

/// Has all connections of a listener stamped. Asked for early, because the system may take a moment to begin.
pub(super) fn stamp(listener: &TcpListener) -> io::Result<()> {
    system::stamp(listener)
}

/// A connection that knows when the last bytes that were read from it arrived.
#[derive(Debug)]
pub(super) struct Stamped<'a> {
    stream: &'a TcpStream,
    arrived: Instant,
}

impl<'a> Stamped<'a> {
    pub(super) fn new(stream: &'a TcpStream) -> Self {
        Stamped {
            stream,
            arrived: Instant::now(),
        }
    }

    /// When the last bytes that were read arrived.
    pub(super) fn arrived(&self) -> Instant {
        self.arrived
    }
}

impl Read for Stamped<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let (amount, ago) = system::read(self.stream, buffer)?;
        let now = Instant::now();
        self.arrived = now.checked_sub(ago).unwrap_or(now);
        Ok(amount)
    }
}

#[cfg(target_os = "linux")]
mod system {
    use std::io::{self, IoSliceMut};
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsRawFd;
    use std::time::{Duration, SystemTime, UNIX_EPOCH};

    use nix::cmsg_space;
    use nix::errno::Errno;
    use nix::sys::socket::sockopt::ReceiveTimestampns;
    use nix::sys::socket::{ControlMessageOwned, MsgFlags, RecvMsg, recvmsg, setsockopt};
    use nix::sys::time::TimeSpec;

    /// Longer ago than this is no delay but a calendar that was set.
    const MOST: Duration = Duration::from_secs(1);

    pub(super) fn stamp(listener: &TcpListener) -> io::Result<()> {
        Ok(setsockopt(listener, ReceiveTimestampns, &true)?) // what it accepts inherits it
    }

    /// Reads, and says how long ago what was read arrived.
    pub(super) fn read(stream: &TcpStream, buffer: &mut [u8]) -> io::Result<(usize, Duration)> {
        let mut space = cmsg_space!(TimeSpec);
        let mut parts = [IoSliceMut::new(buffer)];
        loop {
            let received: Result<RecvMsg<'_, '_, ()>, _> = recvmsg(
                stream.as_raw_fd(),
                &mut parts,
                Some(&mut space),
                MsgFlags::empty(),
            );
            match received {
                Err(Errno::EINTR) => {}
                received => {
                    return received
                        .map(|message| (message.bytes, ago(&message)))
                        .map_err(Into::into);
                }
            }
        }
    }

    fn ago(message: &RecvMsg<'_, '_, ()>) -> Duration {
        let stamps = message.cmsgs().into_iter().flatten();
        let stamp = stamps.filter_map(|stamp| match stamp {
            ControlMessageOwned::ScmTimestampns(at) => Some(UNIX_EPOCH + Duration::from(at)),
            _ => None,
        });
        let ago = stamp
            .last()
            .and_then(|at| SystemTime::now().duration_since(at).ok());
        ago.filter(|ago| *ago < MOST).unwrap_or_default()
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use std::io::{self, Read};
    use std::net::{TcpListener, TcpStream};
    use std::time::Duration;

    pub(super) fn stamp(_: &TcpListener) -> io::Result<()> {
        Ok(())
    }

    pub(super) fn read(mut stream: &TcpStream, buffer: &mut [u8]) -> io::Result<(usize, Duration)> {
        stream.read(buffer).map(|amount| (amount, Duration::ZERO))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::thread;
    use std::time::Duration;

    #[test]
    fn who_looks_late_still_learns_when_it_came() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        stamp(&listener).unwrap();
        let mut far = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (near, _) = listener.accept().unwrap();
        let mut stamped = Stamped::new(&near);
        let mut looks_late = || {
            far.write_all(b"now").unwrap();
            near.peek(&mut [0]).unwrap(); // until it has come
            let (came, late) = (Instant::now(), Duration::from_millis(20));
            thread::sleep(late); // what is tested: a reader that comes late
            let mut buffer = [0; 8];
            assert_eq!(stamped.read(&mut buffer).unwrap(), 3);
            assert_eq!(&buffer[..3], b"now");
            stamped.arrived() <= came + late / 2
        };
        // The first few may come before the system has begun to stamp.
        let learns = (0..100).any(|_| looks_late());
        assert_eq!(learns, cfg!(target_os = "linux"));
    }
}
