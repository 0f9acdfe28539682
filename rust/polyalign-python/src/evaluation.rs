//! Counts of answers, and sums drawn anew, for Python.

use crate::responses::Column;
use crate::threads::run;
use numpy::{PyArray1, PyArray2, PyArrayMethods, PyReadonlyArray1, PyReadonlyArray2, PyUntypedArrayMethods};
use polyalign::evaluation::ngrams::{self, Sets, Short};
use polyalign::evaluation::phrases::{self, Said};
use polyalign::evaluation::tokens::{self, Answer, AnswerCutter, Rules};
use polyalign::evaluation::{bootstrap, overlap};
use polyalign::features::Cutter;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use std::sync::atomic::AtomicBool;

type Numbers<'py> = Bound<'py, PyArray1<f64>>;
type Counts<'py> = Bound<'py, PyArray1<i64>>;

/// Texts and their languages, held so that answers can be borrowed.
struct Answers<'py> {
    texts: Column<'py>,
    languages: Column<'py>,
}

impl<'py> Answers<'py> {
    fn new(name: &'static str, texts: &Bound<'py, PyAny>, languages: &Bound<'py, PyAny>) -> PyResult<Self> {
        Ok(Self {
            texts: Column::from_python(name, texts)?,
            languages: Column::from_python("languages", languages)?,
        })
    }

    /// Each text with whether its language is the one named.
    fn in_language(&self, wanted: &str) -> PyResult<Vec<(&str, bool)>> {
        let (texts, languages) = (self.texts.as_strs()?, self.languages.as_strs()?);
        let for_all = self.languages.of(&languages).for_all;
        if !for_all && languages.len() != texts.len() {
            let message = format!(
                "{} texts and {} languages: give one for all, or one for each text",
                texts.len(),
                languages.len()
            );
            return Err(PyValueError::new_err(message));
        }
        let is = |at: usize| {
            let language = languages[if for_all { 0 } else { at }];
            let subtag = language.split(['-', '_']).next().unwrap_or_default().trim();
            subtag.eq_ignore_ascii_case(wanted)
        };
        Ok(texts.into_iter().enumerate().map(|(at, text)| (text, is(at))).collect())
    }

    fn answers(&self) -> PyResult<Vec<Answer<'_>>> {
        Ok(self.in_language("en")?.into_iter().map(|(text, english)| Answer { text, english }).collect())
    }

    fn said(&self) -> PyResult<Vec<Said<'_>>> {
        Ok(self.in_language("zh")?.into_iter().map(|(text, chinese)| Said { text, chinese }).collect())
    }
}

const fn rules(paper: bool) -> Rules {
    if paper { Rules::Paper } else { Rules::Words }
}

/// The number of each text's set; without them one set, or each text one.
fn sets(groups: Option<&PyReadonlyArray1<'_, i64>>, texts: usize) -> PyResult<(Vec<u32>, usize)> {
    let Some(groups) = groups else { return Ok((vec![0; texts], 1)) };
    let of: Option<Vec<u32>> = groups.as_slice()?.iter().map(|&group| u32::try_from(group).ok()).collect();
    let of = of.ok_or_else(|| PyValueError::new_err("groups: numbers of sets are 0 or above"))?;
    let count = of.iter().max().map_or(0, |&most| most as usize + 1);
    Ok((of, count))
}

/// The tokens of each answer.
#[pyfunction]
pub fn answer_tokens(
    texts: &Bound<'_, PyAny>,
    languages: &Bound<'_, PyAny>,
    paper: bool,
) -> PyResult<Vec<Vec<String>>> {
    let answers = Answers::new("texts", texts, languages)?;
    let mut cutter = AnswerCutter::default();
    let cut = |answer: Answer<'_>| {
        let mut found = Vec::new();
        cutter.cut(answer, rules(paper), |token| found.push(token.to_owned()));
        found
    };
    Ok(answers.answers()?.into_iter().map(cut).collect())
}

