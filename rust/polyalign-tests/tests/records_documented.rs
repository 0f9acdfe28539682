//! Records as other projects' documentation has them, in JSON and in tables: read as meant, or refused in words.

use crate::records_support::{Flavour, batch};
use polyalign::records::json::{JsonRecords, JsonScratch, decide_fields};
use polyalign::records::record::{Record, Reject};
use polyalign::records::shape::{FieldSpec, Shape};
use polyalign::records::table::TableRecords;
use serde_json::{Value, json};

/// What a record is: its conversation as `role: content | …`, the response after `>`, a rejected one after `<`; then
/// what is said of how it was read.
fn told(record: &Record<'_>) -> String {
    let mut text = String::new();
    for message in record.prompt {
        text += &format!("{}: {} | ", message.role, message.content);
    }
    text += &format!("> {}", record.response.content);
    if let Some(rejected) = record.rejected {
        text += &format!(" < {}", rejected.content);
    }
    let notes = &record.notes;
    let mut said: Vec<String> = notes.events.iter().map(|event| event.name().to_owned()).collect();
    said.extend(notes.roles.iter().map(|role| format!("{}={}", role.role, role.taken)));
    said.extend(notes.group.map(|group| format!("group={group}")));
    let mut unused: Vec<String> = notes
        .unused
        .iter()
        .map(|unused| {
            let list = if unused.list.is_empty() { String::new() } else { format!("{}[].", unused.list) };
            format!("-{list}{}", unused.name)
        })
        .collect();
    unused.sort();
    said.extend(unused);
    if said.is_empty() { text } else { format!("{text} ({})", said.join(" ")) }
}

fn outcome(record: Result<Record<'_>, Reject>) -> String {
    match record {
        Ok(record) => told(&record),
        Err(reject) => format!("{}: {}", reject.kind.name(), reject.reason),
    }
}

fn from_json(record: &Value, spec: &FieldSpec) -> String {
    let text = record.to_string();
    let decided = if spec.needs_shape() { decide_fields(&[text.as_bytes()], spec) } else { Ok(spec.clone()) };
    let fields = match decided {
        Ok(fields) => fields,
        Err(error) => return format!("error: {error}"),
    };
    match JsonRecords::new(&fields) {
        Ok(records) => outcome(records.parse(&text, &mut JsonScratch::default())),
        Err(error) => format!("error: {error}"),
    }
}

fn from_table(record: &Value, spec: &FieldSpec) -> String {
    let batch = batch(std::slice::from_ref(record), Flavour::Plain);
    let records = match TableRecords::new(&batch.schema(), spec) {
        Ok(records) => records,
        Err(error) => return format!("error: {error}"),
    };
    let mut told = String::new();
    records.for_each(&batch, &mut |_, record| told = outcome(record)).unwrap();
    told
}

fn is_refusal(outcome: &str) -> bool {
    ["error", "shape", "type", "no_response", "ambiguous"]
        .iter()
        .any(|kind| outcome.starts_with(&format!("{kind}: ")))
}

/// A refusal need only begin as expected (and may be a whole table's where it is one record's of JSON).
#[track_caller]
fn check(name: &str, record: &Value, spec: &FieldSpec, expected: &str) {
    let json = from_json(record, spec);
    if is_refusal(expected) {
        let (kind, reason) = expected.split_once(": ").unwrap();
        assert!(json.starts_with(&format!("{kind}: ")) && json.contains(reason), "{name}: {json}");
        assert!(is_refusal(&from_table(record, spec)), "{name}: {}", from_table(record, spec));
        return;
    }
    assert_eq!(json, expected, "{name}");
    assert_eq!(from_table(record, spec), expected, "{name}, in a table");
}

fn user(text: &str) -> Value {
    json!({"role": "user", "content": text})
}
fn assistant(text: &str) -> Value {
    json!({"role": "assistant", "content": text})
}
fn human(text: &str) -> Value {
    json!({"from": "human", "value": text})
}
fn gpt(text: &str) -> Value {
    json!({"from": "gpt", "value": text})
}
const GPT: &str = "human=user gpt=assistant";
const GPT_FIRST: &str = "gpt=assistant human=user";

