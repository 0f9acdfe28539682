//! From a record's fields to its prompt, response and labels: the shapes' rules, written once for
//! JSON and for tables.

use super::fields::{Field, Label, Plan, own};
use super::record::{Event, Events, Message, Notes, Record, Reject, RejectKind, RoleTaken, Unused};
use super::roles::{ROLES, is_known_role, map_role};
use super::shape::{FieldSpec, Shape};
use crate::error::shown;
use crate::text;
use bumpalo::Bump;
use bumpalo::collections::{String as ArenaString, Vec as ArenaVec};

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Null,
    Bool,
    Integer,
    Float,
    Text,
    List,
    Object,
    /// Nothing that a record is made of: only in tables.
    Other,
    /// Text that should be JSON and is not: only in tables.
    Broken,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool => "a boolean",
            Self::Integer | Self::Float => "a number",
            Self::Text => "text",
            Self::List => "a list",
            Self::Object => "an object",
            Self::Other => "of another type",
            Self::Broken => "not valid JSON",
        }
    }
}

/// A value of a record, wherever it lies.
pub(crate) trait Node<'a>: Copy {
    /// A member's key; equal to the name it says.
    type Key: Key<'a>;
    fn kind(self) -> Kind;
    /// Byte offset in the record (0 where there is none).
    fn offset(self) -> usize;
    /// Of [`Kind::Text`] only: the text.
    fn text(self, arena: &'a Bump) -> Result<&'a str, Reject>;
    /// Of [`Kind::Text`] only: appends the text.
    fn push_text(self, text: &mut ArenaString<'a>) -> Result<(), Reject>;
    /// Of booleans and numbers only: as the record writes them.
    fn scalar(self, arena: &'a Bump) -> &'a str;
    /// Of [`Kind::List`] only.
    fn elements(self) -> impl Iterator<Item = Self>;
    /// Of [`Kind::Object`] only.
    fn members(self) -> impl Iterator<Item = (Self::Key, Self)>;
}

/// A member's key, equal to the name it says.
pub(crate) trait Key<'a>: PartialEq<str> + Copy {
    /// As the record has it, for people.
    fn shown(self) -> &'a str;
}

/// A record's top-level values by slot.
pub(crate) trait Source<'a> {
    type Node: Node<'a>;
    fn slot(&self, slot: usize) -> Option<Self::Node>;
    /// The slots that have a value, a bit each; some may say more than there is.
    fn present(&self) -> u128;
    /// Calls `each` with the names of the values that are not null, but for those of the slots `used` (a bit each).
    fn others(&self, used: u128, each: &mut dyn FnMut(&'a str));
}

/// A message's keys: the shape's own, and what else is taken for them.
#[derive(Debug)]
pub(crate) struct Keys {
    role: [&'static str; 2],
    content: [&'static str; 3],
}

const CHAT: Keys = Keys { role: ["role", "from"], content: ["content", "value", "text"] };
const SHAREGPT: Keys = Keys { role: ["from", "role"], content: ["value", "content", "text"] };
const POLYALIGN: Keys = Keys { role: ["role", "from"], content: ["text", "content", "value"] };
/// Members of an assistant's message that stand for what it did instead of talking.
const CALLS: [&str; 2] = ["tool_calls", "function_call"];

/// What an exchange's members are called, where a list holds both messages of each as one object.
pub(crate) const PAIRS: [[&str; 2]; 4] =
    [["human", "assistant"], ["user", "assistant"], ["query", "response"], ["input", "output"]];

/// Whether a value is a list of messages, all of which say who talks.
pub(crate) fn is_chat<'a, N: Node<'a>>(node: N) -> bool {
    let is_message = |message: N| {
        message.kind() == Kind::Object
            && (MessageMembers::of(message, &CHAT, &mut |_, _| {}).is_ok_and(|members| {
                members.role.is_some_and(|role| role.kind() == Kind::Text) && members.content.is_some()
            }) || Exchange::of(message).is_some())
    };
    node.kind() == Kind::List && node.elements().next().is_some() && node.elements().all(is_message)
}

/// A list of messages that was read, for telling what of it was not.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReadList {
    pub slot: usize,
    pub keys: &'static Keys,
    /// Messages from here on were not used.
    pub used: usize,
    /// Whether anything of it was not used.
    pub rest: bool,
}

/// A record, and which of its top-level fields it holds.
pub(crate) struct Assembled<'a> {
    pub record: Record<'a>,
    /// One bit a slot: read, and wholly in `record` but for `lists`.
    pub consumed: u128,
    pub lists: [Option<ReadList>; 3],
}

/// Reads a record.
pub(crate) fn assemble<'a, S: Source<'a>>(
    plan: &Plan,
    source: &S,
    arena: &'a Bump,
) -> Result<Assembled<'a>, Reject> {
    let mut reader = Reader {
        plan,
        source,
        arena,
        present: source.present(),
        consumed: 0,
        used: 0,
        lists: [None; 3],
        events: Events::default(),
        roles: ArenaVec::new_in(arena),
        unused: ArenaVec::new_in(arena),
    };
    let (mut record, group) = reader.record().map_err(|reject| reader.named_by_id(reject))?;
    let (consumed, lists) = (reader.consumed, reader.lists);
    record.notes = reader.notes(group);
    Ok(Assembled { record, consumed, lists })
}

type Turns<'a> = ArenaVec<'a, Message<'a>>;

/// A value that was found, and its slot if it is all of that slot.
struct Found<N> {
    node: N,
    whole: Option<usize>,
    /// The slot that it is in.
    slot: usize,
}

/// A list of messages up to its last assistant message.
struct Dialogue<'a> {
    before: &'a [Message<'a>],
    response: Message<'a>,
    offset: usize,
}

struct Reader<'a, 'p, S> {
    plan: &'p Plan,
    source: &'p S,
    arena: &'a Bump,
    /// One bit a slot: there is something.
    present: u128,
    consumed: u128,
    /// One bit a slot: read, if only in part.
    used: u128,
    lists: [Option<ReadList>; 3],
    events: Events,
    roles: ArenaVec<'a, RoleTaken<'a>>,
    unused: ArenaVec<'a, Unused<'a>>,
}

fn blank(text: &str) -> bool {
    !text.as_bytes().first().is_some_and(u8::is_ascii_graphic) && text.trim().is_empty()
}

