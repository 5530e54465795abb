//! The TCP sockets of this machine, as the kernel lists them: `/proc/self/net/tcp` and `tcp6` (proc_net_tcp(5)).
//!
//! Hazard: a socket whose owner has closed it stays in the table for a while, with user 0 and inode 0: taken as it
//! stands, it is root's. And an entry can be shown twice, or not at all, where the table changes while it is read. So only
//! one live entry counts, and what cannot be read as a whole counts for nothing.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, Read};
use std::net::{IpAddr, SocketAddr};

const TABLE: &str = "/proc/self/net/tcp";
const TABLE_OF_IPV6: &str = "/proc/self/net/tcp6";

/// The longest line that is read; the kernel's have about 150 bytes.
const MAX_LINE_BYTES: u64 = 1024;

/// The state of a connection that is open in both directions (`TCP_ESTABLISHED` in linux/net/tcp_states.h).
const ESTABLISHED: u8 = 1;

/// Where one end of a connection is. An IPv4 address that is written as IPv6 is the IPv4 address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct End(IpAddr, u16);

impl From<SocketAddr> for End {
    fn from(address: SocketAddr) -> Self {
        Self(address.ip().to_canonical(), address.port())
    }
}

/// A connection, as the socket at its other end has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pair {
    /// Its own address: our peer's.
    pub local: End,
    /// Whom it is connected to: us.
    pub remote: End,
}

/// What the table says of one socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    state: u8,
    uid: u32,
    inode: u64,
}

/// What the table has for a pair.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Found {
    /// No entry.
    #[default]
    Nothing,
    /// One. A second look at the same one is no second entry.
    One(Entry),
    /// Several, or one that cannot be read.
    Unclear,
}

impl Found {
    fn add(&mut self, entry: Option<Entry>) {
        *self = match (*self, entry) {
            (Self::Nothing, Some(entry)) => Self::One(entry),
            (Self::One(seen), Some(entry)) if seen == entry => Self::One(seen),
            _ => Self::Unclear,
        };
    }

    /// The owner of the socket, if there is one socket, and it is open.
    pub fn owner(self) -> Option<u32> {
        match self {
            Self::One(Entry { state: ESTABLISHED, uid, inode }) if inode != 0 => Some(uid),
            Self::Nothing | Self::One(_) | Self::Unclear => None,
        }
    }
}

/// What is found, for each pair that is asked for.
pub type Wanted = HashMap<Pair, Found>;

/// Looks for all of `wanted` in both tables. A machine without IPv6 has one.
pub fn look(wanted: &mut Wanted) -> io::Result<()> {
    scan(File::open(TABLE)?, wanted)?;
    match File::open(TABLE_OF_IPV6) {
        Ok(table) => scan(table, wanted),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Looks in one table: a line of headings, then one for each socket.
fn scan(table: impl Read, wanted: &mut Wanted) -> io::Result<()> {
    let mut lines = BufReader::with_capacity(1 << 16, table);
    let mut line = Vec::new();
    let mut is_heading = true;
    loop {
        line.clear();
        (&mut lines).take(MAX_LINE_BYTES).read_until(b'\n', &mut line)?;
        match line.pop() {
            None => return Ok(()),
            Some(b'\n') if is_heading => is_heading = false,
            Some(b'\n') => {
                let mut fields = line.split(|byte| *byte == b' ').filter(|field| !field.is_empty()).skip(1);
                let pair = pair(&mut fields).ok_or_else(unreadable)?;
                if let Some(found) = wanted.get_mut(&pair) {
                    found.add(entry(&mut fields));
                }
            }
            Some(_) => return Err(unreadable()),
        }
    }
}

fn unreadable() -> io::Error {
    io::Error::new(ErrorKind::InvalidData, "a line of the table of TCP sockets is not as expected")
}

fn pair<'a>(fields: &mut impl Iterator<Item = &'a [u8]>) -> Option<Pair> {
    Some(Pair { local: end(fields.next()?)?, remote: end(fields.next()?)? })
}

/// The state, and of what follows (queues, timers, retransmits, user, timeouts, inode) the user and the inode.
fn entry<'a>(fields: &mut impl Iterator<Item = &'a [u8]>) -> Option<Entry> {
    let state = u8::try_from(hexadecimal(fields.next()?)?).ok()?;
    let uid = decimal(fields.nth(3)?)?;
    let inode = decimal(fields.nth(1)?)?;
    Some(Entry { state, uid: u32::try_from(uid).ok()?, inode })
}

