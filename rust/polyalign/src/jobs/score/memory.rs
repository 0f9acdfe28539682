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
        let score = |responses: &[Response<'_>]| {
            unless_stopped(stop)?;
            // Before the meter is taken: working out a target waits for threads, which may score meanwhile.
            let target =
                |response: &Response<'_>| self.target(response.of).map_err(|error| error.to_string());
            let targets: Vec<_> = responses.iter().map(target).collect();
            self.with_meter(|meter, values| {
                let mut score = |(response, target): (&Response<'_>, Result<Arc<Target>, String>)| {
                    let target = match target {
                        Ok(target) => target,
                        Err(reason) => return Ok(Err(reason)),
                    };
                    self.fill(response, &target, meter, values, stop)?;
                    let score = target.score(response.text, values);
                    Ok(Ok((target, score)))
                };
                responses.iter().zip(targets).map(&mut score).collect::<Result<Vec<Scored>>>()
            })
        };
        let pieces: Vec<Vec<Scored>> = responses.par_chunks(PIECE).map(score).collect::<Result<_>>()?;
        Ok(pieces.into_iter().flatten().collect())
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
