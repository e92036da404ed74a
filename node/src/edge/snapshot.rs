//! A room's snapshot as bytes: written once in every form that somebody reads, compressed once, and shared by all who get it.

use std::io::{self, Write};
use std::sync::Arc;

use bytes::Bytes;
use enfilade_actors::host::Offload;
use enfilade_actors::kind::Contents;
use enfilade_proto::{Codec, Compression, Deflated, Hello, Position};
use flate2::Compression as Level;
use flate2::write::{DeflateEncoder, GzEncoder};
use tokio::sync::OnceCell;

/// What is smaller is sent as it is: it fits a few packets anyway.
const WORTH_BYTES: usize = 4 * 1024;
/// What is not a tenth smaller is not worth the client's work.
const WORTH_SAVING: usize = 10;
/// Measured on boards of strokes: 3 is a fifth faster and 2 % larger, 9 takes three times as long and saves nothing.
const LEVEL: u32 = 5;

/// How a connection reads snapshots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reads {
    pub(crate) codec: Codec,
    pub(crate) deflate: bool,
}

impl Reads {
    /// As the client said in its hello.
    pub(crate) fn of(codec: Codec, hello: &Hello) -> Self {
        Self { codec, deflate: hello.compression.contains(&Compression::Deflate) }
    }
}

impl From<Codec> for Reads {
    fn from(codec: Codec) -> Self {
        Self { codec, deflate: false }
    }
}

/// A room after an op, to be written where there is time for it.
#[derive(Debug)]
pub(crate) struct SharedSnapshot {
    pub(crate) position: Position,
    pub(crate) contents: Contents,
    json: OnceCell<Bytes>,
    message_pack: OnceCell<Bytes>,
    /// None: it is not worth it.
    deflated: OnceCell<Option<Bytes>>,
    /// For HTTP, likewise.
    gzipped_json: OnceCell<Option<Bytes>>,
    gzipped_message_pack: OnceCell<Option<Bytes>>,
}

/// A snapshot as a field of a message.
#[derive(Clone, Debug)]
pub(crate) struct Field {
    pub(crate) name: &'static str,
    pub(crate) value: Bytes,
}

impl SharedSnapshot {
    pub(crate) fn new(position: Position, contents: Contents) -> Self {
        Self {
            position,
            contents,
            json: OnceCell::new(),
            message_pack: OnceCell::new(),
            deflated: OnceCell::new(),
            gzipped_json: OnceCell::new(),
            gzipped_message_pack: OnceCell::new(),
        }
    }

    /// The snapshot as somebody reads it.
    pub(crate) async fn field(self: &Arc<Self>, reads: Reads, offload: Offload) -> Field {
        if reads.codec == Codec::MessagePack
            && reads.deflate
            && let Some(value) = self.deflated(offload).await
        {
            return Field { name: "snapshot_deflate", value };
        }
        Field { name: "snapshot", value: self.written(reads.codec, offload).await }
    }

    /// The snapshot as a value in a codec.
    pub(crate) async fn written(self: &Arc<Self>, codec: Codec, offload: Offload) -> Bytes {
        let this = self.clone();
        let write = || async move {
            let write = move || this.contents.encode(codec, this.position.seq);
            // A panic while writing would be a bug; an empty value then fails at the client instead of here.
            offload.run(write).await.unwrap_or_default()
        };
        let form = if codec == Codec::Json { &self.json } else { &self.message_pack };
        form.get_or_init(write).await.clone()
    }

    /// The snapshot as a value in a codec, gzipped. None if it is not worth it.
    pub(crate) async fn gzipped(self: &Arc<Self>, codec: Codec, offload: Offload) -> Option<Bytes> {
        let this = self.clone();
        let gzip = || async move {
            let plain = this.written(codec, offload).await;
            let gzip = move || {
                compressed(&plain, GzEncoder::new(room_for(&plain), Level::new(LEVEL)), GzEncoder::finish)
            };
            offload.run(gzip).await.ok().flatten().map(Bytes::from)
        };
        let form = if codec == Codec::Json { &self.gzipped_json } else { &self.gzipped_message_pack };
        form.get_or_init(gzip).await.clone()
    }

    /// The value in MessagePack that holds the snapshot compressed.
    async fn deflated(self: &Arc<Self>, offload: Offload) -> Option<Bytes> {
        let this = self.clone();
        let deflate = || async move {
            let plain = this.written(Codec::MessagePack, offload).await;
            let deflate =
                move || deflate(&plain).map(|it| Codec::MessagePack.encode_value(&Deflated(it.into())));
            offload.run(deflate).await.ok().flatten().map(Bytes::from)
        };
        self.deflated.get_or_init(deflate).await.clone()
    }
}

