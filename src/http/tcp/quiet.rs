//! Between two calls there is nothing to read on a connection: bytes that nobody asked for, or an end, make it useless.

use std::io;
use std::net::TcpStream;

/// Whether it is so, without waiting. With one question to the system, where that is possible.
#[cfg(unix)]
pub(super) fn is_quiet(stream: &TcpStream) -> io::Result<bool> {
    use nix::errno::Errno;
    use nix::sys::socket::{MsgFlags, recv};
    use std::os::fd::AsRawFd;

    let looked = recv(
        stream.as_raw_fd(),
        &mut [0],
        MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_PEEK,
    );
    Ok(looked == Err(Errno::EAGAIN))
}

/// Whether it is so, without waiting.
#[cfg(not(unix))]
pub(super) fn is_quiet(stream: &TcpStream) -> io::Result<bool> {
    stream.set_nonblocking(true)?;
    let looked = stream.peek(&mut [0]);
    stream.set_nonblocking(false)?;
    Ok(looked.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpListener;

    #[test]
    fn neither_a_byte_nor_an_end_is_quiet() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut far, _) = listener.accept().unwrap();
        assert!(is_quiet(&near).unwrap());
        far.write_all(b"?").unwrap();
        near.peek(&mut [0]).unwrap(); // until it has come
        assert!(!is_quiet(&near).unwrap());
        (&near).read_exact(&mut [0]).unwrap();
        assert!(is_quiet(&near).unwrap());
        drop(far);
        near.peek(&mut [0]).unwrap(); // until the end has come
        assert!(!is_quiet(&near).unwrap());
    }
}
