//! Snapshots that a page asked to get compressed.

use std::io::Read as _;

use enfilade_proto::{Deflated, Snapshot};
use flate2::read::DeflateDecoder;

/// The largest board there may be takes less.
const MAX_BYTES: u64 = 256 * 1024 * 1024;

/// The one of the two that is there. None as well if it cannot be unpacked.
pub(super) fn snapshot(plain: Option<Snapshot>, packed: Option<&Deflated>) -> Option<Snapshot> {
    plain.or_else(|| {
        let mut unpacked = Vec::new();
        DeflateDecoder::new(&packed?.0[..]).take(MAX_BYTES).read_to_end(&mut unpacked).ok()?;
        rmp_serde::from_slice(&unpacked).ok()
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use enfilade_proto::board::AllElements;
    use enfilade_proto::{Codec, Seq};
    use flate2::Compression;
    use flate2::write::DeflateEncoder;

    use super::*;

    #[test]
    fn a_compressed_snapshot_is_what_it_was() {
        let whole = Snapshot { seq: Seq(7), elements: Some(AllElements(vec![])) };
        let mut packer = DeflateEncoder::new(Vec::new(), Compression::fast());
        packer.write_all(&Codec::MessagePack.encode_value(&whole)).unwrap();
        let packed = Deflated(packer.finish().unwrap().into());
        assert_eq!(snapshot(None, Some(&packed)), Some(whole.clone()));
        assert_eq!(snapshot(Some(whole.clone()), None), Some(whole));
        assert_eq!(snapshot(None, Some(&Deflated(vec![0xff; 9].into()))), None);
        assert_eq!(snapshot(None, None), None);
    }
}
