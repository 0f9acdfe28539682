//! SentencePiece's table of what is written otherwise: strings, found by the longest or the shortest that a text begins
//! with, and what stands for them.

/// The table, of which nothing is taken on trust.
pub(super) struct Charsmap {
    /// A double array of bytes.
    units: Box<[u32]>,
    /// What stands for strings, each up to a NUL.
    texts: Box<str>,
    /// By ASCII character, whether it stays as it is where another or nothing follows.
    plain: [bool; 128],
}

impl Charsmap {
    /// From the bytes of a model file, or what is wrong with them.
    pub(super) fn new(bytes: &[u8]) -> Result<Self, String> {
        let broken = |what: &str| format!("the table of its normalizer {what}");
        let (size, rest) = bytes.split_first_chunk::<4>().ok_or_else(|| broken("is too short"))?;
        let size = u32::from_le_bytes(*size) as usize;
        if size < 1024 || !size.is_multiple_of(1024) || size >= rest.len() {
            return Err(broken("has another size than it says"));
        }
        let (units, texts) = rest.split_at(size);
        let texts = std::str::from_utf8(texts).map_err(|_| broken("is not UTF-8"))?;
        if !texts.ends_with('\0') {
            return Err(broken("is cut off"));
        }
        let units = units.as_chunks::<4>().0.iter().map(|&unit| u32::from_le_bytes(unit)).collect();
        let mut map = Self { units, texts: texts.into(), plain: [false; 128] };
        for c in 0..128u8 {
            let begins = |next: u8| map.node(&[c, next]).is_some();
            map.plain[c as usize] = map.shortest(&[c]).is_none() && !(0..128).any(begins);
        }
        Ok(map)
    }

    /// Whether an ASCII character stays as it is where another or nothing follows.
    #[inline]
    pub(super) fn is_plain(&self, c: u8) -> bool {
        self.plain[c as usize & 127]
    }

    /// The longest string that a text begins with, by its length, and what stands for it.
    pub(super) fn longest(&self, text: &str) -> Option<(usize, &str)> {
        let mut found = None;
        self.prefixes(text.as_bytes(), |len, value| {
            found = Some((len, value));
            true
        });
        let (len, value) = found.filter(|&(len, _)| text.is_char_boundary(len))?;
        Some((len, self.text(value)?))
    }

    /// What stands for the shortest string that a text begins with.
    pub(super) fn shortest(&self, text: &[u8]) -> Option<&str> {
        let mut found = None;
        self.prefixes(text, |_, value| {
            found = Some(value);
            false
        });
        self.text(found?)
    }

    fn text(&self, value: usize) -> Option<&str> {
        let text = self.texts.get(value..)?;
        text.split('\0').next()
    }

    /// Calls `each` with the length and the value of the strings that a text begins with, while it says so.
    #[inline]
    fn prefixes(&self, text: &[u8], mut each: impl FnMut(usize, usize) -> bool) {
        let mut base = offset(self.units[0]);
        for (i, &byte) in text.iter().enumerate() {
            let at = base ^ byte as usize;
            let Some(&unit) = self.units.get(at).filter(|&&unit| label(unit) == byte as u32) else { return };
            base = at ^ offset(unit);
            if unit >> 8 & 1 != 0 {
                let Some(&leaf) = self.units.get(base) else { return };
                if !each(i + 1, (leaf & !(1 << 31)) as usize) {
                    return;
                }
            }
        }
    }

    /// The place of a string that others begin with.
    fn node(&self, text: &[u8]) -> Option<usize> {
        let mut base = offset(self.units[0]);
        for &byte in text {
            let at = base ^ byte as usize;
            let unit = *self.units.get(at).filter(|&&unit| label(unit) == byte as u32)?;
            base = at ^ offset(unit);
        }
        Some(base)
    }
}

fn label(unit: u32) -> u32 {
    unit & (1 << 31 | 0xff)
}

fn offset(unit: u32) -> usize {
    ((unit >> 10) << ((unit & 1 << 9) >> 6)) as usize
}