#[test]
fn trl() {
    let no_shape = "error: no known record shape";
    let call = json!({"role": "assistant", "content": "", "tool_calls": [{"type": "function", "function": {"name": "f"}}]});
    for (name, record, expected) in [
        (
            "language modelling",
            json!({"text": "The sky is blue."}),
            "error: no known record shape: `text` alone is no prompt and response",
        ),
        ("conversational", json!({"messages": [user("Q"), assistant("A")]}), "user: Q | > A"),
        ("prompt only", json!({"prompt": "The sky is"}), no_shape),
        ("prompt and completion", json!({"prompt": "Q", "completion": "A"}), "user: Q | > A"),
        (
            "prompt and completion, conversational",
            json!({"prompt": [user("Q")], "completion": [assistant("A")]}),
            "user: Q | > A",
        ),
        ("preference", json!({"prompt": "Q", "chosen": "A", "rejected": "B"}), "user: Q | > A < B"),
        (
            "preference, conversational",
            json!({"prompt": [user("Q")], "chosen": [assistant("A")], "rejected": [assistant("B")]}),
            "user: Q | > A < B",
        ),
        (
            "preference, implicit prompt",
            json!({"chosen": "The sky is blue.", "rejected": "The sky is green."}),
            "shape: `chosen` is one reply and there is no `prompt`",
        ),
        (
            "preference, implicit prompt, conversational",
            json!({"chosen": [user("Q"), assistant("A")], "rejected": [user("Q"), assistant("B")]}),
            "user: Q | > A < B",
        ),
        (
            "unpaired preference",
            json!({"prompt": "Q", "completion": "A", "label": true}),
            "user: Q | > A (-label)",
        ),
        (
            "stepwise supervision",
            json!({"prompt": "Q", "completions": ["A", "B"], "labels": [true, false]}),
            "error: `completions` are the steps of one answer: join them first",
        ),
        (
            "tool calling",
            json!({"messages": [user("Q"), call, {"role": "tool", "name": "f", "content": "R"}, assistant("A")], "tools": [{"type": "function"}]}),
            "type: `messages[1]` has no text content (a tool call?)",
        ),
        (
            "a call for an answer",
            json!({"messages": [user("Q"), call]}),
            "no_response: `messages[1]` has no text content",
        ),
        (
            "a call beside text",
            json!({"messages": [user("Q"), {"role": "assistant", "content": "A", "tool_calls": [{"name": "f"}]}]}),
            "user: Q | > A (tool_calls -messages[].tool_calls)",
        ),
    ] {
        check(name, &record, &FieldSpec::default(), expected);
    }
}

#[test]
fn llama_factory() {
    let gpt_notes = |said: &str| format!("{said} ({GPT})");
    for (name, record, expected) in [
        ("alpaca", json!({"instruction": "Q", "input": "", "output": "A"}), "user: Q | > A".to_owned()),
        (
            "alpaca with all columns",
            json!({"instruction": "Q", "input": "I", "output": "A", "system": "S", "history": [["q", "a"]]}),
            "system: S | user: q | assistant: a | user: Q\n\nI | > A (system joined)".to_owned(),
        ),
        (
            "alpaca preference",
            json!({"instruction": "Q", "input": "I", "chosen": "A", "rejected": "B"}),
            "user: Q\n\nI | > A < B (joined)".to_owned(),
        ),
        (
            "alpaca KTO",
            json!({"instruction": "Q", "input": "", "output": "A", "kto_tag": true}),
            "user: Q | > A (-kto_tag)".to_owned(),
        ),
        ("pre-training", json!({"text": "document"}), "error: `text` alone is no prompt and response".to_owned()),
        ("sharegpt", json!({"conversations": [human("Q"), gpt("A")]}), gpt_notes("user: Q | > A")),
        (
            "sharegpt with tools and a system column",
            json!({"conversations": [human("Q"), {"from": "function_call", "value": "F"}, {"from": "observation", "value": "O"}, gpt("A")], "system": "S", "tools": "T"}),
            "system: S | user: Q | assistant: F | tool: O | > A (system human=user function_call=assistant observation=tool gpt=assistant -tools)".to_owned(),
        ),
        (
            "sharegpt preference",
            json!({"conversations": [human("Q"), gpt("a"), human("Q2")], "chosen": gpt("A"), "rejected": gpt("B")}),
            format!("user: Q | assistant: a | user: Q2 | > A < B ({GPT_FIRST})"),
        ),
        (
            "lists beside conversations",
            json!({"conversations": [human("Q")], "chosen": [gpt("A")], "rejected": [gpt("B")]}),
            format!("user: Q | > A < B ({GPT_FIRST})"),
        ),
        (
            "sharegpt KTO",
            json!({"conversations": [human("Q"), gpt("A")], "kto_tag": false}),
            format!("user: Q | > A ({GPT} -kto_tag)"),
        ),
        (
            "openai",
            json!({"messages": [{"role": "system", "content": "S"}, user("Q"), assistant("A")]}),
            "system: S | user: Q | > A".to_owned(),
        ),
        (
            "v1",
            json!({"messages": [{"role": "user", "content": [{"type": "text", "value": "Q"}], "loss_weight": 0.0}, {"role": "assistant", "content": [{"type": "text", "value": "A"}], "loss_weight": 1.0}]}),
            "user: Q | > A (-messages[].loss_weight)".to_owned(),
        ),
        (
            "v1 preference",
            json!({"chosen_messages": [user("Q"), assistant("A")], "rejected_messages": [user("Q"), assistant("B")]}),
            "user: Q | > A < B".to_owned(),
        ),
    ] {
        check(name, &record, &FieldSpec::default(), &expected);
    }
}