/// The tokens of all answers as hashes, and where each answer's begin and end.
#[pyfunction]
pub fn answer_ids<'py>(
    py: Python<'py>,
    texts: &Bound<'py, PyAny>,
    languages: &Bound<'py, PyAny>,
    threads: Option<usize>,
) -> PyResult<(Bound<'py, PyArray1<u64>>, Counts<'py>)> {
    let answers = Answers::new("texts", texts, languages)?;
    let answers = answers.answers()?;
    let found = run(py, threads, |stop: &AtomicBool| tokens::ids(&answers, Rules::Words, stop))?;
    let mut ends = vec![0];
    let mut end = 0;
    ends.extend(found.iter().map(|ids| {
        end += ids.len() as i64;
        end
    }));
    Ok((PyArray1::from_vec(py, found.concat()), PyArray1::from_vec(py, ends)))
}

/// A hash of each answer's tokens in their order.
#[pyfunction]
pub fn answer_keys<'py>(
    py: Python<'py>,
    texts: &Bound<'py, PyAny>,
    languages: &Bound<'py, PyAny>,
    threads: Option<usize>,
) -> PyResult<Bound<'py, PyArray1<u64>>> {
    let answers = Answers::new("texts", texts, languages)?;
    let answers = answers.answers()?;
    let found = run(py, threads, |stop: &AtomicBool| tokens::keys(&answers, Rules::Words, stop))?;
    Ok(PyArray1::from_vec(py, found))
}

/// Whether the tokens are the same, F1 and ROUGE-L of each answer.
#[pyfunction]
pub fn answer_overlaps<'py>(
    py: Python<'py>,
    predictions: &Bound<'py, PyAny>,
    references: &Bound<'py, PyAny>,
    languages: &Bound<'py, PyAny>,
    paper: bool,
    threads: Option<usize>,
) -> PyResult<(Numbers<'py>, Numbers<'py>, Numbers<'py>)> {
    let sides = [
        Answers::new("predictions", predictions, languages)?,
        Answers::new("references", references, languages)?,
    ];
    let [said, wanted] = [sides[0].answers()?, sides[1].answers()?];
    let pairs: Vec<_> = said.into_iter().zip(wanted).collect();
    let found = run(py, threads, |stop: &AtomicBool| overlap::overlaps(&pairs, rules(paper), stop))?;
    let column = |of: fn(&overlap::Overlap) -> f64| PyArray1::from_iter(py, found.iter().map(of));
    Ok((column(|row| f64::from(row.equal)), column(|row| row.f1), column(|row| row.rouge_l)))
}

/// How many n-grams of each set are different, and how many there are.
#[pyfunction]
#[pyo3(signature = (texts, languages, paper, n, groups, threads))]
pub fn distinct_ngrams<'py>(
    py: Python<'py>,
    texts: &Bound<'py, PyAny>,
    languages: &Bound<'py, PyAny>,
    paper: bool,
    n: usize,
    groups: Option<PyReadonlyArray1<'py, i64>>,
    threads: Option<usize>,
) -> PyResult<(Counts<'py>, Counts<'py>)> {
    let answers = Answers::new("texts", texts, languages)?;
    let answers = answers.answers()?;
    let (of, count) = sets(groups.as_ref(), answers.len())?;
    let sets = Sets { of: &of, count };
    let found =
        run(py, threads, |stop: &AtomicBool| ngrams::distinct(&answers, rules(paper), n, sets, stop))?;
    let column =
        |of: fn(&ngrams::Distinct) -> u64| PyArray1::from_iter(py, found.iter().map(|row| of(row) as i64));
    Ok((column(|row| row.different), column(|row| row.all)))
}

/// How many n-grams of all texts are said once, twice, …: the counts, and how many have each.
#[pyfunction]
pub fn ngram_occurrences<'py>(
    py: Python<'py>,
    texts: &Bound<'py, PyAny>,
    languages: &Bound<'py, PyAny>,
    paper: bool,
    n: usize,
    threads: Option<usize>,
) -> PyResult<Vec<(u64, u64)>> {
    let answers = Answers::new("texts", texts, languages)?;
    let answers = answers.answers()?;
    run(py, threads, |stop: &AtomicBool| ngrams::occurrences(&answers, rules(paper), n, stop))
}

