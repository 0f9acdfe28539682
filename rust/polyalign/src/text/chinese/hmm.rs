//! The hidden Markov model by which characters that are in no word of the dictionary are joined.
//!
//! It is stored as text, compressed with zstd: a line for each character from [`FIRST`] to [`LAST`], of which most are
//! not known. Of 一, which begins a word with probability e^−3.654, ends one with e^−6.045, and so on:
//! `BEGIN`, `END`, `MIDDLE` and `SINGLE` in millionths, parted by tabs; nothing where it never is so.

/// The first and last character the model covers.
pub(super) const FIRST: u16 = 0x4E00;
pub(super) const LAST: u16 = 0x9FD5;

/// The logarithm of an impossible emission.
const NEVER: f64 = -3.14e100;

/// Where in a word a character is: at its begin, its end, in its middle, or alone.
const BEGIN: usize = 0;
const END: usize = 1;
const MIDDLE: usize = 2;
const SINGLE: usize = 3;
const STATES: usize = 4;

const INITIAL: [f64; STATES] = [-0.26268660809250016, NEVER, NEVER, -1.4652633398537678];
const BEGIN_END: f64 = -0.510825623765990;
const BEGIN_MIDDLE: f64 = -0.916290731874155;
const MIDDLE_END: f64 = -0.33344856811948514;
const MIDDLE_MIDDLE: f64 = -1.2603623820268226;
const END_BEGIN: f64 = -0.5897149736854513;
const END_SINGLE: f64 = -0.8085250474669937;
const SINGLE_BEGIN: f64 = -0.7211965654669841;
const SINGLE_SINGLE: f64 = -0.6658631448798212;

/// By state: the logarithm of how often a character is seen in it.
pub(super) type Emissions = [f64; STATES];

/// Of a character the model does not know.
pub(super) const UNSEEN: Emissions = [NEVER; STATES];

/// The emissions of characters `FIRST` to `LAST`, in millionths and negated, 0 for none.
#[derive(Debug, PartialEq)]
pub(super) struct Model(Vec<[u32; STATES]>);

impl Model {
    /// Reads the text of the file; `None` if it isn't one.
    pub fn read(text: &str) -> Option<Model> {
        let model: Vec<_> = text.lines().map(numbers).collect::<Option<_>>()?;
        (model.len() == usize::from(LAST - FIRST) + 1).then_some(Model(model))
    }

    /// The emissions of a character; `None` of one the model does not know.
    pub fn emissions(&self, character: u16) -> Option<Emissions> {
        let numbers = self.0.get(usize::from(character.checked_sub(FIRST)?))?;
        let logarithm = |number| if number == 0 { NEVER } else { -(f64::from(number) / 1e6) };
        numbers.iter().any(|&number| number > 0).then(|| numbers.map(logarithm))
    }
}

/// The numbers of a line.
fn numbers(line: &str) -> Option<[u32; STATES]> {
    let mut fields =
        line.split('\t').map(|field| if field.is_empty() { Some(0) } else { field.parse().ok() });
    let mut numbers = [0; STATES];
    for number in &mut numbers {
        *number = fields.next()??;
    }
    fields.next().is_none().then_some(numbers)
}

/// Finds the words of a run by the most likely states: `ends` holds 1 where a word ends with a character.
///
/// Additions and the choice between equals (of the later state) are in jieba's order.
pub(super) fn ends(run: impl Iterator<Item = Emissions>, ends: &mut Vec<u8>) {
    ends.clear();
    let mut best = [0.0; STATES];
    for emissions in run {
        if ends.is_empty() {
            best = std::array::from_fn(|state| INITIAL[state] + emissions[state]);
            ends.push(0);
            continue;
        }
        let [begin, end, middle, single] = best;
        let ways = [
            (end + END_BEGIN, single + SINGLE_BEGIN),
            (begin + BEGIN_END, middle + MIDDLE_END),
            (begin + BEGIN_MIDDLE, middle + MIDDLE_MIDDLE),
            (end + END_SINGLE, single + SINGLE_SINGLE),
        ];
        let mut later = 0;
        for state in 0..STATES {
            let (first, second) = (ways[state].0 + emissions[state], ways[state].1 + emissions[state]);
            let first_is_best = first > second;
            best[state] = if first_is_best { first } else { second };
            later |= u8::from(!first_is_best) << state;
        }
        ends.push(later);
    }
    trace(if best[END] > best[SINGLE] { END } else { SINGLE }, ends);
}

/// Follows the choices back from the last state; puts whether a word ends in their places.
fn trace(mut state: usize, choices: &mut [u8]) {
    const BEFORE: [[usize; 2]; STATES] = [[END, SINGLE], [BEGIN, MIDDLE], [BEGIN, MIDDLE], [END, SINGLE]];
    for choice in choices.iter_mut().rev() {
        let later = *choice >> state & 1;
        *choice = u8::from(matches!(state, END | SINGLE));
        state = BEFORE[state][usize::from(later)];
    }
}

#[cfg(test)]
pub(super) mod write {
    use super::{FIRST, LAST, Model, STATES};

    /// The model in jieba's file `hmm.model`.
    pub fn model(text: &str) -> Model {
        let mut model = vec![[0; STATES]; usize::from(LAST - FIRST) + 1];
        let lines = text.lines().filter(|line| !line.starts_with('#')).skip(1 + STATES);
        for (state, line) in lines.enumerate() {
            for pair in line.split(',') {
                let (character, number) = pair.split_once(':').expect("a character and a number");
                let character = character.encode_utf16().next().expect("a character");
                if (FIRST..=LAST).contains(&character) {
                    let number = number.replace(['-', '.'], "").parse().expect("six decimals");
                    model[usize::from(character - FIRST)][state] = number;
                }
            }
        }
        Model(model)
    }

    impl Model {
        /// The text that the model is read from.
        pub fn write(&self) -> String {
            let field = |&number: &u32| if number == 0 { String::new() } else { number.to_string() };
            self.0.iter().map(|numbers| numbers.each_ref().map(field).join("\t") + "\n").collect()
        }
    }
}