#[test]
fn axolotl() {
    for (name, record, expected) in [
        ("chat template", json!({"messages": [user("Q"), assistant("A")]}), "user: Q | > A"),
        (
            "trained by message",
            json!({"conversations": [{"from": "human", "value": "Q", "train": false}, {"from": "gpt", "value": "A", "train": true}]}),
            "user: Q | > A (human=user gpt=assistant -conversations[].train)",
        ),
        (
            "roles and values",
            json!({"conversations": [{"role": "user", "value": "Q"}, {"role": "assistant", "value": "A"}]}),
            "user: Q | > A",
        ),
        (
            "chat_template.default",
            json!({"messages": [user("Q")], "chosen": assistant("A"), "rejected": assistant("B")}),
            "user: Q | > A < B",
        ),
        (
            "intel",
            json!({"system": "S", "question": "Q", "chosen": "A", "rejected": "B"}),
            "system: S | user: Q | > A < B (system)",
        ),
        (
            "prompt_pairs",
            json!({"system": "S", "prompt": "Q", "chosen": "A", "rejected": "B"}),
            "system: S | user: Q | > A < B (system)",
        ),
        (
            "icr",
            json!({"system": "S", "input": "Q", "chosen": "A", "rejected": "B"}),
            "system: S | user: Q | > A < B (system)",
        ),
        (
            "ultra",
            json!({"system": "S", "prompt": "Q", "chosen": [user("Q"), assistant("A")], "rejected": [user("Q"), assistant("B")]}),
            "system: S | user: Q | > A < B (system once)",
        ),
        (
            "argilla",
            json!({"system": "S", "instruction": "Q", "chosen_response": "A", "rejected_response": "B"}),
            "system: S | user: Q | > A < B (system)",
        ),
        (
            "template-free",
            json!({"segments": [{"label": true, "text": "Q"}]}),
            "error: `segments` hold text in a template's form",
        ),
        (
            "pre-tokenized",
            json!({"input_ids": [1, 2], "labels": [1, 2]}),
            "error: `input_ids` are tokens, not text",
        ),
        (
            "nectar",
            json!({"prompt": "Q", "answers": [{"answer": "A", "rank": 1}, {"answer": "B", "rank": 2}]}),
            "error: `answers` are several to one prompt",
        ),
        (
            "KTO, argilla",
            json!({"system": "S", "instruction": "Q", "completion": "A"}),
            "system: S | user: Q | > A (system)",
        ),
        ("KTO, intel", json!({"question": "Q", "completion": "A"}), "user: Q | > A"),
    ] {
        check(name, &record, &FieldSpec::default(), expected);
    }
}

