//! Who talks: the names that roles go by.

/// TRL's names: what a role may stand for.
pub const ROLES: [&str; 4] = ["user", "assistant", "system", "tool"];

/// Whether chat templates know a role, and so do we.
pub fn is_known_role(role: &str) -> bool {
    ROLES.contains(&role) || role == "developer"
}

/// A role under TRL's name, if it is known by another; else as it stands.
pub fn map_role(role: &str) -> &str {
    const KNOWN: [(&str, &[&str]); 5] = [
        ("user", &["user", "human", "prompter", "student"]),
        (
            "assistant",
            &[
                "assistant",
                "gpt",
                "chatgpt",
                "gpt4",
                "gpt-4",
                "gpt-3.5",
                "gpt-3.5-turbo",
                "model",
                "bot",
                "chatbot",
                "ai",
                "bing",
                "bard",
                "claude",
                "gemini",
                "tutor",
                "function_call",
                "tool_call",
            ],
        ),
        ("system", &["system"]),
        ("developer", &["developer"]),
        ("tool", &["tool", "function", "observation", "function_response", "tool_response", "ipython"]),
    ];
    let known = |(_, words): &&(&str, &[&str])| words.iter().any(|word| role.eq_ignore_ascii_case(word));
    KNOWN.iter().find(known).map_or(role, |(name, _)| name)
}
