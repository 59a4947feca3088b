//! Changes made up from a seed: of a few conversations and users, so that they meet often.
//! Which of them are refused is left to the logs.

use std::sync::Arc;

use kith::content::Fingerprint;
use kith::conversation::group::{GroupEdit, JoinPolicy, MemberEdit, Past};
use kith::conversation::{Kind, Role};
use kith::entry::{Body, DecisionRecord, Message, Seq};
use kith::ids::{ConversationId, HoldId, JoinRequestId, MediaId, UserId};
use kith::store::groups::{GroupAct, GroupChange, NewGroup};
use kith::store::kv::{KvChange, KvWrite};
use kith::store::{
    Append, Change, CommandAnswer, Hold, HoldCause, Opening, PluginWrite, Prefs, ResendKey,
};
use serde_json::json;
use serde_json::value::RawValue;

use super::Twin;

pub const USERS: [UserId; 5] = [UserId(11), UserId(12), UserId(13), UserId(14), UserId(15)];
pub const MEDIA: [MediaId; 3] = [MediaId(701), MediaId(702), MediaId(703)];
pub const NAMESPACES: [&str; 2] = ["clerk", "counter"];

/// A change for either log: only ids of holds and requests differ.
pub type Made = Box<dyn Fn(&Twin) -> Change>;

pub struct Source {
    state: u64,
    made: u64,
}

impl Source {
    pub fn new(seed: u64) -> Self {
        Self {
            state: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1,
            made: 0,
        }
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        (self.state >> 11) % end.max(1)
    }

    fn chance(&mut self, of: u64) -> bool {
        self.below(of) == 0
    }

    fn user(&mut self) -> UserId {
        USERS[self.below(USERS.len() as u64) as usize]
    }

    pub fn conversations(&self) -> Vec<(ConversationId, Option<Opening>)> {
        let direct = |one: UserId, other: UserId| {
            let users = vec![one, other];
            let kind = Kind::Direct;
            let id = ConversationId::direct(one, other);
            (id, Some(Opening { kind, users }))
        };
        let own = Opening {
            kind: Kind::Own,
            users: vec![USERS[0]],
        };
        vec![
            direct(USERS[0], USERS[1]),
            direct(USERS[0], USERS[2]),
            (ConversationId::own(USERS[0]), Some(own)),
            (ConversationId(0xABCD_EF01), None),
            (ConversationId(u128::MAX - 77), None),
        ]
    }

    fn place(&mut self) -> (ConversationId, Option<Opening>) {
        let mut all = self.conversations();
        let at = self.below(all.len() as u64) as usize;
        all.swap_remove(at)
    }

    fn group(&mut self) -> ConversationId {
        self.conversations()[3 + self.below(2) as usize].0
    }

    fn seq(&mut self) -> Seq {
        self.below(25) + 1
    }

    fn content(&mut self) -> serde_json::Value {
        self.made += 1;
        match self.below(5) {
            0 => json!({"type": "image", "media": MEDIA[self.below(3) as usize].to_string()}),
            1 => json!({"type": "text", "text": self.made.to_string(), "mentions": ["all"]}),
            2 => {
                let whom = self.user().to_string();
                json!({"type": "text", "text": self.made.to_string(), "mentions": [whom]})
            }
            _ => json!({"type": "text", "text": self.made.to_string()}),
        }
    }

    /// Sometimes a client id that was used before.
    fn key(&mut self, content: &serde_json::Value) -> ResendKey {
        let name = match self.chance(8) {
            true => self.below(20),
            false => 1_000 + self.made,
        };
        ResendKey {
            client_id: name.to_string(),
            fingerprint: match self.chance(3) {
                true => Fingerprint(name.into()),
                false => Fingerprint::of(content),
            },
        }
    }

    fn audience(&mut self) -> Option<Arc<[UserId]>> {
        self.chance(6).then(|| Arc::from([self.user()]))
    }

    fn effects(&mut self) -> Vec<PluginWrite> {
        let count = match self.chance(3) {
            true => self.below(3),
            false => 0,
        };
        let write = |source: &mut Self| PluginWrite {
            namespace: NAMESPACES[source.below(2) as usize].to_owned(),
            quota: 60,
            key: format!("k{}", source.below(4)),
            value: (!source.chance(4)).then(|| vec![7; source.below(30) as usize]),
        };
        (0..count).map(|_| write(self)).collect()
    }

