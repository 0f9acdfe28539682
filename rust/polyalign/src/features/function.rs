//! Words of closed classes.

use super::analysis::Analysis;
use super::registry::Id;
use super::row::Row;
use super::word_classes::Classes;
use super::words::ClassCounts;

/// The features, by class.
const SHARES: [(Classes, Id); 18] = [
    (Classes::STOPWORD, Id::stopword_share),
    (Classes::ARTICLE, Id::article_share),
    (Classes::FIRST_PERSON, Id::first_person_share),
    (Classes::SECOND_PERSON, Id::second_person_share),
    (Classes::THIRD_PERSON, Id::third_person_share),
    (Classes::DEMONSTRATIVE, Id::demonstrative_share),
    (Classes::QUESTION_WORD, Id::question_word_share),
    (Classes::PREPOSITION, Id::preposition_share),
    (Classes::CONJUNCTION, Id::conjunction_share),
    (Classes::CONNECTIVE, Id::connective_share),
    (Classes::AUXILIARY, Id::auxiliary_share),
    (Classes::MODAL, Id::modal_share),
    (Classes::NEGATION, Id::negation_share),
    (Classes::INTENSIFIER, Id::intensifier_share),
    (Classes::HEDGE, Id::hedge_share),
    (Classes::INTERJECTION, Id::interjection_share),
    (Classes::POLITENESS, Id::politeness_share),
    (Classes::PARTICLE, Id::particle_share),
];

pub(super) fn fill(of: &Analysis, row: &mut Row<'_>) {
    let ClassCounts { words, content_types } = of.words.classes;
    let all = of.words.all;
    let of_class = |class: Classes| words[class.0.trailing_zeros() as usize];
    for (class, id) in SHARES {
        row.ratio(id, of_class(class), all);
    }
    row.ratio(Id::content_type_share, content_types, of.sequence.counts.len() as u32);
    row.ratio(Id::contraction_share, of_class(Classes::CONTRACTION), all);
    row.ratio(Id::number_word_share, of_class(Classes::NUMBER_WORD), all);
}