#[test]
fn axolotl_instructions() {
    for (name, record, expected) in [
        ("jeopardy", json!({"question": "Q", "category": "C", "answer": "A"}), "user: Q | > A (-category)"),
        ("oasst", json!({"INSTRUCTION": "Q", "RESPONSE": "A"}), "user: Q | > A"),
        (
            "gpteacher",
            json!({"instruction": "Q", "input": "I", "response": "A"}),
            "user: Q\n\nI | > A (joined)",
        ),
        (
            "reflection",
            json!({"instruction": "Q", "input": "", "output": "A", "reflection": "R", "corrected": "C"}),
            "user: Q | > A (-corrected -reflection)",
        ),
        (
            "explainchoice",
            json!({"question": "Q", "choices": ["a", "b"], "answer": "A", "explanation": "E"}),
            "error: the choices belong to the prompt",
        ),
        (
            "summarizetldr",
            json!({"article": "Q", "summary": "A"}),
            "error: --prompt-field article --response-field summary",
        ),
        ("alpaca_chat.load_qa", json!({"question": "Q", "answer": "A"}), "user: Q | > A"),
        ("alpaca_chat.load_camel_ai", json!({"message_1": "Q", "message_2": "A"}), "user: Q | > A"),
        (
            "load_open_orca",
            json!({"system_prompt": "S", "question": "Q", "response": "A"}),
            "system: S | user: Q | > A (system)",
        ),
        (
            "context_qa",
            json!({"context": "C", "question": "Q", "answer": "A"}),
            "user: C\n\nQ | > A (joined)",
        ),
        (
            "context_qa, of an article",
            json!({"article": "C", "question": "Q", "answer": "A"}),
            "error: the article belongs to the prompt: join them first",
        ),
        (
            "creative_acr.load_revise",
            json!({"scores": "", "critiques": "", "instruction": "Q", "answer": "A", "revision": "B"}),
            "error: can be read in two ways: the response is `answer` (--response-field answer), or it is `revision` \
             (--response-field revision)",
        ),
        ("metharme", json!({"prompt": "Q", "generation": "A"}), "user: Q | > A"),
        // Others that say the same.
        ("prompt and response", json!({"prompt": "Q", "response": "A"}), "user: Q | > A"),
        ("input and output", json!({"input": "Q", "output": "A"}), "user: Q | > A"),
        (
            "Dolly",
            json!({"instruction": "Q", "context": "C", "response": "A", "category": "qa"}),
            "user: Q\n\nC | > A (joined -category)",
        ),
        (
            "ChatGLM",
            json!({"prompt": "Q", "response": "A", "history": [["q", "a"]]}),
            "user: q | assistant: a | user: Q | > A",
        ),
    ] {
        check(name, &record, &FieldSpec::default(), expected);
    }
}

#[test]
fn what_was_said_before() {
    let pairs = json!([["q", "a"]]);
    let record = |more: Value| {
        let mut record = json!({"history": pairs});
        record.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        record
    };
    let free = FieldSpec::default();
    for more in [
        json!({"prompt": "Q", "completion": "A"}),
        json!({"query": "Q", "response": "A"}),
        json!({"instruction": "Q", "output": "A"}),
        json!({"instruction": "Q", "output": "A", "history": [user("q"), assistant("a")]}),
        json!({"query": "Q", "response": "A", "history": [{"human": "q", "assistant": "a"}]}),
    ] {
        let said = from_json(&record(more.clone()), &free);
        assert!(said.starts_with("user: q | assistant: a | user: Q | > A"), "{more}: {said}");
        assert_eq!(from_table(&record(more), &free), said);
    }
    check(
        "a preference",
        &record(json!({"prompt": "Q", "chosen": "A", "rejected": "B"})),
        &free,
        "user: q | assistant: a | user: Q | > A < B",
    );
    // A field of this name that holds something else is not ours, but for Alpaca's.
    let edits = json!({"prompt": "Q", "completion": "A", "history": ["first draft"]});
    check("something else", &edits, &free, "user: Q | > A (-history)");
    let whole = json!({"prompt": [user("Q")], "completion": "A", "history": pairs});
    check("beside messages", &whole, &free, "user: Q | > A (-history)");
}

#[test]
fn exchanges_as_objects() {
    let free = FieldSpec::default();
    let capybara = json!({"source": "s", "conversation": [{"input": "q", "output": "a"}, {"input": "Q", "output": "A"}]});
    check(
        "Capybara",
        &capybara,
        &free,
        "user: q | assistant: a | user: Q | > A (input=user output=assistant)",
    );
    let open = json!({"conversation": [{"human": "Q", "assistant": "A"}, {"human": "R", "assistant": null}]});
    check("without a reply", &open, &free, "user: Q | > A (trailing human=user)");
    let more = json!({"messages": [{"user": "Q", "assistant": "A", "rating": 5}]});
    check("with more", &more, &free, "user: Q | > A (-messages[].rating)");
    let none = json!({"messages": [{"human": "Q", "assistant": null}]});
    check("nobody", &none, &free, "no_response: `messages` has no assistant message");
    let number = json!({"messages": [{"human": 1, "assistant": "A"}]});
    check("no text", &number, &free, "type: `messages[0]` has no role");
}

