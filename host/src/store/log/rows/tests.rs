//! Rows come back as they were written,
//! and a row that is cut off is damaged.

use super::*;
use crate::conversation::Role;
use crate::entry::Circumstances;

fn row(body: Body, audience: Option<Arc<[UserId]>>, asked: Option<Circumstances>) -> EntryRow {
    let entry = Entry {
        conversation: ConversationId(5),
        seq: 9,
        id: EntryId(77 << 20),
        at: 77,
        from: UserId(3),
        body,
        audience,
        made: Some(Box::new(Made {
            plugin: "echo".into(),
            depth: 2,
            stream: Some("s1".into()),
        })),
    };
    let hook = HookTrace {
        binding: 2,
        outcome: HookOutcome::Replaced,
        duration_us: 11,
        decision: 0,
    };
    let decided = HookTrace {
        decision: 5,
        ..hook
    };
    let earlier = vec![Judgement {
        generation: 3,
        hooks: vec![hook],
    }];
    EntryRow {
        entry: Arc::new(entry),
        record: DecisionRecord {
            generation: 4,
            hooks: vec![hook, decided],
            earlier,
            recall_window_ms: Some(5),
            made: None,
            circumstances: asked,
            beside: None,
        },
        header: Header {
            ordinal: 7,
            last_message: 9,
            streak: 2,
            streak_author: 3,
            written: 1,
        },
        edits: vec![],
        recalled_by: 0,
        replaced: true,
        acked: RawValue::from_string("{}".to_owned()).ok(),
        holds: vec![HoldId(6)],
    }
}

#[test]
fn every_kind_of_entry_comes_back_as_it_was() {
    let json = |text: &str| RawValue::from_string(text.to_owned()).expect("JSON");
    let message = Message {
        client_id: "c".into(),
        content: Some(json("{\"type\":\"text\"}")),
        reply_to: Some(2),
        edited: true,
        recalled: false,
    };
    let bodies = [
        Body::Message(message),
        Body::Recall {
            target: 1,
            by: UserId(8),
        },
        Body::Edit {
            target: 1,
            content: None,
        },
        Body::React {
            target: 1,
            emoji: "👍".into(),
            on: true,
        },
        Body::System {
            code: "title_changed".into(),
            args: json("{}"),
        },
    ];
    for body in bodies {
        let plain = Circumstances {
            at_ms: 76,
            role: Role::Admin,
            blocked: true,
            blocking: false,
            friends: true,
            muted: false,
            answered: true,
            unanswered: 3,
            recent: (0, 0),
            beside: true,
        };
        let looked_back = Circumstances {
            recent: (2, 8),
            ..plain
        };
        let both = Some(Arc::from([UserId(1), UserId(2)]));
        for (audience, asked) in [
            (None, None),
            (both.clone(), Some(plain)),
            (both, Some(looked_back)),
        ] {
            let written = row(body.clone(), audience, asked);
            let mut bytes = Vec::new();
            written.encode_into(&mut bytes);
            let read = EntryRow::decode(ConversationId(5), 9, &bytes).expect("reads back");
            assert_eq!(format!("{written:?}"), format!("{read:?}"));
            assert_eq!(
                EntryRow::decode_header(&bytes).expect("reads"),
                written.header
            );
            for cut in 0..bytes.len() {
                assert!(EntryRow::decode(ConversationId(5), 9, &bytes[..cut]).is_err());
            }
        }
    }
}
