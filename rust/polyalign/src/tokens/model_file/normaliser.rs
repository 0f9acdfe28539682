//! What a model makes of a text before it is cut into pieces: other characters for some, blanks taken out, one put before
//! it, and `▁` for them.
//!
//! Where blanks are written `▁`, both stand here as blanks, in texts as in pieces.

use super::super::chars::META;
use super::super::charsmap::Charsmap;
use super::super::unicode::len_of_char;
use super::proto::{File, Kind};
use aho_corasick::{AhoCorasick, AhoCorasickKind, Anchored, Input, MatchKind, StartKind};
use std::borrow::Cow;

pub(super) struct Normaliser {
    charsmap: Option<Charsmap>,
    /// Pieces that are taken as they stand, if anything could be changed in them.
    user_defined: Option<AhoCorasick>,
    /// Whether a byte is copied without a look where an ASCII character or nothing follows.
    copied: [bool; 256],
    prefix: bool,
    suffix: bool,
    trims: bool,
    escapes: bool,
}

impl Normaliser {
    pub(super) fn new(file: &File) -> Result<Self, String> {
        let charsmap = (!file.charsmap.is_empty()).then(|| Charsmap::new(file.charsmap)).transpose()?;
        let trims = file.remove_extra_blanks;
        let user_defined: Vec<&str> = match charsmap.is_some() || trims {
            true => file.pieces.iter().filter(|p| p.kind == Kind::UserDefined).map(|p| p.text).collect(),
            false => Vec::new(),
        };
        let mut copied = [false; 256];
        for (byte, copied) in (0..128).zip(&mut copied) {
            *copied = charsmap.as_ref().is_none_or(|map| map.is_plain(byte)) && !(trims && byte == b' ');
        }
        user_defined.iter().for_each(|text| copied[text.as_bytes()[0] as usize] = false);
        Ok(Self {
            charsmap,
            user_defined: longest_of(&user_defined)?,
            copied,
            prefix: file.add_dummy_prefix && !file.blank_as_suffix,
            suffix: file.add_dummy_prefix && file.blank_as_suffix,
            trims,
            escapes: file.escape_blanks,
        })
    }

    /// Whether blanks are written `▁`, and so both stand as blanks.
    pub(super) fn escapes(&self) -> bool {
        self.escapes
    }

    /// A piece, as it stands here; none where no text comes to it.
    pub(super) fn piece<'t>(&self, text: &'t str) -> Option<Cow<'t, str>> {
        if !self.escapes {
            return Some(text.into());
        }
        (!text.contains(' ')).then(|| match text.contains(META) {
            true => text.replace(META, " ").into(),
            false => text.into(),
        })
    }

    /// The text as it is cut into pieces; `buffer` is made use of.
    pub(super) fn normalise<'t>(&self, text: &'t str, buffer: &'t mut String) -> &'t str {
        buffer.clear();
        if self.charsmap.is_none() && !self.trims {
            let meta = self.escapes && text.contains(META);
            if !meta && !self.prefix && !self.suffix || text.is_empty() {
                return text;
            }
            buffer.extend(self.prefix.then_some(' '));
            self.push(text, buffer);
            buffer.extend(self.suffix.then_some(' '));
        } else {
            self.rewrite(text, buffer);
        }
        buffer
    }

    fn rewrite(&self, text: &str, out: &mut String) {
        let mut at = 0;
        while self.trims && at < text.len() {
            let (len, new) = self.step(&text[at..]);
            if new != " " {
                break;
            }
            at += len;
        }
        if at == text.len() {
            return;
        }
        out.extend(self.prefix.then_some(' '));
        let mut after_blank = self.trims;
        while at < text.len() {
            let copied = self.copied_before(text, at);
            if copied > at {
                out.push_str(&text[at..copied]);
                (at, after_blank) = (copied, false);
                continue;
            }
            let (len, mut new) = self.step(&text[at..]);
            if after_blank {
                new = new.trim_start_matches(' ');
            }
            if !new.is_empty() {
                self.push(new, out);
                after_blank = self.trims && new.ends_with(' ');
            }
            at += len;
        }
        if self.trims {
            out.truncate(out.trim_end_matches(' ').len());
        }
        out.extend(self.suffix.then_some(' '));
    }

    /// Up to where the text from `at` on is copied.
    #[inline]
    fn copied_before(&self, text: &str, at: usize) -> usize {
        let rest = &text.as_bytes()[at..];
        let len = rest.iter().position(|&byte| !self.copied[byte as usize]).unwrap_or(rest.len());
        let joined = len > 0 && self.charsmap.is_some() && rest.get(len).is_some_and(|&byte| byte >= 0x80);
        at + len - joined as usize
    }

    /// How much of a text is taken next, and what stands for it.
    fn step<'t>(&'t self, text: &'t str) -> (usize, &'t str) {
        let user_defined = self.user_defined.as_ref().filter(|_| !self.copied[text.as_bytes()[0] as usize]);
        if let Some(found) = user_defined.and_then(|u| u.find(Input::new(text).anchored(Anchored::Yes))) {
            return (found.end(), &text[..found.end()]);
        }
        let len = len_of_char(text.as_bytes()[0]);
        self.charsmap.as_ref().and_then(|map| map.longest(text)).unwrap_or((len, &text[..len]))
    }

    fn push(&self, text: &str, out: &mut String) {
        let mut parts = text.split(META);
        out.extend(parts.next());
        for part in parts {
            out.push(if self.escapes { ' ' } else { META });
            out.push_str(part);
        }
    }
}

/// Finds the longest of some texts, if there are any.
pub(super) fn longest_of(texts: &[impl AsRef<str>]) -> Result<Option<AhoCorasick>, String> {
    if texts.is_empty() {
        return Ok(None);
    }
    let bytes: usize = texts.iter().map(|text| text.as_ref().len()).sum();
    // A table of every state's every move would be large.
    let kind = (bytes > 8 << 10).then_some(AhoCorasickKind::ContiguousNFA);
    AhoCorasick::builder()
        .match_kind(MatchKind::LeftmostLongest)
        .start_kind(StartKind::Both)
        .kind(kind)
        .build(texts.iter().map(AsRef::as_ref))
        .map(Some)
        .map_err(|error| format!("its user-defined symbols: {error}"))
}
