//! Counts without those of one response: what the rest of the corpus says of it.

use super::counter::spell;
use super::cut::{Cutter, views};
use super::keys::{ANY, END, History, Levels, View, gram};
use super::table::{Counts, Following, Index};
use crate::Result;
use crate::error::unless_stopped;
use crate::features::Language;
use std::collections::HashMap;
use std::sync::atomic::AtomicBool;

/// What is left of an index without a response's own counts.
pub(super) struct LeftOut<'a> {
    index: &'a Index,
    own: HashMap<u64, u32>,
    /// By context.
    contexts: HashMap<u64, Following>,
}

impl<'a> LeftOut<'a> {
    /// Leaves a response out that was counted once in these levels.
    ///
    /// # Errors
    /// [`Interrupted`](crate::Error::Interrupted) soon after `stop` is set.
    pub fn new(
        index: &'a Index,
        text: &str,
        levels: &Levels,
        language: Language,
        cutter: &mut Cutter,
        stop: &AtomicBool,
    ) -> Result<Self> {
        let mut own: HashMap<u64, u32> = HashMap::new();
        let mut leave_out = |key: u64| *own.entry(key).or_default() += 1;
        for &view in views(language) {
            let mut history = History::new();
            let mut token = |token: u64, lower: Option<&str>| {
                levels.alone(view).for_each(|context| leave_out(gram(context, token)));
                levels
                    .longer(view, &history)
                    .iter()
                    .for_each(|longer| leave_out(gram(longer.context, token)));
                if let Some(lower) = lower {
                    spell(levels.language(), lower, &mut leave_out);
                }
                history.push(token);
            };
            let mut at = 0;
            while at < text.len() {
                unless_stopped(stop)?;
                at = cutter.part(text, at, language, view);
                for of in cutter.tokens() {
                    token(of.id, (view == View::Words).then(|| cutter.lower(of)));
                }
            }
            token(END, None);
        }
        let mut contexts: HashMap<u64, Following> = HashMap::new();
        for (&key, &count) in &own {
            let there = index.count(key);
            let following = contexts.entry(key | ANY).or_default();
            following.count = following.count.saturating_add(count.min(there));
            following.types += u32::from(there > 0 && there <= count);
        }
        Ok(Self { index, own, contexts })
    }
}

impl Counts for LeftOut<'_> {
    fn count(&self, key: u64) -> u32 {
        self.index.count(key).saturating_sub(self.own.get(&key).copied().unwrap_or(0))
    }

    fn following(&self, context: u64) -> Following {
        let all = self.index.following(context);
        let own = self.contexts.get(&context).copied().unwrap_or_default();
        Following { count: all.count.saturating_sub(own.count), types: all.types.saturating_sub(own.types) }
    }

    fn holds(&self, context: u64) -> bool {
        self.index.holds(context)
    }

    fn touch(&self, _: u64) {}
}