#[test]
fn what_is_left_of_exchanges_is_kept() {
    let spec = FieldSpec { messages: Some("log".into()), keep_extra: true, ..FieldSpec::default() };
    let extra = |log: Value| {
        let text = json!({"log": log}).to_string();
        let mut scratch = JsonScratch::default();
        JsonRecords::new(&spec).unwrap().parse(&text, &mut scratch).unwrap().extra.map(str::to_owned)
    };
    assert_eq!(extra(json!([{"human": "Q", "assistant": "A"}])), None);
    for log in [
        json!([{"human": "Q", "assistant": "A", "rating": 5}]),
        json!([{"human": "Q", "assistant": "A"}, {"human": "R", "assistant": null}]),
    ] {
        assert_eq!(extra(log.clone()), Some(json!({"log": log}).to_string()));
    }
}

#[test]
fn ms_swift_and_openai() {
    for (name, record, expected) in [
        ("messages", json!({"messages": [user("Q"), assistant("A")]}), "user: Q | > A"),
        (
            "RLHF",
            json!({"messages": [user("Q"), assistant("A")], "rejected_response": "B"}),
            "user: Q | > A < B",
        ),
        (
            "RLHF, whole conversations",
            json!({"messages": [user("Q"), assistant("A")], "rejected_messages": [user("Q"), assistant("B")]}),
            "user: Q | > A < B",
        ),
        (
            "RLHF, query and response",
            json!({"system": "S", "query": "Q", "response": "A", "rejected_response": "B", "history": [["q", "a"]]}),
            "system: S | user: q | assistant: a | user: Q | > A < B (system)",
        ),
        ("KTO", json!({"messages": [user("Q"), assistant("A")], "label": false}), "user: Q | > A (-label)"),
        ("PPO", json!({"messages": [user("Q")]}), "no_response: `messages` has no assistant message"),
        (
            "query and response",
            json!({"system": "S", "query": "Q", "response": "A", "history": [["q", "a"]]}),
            "system: S | user: q | assistant: a | user: Q | > A (system)",
        ),
        (
            "pairs in a conversation",
            json!({"system": "S", "conversation": [{"human": "q", "assistant": "a"}, {"human": "Q", "assistant": "A"}]}),
            "system: S | user: q | assistant: a | user: Q | > A (system human=user)",
        ),
        (
            "tools",
            json!({"tools": "T", "messages": [user("Q"), {"role": "tool_call", "content": "F"}, {"role": "tool_response", "content": "R"}, assistant("A")]}),
            "user: Q | assistant: F | tool: R | > A (tool_call=assistant tool_response=tool -tools)",
        ),
        (
            "fine-tuning with weights",
            json!({"messages": [user("Q"), {"role": "assistant", "content": "a", "weight": 0}, user("R"), {"role": "assistant", "content": "A", "weight": 1}]}),
            "user: Q | assistant: a | user: R | > A (-messages[].weight)",
        ),
        (
            "developer",
            json!({"messages": [{"role": "developer", "content": "S"}, user("Q"), assistant("A")]}),
            "developer: S | user: Q | > A",
        ),
        (
            "content parts",
            json!({"messages": [{"role": "user", "content": [{"type": "text", "text": "Q"}, {"type": "text", "text": "?"}]}, {"role": "assistant", "content": [{"type": "text", "text": "A"}]}]}),
            "user: Q? | > A (parts)",
        ),
        (
            "preference",
            json!({"input": {"messages": [user("Q")], "parallel_tool_calls": true}, "preferred_output": [assistant("A")], "non_preferred_output": [assistant("B")]}),
            "user: Q | > A < B",
        ),
    ] {
        check(name, &record, &FieldSpec::default(), expected);
    }
}

