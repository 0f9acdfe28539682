//! Counting tokens exactly as `tokenizers` 0.23 does, without building ids.
//!
//! Byte-level BPE behind a known pre-tokenizer is counted by [`byte_level`], BPE over characters with `▁` for blanks by
//! [`sentencepiece`]; every other tokenizer by the `tokenizers` crate itself ([`fallback`]), a word at a time where words
//! have nothing to do with one another ([`words`]).

mod added;
mod alphabet;
mod boundaries;
mod byte_level;
mod cache;
mod chars;
mod charsmap;
mod codes;
mod config;
mod count;
mod fallback;
mod han;
mod hash;
mod identity;
mod lacking;
mod merges;
mod model;
mod model_file;
mod normalise;
mod parallel;
mod pieces;
mod pretokens;
pub mod ranks;
mod sentencepiece;
mod steps;
mod trie;
mod unicode;
mod unicode_table;
mod unigram;
mod unigram_words;
mod vocab;
mod word_piece;
mod words;

use crate::hash::hex;
use crate::{Error, Result};
use byte_level::ByteLevel;
use config::File;
use model_file::ModelFile;
pub use model_file::is_model_file;
use pieces::CountScratch;
use rayon::prelude::*;
use sentencepiece::SentencePiece;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use words::Words;

/// Counts the tokens of texts under one `tokenizer.json`.
///
/// Cloning is cheap: clones share the tables.
///
/// ```no_run
/// use polyalign::tokens::TokenCounter;
/// let counter = TokenCounter::from_file("tokenizer.json".as_ref())?;
/// let mut scratch = counter.scratch();
/// let tokens = counter.count("Hello, world!", &mut scratch)?;
/// # Ok::<(), polyalign::Error>(())
/// ```
#[derive(Clone)]
pub struct TokenCounter(Arc<Inner>);

struct Inner {
    /// Tells the working memory of one counter from another's.
    serial: u64,
    engine: Engine,
    sha256: String,
    path: CountingPath,
    /// Working memory of [`TokenCounter::count_batch`], kept between calls.
    idle: Mutex<Vec<TokenScratch>>,
}

enum CountingPath {
    Fast(Box<ByteLevel>),
    SentencePiece(Box<SentencePiece>),
    ModelFile(Box<ModelFile>),
    Words(Box<Words>),
    Tokenizers(Box<tokenizers::Tokenizer>),
}

/// Per-thread working memory of a [`TokenCounter`]: caches and buffers.
pub struct TokenScratch {
    serial: u64,
    fast: Option<Box<CountScratch>>,
}

impl CountingPath {
    /// Our own code for a file, with its pre-tokenizer's name, or why there is none.
    fn of(file: &File) -> std::result::Result<(Self, String), String> {
        if SentencePiece::is_meant(file) {
            let counter = SentencePiece::build(file)?;
            return Ok((Self::SentencePiece(Box::new(counter)), "sentencepiece".into()));
        }
        let counter = ByteLevel::build(file)?;
        let name = counter.pre_tokenizer().into();
        Ok((Self::Fast(Box::new(counter)), name))
    }
}

impl TokenScratch {
    /// Has counting end with [`Error::Interrupted`] soon after the flag is set, if there is one.
    fn stop_when(&mut self, stop: Option<Arc<AtomicBool>>) {
        if let Some(fast) = &mut self.fast {
            fast.merging.stop = stop;
        }
    }
}

/// So that places in a text, normalised too, fit 31 bits.
const MAX_TEXT: usize = 512 << 20;

/// Which code counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Engine {
    /// Counted by our own code; of WordPiece and Unigram all words but unusual ones.
    Fast {
        /// The pre-tokenizer family: `gpt2`, `gpt2-digits` (StarCoder, SmolLM2, Command R), `cl100k` (also Llama 3),
        /// `qwen2`, `qwen3.5`, `o200k`, `tekken`, `kimi` or `deepseek`, `general` for others; or, where there is none,
        /// `sentencepiece`, `wordpiece`, `unigram`, and `sentencepiece-unigram` for model files of Unigram.
        pre_tokenizer: String,
    },
    /// The `tokenizers` crate, and why.
    Tokenizers {
        /// What the fast path does not cover.
        reason: String,
    },
}