fn reject(kind: RejectKind, offset: usize, reason: String) -> Reject {
    Reject { kind, reason, offset, id: None }
}

#[cold]
fn wrong<'a>(node: impl Node<'a>, place: &str, expected: &str) -> Reject {
    reject(
        RejectKind::Type,
        node.offset(),
        format!("`{place}` is {}, expected {expected}", node.kind().name()),
    )
}

fn last_assistant(turns: &[Message<'_>]) -> Option<usize> {
    turns.iter().rposition(|turn| turn.role == "assistant")
}

impl<'a, S: Source<'a>> Reader<'a, '_, S> {
    /// The record, and the field that gave its group where that was found.
    fn record(&mut self) -> Result<(Record<'a>, Option<&'static str>), Reject> {
        let mut record = self.conversation()?;
        self.system(&mut record)?;
        let group = self.labels(&mut record)?;
        Ok((record, group))
    }

    /// A reject with the record's id, where there is one that can be read.
    #[cold]
    fn named_by_id(&mut self, reject: Reject) -> Reject {
        let id = self.label(&self.plan.id, Accepts::Names, true).ok().flatten();
        Reject { id: id.map(|said| said.text.into()), ..reject }
    }

    // ---- prompt and response ----

    fn conversation(&mut self) -> Result<Record<'a>, Reject> {
        match (&self.plan.prompt, &self.plan.response) {
            (None, None) => self.by_shape(),
            (prompt, response) => self.by_fields(prompt.as_ref(), response.as_ref()),
        }
    }

    /// The shape's own prompt and response.
    fn by_shape(&mut self) -> Result<Record<'a>, Reject> {
        match self.plan.shape {
            Some(Shape::Messages) => self.dialogue_record(own::MESSAGES, &CHAT),
            Some(Shape::ShareGpt) => self.dialogue_record(own::CONVERSATIONS, &SHAREGPT),
            Some(Shape::Preference) => self.preference(None, None),
            _ => {
                let response = self.own_response()?;
                let prompt = self.own_prompt()?;
                self.join(prompt, response)
            }
        }
    }

    /// A prompt and a response of which at least one is a field that the user named.
    fn by_fields(&mut self, prompt: Option<&Field>, response: Option<&Field>) -> Result<Record<'a>, Reject> {
        if self.plan.shape == Some(Shape::Preference) {
            return self.preference(prompt, response);
        }
        let response = match response {
            Some(field) => {
                let found = self.named(field)?;
                self.response(&field.path, found)?
            }
            None => self.own_response()?,
        };
        let prompt = match prompt {
            Some(field) => {
                let found = self.named(field)?;
                let conversation = self.prompt(&field.path, found, &CHAT)?;
                self.question_of(&field.path, conversation, &response)?
            }
            None => self.own_prompt()?,
        };
        self.join(prompt, response)
    }

    fn dialogue_record(&mut self, slot: usize, keys: &'static Keys) -> Result<Record<'a>, Reject> {
        let dialogue = match &self.plan.messages {
            Some(field) => {
                let found = self.named(field)?;
                self.dialogue(&field.path, found, keys)?
            }
            None => {
                let found = self.required(slot, false)?;
                self.dialogue(own::NAMES[slot], found, keys)?
            }
        };
        self.join(&[], dialogue)
    }

    fn preference(&mut self, prompt: Option<&Field>, response: Option<&Field>) -> Result<Record<'a>, Reject> {
        let plan = self.plan;
        let (place, chosen) = match response {
            Some(field) => (field.path.as_str(), self.named(field)?),
            None => ("chosen", self.required(own::CHOSEN, true)?),
        };
        let (rejected_place, rejected) = match &plan.rejected {
            Some(field) => (field.path.as_str(), self.named(field)?),
            None => ("rejected", self.required(own::REJECTED, false)?),
        };
        let offset = chosen.node.offset();
        let chosen = self.response(place, chosen)?;
        let prompt = match prompt {
            Some(field) => {
                let found = self.named(field)?;
                let conversation = self.prompt(&field.path, found, &CHAT)?;
                self.question_of(&field.path, conversation, &chosen)?
            }
            None => self.preference_prompt(&chosen, offset)?,
        };
        let mut record = self.join(prompt, chosen)?;
        let (whole, rejected) = (rejected.whole, self.response(rejected_place, rejected)?);
        if ends_alike(record.prompt, rejected.before) {
            record.rejected = Some(rejected.response);
        } else {
            // It answers something else, so that the two make no pair: it stays where it was.
            self.events.add(Event::OtherPrompt);
            self.keep(whole);
        }
        Ok(record)
    }

    /// The prompt of a preference: the field of that name, else what `chosen` brings along, else another field that
    /// may hold one.
    fn preference_prompt(
        &mut self,
        chosen: &Dialogue<'a>,
        offset: usize,
    ) -> Result<&'a [Message<'a>], Reject> {
        if let Some(found) = self.own(own::PROMPT).filter(|found| found.node.kind() != Kind::Null) {
            return self.prompt("prompt", found, &CHAT);
        }
        if chosen.before.iter().any(|message| message.role == "user") {
            return Ok(&[]);
        }
        for (slot, keys) in [(own::CONVERSATIONS, &SHAREGPT), (own::MESSAGES, &CHAT)] {
            if let Some(found) = self.own(slot).filter(|found| found.node.kind() == Kind::List) {
                let conversation = self.prompt(own::NAMES[slot], found, keys)?;
                return self.question_of(own::NAMES[slot], conversation, chosen);
            }
        }
        for [first, second] in [[own::INSTRUCTION, self.input()], [own::CONTEXT, own::QUESTION]] {
            if [first, second].iter().any(|&slot| self.source.slot(slot).is_some()) {
                let turns = self.history(true)?;
                return self.question(first, second, turns);
            }
        }
        if self.own(own::PROMPT).is_some() || !chosen.before.is_empty() {
            return Ok(&[]);
        }
        let chosen = chosen.response.content;
        let reason = match chosen.trim_start().starts_with("Human:") && chosen.contains("Assistant:") {
            true => {
                "`chosen` is a conversation written as one text (Human:, Assistant:): make lists of messages of it first"
            }
            false => "`chosen` is one reply and there is no `prompt`: name it with --prompt-field",
        };
        Err(reject(RejectKind::Shape, offset, reason.to_owned()))
    }

    /// Where the second part of an instruction stands.
    fn input(&self) -> usize {
        let beside = self.source.slot(own::CONTEXT).filter(|node| node.kind() == Kind::Text);
        if beside.is_some() && self.source.slot(own::INPUT).is_none() { own::CONTEXT } else { own::INPUT }
    }

    /// The prompt of a shape that has a field for it (or several).
    fn own_prompt(&mut self) -> Result<&'a [Message<'a>], Reject> {
        match self.plan.shape {
            Some(Shape::Messages) => self.own_prompt_field(own::MESSAGES, &CHAT),
            Some(Shape::ShareGpt) => self.own_prompt_field(own::CONVERSATIONS, &SHAREGPT),
            Some(Shape::Alpaca) => {
                self.any_of(&[own::INSTRUCTION, own::INPUT, own::HISTORY])?;
                let turns = self.history(true)?;
                self.question(own::INSTRUCTION, self.input(), turns)
            }
            Some(Shape::PolyAlign) => {
                self.any_of(&[own::QUESTION, own::CONTEXT, own::DIALOGUE_HISTORY])?;
                let mut turns = Turns::with_capacity_in(8, self.arena);
                if let Some(found) = self.own(own::DIALOGUE_HISTORY) {
                    self.messages("dialogue_history", found, &POLYALIGN, &mut turns)?;
                }
                self.question(own::CONTEXT, own::QUESTION, turns)
            }
            _ => self.own_prompt_field(own::PROMPT, &CHAT),
        }
    }

    fn own_prompt_field(&mut self, slot: usize, keys: &'static Keys) -> Result<&'a [Message<'a>], Reject> {
        if self.plan.spec.lenient && self.own(slot).is_none() {
            return Ok(&[]);
        }
        let found = self.required(slot, false)?;
        self.prompt(own::NAMES[slot], found, keys)
    }

    /// The response of a shape that has a field for it.
    fn own_response(&mut self) -> Result<Dialogue<'a>, Reject> {
        let slot = match self.plan.shape {
            Some(Shape::Messages) => own::MESSAGES,
            Some(Shape::ShareGpt) => own::CONVERSATIONS,
            Some(Shape::Alpaca) => own::OUTPUT,
            Some(Shape::PolyAlign) => own::HUMAN_ANSWER,
            Some(Shape::Preference) => own::CHOSEN,
            Some(Shape::PromptCompletion) | None => own::COMPLETION,
        };
        let found = self.required(slot, true)?;
        self.response(own::NAMES[slot], found)
    }

    /// A response: text, or messages of which the last by the assistant is the response.
    fn response(&mut self, place: &str, found: Found<S::Node>) -> Result<Dialogue<'a>, Reject> {
        let node = found.node;
        match node.kind() {
            Kind::Null => Err(reject(RejectKind::NoResponse, node.offset(), format!("`{place}` is null"))),
            Kind::Text => {
                self.consume(found.whole);
                let response = Message { role: "assistant", content: node.text(self.arena)? };
                Ok(Dialogue { before: &[], response, offset: node.offset() })
            }
            Kind::List => {
                let keys = if place == "conversations" { &SHAREGPT } else { &CHAT };
                self.dialogue(place, found, keys)
            }
            Kind::Object => {
                let read = self.message(place, None, node, &CHAT)?;
                let Some(content) = read.content else {
                    return Err(reject(RejectKind::NoResponse, node.offset(), says_nothing(place)));
                };
                if read.role != "assistant" {
                    let role = shown(read.role);
                    let reason =
                        format!("`{place}` is a message of the role `{role}`, expected the assistant's");
                    return Err(reject(RejectKind::NoResponse, node.offset(), reason));
                }
                self.used |= 1 << found.slot;
                if !read.rest {
                    self.consume(found.whole);
                }
                let response = Message { role: read.role, content };
                Ok(Dialogue { before: &[], response, offset: node.offset() })
            }
            _ => Err(wrong(node, place, "text or messages")),
        }
    }

    /// A prompt: text, or messages.
    fn prompt(
        &mut self,
        place: &str,
        found: Found<S::Node>,
        keys: &'static Keys,
    ) -> Result<&'a [Message<'a>], Reject> {
        let mut turns = Turns::with_capacity_in(8, self.arena);
        match found.node.kind() {
            Kind::Null => self.consume(found.whole),
            Kind::Text => {
                self.consume(found.whole);
                let content = found.node.text(self.arena)?;
                if self.source.slot(own::HISTORY).is_some() {
                    turns = self.history(false)?;
                }
                if !blank(content) {
                    turns.push(Message { role: "user", content });
                }
            }
            Kind::List => {
                self.messages(place, found, keys, &mut turns)?;
            }
            _ => return Err(wrong(found.node, place, "text or a list of messages")),
        }
        Ok(turns.into_bump_slice())
    }

    /// Text in one or two fields, joined by a blank line into one user message after `turns`.
    fn question(
        &mut self,
        first: usize,
        second: usize,
        mut turns: Turns<'a>,
    ) -> Result<&'a [Message<'a>], Reject> {
        let mut parts: [Option<S::Node>; 2] = [None; 2];
        for (part, slot) in parts.iter_mut().zip([first, second]) {
            let Some(found) = self.own(slot) else { continue };
            self.consume(found.whole);
            match found.node.kind() {
                Kind::Null => {}
                Kind::Text => *part = Some(found.node),
                _ => return Err(wrong(found.node, own::NAMES[slot], "text")),
            }
        }
        let texts = [self.part(parts[0])?, self.part(parts[1])?];
        let content = match texts {
            [Some(first), Some(second)] => {
                self.events.add(Event::Joined);
                let mut text = ArenaString::with_capacity_in(first.len() + 2 + second.len(), self.arena);
                text.push_str(first);
                text.push_str("\n\n");
                text.push_str(second);
                text.into_bump_str()
            }
            [Some(text), None] | [None, Some(text)] => text,
            [None, None] => return Ok(turns.into_bump_slice()),
        };
        turns.push(Message { role: "user", content });
        Ok(turns.into_bump_slice())
    }

    fn part(&self, node: Option<S::Node>) -> Result<Option<&'a str>, Reject> {
        let text = node.map(|node| node.text(self.arena)).transpose()?;
        Ok(text.filter(|text| !blank(text)))
    }

    /// Puts a prompt before a response.
    fn join(&mut self, prompt: &'a [Message<'a>], response: Dialogue<'a>) -> Result<Record<'a>, Reject> {
        let thinking = check_response(response.response.content, &self.plan.spec)
            .map_err(|reason| reject(RejectKind::NoResponse, response.offset, reason.to_owned()))?;
        let prompt = self.without_answer(prompt, &response);
        let prompt = self.before(prompt, response.before, response.offset)?;
        Ok(Record { prompt, response: response.response, thinking, ..Record::default() })
    }

    /// A prompt that holds its own response, without that.
    fn without_answer(&mut self, prompt: &'a [Message<'a>], response: &Dialogue<'a>) -> &'a [Message<'a>] {
        match prompt.split_last() {
            Some((last, question))
                if last.role == "assistant"
                    && !question.is_empty()
                    && alike(last.content, response.response.content) =>
            {
                self.events.add(Event::Once);
                question
            }
            _ => prompt,
        }
    }

    /// As [`without_answer`](Self::without_answer), for a conversation that is no prompt by its name: it may end in no
    /// other reply, or there would be two in a row.
    fn question_of(
        &mut self,
        place: &str,
        conversation: &'a [Message<'a>],
        response: &Dialogue<'a>,
    ) -> Result<&'a [Message<'a>], Reject> {
        let prompt = self.without_answer(conversation, response);
        if self.plan.spec.lenient || prompt.last().is_none_or(|message| message.role != "assistant") {
            return Ok(prompt);
        }
        let reason = format!(
            "`{place}` ends in a reply that is not the response: either that reply is the response \
             (--messages-field {place}), or it should not be in the prompt"
        );
        Err(reject(RejectKind::Ambiguous, response.offset, reason))
    }

    /// What comes before a response that brought messages along: what both hold is there once.
    fn before(
        &mut self,
        prompt: &'a [Message<'a>],
        along: &'a [Message<'a>],
        offset: usize,
    ) -> Result<&'a [Message<'a>], Reject> {
        if prompt.is_empty() || along.is_empty() {
            return Ok(if prompt.is_empty() { along } else { prompt });
        }
        if holds(along, prompt) {
            self.events.add(Event::Once);
            return Ok(along);
        }
        if ends_alike(prompt, along) {
            self.events.add(Event::Once);
            return Ok(prompt);
        }
        if !goes_on(prompt, along) {
            let reason = format!(
                "the prompt is not in the conversation beside it, and can't come before it: it ends in `{}` and that \
                 begins with `{}`; if the conversation is whole, name it with --messages-field",
                shown(prompt[prompt.len() - 1].role),
                shown(along[0].role)
            );
            return Err(reject(RejectKind::Ambiguous, offset, reason));
        }
        self.events.add(Event::After);
        let mut turns = Turns::with_capacity_in(prompt.len() + along.len(), self.arena);
        turns.extend_from_slice_copy(prompt);
        turns.extend_from_slice_copy(along);
        Ok(turns.into_bump_slice())
    }

    /// Puts the record's own system message first, unless the conversation has one.
    fn system(&mut self, record: &mut Record<'a>) -> Result<(), Reject> {
        let plan = self.plan;
        let (used, consumed) = (self.used, self.consumed);
        let Some(Said { text: content, .. }) = self.label(&plan.system, Accepts::Text, true)? else {
            return Ok(());
        };
        match record.prompt.iter().find(|message| message.role == "system") {
            Some(own) if alike(own.content, content) => {}
            // The conversation's own says more of it.
            Some(_) => (self.used, self.consumed) = (used, consumed),
            None => {
                self.events.add(Event::System);
                let mut turns = Turns::with_capacity_in(record.prompt.len() + 1, self.arena);
                turns.push(Message { role: "system", content });
                turns.extend_from_slice_copy(record.prompt);
                record.prompt = turns.into_bump_slice();
            }
        }
        Ok(())
    }

    /// What is worth saying of how the record was read.
    fn notes(self, group: Option<&'static str>) -> Notes<'a> {
        let Self { source, events, roles, mut unused, .. } = self;
        if !self.plan.spec.lenient {
            source.others(self.used, &mut |name| unused.push(Unused { list: "", name }));
        }
        Notes { events, roles: roles.into_bump_slice(), unused: unused.into_bump_slice(), group }
    }

    // ---- lists of messages ----

    /// A list of messages, of which the last by the assistant is the response.
    fn dialogue(
        &mut self,
        place: &str,
        found: Found<S::Node>,
        keys: &'static Keys,
    ) -> Result<Dialogue<'a>, Reject> {
        let (offset, whole) = (found.node.offset(), found.whole);
        let mut turns = Turns::with_capacity_in(8, self.arena);
        let list = self.messages(place, found, keys, &mut turns)?;
        let turns: &'a [Message<'a>] = turns.into_bump_slice();
        let unknown = |message: &&Message<'_>| !is_known_role(message.role);
        let Some(last) = last_assistant(turns) else {
            let role = turns.iter().find(unknown);
            let hint = role.map_or_else(String::new, |message| {
                let role = shown(message.role);
                format!("; if `{role}` is the assistant, --role {role}=assistant")
            });
            return Err(reject(
                RejectKind::NoResponse,
                offset,
                format!("`{place}` has no assistant message{hint}"),
            ));
        };
        if let Some(message) = turns[last + 1..].iter().find(unknown) {
            let role = shown(message.role);
            let reason = format!(
                "`{place}` ends with a message of the role `{role}`, which is not known: if it is the assistant's, it is \
                 the response, else the one before is; say which with --role {role}=ROLE"
            );
            return Err(reject(RejectKind::Ambiguous, offset, reason));
        }
        if last + 1 < turns.len() {
            self.events.add(Event::Trailing);
        }
        match list.and_then(|list| self.lists[list].as_mut()) {
            Some(list) => {
                list.used = last + 1;
                list.rest |= list.used < turns.len();
            }
            None if last + 1 < turns.len() => self.keep(whole),
            None => {}
        }
        Ok(Dialogue { before: &turns[..last], response: turns[last], offset })
    }

    /// Appends the messages of a list (or none, for null); where in `lists` that is noted.
    fn messages(
        &mut self,
        place: &str,
        found: Found<S::Node>,
        keys: &'static Keys,
        turns: &mut Turns<'a>,
    ) -> Result<Option<usize>, Reject> {
        let node = found.node;
        match node.kind() {
            Kind::List => {}
            Kind::Null => {
                self.consume(found.whole);
                return Ok(None);
            }
            _ => return Err(wrong(node, place, "a list of messages")),
        }
        let (mut rest, mut exchanges) = (false, false);
        let mut no_text = None;
        for (index, message) in node.elements().enumerate() {
            let read = self.message(place, Some(index), message, keys)?;
            rest |= read.rest;
            if read.content.is_none() {
                no_text = Some((index, turns.len(), message.offset()));
            }
            turns.push(Message { role: read.role, content: read.content.unwrap_or_default() });
            if let Some(reply) = read.reply {
                exchanges = true;
                turns.extend(reply.map(|content| Message { role: "assistant", content }));
            }
        }
        if let Some((index, turn, offset)) = no_text {
            let kind =
                if last_assistant(turns) == Some(turn) { RejectKind::NoResponse } else { RejectKind::Type };
            return Err(reject(kind, offset, says_nothing(&format!("{place}[{index}]"))));
        }
        self.consume(found.whole);
        let Some(slot) = found.whole else { return Ok(None) };
        if exchanges {
            if rest {
                self.keep(found.whole);
            }
            return Ok(None);
        }
        let free = self.lists.iter().position(Option::is_none);
        if let Some(free) = free {
            self.lists[free] = Some(ReadList { slot, keys, used: usize::MAX, rest });
        }
        Ok(free)
    }

    /// A message: `index` in the list `list`, or `list` itself.
    fn message(
        &mut self,
        list: &str,
        index: Option<usize>,
        node: S::Node,
        keys: &'static Keys,
    ) -> Result<ReadMessage<'a>, Reject> {
        let place = |member: &str| match index {
            Some(index) => format!("{list}[{index}]{member}"),
            None => format!("{list}{member}"),
        };
        if node.kind() != Kind::Object {
            return Err(wrong(node, &place(""), "a message with a role and content"));
        }
        let mut calls = false;
        let (unused, arena) = (&mut self.unused, self.arena);
        let mut other = |key: <S::Node as Node<'a>>::Key, value: S::Node| {
            if value.kind() == Kind::Null {
                return;
            }
            if CALLS.iter().any(|call| key == **call) {
                calls |= value.kind() != Kind::List || value.elements().next().is_some();
            }
            note_unused(unused, list, key, arena);
        };
        let members = MessageMembers::of(node, keys, &mut other).map_err(|key| {
            reject(RejectKind::Json, node.offset(), format!("`{}` has two `{key}`", place("")))
        })?;
        let role = match members.role {
            Some(role) if role.kind() == Kind::Text => {
                let role = role.text(self.arena)?;
                self.role(role)
            }
            Some(role) => return Err(wrong(role, &place(".role"), "text")),
            None => match Exchange::of(node).filter(|_| index.is_some()) {
                Some(exchange) => return self.exchange(list, node, &exchange),
                None => "",
            },
        };
        if role.is_empty() {
            return Err(reject(RejectKind::Type, node.offset(), format!("`{}` has no role", place(""))));
        }
        let mut rest = members.others > 0;
        let content = match members.content {
            None => None,
            Some(content) => match content.kind() {
                Kind::Null => None,
                Kind::Text => Some(content.text(self.arena)?),
                Kind::List => {
                    let (text, more) = self.parts(content, &|part| place(&format!(".content{part}")))?;
                    rest |= more;
                    Some(text)
                }
                _ => return Err(wrong(content, &place(".content"), "text or a list of text parts")),
            },
        };
        // A call in place of an answer is no text, whatever stands for none.
        let content = content.filter(|text| !(calls && blank(text)));
        if calls && content.is_some() {
            self.events.add(Event::Calls);
        }
        Ok(ReadMessage { role, content, rest, reply: None })
    }

    /// A message and the reply to it in one object.
    #[cold]
    fn exchange(
        &mut self,
        list: &str,
        node: S::Node,
        exchange: &Exchange<S::Node>,
    ) -> Result<ReadMessage<'a>, Reject> {
        self.unused.retain(|unused| unused.list != list || !exchange.names.contains(&unused.name));
        for (role, taken) in exchange.names.into_iter().zip(["user", "assistant"]) {
            let note = RoleTaken { role, taken };
            if role != taken && !self.roles.contains(&note) {
                self.roles.push(note);
            }
        }
        let text = |node: S::Node| (node.kind() == Kind::Text).then(|| node.text(self.arena)).transpose();
        let (content, reply) = (text(exchange.said)?, text(exchange.reply)?);
        let rest = node.members().count() > 2;
        Ok(ReadMessage { role: "user", content, rest, reply: Some(reply) })
    }

    /// A role under TRL's name, if it is known by another or the user said what it stands for; else as it stands.
    #[inline]
    fn role(&mut self, raw: &'a str) -> &'a str {
        if matches!(raw, "user" | "assistant" | "system" | "tool") && self.plan.spec.roles.is_empty() {
            return raw;
        }
        self.other_role(raw)
    }

    fn other_role(&mut self, raw: &'a str) -> &'a str {
        let role = raw.trim();
        let taken = match self.plan.spec.roles.get(role) {
            Some(said) => ROLES.iter().find(|known| *known == said).copied().unwrap_or(role),
            None => map_role(role),
        };
        let note = RoleTaken { role, taken };
        if (taken != role || !is_known_role(taken)) && !self.roles.contains(&note) {
            self.roles.push(note);
        }
        taken
    }

    /// The text of a content list's parts, and whether they say more than that.
    fn parts(&mut self, list: S::Node, place: &dyn Fn(&str) -> String) -> Result<(&'a str, bool), Reject> {
        let mut text: Option<ArenaString<'a>> = None;
        let mut first: Option<S::Node> = None;
        let mut more = false;
        for (index, part) in list.elements().enumerate() {
            let place = || place(&format!("[{index}]"));
            let (node, rest) = self.text_part(part, &place)?;
            more |= rest;
            match (first, &mut text) {
                (None, _) => first = Some(node),
                (Some(_), Some(text)) => node.push_text(text)?,
                (Some(first), none) => {
                    self.events.add(Event::Parts);
                    let mut joined = ArenaString::new_in(self.arena);
                    first.push_text(&mut joined)?;
                    node.push_text(&mut joined)?;
                    *none = Some(joined);
                }
            }
        }
        let text = match (text, first) {
            (Some(text), _) => text.into_bump_str(),
            (None, Some(only)) => only.text(self.arena)?,
            (None, None) => "",
        };
        Ok((text, more))
    }

    /// The text of one part, and whether the part says more than that.
    fn text_part(&self, part: S::Node, place: &dyn Fn() -> String) -> Result<(S::Node, bool), Reject> {
        if part.kind() != Kind::Object {
            return Err(wrong(part, &place(), "a text part"));
        }
        let (mut kind, mut text, mut value_text, mut rest) = (None, None, None, false);
        for (key, value) in part.members() {
            let member = match () {
                () if key == *"type" => &mut kind,
                () if key == *"text" => &mut text,
                () if key == *"value" => &mut value_text,
                () => {
                    rest |= value.kind() != Kind::Null;
                    continue;
                }
            };
            if member.replace(value).is_some() {
                return Err(reject(
                    RejectKind::Json,
                    part.offset(),
                    format!("`{}` has a key twice", place()),
                ));
            }
        }
        let kind = match kind {
            Some(kind) if kind.kind() == Kind::Text => kind.text(self.arena)?,
            _ => return Err(reject(RejectKind::Type, part.offset(), format!("`{}` has no type", place()))),
        };
        if kind != "text" {
            let (place, kind) = (place(), shown(kind));
            let reason = format!("`{place}` is of type `{kind}`: only text parts can be bucketed");
            return Err(reject(RejectKind::Type, part.offset(), reason));
        }
        let (text, spare) = first([text, value_text]);
        match text {
            Some(text) if text.kind() == Kind::Text => Ok((text, rest || spare > 0)),
            _ => Err(reject(RejectKind::Type, part.offset(), format!("`{}` has no text", place()))),
        }
    }

    /// What was said before a question: `history`, pairs of what the user and the assistant said, or messages. `own`:
    /// the shape has such a field; else what holds something else was not meant for us.
    fn history(&mut self, own: bool) -> Result<Turns<'a>, Reject> {
        let mut turns = Turns::with_capacity_in(8, self.arena);
        let found = self.own(own::HISTORY).filter(|found| own || is_history(found.node));
        if let Some(found) = found {
            if is_chat(found.node) {
                self.messages(own::NAMES[own::HISTORY], found, &CHAT, &mut turns)?;
            } else {
                self.pairs(found, &mut turns)?;
            }
        }
        Ok(turns)
    }

    /// Appends pairs of what the user and the assistant said.
    fn pairs(&mut self, found: Found<S::Node>, turns: &mut Turns<'a>) -> Result<(), Reject> {
        const EXPECTED: &str = "a list of [user, assistant] pairs of text";
        self.consume(found.whole);
        match found.node.kind() {
            Kind::Null => return Ok(()),
            Kind::List => {}
            _ => return Err(wrong(found.node, "history", EXPECTED)),
        }
        for (index, pair) in found.node.elements().enumerate() {
            let wrong_pair = || {
                let reason = format!("`history[{index}]` is not a [user, assistant] pair of text");
                reject(RejectKind::Type, pair.offset(), reason)
            };
            if pair.kind() != Kind::List {
                return Err(wrong_pair());
            }
            let mut texts = pair.elements();
            let (Some(user), Some(assistant), None) = (texts.next(), texts.next(), texts.next()) else {
                return Err(wrong_pair());
            };
            for (role, node) in [("user", user), ("assistant", assistant)] {
                if node.kind() != Kind::Text {
                    return Err(wrong_pair());
                }
                turns.push(Message { role, content: node.text(self.arena)? });
            }
        }
        Ok(())
    }

    // ---- finding fields ----

    fn own(&self, slot: usize) -> Option<Found<S::Node>> {
        self.source.slot(slot).map(|node| Found { node, whole: Some(slot), slot })
    }

    /// A field without which the record is of another shape, or has no response.
    fn required(&self, slot: usize, response: bool) -> Result<Found<S::Node>, Reject> {
        self.own(slot).ok_or_else(|| self.missing(own::NAMES[slot], response))
    }

    /// Refuses a record that has none of `slots`.
    fn any_of(&self, slots: &[usize]) -> Result<(), Reject> {
        let any = slots.iter().any(|&slot| self.source.slot(slot).is_some());
        if any { Ok(()) } else { Err(self.missing(own::NAMES[slots[0]], false)) }
    }

    #[cold]
    fn missing(&self, field: &str, response: bool) -> Reject {
        let has = |name: &str| {
            let slot = own::NAMES.iter().position(|own| *own == name);
            slot.is_some_and(|slot| self.source.slot(slot).is_some())
        };
        let Some(shape) = self.plan.shape else { return self.no_field(field) };
        if let Some(other) = Shape::of(has, &self.plan.spec).filter(|other| *other != shape) {
            return reject(
                RejectKind::Shape,
                0,
                format!("the record's shape is {other}, the corpus's is {shape}"),
            );
        }
        if response && shape.fields().iter().any(|field| has(field)) {
            return reject(RejectKind::NoResponse, 0, format!("there is no `{field}`"));
        }
        let reason =
            format!("there is no `{field}`, and the record has no known shape; the corpus's is {shape}");
        reject(RejectKind::Shape, 0, reason)
    }

    #[cold]
    fn no_field(&self, path: &str) -> Reject {
        let response = self.plan.response.as_ref().is_some_and(|field| field.path == path);
        let kind = if response { RejectKind::NoResponse } else { RejectKind::Shape };
        reject(kind, 0, format!("there is no `{path}`"))
    }

    /// A field that the user named.
    fn named(&mut self, field: &Field) -> Result<Found<S::Node>, Reject> {
        let found = self.find(field)?.ok_or_else(|| self.no_field(&field.path))?;
        self.used |= 1 << found.slot;
        Ok(found)
    }

    /// What a dotted path leads to.
    fn find(&self, field: &Field) -> Result<Option<Found<S::Node>>, Reject> {
        for (slot, rest) in &field.ways {
            let Some(node) = self.source.slot(*slot) else { continue };
            let Some(rest) = rest else {
                return Ok(Some(Found { node, whole: Some(*slot), slot: *slot }));
            };
            if let Some(node) = inside(node, rest, &field.path)? {
                return Ok(Some(Found { node, whole: None, slot: *slot }));
            }
        }
        Ok(None)
    }

    fn consume(&mut self, slot: Option<usize>) {
        if let Some(slot) = slot {
            self.consumed |= 1 << slot;
            self.used |= 1 << slot;
        }
    }

    /// Takes back [`consume`](Self::consume).
    fn keep(&mut self, slot: Option<usize>) {
        if let Some(slot) = slot {
            self.consumed &= !(1 << slot);
        }
    }

    // ---- labels ----

    /// Reads the labels; which guess gave the group.
    fn labels(&mut self, record: &mut Record<'a>) -> Result<Option<&'static str>, Reject> {
        let plan = self.plan;
        record.id = self.label(&plan.id, Accepts::Names, true)?.map(Said::text);
        record.language = self.label(&plan.language, Accepts::Text, true)?.map(Said::text);
        record.track = self.track(&plan.track)?;
        record.family = self.label(&plan.family, Accepts::Text, true)?.map(Said::text);
        record.source = self.label(&plan.source, Accepts::Scalars, false)?.map(Said::text);
        if !plan.custom.is_empty() {
            let mut custom = ArenaVec::with_capacity_in(plan.custom.len(), self.arena);
            for label in &plan.custom {
                custom.push(self.label(label, Accepts::Scalars, true)?.map(Said::text));
            }
            record.custom = custom.into_bump_slice();
        }
        let Some(said) = self.label(&plan.group, Accepts::Names, false)? else { return Ok(None) };
        record.group = Some(said.text);
        // What is not ours by name may mean more to others.
        if said.guess == 0 {
            self.consume(said.whole);
        }
        Ok(plan.group.guesses.get(said.guess).copied())
    }

    fn track(&mut self, label: &Label) -> Result<Option<&'a str>, Reject> {
        let before = (self.consumed, self.used);
        let Some(Said { text: track, .. }) = self.label(label, Accepts::Text, true)? else { return Ok(None) };
        for known in ["single", "multi"] {
            if track.trim().eq_ignore_ascii_case(known) {
                return Ok(Some(known));
            }
        }
        (self.consumed, self.used) = before;
        let offset = label.fields.iter().find_map(|field| self.find(field).ok().flatten());
        let reason = format!("the track is `{}`, expected `single` or `multi`", shown(track));
        Err(reject(RejectKind::Track, offset.map_or(0, |found| found.node.offset()), reason))
    }

    /// The first of a label's fields that says something. Missing, null and blank say nothing; neither does a guess
    /// that holds what no such label holds, for it was not meant for us.
    #[inline]
    fn label(&mut self, label: &Label, accepts: Accepts, consume: bool) -> Result<Option<Said<'a>>, Reject> {
        if label.slots & self.present == 0 { Ok(None) } else { self.said(label, accepts, consume) }
    }

    fn said(&mut self, label: &Label, accepts: Accepts, consume: bool) -> Result<Option<Said<'a>>, Reject> {
        for (guess, field) in label.fields.iter().enumerate() {
            if field.slots & self.present == 0 {
                continue;
            }
            let lenient = guess >= label.lenient;
            let found = match (&field.ways[..], lenient) {
                // Most fields are no paths.
                ([(slot, None)], _) => self.own(*slot),
                (_, false) => self.find(field)?,
                (_, true) => self.find(field).unwrap_or_default(),
            };
            let Some(found) = found else { continue };
            let node = found.node;
            let text = match node.kind() {
                Kind::Null => continue,
                Kind::Text => node.text(self.arena)?,
                kind if accepts.scalar(kind) => node.scalar(self.arena),
                _ if lenient => continue,
                _ => return Err(wrong(node, &field.path, accepts.expected())),
            };
            if blank(text) {
                continue;
            }
            self.used |= 1 << found.slot;
            if consume {
                self.consume(found.whole);
            }
            return Ok(Some(Said { text, guess, whole: found.whole }));
        }
        Ok(None)
    }
}

