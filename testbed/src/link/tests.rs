//! A link between a client and a server that answers every byte with the same one.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::{Condition, Link, Swallowed};
use crate::ports::loopback;

const SOON: Duration = Duration::from_secs(30);
/// Long enough to believe that nothing comes.
const SILENCE: Duration = Duration::from_millis(200);

async fn echo() -> SocketAddr {
    let listener = TcpListener::bind(loopback(0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut read, mut write) = stream.split();
                let _ = tokio::io::copy(&mut read, &mut write).await;
            });
        }
    });
    address
}

async fn link() -> Link {
    Link::open(loopback(0), echo().await).unwrap()
}

async fn connect(link: &Link) -> TcpStream {
    TcpStream::connect(link.address()).await.unwrap()
}

/// Says something and hears it back.
async fn ask(stream: &mut TcpStream, word: &[u8]) -> io::Result<()> {
    stream.write_all(word).await?;
    let mut answer = vec![0; word.len()];
    timeout(SOON, stream.read_exact(&mut answer)).await??;
    assert_eq!(answer, word);
    Ok(())
}

async fn is_silent(stream: &mut TcpStream) -> bool {
    timeout(SILENCE, stream.read_u8()).await.is_err()
}

async fn refuses(link: &Link) -> bool {
    let refused = async {
        loop {
            match TcpStream::connect(link.address()).await {
                Err(error) => return error.kind() == io::ErrorKind::ConnectionRefused,
                Ok(_) => tokio::task::yield_now().await,
            }
        }
    };
    timeout(SOON, refused).await.unwrap()
}

#[tokio::test]
async fn bytes_pass_both_ways_and_so_does_the_end() {
    let link = link().await;
    let mut stream = connect(&link).await;
    let much: Vec<u8> = (0..3_000_000u32).map(|n| n.to_le_bytes()[n as usize % 4]).collect();
    let (mut read, mut write) = stream.split();
    let mut answer = Vec::new();
    let (sent, received) = tokio::join!(
        async {
            write.write_all(&much).await?;
            write.shutdown().await
        },
        timeout(SOON, read.read_to_end(&mut answer)),
    );
    sent.unwrap();
    received.unwrap().unwrap();
    assert!(answer == much);
}

#[tokio::test]
async fn a_delay_delays_each_way_and_heals() {
    let link = link().await;
    let mut stream = connect(&link).await;
    let each = Duration::from_millis(150);
    link.set(Condition::Delay { fixed: each, jitter: Duration::from_millis(10) });
    let begun = Instant::now();
    ask(&mut stream, b"slow").await.unwrap();
    assert!(begun.elapsed() >= 2 * each);
    link.heal();
    let begun = Instant::now();
    for _ in 0..10 {
        ask(&mut stream, b"fast").await.unwrap();
    }
    assert!(begun.elapsed() < 20 * each);
}

#[tokio::test]
async fn a_throttle_takes_the_time_it_says() {
    let link = link().await;
    let mut stream = connect(&link).await;
    link.set(Condition::Throttle { bytes_per_second: 20_000 });
    let begun = Instant::now();
    ask(&mut stream, &[7; 4_000]).await.unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(200));
}

#[tokio::test]
async fn a_cut_resets_what_is_there_refuses_what_comes_and_heals() {
    let link = link().await;
    let mut stream = connect(&link).await;
    ask(&mut stream, b"before").await.unwrap();
    link.set(Condition::Cut);
    let error = timeout(SOON, stream.read_u8()).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    assert!(refuses(&link).await);
    link.heal();
    let healed = async {
        loop {
            if let Ok(stream) = TcpStream::connect(link.address()).await {
                return stream;
            }
            tokio::task::yield_now().await;
        }
    };
    ask(&mut timeout(SOON, healed).await.unwrap(), b"after").await.unwrap();
}

#[tokio::test]
async fn a_half_open_link_swallows_and_resets_when_it_heals() {
    let link = link().await;
    let (mut talker, mut listener) = (connect(&link).await, connect(&link).await);
    ask(&mut talker, b"before").await.unwrap();
    ask(&mut listener, b"before").await.unwrap();
    link.set(Condition::HalfOpen(Swallowed::Both));
    talker.write_all(b"lost").await.unwrap();
    assert!(is_silent(&mut talker).await);
    let mut newcomer = connect(&link).await;
    newcomer.write_all(b"hello").await.unwrap();
    assert!(is_silent(&mut newcomer).await);
    link.heal();
    let error = timeout(SOON, talker.read_u8()).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset, "what lost bytes must not go on");
    ask(&mut listener, b"who lost nothing goes on").await.unwrap();
    let mut hello = [0; 5];
    timeout(SOON, newcomer.read_exact(&mut hello)).await.unwrap().unwrap();
}

#[tokio::test]
async fn one_direction_can_be_swallowed_alone() {
    let link = link().await;
    let mut stream = connect(&link).await;
    ask(&mut stream, b"before").await.unwrap();
    link.set(Condition::HalfOpen(Swallowed::FromServer));
    stream.write_all(b"heard, but the answer is lost").await.unwrap();
    assert!(is_silent(&mut stream).await);
    link.heal();
    assert!(timeout(SOON, stream.read_u8()).await.unwrap().is_err());
}

#[tokio::test]
async fn a_dropped_link_refuses() {
    let link = link().await;
    let address = link.address();
    drop(link);
    let refused = async {
        while TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    timeout(SOON, refused).await.unwrap();
}