impl TokenCounter {
    /// From the bytes of a tokenizer.json.
    ///
    /// A member `encode_special_tokens` that is true stands for the setting of that name that a loaded tokenizer may
    /// have: special tokens in a text are then counted as the text they are.
    ///
    /// Truncation and padding in it are switched off. What does not bear on counts (truncation, padding, the
    /// decoder) is not looked at on the fast path.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] if what bears on counts can't be used, or if its BPE has dropout, which makes counts
    /// random.
    pub fn from_json(json: &[u8]) -> Result<Self> {
        Self::shared(json, |_| Self::load_json(json))
    }

    fn load_json(json: &[u8]) -> Result<Self> {
        match File::parse(json) {
            Ok(file) => {
                refuse_dropout(file.model.rest.get("dropout"))?;
                let (path, sha256) = parallel::both(|| CountingPath::of(&file), || identity::hash(&file));
                match path {
                    Ok((path, pre_tokenizer)) => Ok(Self::new(Engine::Fast { pre_tokenizer }, path, sha256)),
                    Err(reason) => Self::slow(json, reason, sha256),
                }
            }
            Err(_) => Self::from_other_json(json),
        }
    }

    /// From the bytes of a `tokenizer.model` of SentencePiece, BPE or Unigram: counts are those of its `encode`.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] if the file is broken, or a model of words or characters.
    pub fn from_model(bytes: &[u8]) -> Result<Self> {
        Self::shared(bytes, |sha256| Self::load_model(bytes, sha256))
    }

    fn load_model(bytes: &[u8], sha256: &[u8]) -> Result<Self> {
        let model = ModelFile::new(bytes)
            .map_err(|what| Error::Tokenizer(format!("not a usable SentencePiece model: {what}")))?;
        let engine = Engine::Fast { pre_tokenizer: model.kind().into() };
        Ok(Self::new(engine, CountingPath::ModelFile(Box::new(model)), hex(sha256)))
    }

