//! What happened in a conversation, as a sentence: who did what to whom.
//! An event this client has no sentence for is shown by its code and what it carries.

use serde_json::Value;

use super::{label, plain, text_of};

/// The sentence of a system entry. `from` is the name of who did it, `name` gives the others'.
pub(super) fn sentence(entry: &Value, from: &str, name: impl Fn(&str) -> String) -> String {
    let (code, args) = (text_of(&entry["code"]), &entry["args"]);
    let text = |field: &str| label(text_of(&args[field]));
    let user = args["user"].as_str().map(&name).unwrap_or_default();
    let by = args["by"].as_str().map(&name);
    match code {
        "member_joined" => match by {
            Some(by) => format!("{by} added {user}"),
            None => format!("{user} joined"),
        },
        "member_left" => match by {
            Some(by) => format!("{by} removed {user}"),
            None => format!("{user} left"),
        },
        "role_changed" => match text("role").as_str() {
            "owner" => format!("{from} handed the group over to {user}"),
            "admin" => format!("{user} became an admin"),
            "member" => format!("{user} became a member like the others"),
            role => format!("{user} became {role}"),
        },
        "title_changed" => format!("{from} called the group {}", text("title")),
        "group_changed" => {
            let fields = args["fields"].as_array().into_iter().flatten();
            let fields: Vec<&str> = fields.filter_map(|field| setting(text_of(field))).collect();
            let what = match fields.as_slice() {
                [] => "the group".to_owned(),
                fields => fields.join(", "),
            };
            format!("{from} changed {what}")
        }
        "dissolved" => format!("{from} dissolved the group"),
        "friend_request" => {
            let said = match text("text") {
                none if none.is_empty() => String::new(),
                said => format!(": {said}"),
            };
            // The entry does not tell who asked whom.
            format!("you and {user} are to be friends{said}  (:friends shows who asks)")
        }
        "friend_accepted" => format!("you and {user} are friends"),
        "friend_removed" => format!("you and {user} are friends no more"),
        "announcement" => format!(
            "announcement: {}: {}",
            text("title"),
            plain(text_of(&args["text"]))
        ),
        code => other(code, args),
    }
}

/// A setting of a group by the word `:settings` has for it.
fn setting(field: &str) -> Option<&'static str> {
    Some(match field {
        "avatar" => "the avatar",
        "join" => "who may join",
        "history" => "what new members see",
        "muted_until" => "who may write",
        "slow_mode_s" => "slow mode",
        "retention" => "how long things are kept",
        "title" => "the title",
        _ => return None,
    })
}

fn other(code: &str, args: &Value) -> String {
    let mut said = label(&code.replace('_', " "));
    for value in args.as_object().into_iter().flat_map(|args| args.values()) {
        if let Some(text) = value.as_str() {
            said.push(' ');
            said.push_str(&label(text));
        }
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(events: &[(&str, Value, &str)]) {
        for (code, args, expected) in events {
            let entry = json!({"from": "1", "code": code, "args": args});
            let shown = sentence(&entry, "ann", |user| format!("<{user}>"));
            assert_eq!(shown, *expected);
        }
    }

    #[test]
    fn what_happens_to_members_has_its_sentence() {
        let role = |role: &str| json!({"user": "7", "role": role});
        let by = json!({"user": "7", "by": "8"});
        check(&[
            ("member_joined", json!({"user": "7"}), "<7> joined"),
            ("member_joined", by.clone(), "<8> added <7>"),
            ("member_left", json!({"user": "7"}), "<7> left"),
            ("member_left", by, "<8> removed <7>"),
            ("role_changed", role("admin"), "<7> became an admin"),
            (
                "role_changed",
                role("owner"),
                "ann handed the group over to <7>",
            ),
            (
                "role_changed",
                role("member"),
                "<7> became a member like the others",
            ),
        ]);
    }

    #[test]
    fn what_happens_to_groups_and_friends_has_its_sentence() {
        let fields = |fields: &[&str]| json!({"fields": fields});
        let user = || json!({"user": "7"});
        check(&[
            (
                "title_changed",
                json!({"title": "我\n们"}),
                "ann called the group 我 们",
            ),
            (
                "group_changed",
                fields(&["join", "slow_mode_s"]),
                "ann changed who may join, slow mode",
            ),
            (
                "group_changed",
                fields(&["colour"]),
                "ann changed the group",
            ),
            ("dissolved", json!({}), "ann dissolved the group"),
            (
                "friend_request",
                user(),
                "you and <7> are to be friends  (:friends shows who asks)",
            ),
            ("friend_accepted", user(), "you and <7> are friends"),
            ("friend_removed", user(), "you and <7> are friends no more"),
            (
                "announcement",
                json!({"title": "now", "text": "tea"}),
                "announcement: now: tea",
            ),
            (
                "moon_rose",
                json!({"where": "ea\u{1b}st"}),
                "moon rose ea\u{fffd}st",
            ),
        ]);
    }
}
