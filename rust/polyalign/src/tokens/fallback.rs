//! The slow path: the `tokenizers` crate itself.

use super::config::{ENCODE_SPECIAL_TOKENS, encodes_special_tokens};
use crate::error::{one_line, panic_text};
use crate::{Error, Result};
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use tokenizers::{NormalizedString, Normalizer, Tokenizer};

/// Loads a tokenizer with truncation and padding off.
pub(super) fn load(json: &[u8]) -> Result<Tokenizer> {
    let unusable = |what: String| Error::Tokenizer(format!("not a usable tokenizer.json: {what}"));
    let (json, encode_special) = without_setting(json);
    // Hostile files reach `expect`s inside the crate.
    let loaded =
        catch_unwind(|| Tokenizer::from_bytes(&json)).map_err(|panic| unusable(panic_text(&*panic)))?;
    let mut tokenizer = loaded.map_err(|e| unusable(one_line(&e.to_string())))?;
    tokenizer.with_truncation(None).map_err(|e| unusable(one_line(&e.to_string())))?;
    tokenizer.with_padding(None);
    tokenizer.set_encode_special_tokens(encode_special);
    if let Some(token) = token_of_nothing(&tokenizer) {
        return Err(unusable(format!("the normalizer leaves nothing of the added token {token:?}")));
    }
    Ok(tokenizer)
}

/// An added token that the crate would look for as normalised, and find nothing of it everywhere, without end.
fn token_of_nothing(tokenizer: &Tokenizer) -> Option<String> {
    let normalizer = tokenizer.get_normalizer()?;
    let is_nothing = |content: &str| {
        let mut content = NormalizedString::from(content);
        let normalised = catch_unwind(AssertUnwindSafe(|| normalizer.normalize(&mut content).is_ok()));
        normalised.is_ok_and(|ok| ok) && content.get().is_empty()
    };
    let tokens = tokenizer.get_added_tokens_decoder().into_values();
    let contents =
        tokens.filter(|token| token.normalized && !token.content.is_empty()).map(|token| token.content);
    contents.filter(|content| is_nothing(content)).min()
}

/// The JSON as the crate reads it, and the setting that it does not know as a member.
fn without_setting(json: &[u8]) -> (Cow<'_, [u8]>, bool) {
    // What is no object is an error of the crate's.
    if memchr::memmem::find(json, ENCODE_SPECIAL_TOKENS.as_bytes()).is_none() {
        return (Cow::Borrowed(json), false);
    }
    let Ok(mut members) = serde_json::from_slice::<Map<String, Value>>(json) else {
        return (Cow::Borrowed(json), false);
    };
    let encode_special = encodes_special_tokens(&members);
    match members.remove(ENCODE_SPECIAL_TOKENS) {
        Some(_) => (Cow::Owned(Value::Object(members).to_string().into_bytes()), encode_special),
        None => (Cow::Borrowed(json), false),
    }
}

/// The number of ids the crate gives.
pub(super) fn count(tokenizer: &Tokenizer, text: &str) -> Result<u32> {
    // Oniguruma gives up on some texts (its retry limit), which its binding turns into a panic.
    let encoded = catch_unwind(AssertUnwindSafe(|| tokenizer.encode_fast(text, false))).map_err(|panic| {
        let (bytes, why) = (text.len(), panic_text(&*panic));
        Error::Tokenizer(format!("the `tokenizers` crate can't count a text of {bytes} bytes: {why}"))
    })?;
    let encoding = encoded.map_err(|e| Error::Tokenizer(one_line(&e.to_string())))?;
    Ok(encoding.get_ids().len() as u32)
}
