//! Looking up real connections, in the kernel's table and in others.
//!
//! Hazard: a test that closes a socket and looks before the kernel has seen it. On loopback what one side does to a
//! connection is done to the other before the call returns.

use std::net::{Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream as Client};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::net::sockopt::set_socket_linger;
use rustix::process::getuid;

use super::table::one;
use super::*;

/// A connection whose both ends are ours: the accepted one, and its client's.
fn connect(address: SocketAddr, listener: &TcpListener) -> (TcpStream, Client) {
    let client = Client::connect(address).unwrap();
    let (accepted, _) = listener.accept().unwrap();
    accepted.set_nonblocking(true).unwrap();
    (TcpStream::from_std(accepted).unwrap(), client)
}

fn listen() -> (SocketAddr, TcpListener) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    (listener.local_addr().unwrap(), listener)
}

fn real() -> Peers {
    Peers::of_this_machine(64).unwrap()
}

/// A table in which every socket that is asked for is open and root's.
fn roots(wanted: &mut Wanted) -> io::Result<()> {
    wanted.values_mut().for_each(|found| *found = one(1, 0, 7));
    Ok(())
}

fn me() -> Option<u32> {
    Some(getuid().as_raw())
}

#[actix_rt::test]
async fn who_is_connected_is_found_over_ipv4_ipv6_and_ipv4_through_ipv6() {
    let peers = real();
    let (v4, listener) = listen();
    let mapped = SocketAddr::from((Ipv4Addr::LOCALHOST.to_ipv6_mapped(), v4.port()));
    for address in [v4, mapped] {
        let (accepted, _client) = connect(address, &listener);
        assert_eq!(accepted.peer(Some(&peers)).await, Peer::OfLoopback(me()), "{address}");
    }
    // A machine without IPv6 has none to test.
    if let Ok(listener) = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)) {
        let (accepted, _client) = connect(listener.local_addr().unwrap(), &listener);
        assert_eq!(accepted.peer(Some(&peers)).await, Peer::OfLoopback(me()));
    }
    let (accepted, _client) = connect(v4, &listener);
    assert_eq!(accepted.peer(None).await, Peer::Elsewhere);
}

#[actix_rt::test]
async fn who_has_ended_the_connection_is_nobody_whatever_the_table_says() {
    let ends: [fn(Client) -> Option<Client>; 3] = [
        |client| {
            drop(client);
            None
        },
        |client| {
            set_socket_linger(&client, Some(std::time::Duration::ZERO)).unwrap();
            drop(client);
            None
        },
        |client| {
            client.shutdown(Shutdown::Write).unwrap();
            Some(client)
        },
    ];
    let (address, listener) = listen();
    for peers in [real(), Peers::looking(64, Box::new(roots)).unwrap()] {
        for end in ends {
            let (accepted, mut client) = connect(address, &listener);
            std::io::Write::write_all(&mut client, b"POST / HTTP/1.1\r\n\r\n").unwrap();
            let _kept = end(client);
            assert_eq!(accepted.peer(Some(&peers)).await, Peer::OfLoopback(None));
        }
        let (accepted, _client) = connect(address, &listener);
        assert_ne!(accepted.peer(Some(&peers)).await, Peer::OfLoopback(None), "an open one is somebody's");
    }
}

#[actix_rt::test]
async fn who_ends_it_while_the_table_is_read_is_nobody() {
    let (address, listener) = listen();
    let (accepted, client) = connect(address, &listener);
    let mut client = Some(client);
    let peers = Peers::looking(
        64,
        Box::new(move |wanted| {
            drop(client.take());
            roots(wanted)
        }),
    );
    assert_eq!(accepted.peer(Some(&peers.unwrap())).await, Peer::OfLoopback(None));
}

#[actix_rt::test]
async fn a_connection_that_is_missed_in_the_table_is_looked_for_again_and_not_for_ever() {
    let (address, listener) = listen();
    for (missed, expected) in [(LOOKS - 1, Some(0)), (usize::MAX, None)] {
        let looks = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&looks);
        let peers = Peers::looking(
            64,
            Box::new(
                move |wanted| {
                    if counted.fetch_add(1, Ordering::SeqCst) >= missed { roots(wanted) } else { Ok(()) }
                },
            ),
        );
        let (accepted, _client) = connect(address, &listener);
        assert_eq!(accepted.peer(Some(&peers.unwrap())).await, Peer::OfLoopback(expected));
        assert_eq!(looks.load(Ordering::SeqCst), LOOKS);
    }
}

#[actix_rt::test]
async fn a_table_that_cannot_be_read_makes_nobody_known() {
    let (address, listener) = listen();
    let looks: [Box<Look>; 2] = [
        Box::new(|wanted| {
            // As far as it was read it says so.
            roots(wanted)?;
            Err(io::ErrorKind::InvalidData.into())
        }),
        // The thread is gone.
        Box::new(|_| std::panic::resume_unwind(Box::new(()))),
    ];
    for look in looks {
        let peers = Peers::looking(64, look).unwrap();
        for _ in 0..3 {
            let (accepted, _client) = connect(address, &listener);
            assert_eq!(accepted.peer(Some(&peers)).await, Peer::OfLoopback(None));
        }
    }
}

/// Lets every task that was spawned ask its question: at each turn a thread polls some sixty of its tasks.
async fn have_all_ask() {
    for _ in 0..16 {
        tokio::task::yield_now().await;
    }
}

#[actix_rt::test]
async fn a_crowd_is_looked_up_by_one_reading_and_who_is_beyond_the_bound_is_nobody() {
    const CROWD: usize = 64;
    let (address, listener) = listen();
    let (entered, readings) = std::sync::mpsc::channel();
    let (go_on, held) = std::sync::mpsc::channel();
    let look = Box::new(move |wanted: &mut Wanted| {
        entered.send(wanted.len()).unwrap();
        held.recv().unwrap();
        roots(wanted)
    });
    let peers = Peers::looking(CROWD, look).unwrap();
    let come = || {
        let ((accepted, client), peers) = (connect(address, &listener), peers.clone());
        actix_rt::spawn(async move {
            let _open = client;
            accepted.peer(Some(&peers)).await
        })
    };
    let mut all = vec![come()];
    have_all_ask().await;
    assert_eq!(readings.recv().unwrap(), 1);
    all.extend((0..CROWD + 2).map(|_| come()));
    have_all_ask().await;
    go_on.send(()).unwrap();
    go_on.send(()).unwrap();
    let mut found = vec![];
    for one in all {
        found.push(one.await.unwrap());
    }
    assert_eq!(readings.try_iter().collect::<Vec<_>>(), [CROWD]);
    let known = Peer::OfLoopback(Some(0));
    assert!(found[..=CROWD].iter().all(|peer| *peer == known), "{found:?}");
    assert_eq!(found[CROWD + 1..], [Peer::OfLoopback(None); 2]);
}