/// `0100007F:1F90`: the address in words of 32 bits as they are in memory, the port as a number.
fn end(field: &[u8]) -> Option<End> {
    let colon = field.iter().position(|byte| *byte == b':')?;
    let (address, port) = (&field[..colon], &field[colon + 1..]);
    let word = |at: usize| u32::try_from(hexadecimal(address.get(at * 8..at * 8 + 8)?)?).ok();
    let ip: IpAddr = match address.len() {
        8 => word(0)?.to_ne_bytes().into(),
        32 => {
            let mut bytes = [0; 16];
            for (at, four) in bytes.chunks_exact_mut(4).enumerate() {
                four.copy_from_slice(&word(at)?.to_ne_bytes());
            }
            bytes.into()
        }
        _ => return None,
    };
    Some(End(ip.to_canonical(), u16::try_from(hexadecimal(port)?).ok()?))
}

fn hexadecimal(digits: &[u8]) -> Option<u64> {
    number(digits, 16)
}

fn decimal(digits: &[u8]) -> Option<u64> {
    number(digits, 10)
}

/// Digits, without a sign.
fn number(digits: &[u8], radix: u32) -> Option<u64> {
    let digits = std::str::from_utf8(digits).ok().filter(|digits| !digits.starts_with('+'))?;
    u64::from_str_radix(digits, radix).ok()
}