    /// From the bytes of a file that says by itself what it is: a `tokenizer.json`, a `tokenizer.model` of SentencePiece
    /// or a `tekken.json`. (Of ranks for `tiktoken`, [`ranks::from_tiktoken`] makes a tokenizer.json.)
    ///
    /// # Errors
    /// As [`Self::from_json`], [`Self::from_model`] and [`ranks::from_tekken`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        match bytes {
            bytes if is_model_file(bytes) => Self::from_model(bytes),
            bytes if ranks::is_tekken(bytes) => Self::from_json(ranks::from_tekken(bytes)?.as_bytes()),
            bytes => Self::from_json(bytes),
        }
    }

    /// From a file, as [`Self::from_bytes`].
    ///
    /// # Errors
    /// As [`Self::from_bytes`], and [`Error::Io`] if the file can't be read.
    pub fn from_file(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(|e| Error::io(path, e))?;
        Self::from_bytes(&bytes).map_err(|e| match e {
            Error::Tokenizer(what) => Error::Tokenizer(format!("{}: {what}", path.display())),
            other => other,
        })
    }

    /// What `load` makes of a file, whose hash it is given, or, while a counter of the same bytes is in use, a clone of that: a command, and each
    /// process forked from it, asks for its tokenizer again and again.
    fn shared(bytes: &[u8], load: impl FnOnce(&[u8]) -> Result<Self>) -> Result<Self> {
        static LOADED: Mutex<Vec<([u8; 32], Weak<Inner>)>> = Mutex::new(Vec::new());
        let digest: [u8; 32] = Sha256::digest(bytes).into();
        // Whoever held the lock when this process was forked doesn't give it back.
        if let Ok(mut loaded) = LOADED.try_lock() {
            loaded.retain(|(_, inner)| inner.strong_count() > 0);
            let found = loaded.iter().find(|(of, _)| *of == digest);
            if let Some(inner) = found.and_then(|(_, inner)| inner.upgrade()) {
                return Ok(Self(inner));
            }
        }
        let counter = load(&digest)?;
        if let Ok(mut loaded) = LOADED.try_lock() {
            loaded.push((digest, Arc::downgrade(&counter.0)));
        }
        Ok(counter)
    }

    /// A file without the members of a BPE or WordPiece model, or none of ours: the crate decides.
    fn from_other_json(json: &[u8]) -> Result<Self> {
        let value: Value = serde_json::from_slice(json)
            .map_err(|e| Error::Tokenizer(format!("not a usable tokenizer.json: {e}")))?;
        refuse_dropout(value.get("model").and_then(|m| m.get("dropout")))?;
        let kind = value["model"]["type"].as_str().unwrap_or("without a type");
        let crates = || Engine::Tokenizers { reason: format!("model {kind}") };
        let (engine, path) = match Words::new(Box::new(fallback::load(json)?), &value) {
            Ok(words) => {
                let engine = words.own().map(|name| Engine::Fast { pre_tokenizer: name.into() });
                (engine.unwrap_or_else(crates), CountingPath::Words(Box::new(words)))
            }
            Err(tokenizer) => (crates(), CountingPath::Tokenizers(tokenizer)),
        };
        Ok(Self::new(engine, path, identity::hash_value(&value)))
    }

    fn slow(json: &[u8], reason: String, sha256: String) -> Result<Self> {
        let tokenizer = fallback::load(json)?;
        Ok(Self::new(Engine::Tokenizers { reason }, CountingPath::Tokenizers(Box::new(tokenizer)), sha256))
    }

    fn new(engine: Engine, path: CountingPath, sha256: String) -> Self {
        static SERIAL: AtomicU64 = AtomicU64::new(0);
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        Self(Arc::new(Inner { serial, engine, sha256, path, idle: Mutex::default() }))
    }

    /// Which code counts.
    pub fn engine(&self) -> &Engine {
        &self.0.engine
    }

    /// SHA-256 (hex) of the tokenizer's canonical JSON: equal for a path, an object and a hub name.
    ///
    /// The form leaves out what does not change how a text is tokenised and what serialising again adds:
    /// truncation, padding, version, null members, false members of the model.
    pub fn sha256(&self) -> &str {
        &self.0.sha256
    }

    /// Fresh working memory for one thread.
    pub fn scratch(&self) -> TokenScratch {
        let fast = match &self.0.path {
            CountingPath::Tokenizers(_) => None,
            _ => Some(Box::new(CountScratch::default())),
        };
        TokenScratch { serial: self.0.serial, fast }
    }

    /// `len(tokenizer.encode(text, add_special_tokens=False).ids)`, truncation and padding off.
    ///
    /// Working memory of another counter is replaced by fresh.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] for a text over 512 MiB, and where `tokenizers` itself fails on the text.
    pub fn count(&self, text: &str, scratch: &mut TokenScratch) -> Result<u32> {
        if text.len() > MAX_TEXT {
            let size = text.len() >> 20;
            return Err(Error::Tokenizer(format!(
                "a text of {size} MiB: count it in parts of at most 512 MiB"
            )));
        }
        self.own(scratch);
        let Some(scratch) = &mut scratch.fast else {
            let CountingPath::Tokenizers(tokenizer) = &self.0.path else {
                unreachable!("working memory has its counter's path")
            };
            return fallback::count(tokenizer, text);
        };
        let count = match &self.0.path {
            CountingPath::Fast(fast) => fast.count(text, scratch)?,
            CountingPath::SentencePiece(counter) => counter.count(text, scratch)?,
            CountingPath::ModelFile(counter) => counter.count(text, scratch)?,
            CountingPath::Words(words) => words.count(text, scratch)?,
            CountingPath::Tokenizers(_) => unreachable!("working memory has its counter's path"),
        };
        if scratch.merging.is_stopped() { Err(Error::Interrupted) } else { Ok(count) }
    }

    /// Counts texts one after another, with one count for each: faster than one by one where they are short.
    ///
    /// # Errors
    /// As [`Self::count`], with the index of the text.
    pub fn count_each(&self, texts: &[&str], counts: &mut [u32], scratch: &mut TokenScratch) -> Result<()> {
        assert_eq!(texts.len(), counts.len(), "a count for each text");
        self.count_from(0, texts, counts, scratch, &AtomicBool::new(false))
    }

    /// The same of neighbouring texts, the first of which has the index `first`.
    fn count_from(
        &self,
        first: usize,
        texts: &[&str],
        counts: &mut [u32],
        scratch: &mut TokenScratch,
        stop: &AtomicBool,
    ) -> Result<()> {
        let mut done = 0;
        while done < texts.len() {
            if stop.load(Ordering::Relaxed) {
                return Err(Error::Interrupted);
            }
            let counted = self.count_first(&texts[done..], &mut counts[done..], scratch);
            done += counted.map_err(|e| at_text(e, first + done))?;
        }
        Ok(())
    }

    /// Counts the first of some texts, and those after it that can be counted with it; returns how many.
    fn count_first(&self, texts: &[&str], counts: &mut [u32], scratch: &mut TokenScratch) -> Result<usize> {
        self.own(scratch);
        if let (CountingPath::Fast(fast), Some(scratch)) = (&self.0.path, &mut scratch.fast) {
            let together = fast.count_together(texts, counts, scratch)?;
            if together > 0 {
                return if scratch.merging.is_stopped() { Err(Error::Interrupted) } else { Ok(together) };
            }
        }
        counts[0] = self.count(texts[0], scratch)?;
        Ok(1)
    }

    /// Replaces working memory of another counter.
    fn own(&self, scratch: &mut TokenScratch) {
        if scratch.serial != self.0.serial {
            let stop = scratch.fast.take().and_then(|fast| fast.merging.stop);
            *scratch = self.scratch();
            scratch.stop_when(stop);
        }
    }

    /// Counts many texts in parallel on the current rayon pool.
    ///
    /// # Errors
    /// As [`Self::count`], with the index of the first text that fails; [`Error::Interrupted`] soon after `stop` is
    /// set, at the latest at the end of a text that the `tokenizers` crate counts.
    pub fn count_batch(&self, texts: &[&str], stop: &Arc<AtomicBool>) -> Result<Vec<u32>> {
        let mut counts = vec![0; texts.len()];
        let chunk = (texts.len() / (8 * rayon::current_num_threads().max(1))).clamp(1, 1024);
        let chunks: Vec<Result<()>> = counts
            .par_chunks_mut(chunk)
            .zip(texts.par_chunks(chunk))
            .enumerate()
            .map(|(i, (counts, texts))| self.count_chunk(texts, counts, i * chunk, stop))
            .collect();
        chunks.into_iter().collect::<Result<()>>()?;
        Ok(counts)
    }

    /// Counts neighbouring texts, the first of which has the index `first`.
    fn count_chunk(
        &self,
        texts: &[&str],
        counts: &mut [u32],
        first: usize,
        stop: &Arc<AtomicBool>,
    ) -> Result<()> {
        let mut scratch = self.idle().and_then(|mut idle| idle.pop()).unwrap_or_else(|| self.scratch());
        scratch.stop_when(Some(Arc::clone(stop)));
        self.count_from(first, texts, counts, &mut scratch, stop)?;
        scratch.stop_when(None);
        if let Some(mut idle) = self.idle() {
            idle.push(scratch);
        }
        Ok(())
    }

    /// None while another thread has it: for ever, in a process that was forked meanwhile.
    fn idle(&self) -> Option<MutexGuard<'_, Vec<TokenScratch>>> {
        self.0.idle.try_lock().ok()
    }
}

fn at_text(error: Error, index: usize) -> Error {
    match error {
        Error::Tokenizer(what) => Error::Tokenizer(format!("text {index}: {what}")),
        other => other,
    }
}

fn refuse_dropout(dropout: Option<&Value>) -> Result<()> {
    match dropout.and_then(Value::as_f64) {
        Some(p) if p != 0.0 => Err(Error::Tokenizer(format!(
            "BPE dropout of {p} makes token counts random; set model.dropout to null in tokenizer.json"
        ))),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_of_the_same_bytes_share_their_tables_while_one_is_in_use() {
        let json = |token: &str| {
            let model = format!(r#"{{"type":"WordLevel","vocab":{{"{token}":0}},"unk_token":"{token}"}}"#);
            format!(r#"{{"version":"1.0","added_tokens":[],"model":{model}}}"#)
        };
        let load = |token: &str| TokenCounter::from_bytes(json(token).as_bytes()).expect("a tokenizer");
        let first = load("shared");
        assert!(Arc::ptr_eq(&first.0, &load("shared").0));
        assert!(!Arc::ptr_eq(&first.0, &load("another").0));
        let serial = first.0.serial;
        drop(first);
        assert_ne!(load("shared").0.serial, serial);
    }
}
