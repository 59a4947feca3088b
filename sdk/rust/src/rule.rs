//! The hook `admin-rule`: who may come in, what administrators may do,
//! and what follows when somebody is reported or flagged.

use crate::{Fact, Plugin, Reason};

/// What is asked or has happened. See `wit/v1/admin-rule.wit` for each field.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Occasion {
    pub kind: String,
    pub user: String,
    pub username: String,
    pub actor: String,
    pub address: String,
    pub device: String,
    pub device_kind: String,
    pub conversation: String,
    pub what: String,
    pub text: String,
    pub at_ms: u64,
    pub facts: Vec<Fact>,
}

/// Whether it may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ruling {
    /// Somebody else may rule.
    Abstain,
    Allow,
    Deny(Reason),
    RequireApproval(Reason),
}

/// Something the host is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Action {
    pub kind: String,
    /// Empty is the occasion's own.
    pub subject: String,
    /// 0 is for ever.
    pub for_ms: u64,
    pub text: String,
}

impl Action {
    fn of(kind: &str, text: &str) -> Self {
        Self {
            kind: kind.to_owned(),
            subject: String::new(),
            for_ms: 0,
            text: text.to_owned(),
        }
    }

    /// Keep the occasion's user out.
    pub fn ban_user(reason: &str) -> Self {
        Self::of("ban-user", reason)
    }

    /// Keep everybody from the occasion's address out.
    pub fn ban_address(reason: &str) -> Self {
        Self::of("ban-address", reason)
    }

    /// Keep everybody on the occasion's device out.
    pub fn ban_device(reason: &str) -> Self {
        Self::of("ban-device", reason)
    }

    /// Keep the occasion's user from speaking.
    pub fn mute_user(reason: &str) -> Self {
        Self::of("mute-user", reason)
    }

    /// End the sessions of the occasion's user.
    pub fn end_sessions() -> Self {
        Self::of("end-sessions", "")
    }

    /// Label the occasion's user.
    pub fn label(code: &str) -> Self {
        Self::of("label", code)
    }

    /// Take a label off the occasion's user.
    pub fn unlabel(code: &str) -> Self {
        Self::of("unlabel", code)
    }

    /// Tell administrators.
    pub fn notify(text: &str) -> Self {
        Self::of("notify", text)
    }

    /// Keep a text of at most 500 characters under a key of the plugin's own.
    pub fn keep(key: &str, text: &str) -> Self {
        Self::of("kv-put", text).on(key)
    }

    /// Forget what is kept under a key of the plugin's own.
    pub fn forget(key: &str) -> Self {
        Self::of("kv-delete", "").on(key)
    }

    /// The same, of somebody else: a user's id, an address, a device's id.
    pub fn on(self, subject: &str) -> Self {
        Self {
            subject: subject.to_owned(),
            ..self
        }
    }

    /// The same, for a time.
    pub fn lasting(self, time: std::time::Duration) -> Self {
        Self {
            for_ms: u64::try_from(time.as_millis()).unwrap_or(u64::MAX),
            ..self
        }
    }
}

/// A ruling and what the host is to do besides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    pub ruling: Ruling,
    pub actions: Vec<Action>,
}

impl Judgement {
    fn of(ruling: Ruling) -> Self {
        Self {
            ruling,
            actions: Vec::new(),
        }
    }

    /// Somebody else may rule.
    pub fn abstain() -> Self {
        Self::of(Ruling::Abstain)
    }

    /// It may be, and no later rule is asked.
    pub fn allow() -> Self {
        Self::of(Ruling::Allow)
    }

    /// It may not be; the code is for programs, the text for an administrator.
    pub fn deny(code: &str, text: &str) -> Self {
        Self::of(Ruling::Deny(Reason {
            code: code.to_owned(),
            text: text.to_owned(),
        }))
    }

    /// An administrator has to approve it.
    pub fn require_approval(code: &str, text: &str) -> Self {
        Self::of(Ruling::RequireApproval(Reason {
            code: code.to_owned(),
            text: text.to_owned(),
        }))
    }

    /// The same, and one thing more to do.
    pub fn and(mut self, action: Action) -> Self {
        self.actions.push(action);
        self
    }
}

/// Administrators' rules. Called on every occasion, before what is asked is done: be quick, be pure.
///
/// ```
/// use kith_plugin::{AdminRule, HookDefault, Judgement, Occasion, Plugin};
///
/// struct NoRobots;
///
/// impl Plugin for NoRobots {
///     const SUMMARY: &'static str = "Robots do not register.";
///     const CONFIG_SCHEMA: &'static str = "{}";
///     fn hooks() -> Vec<HookDefault> { vec![HookDefault::new("admin-rule")] }
///     fn configure(_: &[u8]) -> Result<Self, String> { Ok(Self) }
/// }
///
/// impl AdminRule for NoRobots {
///     fn register(&self, asked: &Occasion) -> Judgement {
///         match asked.username.ends_with("bot") {
///             true => Judgement::deny("no-robots", "robots are made by administrators"),
///             false => Judgement::abstain(),
///         }
///     }
/// }
///
/// kith_plugin::register_plugin!(NoRobots: admin_rule);
///
/// let asked = Occasion { username: "spambot".into(), ..Occasion::default() };
/// assert_ne!(NoRobots.register(&asked), Judgement::abstain());
/// assert_eq!(NoRobots.login(&asked), Judgement::abstain());
/// ```
pub trait AdminRule: Plugin {
    /// Somebody registers.
    fn register(&self, _: &Occasion) -> Judgement {
        Judgement::abstain()
    }

    /// Somebody signs in.
    fn login(&self, _: &Occasion) -> Judgement {
        Judgement::abstain()
    }

    /// Somebody connects.
    fn connect(&self, _: &Occasion) -> Judgement {
        Judgement::abstain()
    }

    /// An administrator does something.
    fn action(&self, _: &Occasion) -> Judgement {
        Judgement::abstain()
    }

    /// Somebody was reported; only the actions count.
    fn report_filed(&self, _: &Occasion) -> Judgement {
        Judgement::abstain()
    }

    /// A filter rejected or held what somebody wrote; only the actions count.
    fn content_flagged(&self, _: &Occasion) -> Judgement {
        Judgement::abstain()
    }

    /// A time of `Schedules` is due: `what` is its name; only the actions count.
    fn schedule(&self, _: &Occasion) -> Judgement {
        Judgement::abstain()
    }

    /// Every occasion. Kinds that are not known abstain.
    fn judge(&self, occasion: &Occasion) -> Judgement {
        match occasion.kind.as_str() {
            "register" => self.register(occasion),
            "login" => self.login(occasion),
            "connect" => self.connect(occasion),
            "action" => self.action(occasion),
            "report-filed" => self.report_filed(occasion),
            "content-flagged" => self.content_flagged(occasion),
            "schedule" => self.schedule(occasion),
            _ => Judgement::abstain(),
        }
    }
}
