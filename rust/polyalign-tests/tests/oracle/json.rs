//! A slow, obvious judge of records: follows RFC 8259's grammar rule by rule, by recursion, and
//! collects what the top-level keys say.

/// Whether `record` is UTF-8 and one JSON object, white space around it, no two equal top-level
/// keys, nested at most 128 deep.
pub fn accepts(record: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(record) else { return false };
    let mut judge = Judge { rest: text };
    judge.space();
    let Some(mut keys) = judge.object(1) else { return false };
    judge.space();
    let count = keys.len();
    keys.sort();
    keys.dedup();
    judge.rest.is_empty() && keys.len() == count
}

struct Judge<'a> {
    rest: &'a str,
}

impl Judge<'_> {
    fn space(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\r', '\n']);
    }

    fn eat(&mut self, word: &str) -> Option<()> {
        self.rest = self.rest.strip_prefix(word)?;
        Some(())
    }

    fn eat_any(&mut self, chars: &str) -> Option<char> {
        let char = self.rest.chars().next().filter(|char| chars.contains(*char))?;
        self.rest = &self.rest[char.len_utf8()..];
        Some(char)
    }

    fn value(&mut self, depth: u32) -> Option<()> {
        match self.rest.chars().next()? {
            '{' => self.object(depth + 1).map(drop),
            '[' => self.array(depth + 1),
            '"' => self.string().map(drop),
            't' => self.eat("true"),
            'f' => self.eat("false"),
            'n' => self.eat("null"),
            _ => self.number(),
        }
    }

    /// What the keys say, as UTF-16.
    fn object(&mut self, depth: u32) -> Option<Vec<Vec<u16>>> {
        self.eat("{").filter(|()| depth <= 128)?;
        let mut keys = Vec::new();
        self.space();
        if self.eat("}").is_some() {
            return Some(keys);
        }
        loop {
            self.space();
            keys.push(self.string()?);
            self.space();
            self.eat(":")?;
            self.space();
            self.value(depth)?;
            self.space();
            if self.eat_any(",}")? == '}' {
                return Some(keys);
            }
        }
    }

    fn array(&mut self, depth: u32) -> Option<()> {
        self.eat("[").filter(|()| depth <= 128)?;
        self.space();
        if self.eat("]").is_some() {
            return Some(());
        }
        loop {
            self.space();
            self.value(depth)?;
            self.space();
            if self.eat_any(",]")? == ']' {
                return Some(());
            }
        }
    }

    fn string(&mut self) -> Option<Vec<u16>> {
        self.eat("\"")?;
        let mut says = Vec::new();
        loop {
            let char = self.rest.chars().next()?;
            self.rest = &self.rest[char.len_utf8()..];
            match char {
                '"' => return Some(says),
                '\\' => says.push(self.escape()?),
                '\0'..='\u{1f}' => return None,
                _ => says.extend_from_slice(char.encode_utf16(&mut [0; 2])),
            }
        }
    }

    fn escape(&mut self) -> Option<u16> {
        let code = match self.eat_any("\"\\/bfnrtu")? {
            'b' => 8,
            'f' => 12,
            'n' => 10,
            'r' => 13,
            't' => 9,
            'u' => {
                let digits = (0..4).map(|_| self.eat_any("0123456789abcdefABCDEF"));
                let digits = digits.collect::<Option<String>>()?;
                u16::from_str_radix(&digits, 16).ok()?
            }
            char => char as u16,
        };
        Some(code)
    }

    fn digits(&mut self) -> Option<()> {
        let rest = self.rest.trim_start_matches(|char: char| char.is_ascii_digit());
        let some = rest.len() < self.rest.len();
        self.rest = rest;
        some.then_some(())
    }

    fn number(&mut self) -> Option<()> {
        let _ = self.eat("-");
        if self.eat("0").is_none() {
            self.digits()?;
        }
        if self.eat(".").is_some() {
            self.digits()?;
        }
        if self.eat_any("eE").is_some() {
            let _ = self.eat_any("+-");
            self.digits()?;
        }
        Some(())
    }
}