/// What a label's field said.
struct Said<'a> {
    text: &'a str,
    /// Which of the label's fields it was.
    guess: usize,
    /// Its slot, if it is all of that slot.
    whole: Option<usize>,
}

impl<'a> Said<'a> {
    fn text(self) -> &'a str {
        self.text
    }
}

/// What a label may be besides text.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Accepts {
    Text,
    /// Integers.
    Names,
    /// Numbers and booleans.
    Scalars,
}

impl Accepts {
    fn scalar(self, kind: Kind) -> bool {
        match self {
            Self::Text => false,
            Self::Names => kind == Kind::Integer,
            Self::Scalars => matches!(kind, Kind::Integer | Kind::Float | Kind::Bool),
        }
    }
    const fn expected(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Names => "text or an integer",
            Self::Scalars => "text, a number or a boolean",
        }
    }
}

struct ReadMessage<'a> {
    role: &'a str,
    content: Option<&'a str>,
    /// Whether the message says more than these.
    rest: bool,
    /// Of an exchange, the reply: none if it is null.
    reply: Option<Option<&'a str>>,
}

/// A message and the reply to it, as one object.
struct Exchange<N> {
    names: [&'static str; 2],
    said: N,
    reply: N,
}

impl<'a, N: Node<'a>> Exchange<N> {
    /// What is said is text; the reply may be null.
    fn of(node: N) -> Option<Self> {
        let member = |name: &str| {
            let mut found = node.members().filter(|(key, _)| *key == *name);
            found.next().map(|(_, value)| value).filter(|_| found.next().is_none())
        };
        PAIRS.into_iter().find_map(|names| {
            let (said, reply) = (member(names[0])?, member(names[1])?);
            let fits = said.kind() == Kind::Text && matches!(reply.kind(), Kind::Text | Kind::Null);
            fits.then_some(Self { names, said, reply })
        })
    }
}

/// Whether a value is pairs of texts, or messages.
fn is_history<'a, N: Node<'a>>(node: N) -> bool {
    let is_pair = |pair: N| {
        let texts = |pair: N| pair.elements().all(|text| text.kind() == Kind::Text);
        pair.kind() == Kind::List && pair.elements().count() == 2 && texts(pair)
    };
    node.kind() == Kind::List && node.elements().all(is_pair) || is_chat(node)
}

/// A message's members: its role and content under whichever key they stand, and how many others.
struct MessageMembers<N> {
    role: Option<N>,
    content: Option<N>,
    others: usize,
}

impl<N> MessageMembers<N> {
    /// Calls `other` with all other members. The error is a key that is there twice.
    fn of<'a>(message: N, keys: &Keys, other: &mut impl FnMut(N::Key, N)) -> Result<Self, &'static str>
    where
        N: Node<'a>,
    {
        let mut role: [Option<N>; 2] = [None; 2];
        let mut content: [Option<N>; 3] = [None; 3];
        let mut others = 0;
        for (key, value) in message.members() {
            let (name, place) = match () {
                () if key == *keys.role[0] => (keys.role[0], &mut role[0]),
                () if key == *keys.content[0] => (keys.content[0], &mut content[0]),
                () if key == *keys.role[1] => (keys.role[1], &mut role[1]),
                () if key == *keys.content[1] => (keys.content[1], &mut content[1]),
                () if key == *keys.content[2] => (keys.content[2], &mut content[2]),
                () => {
                    others += 1;
                    other(key, value);
                    continue;
                }
            };
            if place.replace(value).is_some() {
                return Err(name);
            }
        }
        let (role, spare_role) = first(role);
        let (content, spare_content) = first(content);
        Ok(Self { role, content, others: others + spare_role + spare_content })
    }
}

/// The first that is not null (else the first), and how many more there are.
#[inline]
fn first<'a, N: Node<'a>, const WAYS: usize>(ways: [Option<N>; WAYS]) -> (Option<N>, usize) {
    let there = || ways.iter().copied().flatten();
    if there().nth(1).is_none() {
        return (there().next(), 0);
    }
    let first = there().find(|way| way.kind() != Kind::Null).or_else(|| there().next());
    (first, there().count().saturating_sub(1))
}

/// Notes a member of a message that was not read, once a record.
fn note_unused<'a, K: Key<'a>>(unused: &mut ArenaVec<'a, Unused<'a>>, list: &str, key: K, arena: &'a Bump) {
    let name = key.shown();
    if !unused.iter().any(|known| known.name == name && known.list == list) {
        unused.push(Unused { list: arena.alloc_str(list), name });
    }
}

fn says_nothing(place: &str) -> String {
    format!("`{place}` has no text content (a tool call?)")
}

/// Whether two texts are the same but for white space.
fn alike(one: &str, other: &str) -> bool {
    one == other || one.split_whitespace().eq(other.split_whitespace())
}

/// Whether messages are the same but for white space.
fn all_alike(some: &[Message<'_>], others: &[Message<'_>]) -> bool {
    let same = |(one, other): (&Message<'_>, &Message<'_>)| {
        one.role == other.role && alike(one.content, other.content)
    };
    some.len() == others.len() && some.iter().zip(others).all(same)
}

fn ends_alike(messages: &[Message<'_>], end: &[Message<'_>]) -> bool {
    messages.len() >= end.len() && all_alike(&messages[messages.len() - end.len()..], end)
}

/// Whether `part` is somewhere in a conversation.
fn holds(messages: &[Message<'_>], part: &[Message<'_>]) -> bool {
    messages.windows(part.len()).any(|window| all_alike(window, part))
}

/// Whether a conversation can go on with `more`: who talks changes, and the system message comes first.
fn goes_on(messages: &[Message<'_>], more: &[Message<'_>]) -> bool {
    let is_system = |message: &Message<'_>| matches!(message.role, "system" | "developer");
    let (Some(last), Some(next)) = (messages.last(), more.first()) else { return true };
    if is_system(next) {
        return false;
    }
    messages.iter().all(is_system)
        || match last.role {
            "user" | "tool" => matches!(next.role, "assistant" | "tool"),
            "assistant" => matches!(next.role, "user" | "tool"),
            _ => false,
        }
}

/// Bytes of a response that are reasoning and don't count. Refuses a response of nothing; in words.
pub(super) fn check_response(content: &str, spec: &FieldSpec) -> Result<usize, &'static str> {
    let reasoning = if spec.keep_thinking { 0 } else { text::reasoning(content) };
    match blank(&content[reasoning..]) && !spec.lenient {
        true if reasoning > 0 => Err("the response is only reasoning"),
        true => Err("the response is empty"),
        false => Ok(reasoning),
    }
}