#[test]
fn data_sets() {
    let turn = |role: &str, content: &str| json!({"role": role, "content": content, "redacted": false});
    for (name, record, expected) in [
        (
            "ShareGPT",
            json!({"id": "i", "conversations": [human("Q"), {"from": "bing", "value": "a"}, {"from": "user", "value": "R"}, {"from": "chatgpt", "value": "A"}]}),
            "user: Q | assistant: a | user: R | > A (human=user bing=assistant chatgpt=assistant)",
        ),
        (
            "WildChat",
            json!({"conversation_hash": "h", "model": "gpt-4", "conversation": [turn("user", "Q"), turn("assistant", "A")], "turn": 1, "language": "English"}),
            "user: Q | > A (group=conversation_hash -conversation[].redacted -model -turn)",
        ),
        (
            "LMSYS-Chat-1M",
            json!({"conversation_id": "c", "model": "vicuna", "conversation": [user("Q"), assistant("A")], "turn": 1, "language": "English", "redacted": false}),
            "user: Q | > A (group=conversation_id -model -redacted -turn)",
        ),
        (
            "Chatbot Arena",
            json!({"question_id": "q", "conversation_a": [user("Q"), assistant("A")], "conversation_b": [user("Q"), assistant("B")], "winner": "model_a"}),
            "error: write that as `chosen` and the other as `rejected` first",
        ),
        (
            "OASST as conversations",
            json!({"message_tree_id": "t", "messages": [{"role": "prompter", "text": "Q"}, {"role": "assistant", "text": "A"}]}),
            "user: Q | > A (prompter=user group=message_tree_id)",
        ),
        (
            "OASST, a message a row",
            json!({"message_id": "m", "parent_id": "p", "text": "Q", "role": "prompter", "lang": "en"}),
            "error: messages of a tree (OpenAssistant): write each reply with the messages above it as `messages` first",
        ),
        (
            "OASST, a tree a row",
            json!({"message_tree_id": "t", "tree_state": "ready_for_export", "prompt": {"message_id": "t", "text": "Q", "role": "prompter", "replies": []}}),
            "error: messages of a tree (OpenAssistant): write each reply with the messages above it as `messages` first",
        ),
        (
            "UltraFeedback, binarised",
            json!({"prompt": "Q", "prompt_id": "p", "chosen": [user("Q"), assistant("A")], "rejected": [user("Q"), assistant("B")], "messages": [user("Q"), assistant("A")], "score_chosen": 8.5}),
            "user: Q | > A < B (once -messages -prompt_id -score_chosen)",
        ),
        (
            "UltraFeedback, raw",
            json!({"source": "s", "instruction": "Q", "completions": [{"model": "m", "response": "A"}]}),
            "error: `completions` are several answers to one instruction",
        ),
        (
            "UltraFeedback, argilla's",
            json!({"source": "s", "instruction": "Q", "chosen_response": "A", "rejected_response": "B", "chosen_avg_rating": 4.5, "rejected_avg_rating": 2.0}),
            "user: Q | > A < B (-chosen_avg_rating -rejected_avg_rating)",
        ),
        (
            "UltraFeedback, argilla's cleaned",
            json!({"source": "s", "prompt": "Q", "chosen": [user("Q"), assistant("A")], "chosen-rating": 4.5, "rejected": [user("Q"), assistant("B")]}),
            "user: Q | > A < B (once -chosen-rating)",
        ),
        (
            "HH-RLHF",
            json!({"chosen": "\n\nHuman: Q\n\nAssistant: A", "rejected": "\n\nHuman: Q\n\nAssistant: B"}),
            "shape: `chosen` is a conversation written as one text (Human:, Assistant:)",
        ),
    ] {
        check(name, &record, &FieldSpec::default(), expected);
    }
}

#[test]
fn a_prompt_is_there_once() {
    let system = json!({"role": "system", "content": "S"});
    let conversation = |last: &str| json!([system, user("Q"), assistant("a"), user("R"), assistant(last)]);
    let both =
        |prompt: Value| json!({"prompt": prompt, "chosen": conversation("A"), "rejected": conversation("B")});
    let whole = "system: S | user: Q | assistant: a | user: R | > A < B (once)";
    for (prompt, expected) in [
        (json!("Q"), whole),
        (json!(" R\n"), whole),
        (json!([system, user("Q"), assistant("a"), user("R")]), whole),
        (json!([user("R")]), whole),
        (
            json!("Other"),
            "ambiguous: the prompt is not in the conversation beside it, and can't come before it: it ends in `user` and that begins with `system`",
        ),
    ] {
        check(&prompt.to_string(), &both(prompt.clone()), &FieldSpec::default(), expected);
    }
    // What can only be read one way is put together.
    for (prompt, completion, expected) in [
        (json!([system]), json!([user("Q"), assistant("A")]), "system: S | user: Q | > A (after)"),
        (json!([system, user("Q")]), json!([user("Q"), assistant("A")]), "system: S | user: Q | > A (once)"),
        (
            json!([user("Q"), assistant("a")]),
            json!([user("R"), assistant("A")]),
            "user: Q | assistant: a | user: R | > A (after)",
        ),
        (json!([user("Q"), assistant("A")]), json!([assistant("A")]), "user: Q | > A (once)"),
        (json!([user("Q")]), json!([user("R"), assistant("A")]), "ambiguous: can't come before it"),
    ] {
        let record = json!({"prompt": prompt, "completion": completion});
        check(&record.to_string(), &record, &FieldSpec::default(), expected);
    }
}

