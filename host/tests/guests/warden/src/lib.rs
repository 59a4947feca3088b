//! Administrators' rules for the host's tests. What is ruled is in the names: users `deny…`, `approve…`, `fall…` and their
//! likes; three reports of a user or one flagged text have consequences.

use std::time::Duration;

use kith_plugin::{Action, AdminRule, HookDefault, Judgement, Occasion, Plugin};

struct Warden;

impl Plugin for Warden {
    const SUMMARY: &'static str = "Keeps the gate.";
    const CONFIG_SCHEMA: &'static str = r#"{"type": "object", "properties": {}}"#;

    fn hooks() -> Vec<HookDefault> {
        vec![HookDefault::new("admin-rule")]
    }

    fn configure(_: &[u8]) -> Result<Self, String> {
        Ok(Self)
    }
}

impl Warden {
    fn by_name(&self, occasion: &Occasion, when: &str) -> Judgement {
        let name = occasion.username.as_str();
        if name.starts_with(&format!("deny-{when}")) {
            return Judgement::deny("unwanted", "the name says so");
        }
        if name.starts_with(&format!("approve-{when}")) {
            return Judgement::require_approval("look-first", "the name says so");
        }
        assert!(!name.starts_with(&format!("fall-{when}")), "told to fall");
        Judgement::abstain()
    }
}

impl AdminRule for Warden {
    fn register(&self, occasion: &Occasion) -> Judgement {
        if occasion.username.starts_with("tell") {
            let text = format!("{} from {}", occasion.username, occasion.address);
            return Judgement::allow().and(Action::notify(&text));
        }
        let kept = |name: &str| format!("kept/{name}");
        if occasion.username.starts_with("keep") {
            return Judgement::allow().and(Action::keep(&kept(&occasion.username), &"k".repeat(400)));
        }
        if let Some(name) = occasion.username.strip_prefix("drop-") {
            return Judgement::allow().and(Action::forget(&kept(name)));
        }
        self.by_name(occasion, "register")
    }

    fn login(&self, occasion: &Occasion) -> Judgement {
        if occasion.username.starts_with("ban-device") && occasion.device == "burned" {
            return Judgement::deny("burned", "the device").and(Action::ban_device("burned").lasting(Duration::from_secs(60)));
        }
        self.by_name(occasion, "login")
    }

    fn connect(&self, occasion: &Occasion) -> Judgement {
        self.by_name(occasion, "connect")
    }

    fn action(&self, occasion: &Occasion) -> Judgement {
        match (occasion.what.as_str(), occasion.text.as_str()) {
            ("token.create", "forbidden") => Judgement::deny("no-more-tokens", "enough"),
            ("user.disable", _) => Judgement::require_approval("two-of-us", "a second one"),
            _ => Judgement::abstain(),
        }
    }

    fn report_filed(&self, occasion: &Occasion) -> Judgement {
        match occasion.what.as_str() {
            "fall" => panic!("told to fall"),
            "spam" => Judgement::abstain()
                .and(Action::ban_user("reported for spam").lasting(Duration::from_secs(3600)))
                .and(Action::label("spammer"))
                .and(Action::notify("somebody was reported for spam")),
            "noise" => Judgement::abstain().and(Action::mute_user("noise").lasting(Duration::from_secs(3600))),
            "out" => Judgement::abstain().and(Action::end_sessions()),
            _ => Judgement::abstain(),
        }
    }

    fn content_flagged(&self, occasion: &Occasion) -> Judgement {
        Judgement::abstain().and(Action::notify(&format!("{} by {}", occasion.text, occasion.what)))
    }
}

kith_plugin::register_plugin!(Warden: admin_rule);