/// The BLEU of each text against the others of its set; `whole`: all orders count for every text.
#[pyfunction]
#[pyo3(signature = (texts, languages, paper, n, whole, groups, threads))]
#[expect(clippy::too_many_arguments, reason = "the Python side has named them")]
pub fn bleu_of_each<'py>(
    py: Python<'py>,
    texts: &Bound<'py, PyAny>,
    languages: &Bound<'py, PyAny>,
    paper: bool,
    n: usize,
    whole: bool,
    groups: Option<PyReadonlyArray1<'py, i64>>,
    threads: Option<usize>,
) -> PyResult<Numbers<'py>> {
    let answers = Answers::new("texts", texts, languages)?;
    let answers = answers.answers()?;
    let (of, count) = sets(groups.as_ref(), answers.len())?;
    let sets = Sets { of: &of, count };
    let short = if whole { Short::Whole } else { Short::Left };
    let work = |stop: &AtomicBool| ngrams::bleu_of_each(&answers, rules(paper), (n, short), sets, stop);
    Ok(PyArray1::from_vec(py, run(py, threads, work)?))
}

/// Words of phrases, how many texts of either side say them; and the sums of these over all phrases.
type Phrases<'py> = (Vec<Vec<String>>, Bound<'py, PyArray2<i64>>, (u64, u64));

/// The phrases of 1 to `n` words that at least `least` texts say.
#[pyfunction]
pub fn phrase_counts<'py>(
    py: Python<'py>,
    model: (Bound<'py, PyAny>, Bound<'py, PyAny>),
    human: (Bound<'py, PyAny>, Bound<'py, PyAny>),
    n: usize,
    least: u64,
    threads: Option<usize>,
) -> PyResult<Vec<Phrases<'py>>> {
    let sides = [Answers::new("model", &model.0, &model.1)?, Answers::new("human", &human.0, &human.1)?];
    let [model, human] = [sides[0].said()?, sides[1].said()?];
    let found = run(py, threads, |stop: &AtomicBool| phrases::count([&model, &human], n, least, stop))?;
    let mut orders = Vec::with_capacity(found.len());
    for order in found {
        let counts = order.found.iter().flat_map(|phrase| phrase.texts.map(|count| count as i64));
        let counts = PyArray1::from_iter(py, counts).reshape([order.found.len(), 2])?;
        let words = order.found.into_iter().map(|phrase| phrase.words).collect();
        orders.push((words, counts, (order.totals[0], order.totals[1])));
    }
    Ok(orders)
}

/// The words of each text's pieces between punctuation.
#[pyfunction]
pub fn phrase_pieces(
    texts: &Bound<'_, PyAny>,
    languages: &Bound<'_, PyAny>,
) -> PyResult<Vec<Vec<Vec<String>>>> {
    let answers = Answers::new("texts", texts, languages)?;
    let mut cutter = Cutter::default();
    Ok(answers.said()?.into_iter().map(|said| phrases::pieces(&mut cutter, said)).collect())
}

/// The sums of columns over groups `[groups, columns]`, as many drawn with replacement: `[draws, columns]`.
#[pyfunction]
pub fn resampled_sums<'py>(
    py: Python<'py>,
    sums: PyReadonlyArray2<'py, f64>,
    draws: usize,
    seed: u64,
    threads: Option<usize>,
) -> PyResult<Bound<'py, PyArray2<f64>>> {
    let (values, columns) = (sums.as_slice()?, sums.shape()[1]);
    let work = |stop: &AtomicBool| bootstrap::resampled_sums(values, columns, draws, seed, stop);
    PyArray1::from_vec(py, run(py, threads, work)?).reshape([draws, columns])
}