/// Raw DEFLATE, if it pays.
fn deflate(plain: &[u8]) -> Option<Vec<u8>> {
    compressed(plain, DeflateEncoder::new(room_for(plain), Level::new(LEVEL)), DeflateEncoder::finish)
}

fn room_for(plain: &[u8]) -> Vec<u8> {
    Vec::with_capacity(plain.len() / 2)
}

fn compressed<E: Write>(
    plain: &[u8],
    mut encoder: E,
    finish: impl FnOnce(E) -> io::Result<Vec<u8>>,
) -> Option<Vec<u8>> {
    if plain.len() < WORTH_BYTES {
        return None;
    }
    encoder.write_all(plain).ok()?;
    let packed = finish(encoder).ok()?;
    (packed.len() + plain.len() / WORTH_SAVING <= plain.len()).then_some(packed)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use enfilade_proto::board::{AllElements, Color, Element, ShapeType, Text, Width, Z};
    use enfilade_proto::{Coord, ElementId, Epoch, Seq, Snapshot, UserId};
    use flate2::read::{DeflateDecoder, GzDecoder};
    use uuid::Uuid;

    use super::*;

    fn board(texts: usize) -> Arc<SharedSnapshot> {
        let text = |n: usize| Element {
            element: ElementId::new(&format!("e{n}")).unwrap(),
            shape: ShapeType::Text,
            author: UserId(Uuid::from_u128(1)),
            z: Z::of(Seq(n as u64)),
            offset: None,
            deleted_by: None,
            color: Color::parse("#1a1a1a").unwrap(),
            width: None,
            size: Some(Width::new(20.0).unwrap()),
            fill: None,
            points: None,
            pressure: None,
            from: Some([Coord::from_units(n as f64).unwrap(), Coord::default()]),
            to: None,
            bounds: None,
            text: Some(Text::new("the same again").unwrap()),
        };
        let elements: Vec<Arc<Element>> = (0..texts).map(|n| Arc::new(text(n))).collect();
        let position = Position { epoch: Epoch(3), seq: Seq(41) };
        Arc::new(SharedSnapshot::new(position, Contents::Board(elements.into())))
    }

    const DEFLATE: Reads = Reads { codec: Codec::MessagePack, deflate: true };

    #[tokio::test]
    async fn a_large_snapshot_is_compressed_once_for_those_who_read_it() {
        let board = board(1_000);
        let field = board.field(DEFLATE, Offload::Inline).await;
        assert_eq!(field.name, "snapshot_deflate");
        let again = board.field(DEFLATE, Offload::Inline).await;
        assert_eq!(field.value.as_ptr(), again.value.as_ptr());

        let plain = board.field(Codec::MessagePack.into(), Offload::Inline).await;
        assert!(field.value.len() * 2 < plain.value.len());
        let Deflated(deflated) = rmp_serde::from_slice(&field.value).unwrap();
        let mut inflated = Vec::new();
        DeflateDecoder::new(&deflated[..]).read_to_end(&mut inflated).unwrap();
        assert_eq!((plain.name, &inflated[..]), ("snapshot", &plain.value[..]));
        let read: Snapshot = rmp_serde::from_slice(&inflated).unwrap();
        let AllElements(elements) = read.elements.unwrap();
        assert_eq!((read.seq, elements.len()), (Seq(41), 1_000));
    }

    #[tokio::test]
    async fn what_is_small_or_json_is_sent_as_it_is() {
        for (texts, codec) in [(10, Codec::MessagePack), (1_000, Codec::Json)] {
            let reads = Reads { codec, deflate: true };
            assert_eq!(board(texts).field(reads, Offload::Inline).await.name, "snapshot");
        }
    }

    #[tokio::test]
    async fn it_is_gzipped_for_http_in_either_codec() {
        let large = board(1_000);
        for codec in Codec::ALL {
            let gzipped = large.gzipped(codec, Offload::Inline).await.unwrap();
            let mut read = Vec::new();
            GzDecoder::new(&gzipped[..]).read_to_end(&mut read).unwrap();
            assert_eq!(read, large.written(codec, Offload::Inline).await);
        }
        assert_eq!(board(10).gzipped(Codec::Json, Offload::Inline).await, None);
    }

    #[test]
    fn what_does_not_get_smaller_stays_as_it_is() {
        let mut state = 1u64;
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) as u8
        })
        .take(100_000)
        .collect();
        assert_eq!(deflate(&noise), None);
        assert!(deflate(&vec![7; WORTH_BYTES]).is_some() && deflate(&vec![7; WORTH_BYTES - 1]).is_none());
    }
}