    /// The next change, where so many holds and join requests were made so far.
    pub fn change(&mut self, holds: usize, requests: usize) -> Made {
        let hold = self.below(holds.max(1) as u64) as usize;
        match self.below(20) {
            0..=6 => self.append(None),
            7 => self.about(|source, target| Body::Edit {
                target,
                content: RawValue::from_string(source.content().to_string()).ok(),
            }),
            8 => self.about(|source, target| Body::Recall {
                target,
                by: source.user(),
            }),
            9 => self.about(|source, target| Body::React {
                target,
                emoji: "\u{1F44D}".to_owned(),
                on: !source.chance(3),
            }),
            10 => self.receipt(),
            11 => self.prefs(),
            12 => self.hold(),
            13 if holds > 0 => match self.below(4) {
                0 => Box::new(move |twin| Change::Refuse {
                    hold: twin.holds[hold],
                    reason: "spam".to_owned(),
                }),
                1 => Box::new(move |twin| Change::Forget {
                    hold: twin.holds[hold],
                }),
                _ => self.append(Some(hold)),
            },
            14 => self.kv(),
            15 => self.answered(),
            16 => self.erase(),
            _ => self.of_group(requests),
        }
    }

    fn message(&mut self) -> (Append, serde_json::Value) {
        let (conversation, opening) = self.place();
        let content = self.content();
        let key = self.key(&content);
        let body = Body::Message(Message {
            client_id: key.client_id.clone(),
            content: RawValue::from_string(content.to_string()).ok(),
            reply_to: None,
            edited: false,
            recalled: false,
        });
        let append = Append {
            conversation,
            opening,
            author: self.user(),
            key: Some(key),
            body,
            audience: self.audience(),
            replaced: self.chance(4),
            record: DecisionRecord::default(),
            effects: self.effects(),
            moves_read: !self.chance(4),
            releases: None,
        };
        (append, content)
    }

    fn append(&mut self, releases: Option<usize>) -> Made {
        let (append, _) = self.message();
        Box::new(move |twin| {
            Change::Append(Box::new(Append {
                releases: releases.map(|at| twin.holds.get(at).copied().unwrap_or(HoldId(1))),
                ..append.clone()
            }))
        })
    }

    fn about(&mut self, body: impl Fn(&mut Self, Seq) -> Body) -> Made {
        let (append, _) = self.message();
        let target = self.seq();
        let append = Append {
            body: body(self, target),
            key: None,
            moves_read: false,
            audience: None,
            ..append
        };
        Box::new(move |_| Change::Append(Box::new(append.clone())))
    }

    fn receipt(&mut self) -> Made {
        let (conversation, _) = self.place();
        let change = Change::Receipt {
            conversation,
            user: self.user(),
            received: self.seq(),
            read: self.seq(),
        };
        Box::new(move |_| change.clone())
    }

    fn prefs(&mut self) -> Made {
        let (conversation, _) = self.place();
        let user = self.user();
        let change = match self.chance(5) {
            true => Change::Profile { conversation, user },
            false => Change::Prefs {
                conversation,
                user,
                prefs: Prefs {
                    pinned: self.chance(2).then(|| self.chance(2)),
                    muted: self.chance(2).then(|| self.chance(2)),
                    hidden: self.chance(2).then(|| self.chance(2)),
                    draft: self.chance(2).then(|| self.below(2).to_string()),
                },
            },
        };
        Box::new(move |_| change.clone())
    }

    fn hold(&mut self) -> Made {
        let (append, content) = self.message();
        let edits = self.chance(3).then(|| self.seq());
        let hold = Hold {
            conversation: append.conversation,
            opening: append.opening,
            author: append.author,
            key: append.key,
            content: RawValue::from_string(content.to_string()).expect("JSON"),
            sent: None,
            replaced: append.replaced,
            audience: append.audience,
            effects: append.effects,
            reply_to: None,
            edits,
            again: None,
            by: "a-filter".to_owned(),
            reason: "a-word".to_owned(),
            cause: HoldCause::Verdict,
            record: DecisionRecord::default(),
        };
        Box::new(move |_| Change::Hold(Box::new(hold.clone())))
    }

