//! The messages of a recording that mean something to a board. Numbers are big-endian.

/// How long some fields are: since protocol 4.25 layers and sizes are longer, and dabs begin with a byte of flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    Narrow,
    Wide,
}

impl Dialect {
    /// By the protocol's version, `dp:<server>.<major>.<minor>`.
    pub(super) fn of(version: &str) -> Option<Self> {
        let mut parts = version.strip_prefix("dp:")?.split('.').map(str::parse::<u32>);
        match (parts.next()?.ok()?, parts.next()?.ok()?) {
            (4, 21..=24) => Some(Self::Narrow),
            (4, 25) => Some(Self::Wide),
            _ => None,
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Message {
    pub(super) user: u8,
    pub(super) said: Said,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Said {
    Join {
        name: String,
    },
    Leave,
    /// In milliseconds.
    Interval(u16),
    /// Where the pointer is, in quarters of a pixel.
    Pointer([i64; 2]),
    UndoPoint,
    /// The canvas grew by so many pixels on its left and at its top.
    Resize {
        left: i32,
        top: i32,
    },
    PenUp,
    Dabs(Dabs),
    Undo {
        of: Option<u8>,
        redo: bool,
    },
    /// What a board cannot do.
    Other(&'static str),
}

/// A piece of a stroke.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Dabs {
    /// Red, green and blue; opaque.
    pub(super) rgba: u32,
    pub(super) blend: Blend,
    pub(super) dabs: Vec<Dab>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blend {
    Normal,
    Eraser,
    Special,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Dab {
    /// In quarters of a pixel.
    pub(super) at: [i64; 2],
    /// The diameter, in 256ths of a pixel.
    pub(super) size: u32,
}

/// What precedes a message's dabs, and how they look.
#[derive(Clone, Copy)]
struct Shape {
    /// Bytes between the colour and the first dab. The first is the blend mode, if `blends`.
    modes: usize,
    blends: bool,
    /// Positions and sizes are in whole pixels.
    pixels: bool,
    size_bytes: usize,
    /// Bytes of a dab after its size.
    tail: usize,
}

impl Shape {
    fn of(dialect: Dialect, kind: u8) -> Option<Self> {
        let wide = usize::from(dialect == Dialect::Wide);
        Some(match kind {
            148 => Self { modes: 1, blends: true, pixels: false, size_bytes: 2 + wide, tail: 2 },
            149 | 150 => Self { modes: 1, blends: true, pixels: true, size_bytes: 1 + wide, tail: 1 },
            151 => Self { modes: 4, blends: false, pixels: false, size_bytes: 2 + wide, tail: 4 },
            152 if dialect == Dialect::Wide => {
                Self { modes: 1, blends: true, pixels: false, size_bytes: 3, tail: 4 }
            }
            _ => return None,
        })
    }
}

impl Said {
    /// # Errors
    /// What kind of message it would have been.
    pub(super) fn parse(dialect: Dialect, kind: u8, payload: &[u8]) -> Result<Self, &'static str> {
        let mut fields = Fields(payload);
        if let Some(shape) = Shape::of(dialect, kind) {
            return fields.dabs(dialect, shape).map(Self::Dabs).ok_or("brush");
        }
        match kind {
            32 => fields.join().ok_or("join"),
            33 => Ok(Self::Leave),
            64 => fields.u16().map(Self::Interval).ok_or("interval"),
            66 => fields.place().map(Self::Pointer).ok_or("pointer"),
            128 => Ok(Self::UndoPoint),
            129 => fields.resize().ok_or("resize"),
            140 => Ok(Self::PenUp),
            255 => fields.undo().ok_or("undo"),
            _ => Ok(Self::Other(name_of(kind))),
        }
    }
}

/// What is left out, as it is counted.
fn name_of(kind: u8) -> &'static str {
    match kind {
        35 | 38 => "chat messages",
        65 => "laser trails",
        67 => "markers",
        130..=135 | 162..=164 => "changes of layers",
        136 | 146 | 147 => "images",
        137 => "filled areas",
        141..=144 => "annotations",
        145 | 160 | 165 => "moved areas",
        166..=173 => "changes of the timeline",
        0..=127 => "settings of the session",
        _ => "messages of other kinds",
    }
}

/// What of a payload was not read yet.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    fn i32(&mut self) -> Option<i32> {
        self.array().map(i32::from_be_bytes)
    }

    fn place(&mut self) -> Option<[i64; 2]> {
        Some([self.i32()?.into(), self.i32()?.into()])
    }

    /// The name has its length before it, what follows is a picture.
    fn join(&mut self) -> Option<Said> {
        let _flags = self.u8()?;
        let length = self.u8()?;
        let name = self.take(usize::from(length))?;
        Some(Said::Join { name: String::from_utf8_lossy(name).into_owned() })
    }

    fn resize(&mut self) -> Option<Said> {
        let [top, _right, _bottom, left] = [self.i32()?, self.i32()?, self.i32()?, self.i32()?];
        Some(Said::Resize { left, top })
    }

    fn undo(&mut self) -> Option<Said> {
        let of = Some(self.u8()?).filter(|user| *user != 0);
        Some(Said::Undo { of, redo: self.u8()? != 0 })
    }

    fn dabs(&mut self, dialect: Dialect, shape: Shape) -> Option<Dabs> {
        self.take(if dialect == Dialect::Wide { 4 } else { 2 })?;
        let scale = if shape.pixels { 4 } else { 1 };
        let mut at = self.place()?.map(|place| place * scale);
        let [_alpha, red, green, blue] = self.array()?;
        let mode = *self.take(shape.modes)?.first()?;
        let blend = match mode {
            _ if !shape.blends => Blend::Normal,
            0 | 12 => Blend::Eraser,
            1 => Blend::Normal,
            _ => Blend::Special,
        };
        let mut dabs = Vec::with_capacity(self.0.len() / (2 + shape.size_bytes + shape.tail));
        while !self.0.is_empty() {
            let step = self.array::<2>()?.map(|byte| i64::from(byte.cast_signed()) * scale);
            at = [at[0] + step[0], at[1] + step[1]];
            let size = self.take(shape.size_bytes)?.iter().fold(0, |size, byte| size << 8 | u32::from(*byte));
            self.take(shape.tail)?;
            dabs.push(Dab { at, size: if shape.pixels { size << 8 } else { size } });
        }
        Some(Dabs { rgba: u32::from_be_bytes([red, green, blue, 0xff]), blend, dabs })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_say_how_long_fields_are() {
        let of = |version| Dialect::of(version);
        assert_eq!([of("dp:4.21.2"), of("dp:4.24.0")], [Some(Dialect::Narrow); 2]);
        assert_eq!(of("dp:4.25.1"), Some(Dialect::Wide));
        for unknown in ["dp:4.20.1", "dp:4.26.0", "dp:5.21.0", "4.24.0", "dp:", "dp:4", "dp:x.24"] {
            assert_eq!(of(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn dabs_are_steps_from_the_dab_before() {
        let narrow = [
            &[0, 1][..],
            &100i32.to_be_bytes(),
            &(-40i32).to_be_bytes(),
            &[0, 0xaa, 0xbb, 0xcc, 1],
            &[4, 0xfc, 0x0a, 0x00, 255, 255],
            &[1, 0, 0x05, 0x80, 255, 255],
        ]
        .concat();
        let dabs = vec![Dab { at: [104, -44], size: 0x0a00 }, Dab { at: [105, -44], size: 0x0580 }];
        let expected = Dabs { rgba: 0xaabb_ccff, blend: Blend::Normal, dabs };
        assert_eq!(Said::parse(Dialect::Narrow, 148, &narrow), Ok(Said::Dabs(expected)));
        assert_eq!(Said::parse(Dialect::Narrow, 148, &narrow[..narrow.len() - 1]), Err("brush"));
        assert_eq!(Said::parse(Dialect::Narrow, 148, &narrow[..10]), Err("brush"));
    }

    #[test]
    fn pixel_dabs_are_in_whole_pixels() {
        let wide = [
            &[0, 0, 0, 1][..],
            &5i32.to_be_bytes(),
            &6i32.to_be_bytes(),
            &[0xff, 1, 2, 3, 0],
            &[1, 1, 0, 9, 255],
        ]
        .concat();
        let dabs = vec![Dab { at: [24, 28], size: 9 << 8 }];
        let expected = Dabs { rgba: 0x0102_03ff, blend: Blend::Eraser, dabs };
        assert_eq!(Said::parse(Dialect::Wide, 150, &wide), Ok(Said::Dabs(expected)));
    }

    #[test]
    fn what_a_board_cannot_do_has_a_name() {
        assert_eq!(Said::parse(Dialect::Narrow, 136, &[]), Ok(Said::Other("images")));
        assert_eq!(Said::parse(Dialect::Narrow, 152, &[]), Ok(Said::Other("messages of other kinds")));
        assert_eq!(Said::parse(Dialect::Narrow, 255, &[0]), Err("undo"));
        assert_eq!(Said::parse(Dialect::Narrow, 32, &[0, 9, b'A']), Err("join"));
    }
}
