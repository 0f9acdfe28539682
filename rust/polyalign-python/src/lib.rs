//! Python binding of polyalign: converts arguments, releases the GIL, maps errors; no logic.

mod arrow_in;
mod arrow_out;
mod buckets;
mod classifier;
mod distances;
mod distribution;
mod errors;
mod evaluation;
mod features;
mod floats;
mod interrupt;
mod lexical;
mod making;
mod output;
mod reference;
mod responses;
mod texts;
mod threads;
mod tokens;
mod words;

use pyo3::prelude::*;
use pyo3::types::PyTuple;

/// The compiled engine behind the `polyalign` package.
#[pymodule]
mod _core {
    use super::*;

    #[pymodule_export]
    use arrow_in::arrow_column;
    #[pymodule_export]
    use buckets::{Bucketer, check_schema_fits, first_rows, normalise_schema, normalise_settings};
    #[pymodule_export]
    use classifier::{char_ngrams, cut_words, ngram_scores, tree_scores};
    #[pymodule_export]
    use distances::{
        directions, divided_mmd, embedding_energy, histogram_distances, mahalanobis, mean_nearest, mmd,
        nearest, pairwise_histograms, pairwise_samples, sample_distances, sliced_wasserstein,
        support_contributions, support_distances,
    };
    #[pymodule_export]
    use distribution::DistributionTerm;
    #[pymodule_export]
    use evaluation::{
        answer_ids, answer_keys, answer_overlaps, answer_tokens, bleu_of_each, distinct_ngrams,
        ngram_occurrences, phrase_counts, phrase_pieces, resampled_sums,
    };
    #[pymodule_export]
    use features::{extract_features, feature_registry};
    #[pymodule_export]
    use floats::arrow_floats;
    #[pymodule_export]
    use lexical::{Lexical, LexicalBuilder};
    #[pymodule_export]
    use output::Output;
    #[pymodule_export]
    use reference::{Reference, ReferenceBuilder};
    #[pymodule_export]
    use responses::answers;
    #[pymodule_export]
    use tokens::{TokenCounter, is_model_file, tokenizer_of_ranks};
    #[pymodule_export]
    use words::{in_words, name_flags};

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        // A panic reaches Python as an exception; what Rust would print beside it is for those who ask.
        if std::env::var_os("RUST_BACKTRACE").is_none_or(|value| value.is_empty() || value == "0") {
            std::panic::set_hook(Box::new(|_| {}));
        }
        polyalign::cpu::Level::most().map_err(errors::to_py)?;
        module.add("LEXICAL_FEATURES", PyTuple::new(module.py(), polyalign::lexical::FEATURES)?)?;
        let patterns = polyalign::tokens::ranks::RANK_PATTERNS.map(|pattern| pattern.name);
        module.add("RANK_PATTERNS", PyTuple::new(module.py(), patterns)?)?;
        module.add("RESPONSE_FIELDS", PyTuple::new(module.py(), polyalign::records::shape::RESPONSES)?)?;
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
