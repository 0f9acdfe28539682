//! How records were read: what was guessed, joined, left out or not used, how often, and where first.

use crate::records::fields::same;
use crate::records::record::{Event, Record};
use crate::stream::Place;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;

/// Names remembered of each kind: records may have any number.
const NAMES: usize = 64;

/// What a report says of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reading {
    /// Replies before the response: part of the prompt, and no rows of their own.
    pub earlier_replies: u64,
    /// What was joined or left out: `earlier_replies` and the names of [`Event`]s.
    pub events: Vec<Met>,
    /// Roles that are not TRL's own, and what they were taken for.
    pub roles: Vec<Met>,
    /// The fields that gave the group, where they were not named.
    pub groups: Vec<Met>,
    /// Labels of the language that name a programming language or a format, which says nothing.
    #[serde(default)]
    pub programming: Vec<Met>,
    /// Fields that were not used; `messages[].x` is a member of messages.
    pub unused: Vec<Met>,
    /// Whether there were more names than are remembered.
    pub more: bool,
}

/// Something that records have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Met {
    /// What.
    pub name: String,
    /// Of a role, what it was taken for; `None` if it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taken: Option<String>,
    /// How many records have it.
    pub records: u64,
    /// The file of the first that has it.
    pub file: String,
    /// The first that has it: its number in the file, from 0.
    pub row: u64,
}

/// The same while it is counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counts {
    earlier_replies: u64,
    earlier: Seen,
    /// By number of the event.
    events: [Seen; Event::ALL.len()],
    roles: Names,
    groups: Names,
    programming: Names,
    unused: Names,
}

/// How many records have something, and the first that has it: its file and its number there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Seen {
    records: u64,
    file: u32,
    row: u64,
}

impl Seen {
    fn once(place: &Place) -> Self {
        Self { records: 1, file: place.file, row: place.row }
    }

    /// Adds what comes later.
    fn add(&mut self, later: Self) {
        let records = self.records + later.records;
        *self = Self { records, ..if self.records == 0 { later } else { *self } };
    }
}

/// Names, in the order in which they were met first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Names {
    names: Vec<Name>,
    /// Whether others were met when there was no more room.
    more: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Name {
    /// Of a role, what it was taken for; of a message's member, the list.
    of: String,
    name: String,
    seen: Seen,
}

impl Names {
    /// `likely`: where it is, if records are alike.
    fn add(&mut self, likely: usize, of: &str, name: &str, seen: Seen) {
        let is = |known: &Name| {
            same(known.name.as_bytes(), name.as_bytes()) && same(known.of.as_bytes(), of.as_bytes())
        };
        if let Some(known) = self.names.get_mut(likely).filter(|known| is(known)) {
            known.seen.add(seen);
            return;
        }
        match self.names.iter().position(is) {
            Some(known) => self.names[known].seen.add(seen),
            None if self.names.len() < NAMES => {
                self.names.push(Name { of: of.to_owned(), name: name.to_owned(), seen });
            }
            None => self.more = true,
        }
    }

    fn merge(&mut self, other: Self) {
        self.more |= other.more;
        for (at, name) in other.names.into_iter().enumerate() {
            self.add(at, &name.of, &name.name, name.seen);
        }
    }
}

/// Our name for the replies before the response.
const EARLIER: &str = "earlier_replies";

impl Counts {
    /// Counts a record. `ours`: fields that are made anew, so that nobody misses them; `parted`: whether every reply is
    /// a row.
    pub fn add(&mut self, record: &Record<'_>, place: &Place, ours: &HashSet<String>, parted: bool) {
        let seen = Seen::once(place);
        let earlier = record.prompt.iter().filter(|message| message.role == "assistant").count() as u64;
        if earlier > 0 && !parted {
            self.earlier_replies += earlier;
            self.earlier.add(seen);
        }
        let notes = &record.notes;
        for event in notes.events.iter() {
            self.events[event as usize].add(seen);
        }
        for (at, role) in notes.roles.iter().enumerate() {
            self.roles.add(at, role.taken, role.role, seen);
        }
        if let Some(field) = notes.group {
            self.groups.add(0, "", field, seen);
        }
        for (at, unused) in notes.unused.iter().enumerate() {
            if !(unused.list.is_empty() && ours.contains(unused.name)) {
                self.unused.add(at, unused.list, unused.name, seen);
            }
        }
    }

    /// Counts a record whose label of the language names a programming language.
    pub fn programming(&mut self, label: &str, place: &Place) {
        self.programming.add(0, "", label.trim(), Seen::once(place));
    }

    /// Adds the counts of another part of the input, which comes later.
    pub fn merge(&mut self, other: Self) {
        self.earlier_replies += other.earlier_replies;
        self.earlier.add(other.earlier);
        self.events.iter_mut().zip(other.events).for_each(|(event, later)| event.add(later));
        self.roles.merge(other.roles);
        self.groups.merge(other.groups);
        self.programming.merge(other.programming);
        self.unused.merge(other.unused);
    }

    /// For a report; `file`: the name of a file of this number.
    pub fn report(&self, file: impl Fn(u32) -> String) -> Reading {
        let met = |(name, taken), seen: Seen| Met {
            name,
            taken,
            records: seen.records,
            file: file(seen.file),
            row: seen.row,
        };
        let sorted = |mut met: Vec<Met>| {
            met.sort_by_key(|met| std::cmp::Reverse(met.records));
            met
        };
        let all = |names: &Names, of: &dyn Fn(&Name) -> (String, Option<String>)| {
            sorted(names.names.iter().map(|known| met(of(known), known.seen)).collect())
        };
        let events = Event::ALL.into_iter().zip(self.events).map(|(event, seen)| (event.name(), seen));
        let events = [(EARLIER, self.earlier)].into_iter().chain(events).filter(|(_, seen)| seen.records > 0);
        let events = events.map(|(name, seen)| met((name.to_owned(), None), seen)).collect();
        let plain = |known: &Name| (known.name.clone(), None);
        let role = |known: &Name| (known.name.clone(), (known.of != known.name).then(|| known.of.clone()));
        let member = |known: &Name| match known.of.as_str() {
            "" => plain(known),
            list => (format!("{list}[].{}", known.name), None),
        };
        Reading {
            earlier_replies: self.earlier_replies,
            events: sorted(events),
            roles: all(&self.roles, &role),
            groups: all(&self.groups, &plain),
            programming: all(&self.programming, &plain),
            unused: all(&self.unused, &member),
            more: [&self.roles, &self.groups, &self.programming, &self.unused].iter().any(|names| names.more),
        }
    }
}

impl Reading {
    /// What of it may be wrong rather than only worth knowing, a line each.
    pub fn warnings(&self) -> Vec<String> {
        let place = |met: &Met| format!("the first: {}, row {}", met.file, met.row);
        let unknown = self.roles.iter().filter(|role| role.taken.is_none()).map(|role| {
            format!(
                "the role `{}` is not known, and stays as it is, in {} records ({}): say what it stands for with \
                 --role {}=ROLE",
                role.name,
                role.records,
                place(role),
                role.name
            )
        });
        let mismatch = self.events.iter().filter(|met| met.name == Event::OtherPrompt.name()).map(|met| {
            format!(
                "the rejected response answers another prompt than the chosen one in {} records ({}): it is left out, \
                 and they make no pairs",
                met.records,
                place(met)
            )
        });
        unknown.chain(mismatch).collect()
    }
}
