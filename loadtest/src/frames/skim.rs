//! Frames of signals, skimmed: nothing is built of their bodies. A frame that is not plainly one message of signals is
//! left to the codec.

use std::fmt;

use enfilade_proto::{ClientId, Codec, RoomId};
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::MARK;

/// The sender of a signal and its mark.
pub(super) type Skimmed = (ClientId, Option<u64>);

pub(super) fn skim_signals(codec: Codec, frame: &[u8]) -> Option<(RoomId, Vec<Skimmed>)> {
    let signals: Signals = match codec {
        Codec::Json => {
            let data = frame.strip_prefix(br#"{"type":"signals","data":"#)?.strip_suffix(b"}")?;
            serde_json::from_slice(data).ok()?
        }
        Codec::MessagePack => {
            let mut data = frame.strip_prefix(b"\x93\xa7signals\xc0")?;
            let signals = rmp_serde::from_read(&mut data).ok()?;
            // More than one message, or something else after it.
            data.is_empty().then_some(signals)?
        }
    };
    Some((
        signals.room,
        signals.signals.into_iter().map(|signal| (signal.client, signal.body.mark)).collect(),
    ))
}

#[derive(serde::Deserialize)]
struct Signals {
    room: RoomId,
    signals: Vec<Signal>,
}

#[derive(serde::Deserialize)]
struct Signal {
    client: ClientId,
    body: Body,
}

struct Body {
    mark: Option<u64>,
}

impl<'de> Deserialize<'de> for Body {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Body;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("any value")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Body, A::Error> {
                let mut mark = None;
                while let Some(IsMark(is_mark)) = fields.next_key()? {
                    if is_mark {
                        mark = Some(fields.next_value()?);
                    } else {
                        fields.next_value::<IgnoredAny>()?;
                    }
                }
                Ok(Body { mark })
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Body, A::Error> {
                while items.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Body { mark: None })
            }

            fn visit_unit<E>(self) -> Result<Body, E> {
                Ok(Body { mark: None })
            }

            fn visit_bool<E>(self, _: bool) -> Result<Body, E> {
                Ok(Body { mark: None })
            }

            fn visit_i64<E>(self, _: i64) -> Result<Body, E> {
                Ok(Body { mark: None })
            }

            fn visit_u64<E>(self, _: u64) -> Result<Body, E> {
                Ok(Body { mark: None })
            }

            fn visit_f64<E>(self, _: f64) -> Result<Body, E> {
                Ok(Body { mark: None })
            }

            fn visit_str<E>(self, _: &str) -> Result<Body, E> {
                Ok(Body { mark: None })
            }
        }
        deserializer.deserialize_any(Any)
    }
}

struct IsMark(bool);

impl<'de> Deserialize<'de> for IsMark {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Name;
        impl Visitor<'_> for Name {
            type Value = IsMark;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a field's name")
            }

            fn visit_str<E>(self, name: &str) -> Result<IsMark, E> {
                Ok(IsMark(name == MARK))
            }
        }
        deserializer.deserialize_str(Name)
    }
}

#[cfg(test)]
mod tests {
    use enfilade_proto::{SignalOut, UserId};
    use proptest::prelude::*;
    use serde_json::{Value, json};
    use uuid::Uuid;

    use super::*;

    fn frame(codec: Codec, bodies: Vec<Value>) -> Vec<u8> {
        let signal = |body| SignalOut {
            author: UserId(Uuid::from_u128(1)),
            client: ClientId(Uuid::from_u128(2)),
            key: "cursor".into(),
            body,
        };
        let signals = bodies.into_iter().map(signal).collect();
        let room = RoomId(Uuid::from_u128(3));
        codec.encode(None, "signals", &enfilade_proto::Signals { room, signals })
    }

    fn body() -> impl Strategy<Value = Value> {
        prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(|b| json!(b)),
            any::<i32>().prop_map(|n| json!(n)),
            any::<f32>().prop_map(|n| json!(n)),
            ".{0,10}".prop_map(|text| json!(text)),
            prop::collection::vec(any::<i16>(), 0..5).prop_map(|list| json!(list)),
            (any::<u32>(), ".{0,5}")
                .prop_map(|(mark, text)| json!({"a": [text, {"replay": 1}], MARK: mark, "z": null})),
        ]
    }

    proptest! {
        #[test]
        fn skimming_finds_what_reading_finds(bodies in prop::collection::vec(body(), 0..6)) {
            let marks: Vec<Option<u64>> = bodies.iter().map(|body| body.get(MARK).and_then(Value::as_u64)).collect();
            for codec in Codec::ALL {
                let (room, signals) = skim_signals(codec, &frame(codec, bodies.clone())).unwrap();
                prop_assert_eq!(room, RoomId(Uuid::from_u128(3)));
                prop_assert_eq!(signals.iter().map(|signal| signal.1).collect::<Vec<_>>(), marks.clone());
            }
        }
    }

    #[test]
    fn what_is_not_plainly_signals_is_left_to_the_codec() {
        for codec in Codec::ALL {
            let frame = frame(codec, vec![json!(1)]);
            assert!(skim_signals(codec, &frame[..frame.len() - 1]).is_none());
            assert!(skim_signals(codec, &[&frame[..], &frame[..]].concat()).is_none());
            let with_id = codec.encode(Some(1), "signals", &json!({}));
            assert!(skim_signals(codec, &with_id).is_none());
        }
    }
}