    fn kv(&mut self) -> Made {
        let namespace = NAMESPACES[self.below(2) as usize].to_owned();
        if self.chance(6) {
            let most = 2;
            return Box::new(move |_| Change::KvDrop {
                namespace: namespace.clone(),
                most,
            });
        }
        let write = KvWrite {
            key: format!("k{}", self.below(4)),
            value: (!self.chance(4)).then(|| vec![9; self.below(30) as usize]),
            expected: self.chance(3).then_some(0),
            expires_at: match self.chance(4) {
                true => 1_790_000_000_000 + self.below(400_000),
                false => 0,
            },
        };
        let change = KvChange {
            namespace,
            writes: vec![write],
            quota: 60,
            cursor: None,
        };
        Box::new(move |_| Change::Kv(Box::new(change.clone())))
    }

    fn answered(&mut self) -> Made {
        let (append, content) = self.message();
        let key = append.key.unwrap_or(ResendKey {
            client_id: "x".to_owned(),
            fingerprint: Fingerprint(1),
        });
        let (conversation, author) = (append.conversation, append.author);
        if self.chance(2) {
            return Box::new(move |_| Change::Drop {
                conversation,
                author,
                key: key.clone(),
            });
        }
        let answer = CommandAnswer {
            conversation,
            author,
            key,
            reply: RawValue::from_string(content.to_string()).ok(),
            effects: append.effects,
            generation: 0,
        };
        Box::new(move |_| Change::Command(Box::new(answer.clone())))
    }

    fn erase(&mut self) -> Made {
        let (conversation, _) = self.place();
        let before = match self.chance(2) {
            true => self.below(6) + 1,
            false => 1,
        };
        Box::new(move |_| Change::Erase {
            conversation,
            before,
        })
    }

    fn of_group(&mut self, requests: usize) -> Made {
        let (conversation, author) = (self.group(), self.user());
        let (user, most) = (self.user(), 5);
        let request = self.below(requests.max(1) as u64) as usize;
        let accept = self.chance(2);
        let effects = self.effects();
        let act = match self.below(12) {
            0..=2 => GroupAct::Create(Box::new(NewGroup {
                title: "a group".to_owned(),
                avatar: self.chance(2).then(|| MEDIA[0].to_string()),
                join: JoinPolicy::Approval,
                history: if accept { Past::All } else { Past::FromJoining },
                slow_mode_s: None,
                retention: None,
                users: USERS[..self.below(4) as usize].to_vec(),
            })),
            3 => GroupAct::Add {
                users: vec![user, USERS[4]],
                most,
            },
            4 => GroupAct::Join { most },
            5 => GroupAct::Ask {
                text: Some("please".to_owned()),
            },
            6 => GroupAct::Answer {
                request: JoinRequestId(0),
                accept,
                most,
            },
            7 => GroupAct::Remove { user },
            8 => GroupAct::Member {
                user,
                edit: MemberEdit {
                    role: [None, Some(Role::Admin), Some(Role::Owner)][self.below(3) as usize],
                    muted_until: self.chance(3).then_some(Some(1)),
                    nickname: self.chance(3).then(|| Some("nick".to_owned())),
                },
            },
            9 => GroupAct::Settings(Box::new(GroupEdit {
                title: self.chance(2).then(|| self.made.to_string()),
                avatar: self.chance(2).then(|| Some(MEDIA[1].to_string())),
                slow_mode_s: self.chance(3).then_some(Some(1)),
                ..GroupEdit::default()
            })),
            10 if self.chance(6) => GroupAct::Dissolve,
            _ => GroupAct::Remove { user: author },
        };
        Box::new(move |twin| {
            let mut act = act.clone();
            if let GroupAct::Answer { request: asked, .. } = &mut act {
                *asked = twin
                    .requests
                    .get(request)
                    .copied()
                    .unwrap_or(JoinRequestId(1));
            }
            Change::Group(Box::new(GroupChange {
                conversation,
                author,
                act,
                record: DecisionRecord::default(),
                effects: effects.clone(),
            }))
        })
    }
}