#[cfg(test)]
pub fn one(state: u8, uid: u32, inode: u64) -> Found {
    Found::One(Entry { state, uid, inode })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADINGS: &str =
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";

    /// An address as this machine's kernel writes it.
    fn written(address: &str) -> String {
        let address: SocketAddr = address.parse().unwrap();
        let words = match address.ip() {
            IpAddr::V4(ip) => ip.octets().to_vec(),
            IpAddr::V6(ip) => ip.octets().to_vec(),
        };
        let words = words.chunks_exact(4).map(|four| u32::from_ne_bytes(four.try_into().unwrap()));
        format!("{}:{:04X}", words.map(|word| format!("{word:08X}")).collect::<String>(), address.port())
    }

    fn line(local: &str, remote: &str, state: u8, uid: &str, inode: &str) -> String {
        let (local, remote) = (written(local), written(remote));
        format!(
            "   7: {local} {remote} {state:02X} 00000000:00000000 00:00000000 00000000 {uid:>5}        0 {inode} 1 \
             0000000000000000 20 4 0 10 -1\n"
        )
    }

    fn wanted(local: &str, remote: &str) -> Wanted {
        let pair = |text: &str| End::from(text.parse::<SocketAddr>().unwrap());
        Wanted::from([(Pair { local: pair(local), remote: pair(remote) }, Found::Nothing)])
    }

    fn found(tables: &[&str], local: &str, remote: &str) -> io::Result<Found> {
        let mut wanted = wanted(local, remote);
        for table in tables {
            scan((HEADINGS.to_owned() + table).as_bytes(), &mut wanted)?;
        }
        Ok(wanted.into_values().next().unwrap())
    }

    const PEER: &str = "127.0.0.1:40000";
    const OURS: &str = "127.0.0.1:8080";

    #[test]
    fn a_live_socket_is_its_owners_over_ipv4_ipv6_and_ipv4_written_as_ipv6() {
        for (local, remote, asked_local, asked_remote) in [
            (PEER, OURS, PEER, OURS),
            ("[::1]:40000", "[::1]:8080", "[::1]:40000", "[::1]:8080"),
            ("[::ffff:127.0.0.1]:40000", "[::ffff:127.0.0.1]:8080", PEER, OURS),
            (PEER, OURS, "[::ffff:127.0.0.1]:40000", "[::ffff:127.0.0.1]:8080"),
        ] {
            // Our own socket stands beside it, the other way round.
            let table = line(remote, local, 1, "998", "7") + &line(local, remote, 1, "1000", "91");
            let found = found(&[&table], asked_local, asked_remote).unwrap();
            assert_eq!((found, found.owner()), (one(1, 1000, 91), Some(1000)), "{local} {remote}");
        }
    }

    #[test]
    fn a_socket_that_is_closed_is_nobodys() {
        for (state, uid, inode) in [
            // TIME_WAIT, orphaned FIN_WAIT1 and 2, CLOSING, LAST_ACK, as the kernel lists them: not root's.
            (6, "0", "0"),
            (4, "0", "0"),
            (5, "0", "0"),
            (11, "0", "0"),
            (9, "0", "0"),
            // Established on its way to that, without an owner.
            (1, "0", "0"),
            // Half closed, half open, listening; and no state at all.
            (5, "0", "91"),
            (8, "0", "91"),
            (3, "0", "91"),
            (2, "0", "91"),
            (10, "0", "91"),
            (7, "0", "91"),
            (0, "0", "91"),
        ] {
            let table = line(PEER, OURS, state, uid, inode);
            assert_eq!(found(&[&table], PEER, OURS).unwrap().owner(), None, "{table}");
        }
    }

    #[test]
    fn what_is_there_twice_is_nobodys_unless_it_is_the_same_socket() {
        let root = line(PEER, OURS, 1, "0", "91");
        assert_eq!(found(&[&root.repeat(2)], PEER, OURS).unwrap().owner(), Some(0));
        for other in [
            line(PEER, OURS, 1, "0", "92"),
            line(PEER, OURS, 1, "1000", "91"),
            line(PEER, OURS, 6, "0", "0"),
            line("[::ffff:127.0.0.1]:40000", "[::ffff:127.0.0.1]:8080", 1, "0", "93"),
        ] {
            for tables in [&[&root, &other], &[&other, &root]] {
                let whole = tables.map(String::as_str).concat();
                assert_eq!(found(&[&whole], PEER, OURS).unwrap(), Found::Unclear, "{whole}");
                assert_eq!(found(&tables.map(String::as_str), PEER, OURS).unwrap().owner(), None, "{whole}");
            }
        }
    }

    #[test]
    fn another_connection_is_not_it() {
        for (local, remote) in [
            (OURS, PEER),
            ("127.0.0.1:40001", OURS),
            ("127.0.0.2:40000", OURS),
            (PEER, "127.0.0.1:8081"),
            ("[::1]:40000", "[::1]:8080"),
            ("[::7f00:1]:40000", "[::7f00:1]:8080"),
            ("1.0.0.127:40000", "1.0.0.127:8080"),
        ] {
            let table = line(local, remote, 1, "0", "91");
            assert_eq!(found(&[&table], PEER, OURS).unwrap(), Found::Nothing, "{table}");
        }
        assert_eq!(found(&[""], PEER, OURS).unwrap().owner(), None);
    }

    #[test]
    fn numbers_that_are_none_make_nobody_known() {
        for (uid, inode) in [
            ("-1", "91"),
            ("4294967296", "91"),
            ("+0", "91"),
            ("0x0", "91"),
            ("root", "91"),
            ("0", "-91"),
            ("0", "18446744073709551616"),
            ("0", "91x"),
        ] {
            let table = line(PEER, OURS, 1, uid, inode);
            assert_eq!(found(&[&table], PEER, OURS).unwrap().owner(), None, "{table}");
        }
        assert_eq!(found(&[&line(PEER, OURS, 1, "4294967295", "91")], PEER, OURS).unwrap().owner(), Some(u32::MAX));
    }

    #[test]
    fn a_table_that_cannot_be_read_to_its_end_says_nothing() {
        let good = line(PEER, OURS, 1, "0", "91");
        let torn = &good[..good.len() - 1];
        let endless = "x".repeat(1 << 20);
        for rest in
            [torn, "7:\n", "7: 0100007F:9C40\n", "7: 0100007F 0100007F:1F90 01\n", &endless, "\n", "\0\n", "é é é\n"]
        {
            let table = good.clone() + rest;
            let error = found(&[&table], PEER, OURS).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidData, "{rest:?}");
        }
        for (local, remote) in [
            ("0100007F:9C40", "0100007F:11F90"),
            ("0100007F:", "0100007F:1F90"),
            (":9C40", "0100007F:1F90"),
            ("0100007:9C40", "0100007F:1F90"),
            ("+100007F:9C40", "0100007F:1F90"),
            ("0000000000000000FFFF00000100007:9C40", "0100007F:1F90"),
            ("0100007F:9C40:1", "0100007F:1F90"),
        ] {
            let table = format!("   0: {local} {remote} 01 0:0 0:0 0     0        0 91\n");
            assert!(found(&[&table], PEER, OURS).is_err(), "{table}");
        }
    }

    #[test]
    fn any_bytes_are_read_without_harm() {
        proptest::proptest!(|(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..4096))| {
            let mut wanted = wanted(PEER, OURS);
            let _ = scan(bytes.as_slice(), &mut wanted);
            assert_eq!(wanted.len(), 1);
        });
    }

    #[test]
    fn the_kernels_own_tables_are_read_whole() {
        let mut wanted = wanted(PEER, OURS);
        look(&mut wanted).unwrap();
    }
}