/// Whether a message's member is its role or its content, as [`assemble`] read them; `text`: the
/// content counts only if it is a string, for a part may say more than its text.
pub(crate) fn is_read_member<'a, N: Node<'a>>(message: N, keys: &Keys) -> impl Fn(usize) -> bool {
    let members = MessageMembers::of(message, keys, &mut |_, _| {}).ok();
    let role = members.as_ref().and_then(|members| members.role).map(Node::offset);
    let content = members.and_then(|members| members.content);
    let content = content.filter(|content| content.kind() == Kind::Text || plain_parts(*content));
    let content = content.map(Node::offset);
    move |offset| Some(offset) == role || Some(offset) == content
}

/// Whether a content list holds nothing but types and texts.
fn plain_parts<'a, N: Node<'a>>(content: N) -> bool {
    content.kind() == Kind::List
        && content.elements().all(|part| {
            let mut texts = 0;
            part.kind() == Kind::Object
                && part.members().filter(|(_, value)| value.kind() != Kind::Null).all(|(key, _)| {
                    let is_text = key == *"text" || key == *"value";
                    texts += usize::from(is_text);
                    key == *"type" || is_text && texts == 1
                })
        })
}

/// What `path` leads to within `node`: the whole path as one key first, then ever shorter heads.
fn inside<'a, N: Node<'a>>(node: N, path: &str, whole: &str) -> Result<Option<N>, Reject> {
    match node.kind() {
        Kind::Object => {}
        Kind::Null => return Ok(None),
        _ => {
            let head = &whole[..whole.len() - path.len() - 1];
            return Err(wrong(node, head, "an object"));
        }
    }
    if let Some(found) = member(node, path, whole)? {
        return Ok(Some(found));
    }
    for (dot, _) in path.rmatch_indices('.') {
        if let Some(next) = member(node, &path[..dot], whole)?
            && let Some(found) = inside(next, &path[dot + 1..], whole)?
        {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

fn member<'a, N: Node<'a>>(object: N, name: &str, whole: &str) -> Result<Option<N>, Reject> {
    let mut found = object.members().filter(|(key, _)| *key == *name).map(|(_, value)| value);
    match (found.next(), found.next()) {
        (_, Some(again)) => {
            Err(reject(RejectKind::Json, again.offset(), format!("`{whole}` is there twice")))
        }
        (found, None) => Ok(found),
    }
}