#[test]
fn a_rejected_response_to_another_prompt_is_left_out() {
    let chosen = json!([user("Q"), assistant("a"), user("R"), assistant("A")]);
    for rejected in [
        json!([user("Q"), assistant("b"), user("T"), assistant("B")]),
        json!([user("Q"), assistant("B")]),
        json!([user("Other"), assistant("B")]),
    ] {
        let record = json!({"chosen": chosen, "rejected": rejected});
        check(
            &rejected.to_string(),
            &record,
            &FieldSpec::default(),
            "user: Q | assistant: a | user: R | > A (prompt_mismatch)",
        );
    }
    let record = json!({"chosen": chosen, "rejected": [user("R"), assistant("B")]});
    check("the last turn", &record, &FieldSpec::default(), "user: Q | assistant: a | user: R | > A < B");
}

#[test]
fn fields_that_are_named() {
    let spec = |messages: &str, prompt: &str, response: &str| {
        let given = |path: &str| (!path.is_empty()).then(|| path.to_owned());
        FieldSpec {
            messages: given(messages),
            prompt: given(prompt),
            response: given(response),
            ..FieldSpec::default()
        }
    };
    let chat = json!([user("Q"), assistant("A")]);
    for (name, record, spec, expected) in [
        ("a path", json!({"data": {"chat": chat}}), spec("data.chat", "", ""), "user: Q | > A"),
        (
            "over a shape",
            json!({"prompt": "P", "completion": "C", "log": chat}),
            spec("log", "", ""),
            "user: Q | > A (-completion -prompt)",
        ),
        (
            "one field for both",
            json!({"conversation": chat}),
            spec("", "conversation", "conversation"),
            "error: `conversation` can't be both the prompt and the response: if it holds whole conversations, name it with --messages-field conversation",
        ),
        (
            "beside a prompt",
            json!({"chat": chat}),
            spec("chat", "chat", ""),
            "error: `chat` is named as the whole conversation and `chat` as the prompt",
        ),
        (
            "a preference's prompt",
            json!({"system": "S", "ask": "Q", "chosen": "A", "rejected": "B"}),
            spec("", "ask", ""),
            "system: S | user: Q | > A < B (system)",
        ),
        (
            "a prompt that holds its answer",
            json!({"log": chat, "reply": "A"}),
            spec("", "log", "reply"),
            "user: Q | > A (once)",
        ),
        (
            "a prompt that holds another",
            json!({"log": chat, "reply": "B"}),
            spec("", "log", "reply"),
            "ambiguous: `log` ends in a reply that is not the response",
        ),
    ] {
        check(name, &record, &spec, expected);
    }
    let free = FieldSpec::default();
    let beside = json!({"query": "Q", "response": "A", "conversation": chat});
    check(
        "a conversation beside",
        &beside,
        &free,
        "error: can be read in two ways: `conversation` is the whole",
    );
    let answered = json!({"dialogue": [user("Q"), assistant("a"), user("R")], "response": "A"});
    check(
        "an answer beside",
        &answered,
        &free,
        "error: can be read in two ways: `dialogue` is the whole conversation",
    );
    let two = json!({"chat": chat, "conversation": chat});
    check("two conversations", &two, &free, "error: both `conversation` and `chat` hold conversations");
    let unnamed = json!({"log": chat});
    check(
        "of an unknown name",
        &unnamed,
        &free,
        "error: `log` holds messages: if it is the whole conversation, --messages-field log",
    );
}

#[test]
fn a_rejected_response_that_is_named() {
    let spec = |rejected: &str, response: Option<&str>| FieldSpec {
        rejected: Some(rejected.to_owned()),
        response: response.map(str::to_owned),
        ..FieldSpec::default()
    };
    let record =
        json!({"prompt": "Q", "chosen": "A", "worse": {"text": "B"}, "log": [user("Q"), assistant("C")]});
    check("beside chosen", &record, &spec("worse.text", None), "user: Q | > A < B (-log)");
    check("both", &record, &spec("worse.text", Some("log")), "user: Q | > C < B (once -chosen)");
    check("missing", &record, &spec("none", None), "shape: there is no `none`");
    let same = spec("log", Some("log"));
    check("twice", &record, &same, "error: `log` can't be the rejected response and another part as well");
    let whole = FieldSpec { messages: Some("log".into()), ..spec("worse.text", None) };
    check("beside a conversation", &record, &whole, "error: name the chosen one with --response-field log");
    let shape = FieldSpec { shape: Some(Shape::Alpaca), ..spec("worse.text", None) };
    check("of another shape", &record, &shape, "error: records of the shape alpaca have none");
}

