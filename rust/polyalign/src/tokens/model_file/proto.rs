//! The fields of a model file that bear on counts, read from its protobuf (`sentencepiece_model.proto`).

/// A model file.
pub(super) struct File<'a> {
    pub(super) pieces: Vec<Piece<'a>>,
    /// 1: Unigram, 2: BPE, 3: words, 4: characters.
    pub(super) model_type: u64,
    pub(super) byte_fallback: bool,
    /// Whether a blank that stands for the beginning of a text is put at its end.
    pub(super) blank_as_suffix: bool,
    pub(super) charsmap: &'a [u8],
    pub(super) add_dummy_prefix: bool,
    pub(super) remove_extra_blanks: bool,
    pub(super) escape_blanks: bool,
}

/// A token.
pub(super) struct Piece<'a> {
    pub(super) text: &'a str,
    pub(super) score: f32,
    pub(super) kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Normal,
    Unknown,
    Control,
    UserDefined,
    Unused,
    Byte,
}

impl Kind {
    /// Whether the token may stand for text.
    pub(super) fn is_of_text(self) -> bool {
        matches!(self, Kind::Normal | Kind::UserDefined | Kind::Unused)
    }
}

impl<'a> File<'a> {
    /// Reads a file; an error says what is wrong with it.
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, String> {
        let mut file = Self {
            pieces: Vec::new(),
            model_type: 1,
            byte_fallback: false,
            blank_as_suffix: false,
            charsmap: &[],
            add_dummy_prefix: true,
            remove_extra_blanks: true,
            escape_blanks: true,
        };
        for field in Fields(bytes) {
            match field? {
                (1, Value::Bytes(piece)) => file.pieces.push(Piece::read(piece)?),
                (2, Value::Bytes(trainer)) => file.read_trainer(trainer)?,
                (3, Value::Bytes(normalizer)) => file.read_normalizer(normalizer)?,
                (1..=3, _) => return Err(BROKEN.into()),
                _ => {}
            }
        }
        Ok(file)
    }

    fn read_trainer(&mut self, bytes: &[u8]) -> Result<(), String> {
        for field in Fields(bytes) {
            match field? {
                (3, Value::Number(kind)) => self.model_type = kind,
                (24, Value::Number(flag)) => self.blank_as_suffix = flag != 0,
                (35, Value::Number(flag)) => self.byte_fallback = flag != 0,
                (3 | 24 | 35, _) => return Err(BROKEN.into()),
                _ => {}
            }
        }
        Ok(())
    }

    fn read_normalizer(&mut self, bytes: &'a [u8]) -> Result<(), String> {
        for field in Fields(bytes) {
            match field? {
                (2, Value::Bytes(charsmap)) => self.charsmap = charsmap,
                (3, Value::Number(flag)) => self.add_dummy_prefix = flag != 0,
                (4, Value::Number(flag)) => self.remove_extra_blanks = flag != 0,
                (5, Value::Number(flag)) => self.escape_blanks = flag != 0,
                (2..=5, _) => return Err(BROKEN.into()),
                _ => {}
            }
        }
        Ok(())
    }
}

impl<'a> Piece<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, String> {
        let mut piece = Self { text: "", score: 0.0, kind: Kind::Normal };
        for field in Fields(bytes) {
            match field? {
                (1, Value::Bytes(text)) => {
                    piece.text = std::str::from_utf8(text).map_err(|_| "a piece is not UTF-8")?;
                }
                (2, Value::Four(score)) => piece.score = f32::from_le_bytes(score),
                (3, Value::Number(kind)) => piece.kind = kind_of(kind)?,
                (1..=3, _) => return Err(BROKEN.into()),
                _ => {}
            }
        }
        match piece {
            Self { text: "", .. } => Err("a piece is empty".into()),
            Self { text, score, .. } if !score.is_finite() => {
                Err(format!("the score of {text:?} is {score}"))
            }
            piece => Ok(piece),
        }
    }
}

fn kind_of(number: u64) -> Result<Kind, String> {
    Ok(match number {
        1 => Kind::Normal,
        2 => Kind::Unknown,
        3 => Kind::Control,
        4 => Kind::UserDefined,
        5 => Kind::Unused,
        6 => Kind::Byte,
        _ => return Err(format!("a piece of the unknown type {number}")),
    })
}

const BROKEN: &str = "the file is broken, or none of SentencePiece";

/// The fields of a message: their numbers and what they hold.
struct Fields<'a>(&'a [u8]);

enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    Four([u8; 4]),
    Eight,
}

impl<'a> Fields<'a> {
    fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..70).step_by(7) {
            let byte = *self.0.split_off_first()?;
            number |= ((byte & 0x7f) as u64).checked_shl(shift).unwrap_or(0);
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    fn field(&mut self) -> Option<(u64, Value<'a>)> {
        let tag = self.number()?;
        let value = match tag & 7 {
            0 => Value::Number(self.number()?),
            1 => self.0.split_off(..8).map(|_| Value::Eight)?,
            2 => {
                let len = usize::try_from(self.number()?).ok()?;
                Value::Bytes(self.0.split_off(..len)?)
            }
            5 => Value::Four(*self.0.split_off(..4)?.first_chunk()?),
            _ => return None,
        };
        Some((tag >> 3, value))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Value<'a>), String>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field().ok_or_else(|| BROKEN.to_owned());
        if field.is_err() {
            self.0 = &[];
        }
        Some(field)
    }
}
