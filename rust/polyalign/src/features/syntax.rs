//! Parts of speech: an optional group, computed where the crate's feature `pos` is on.
//!
//! Chinese has jieba's tags as universal ones. English is not defined: no tagger is known to us whose training data
//! permits commercial use.

use super::language::Language;
use super::row::rounded;
use crate::text::chinese::pos::{Tagger, UPOS};

/// The group's name.
pub const GROUP: &str = "syntax";

/// The features' names: shares of universal parts of speech among the words and marks of a response, in the order of
/// Universal Dependencies.
pub const NAMES: [&str; UPOS] = [
    "upos_adj_share",
    "upos_adp_share",
    "upos_adv_share",
    "upos_aux_share",
    "upos_cconj_share",
    "upos_det_share",
    "upos_intj_share",
    "upos_noun_share",
    "upos_num_share",
    "upos_part_share",
    "upos_pron_share",
    "upos_propn_share",
    "upos_punct_share",
    "upos_sconj_share",
    "upos_sym_share",
    "upos_verb_share",
    "upos_x_share",
];

/// The shares of a response; NaN but in Chinese, and of nothing.
///
/// ```
/// use polyalign::features::{Language, syntax};
/// let shares = syntax::shares("我们都爱吃火锅！", Language::Chinese);
/// assert_eq!(shares.iter().sum::<f32>(), 1.0);
/// assert!(syntax::shares("We all do.", Language::English)[0].is_nan());
/// ```
pub fn shares(text: &str, language: Language) -> [f32; UPOS] {
    if language != Language::Chinese {
        return [f32::NAN; UPOS];
    }
    let counts = Tagger::new().counts(text);
    let total: u32 = counts.iter().sum();
    counts.map(|count| rounded(f64::from(count) / f64::from(total)))
}
