//! Many responses in memory at once, on rayon's current threads.

use crate::Result;
use crate::error::unless_stopped;
use crate::features::registry::{FEATURES, Group};
use crate::features::{Extractor, Input, Language, paper};
use crate::records::record::Message;
use crate::reference::Variant;
use crate::reference::meter::{Meter, Values};
use crate::reference::scorer::{Score, Scorer, Target};
use rayon::prelude::*;
use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Responses that a thread takes at a time.
const PIECE: usize = 32;

/// A response and where it belongs.
#[derive(Clone, Copy, Debug)]
pub struct Response<'a> {
    /// The response.
    pub text: &'a str,
    /// Its language (a primary subtag) where features are measured, its target where it is scored.
    pub of: &'a str,
    /// The messages before it; empty: none.
    pub prompt: &'a [Message<'a>],
    /// What a language model says of it, where the scorer counts that; empty: nothing.
    pub lm: &'a [f32],
}

thread_local! {
    static EXTRACTOR: RefCell<Option<Box<Extractor>>> = const { RefCell::new(None) };
    static METERS: RefCell<[Option<Box<Meter>>; 2]> = const { RefCell::new([None, None]) };
}

/// The features of responses `[n, features]`: of these groups of the default variant, or all of the paper's (those of
/// Chinese alone for Chinese).
///
/// # Errors
/// [`Error::Interrupted`] soon after `stop` is set.
pub fn measure_all(
    variant: Variant,
    groups: &[Group],
    responses: &[Response<'_>],
    stop: &AtomicBool,
) -> Result<Values> {
    match variant {
        Variant::Default => {
            let width = FEATURES.len();
            let mut values = vec![f32::NAN; responses.len() * width];
            let pieces = values.par_chunks_mut(PIECE * width).zip(responses.par_chunks(PIECE));
            pieces.try_for_each(|(values, responses)| extract(groups, responses, values, stop))?;
            Ok(Values::Default(values))
        }
        Variant::Paper => {
            let extract =
                |response: &Response<'_>| paper::extract_unless(response.text, response.of == "zh", stop);
            let rows: Vec<[f64; paper::NAMES.len()]> =
                responses.par_iter().map(extract).collect::<Result<_>>()?;
            Ok(Values::Paper(rows.concat()))
        }
    }
}

fn extract(
    groups: &[Group],
    responses: &[Response<'_>],
    values: &mut [f32],
    stop: &AtomicBool,
) -> Result<()> {
    EXTRACTOR.with_borrow_mut(|extractor| {
        let extractor = extractor.get_or_insert_with(|| Box::new(Extractor::new(groups)));
        extractor.set_groups(groups);
        for (response, row) in responses.iter().zip(values.chunks_exact_mut(FEATURES.len())) {
            let Response { text, of, prompt, .. } = *response;
            let prompt = (!prompt.is_empty()).then_some(prompt);
            unless_stopped(stop)?;
            extractor.extract_unless(Input { text, language: Language::of(of), prompt }, row, stop)?;
        }
        Ok(())
    })
}

/// A response that was scored, or why it could not be.
pub type Scored = Result<(Arc<Target>, Score), String>;

impl Scorer {
    /// Scores responses, in order. A target that is none under the schema is the error of its response.
    ///
    /// # Errors
    /// [`Error::Interrupted`] soon after `stop` is set.
    pub fn score_all(&self, responses: &[Response<'_>], stop: &AtomicBool) -> Result<Vec<Scored>> {
        let score = |responses: &[Response<'_>]| self.score_piece(responses, stop, |_, _, _| ());
        let pieces: Vec<Vec<Scored>> = responses.par_chunks(PIECE).map(score).collect::<Result<_>>()?;
        Ok(pieces.into_iter().flatten().collect())
    }

    /// Scores responses as [`score_all`](Self::score_all), and gives their features as well, `[n, features]`: those that
    /// [`measure_all`] has of all groups for `texts`, which may be in other languages and with their reasoning. Where both
    /// are the same they are measured once.
    ///
    /// # Errors
    /// [`Error::Interrupted`] soon after `stop` is set.
    ///
    /// # Panics
    /// If there are other numbers of `texts` than of `responses`.
    pub fn score_and_measure_all(
        &self,
        responses: &[Response<'_>],
        texts: &[Response<'_>],
        stop: &AtomicBool,
    ) -> Result<(Vec<Scored>, Vec<f32>)> {
        assert_eq!(responses.len(), texts.len(), "a text a response");
        let width = FEATURES.len();
        let mut measured = vec![f32::NAN; responses.len() * width];
        let pieces = measured.par_chunks_mut(PIECE * width).zip(responses.par_chunks(PIECE));
        let score = |((rows, responses), texts): ((&mut [f32], &[Response<'_>]), &[Response<'_>])| {
            let mut is_measured = [false; PIECE];
            let scored = self.score_piece(responses, stop, |at, target, values| {
                let same = responses[at].text.len() == texts[at].text.len()
                    && Language::of(self.language(target)) == Language::of(texts[at].of);
                if let (Values::Default(values), true) = (values, same) {
                    rows[at * width..][..width].copy_from_slice(&values[..width]);
                    is_measured[at] = true;
                }
            })?;
            for at in (0..responses.len()).filter(|&at| !is_measured[at]) {
                extract(&Group::ALL, &texts[at..=at], &mut rows[at * width..][..width], stop)?;
            }
            Ok(scored)
        };
        let pieces: Vec<Vec<Scored>> =
            pieces.zip(texts.par_chunks(PIECE)).map(score).collect::<Result<_>>()?;
        Ok((pieces.into_iter().flatten().collect(), measured))
    }

    /// Scores a few responses; `each` is given the place, target and values of one.
    fn score_piece(
        &self,
        responses: &[Response<'_>],
        stop: &AtomicBool,
        mut each: impl FnMut(usize, &Target, &Values),
    ) -> Result<Vec<Scored>> {
        unless_stopped(stop)?;
        // Before the meter is taken: working out a target waits for threads, which may score meanwhile.
        let target = |response: &Response<'_>| self.target(response.of).map_err(|error| error.to_string());
        let targets: Vec<_> = responses.iter().map(target).collect();
        self.with_meter(|meter, values| {
            let mut score = |(at, target): (usize, Result<Arc<Target>, String>)| {
                let target = match target {
                    Ok(target) => target,
                    Err(reason) => return Ok(Err(reason)),
                };
                self.fill(&responses[at], &target, meter, values, stop)?;
                each(at, &target, values);
                let score = target.score(responses[at].text, values);
                Ok(Ok((target, score)))
            };
            targets.into_iter().enumerate().map(&mut score).collect()
        })
    }

    /// A response's values and what serves it.
    ///
    /// # Errors
    /// A target that is none under the schema; [`Error::Interrupted`] soon after `stop` is set.
    pub fn measure(&self, response: &Response<'_>, stop: &AtomicBool) -> Result<(Arc<Target>, Values)> {
        let target = self.target(response.of)?;
        let values: Result<Values> = self.with_meter(|meter, values| {
            self.fill(response, &target, meter, values, stop)?;
            Ok(values.clone())
        });
        Ok((target, values?))
    }

    fn fill(
        &self,
        response: &Response<'_>,
        target: &Target,
        meter: &mut Meter,
        values: &mut Values,
        stop: &AtomicBool,
    ) -> Result<()> {
        let language = self.language(target);
        values.clear();
        meter.measure(response.text, language, response.prompt, values, stop)?;
        values.end_row(response.lm, self.reference().settings().lm_features());
        Ok(())
    }

    /// Must not wait for other threads' work.
    fn with_meter<T>(&self, work: impl FnOnce(&mut Meter, &mut Values) -> T) -> T {
        let variant = self.reference().variant();
        METERS.with_borrow_mut(|meters| {
            let meter = &mut meters[variant as usize];
            let meter = meter.get_or_insert_with(|| Box::new(Meter::new(variant)));
            work(meter, &mut Values::new(variant))
        })
    }
}