#[test]
fn roles() {
    let say = |role: &str, content: &str| json!({"role": role, "content": content});
    let spec = |role: &str, taken: &str| FieldSpec {
        roles: [(role.to_owned(), taken.to_owned())].into(),
        ..FieldSpec::default()
    };
    let free = FieldSpec::default();
    let alice = json!({"messages": [say("Alice", "Q"), assistant("A")]});
    check("as it is", &alice, &free, "Alice: Q | > A (Alice=Alice)");
    check("said", &alice, &spec("Alice", "user"), "user: Q | > A (Alice=user)");
    check(
        "no role",
        &alice,
        &spec("Alice", "boss"),
        "error: `boss` is no role: use one of user, assistant, system, tool",
    );
    let end = json!({"messages": [user("Q"), assistant("A"), say("Bob", "B")]});
    check(
        "the response?",
        &end,
        &free,
        "ambiguous: `messages` ends with a message of the role `Bob`, which is not known",
    );
    check("the response", &end, &spec("Bob", "assistant"), "user: Q | assistant: A | > B (Bob=assistant)");
    check("not the response", &end, &spec("Bob", "user"), "user: Q | > A (trailing Bob=user)");
    let nobody = json!({"messages": [user("Q"), say("Bob", "B")]});
    check(
        "nobody",
        &nobody,
        &free,
        "no_response: has no assistant message; if `Bob` is the assistant, --role Bob=assistant",
    );
    for (role, taken) in
        [("GPT4", "assistant"), ("Bard", "assistant"), ("model", "assistant"), ("tutor", "assistant")]
    {
        let record = json!({"messages": [say("Prompter", "Q"), say(role, "A")]});
        check(role, &record, &free, &format!("user: Q | > A (Prompter=user {role}={taken})"));
    }
}

#[test]
fn a_system_message() {
    let system = |content: &str| json!({"role": "system", "content": content});
    let chat = |first: Value| json!([first, user("Q"), assistant("A")]);
    let free = FieldSpec::default();
    for (name, record, expected) in [
        ("the same", json!({"messages": chat(system("S")), "system": "S "}), "system: S | user: Q | > A"),
        (
            "another",
            json!({"messages": chat(system("S")), "system": "T"}),
            "system: S | user: Q | > A (-system)",
        ),
        ("blank", json!({"messages": [user("Q"), assistant("A")], "system": " "}), "user: Q | > A (-system)"),
        ("no text", json!({"prompt": "Q", "completion": "A", "system": 3}), "user: Q | > A (-system)"),
        (
            "system_prompt",
            json!({"prompt": "Q", "completion": "A", "system_prompt": "S"}),
            "system: S | user: Q | > A (system)",
        ),
    ] {
        check(name, &record, &free, expected);
    }
    let named = FieldSpec { system: Some("who".into()), ..free };
    check(
        "named",
        &json!({"prompt": "Q", "completion": "A", "system": "S", "who": "W"}),
        &named,
        "system: W | user: Q | > A (system -system)",
    );
}

#[test]
fn the_group_where_data_sets_keep_it() {
    let record = |more: Value| {
        let mut record = json!({"prompt": "Q", "completion": "A"});
        record.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        record
    };
    let free = FieldSpec::default();
    for (more, expected) in [
        (json!({"group": "g", "conversation_id": "c"}), "user: Q | > A (group=group -conversation_id)"),
        (
            json!({"conversation_id": "c", "parent_id": "p"}),
            "user: Q | > A (group=conversation_id -parent_id)",
        ),
        (json!({"meta": {"group": 7}}), "user: Q | > A (group=meta.group)"),
        // What is no label was not meant for us.
        (json!({"meta": "m", "parent_id": [1]}), "user: Q | > A (-meta -parent_id)"),
    ] {
        check(&more.to_string(), &record(more.clone()), &free, expected);
    }
    let named = FieldSpec { group: Some("turn".into()), ..free };
    check(
        "named",
        &record(json!({"turn": "t", "conversation_id": "c"})),
        &named,
        "user: Q | > A (-conversation_id)",
    );
}
