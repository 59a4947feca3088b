//! The glue of administrators' rules: the contract's bindings,
//! and what they are made of and become.

wit_bindgen::generate!({
    path: "../../wit/v1",
    inline: "package kith:sdk-rule; world rule-part { export kith:plugin/admin-rule@1.0.0; }",
    generate_all,
    world: "kith:sdk-rule/rule-part",
    pub_export_macro: true,
    export_macro_name: "export_admin_rule",
    default_bindings_module: "kith_plugin::exports::admin_rule",
});

use self::exports::kith::plugin::admin_rule as wit;

pub fn occasion(occasion: wit::Occasion) -> crate::Occasion {
    let fact = |fact: wit::Fact| crate::Fact {
        name: fact.name,
        value: fact.value,
    };
    crate::Occasion {
        kind: occasion.kind,
        user: occasion.user,
        username: occasion.username,
        actor: occasion.actor,
        address: occasion.address,
        device: occasion.device,
        device_kind: occasion.device_kind,
        conversation: occasion.conversation,
        what: occasion.what,
        text: occasion.text,
        at_ms: occasion.at_ms,
        facts: occasion.facts.into_iter().map(fact).collect(),
    }
}

pub fn judgement(judgement: crate::Judgement) -> wit::Judgement {
    let reason = |why: crate::Reason| wit::Reason {
        code: why.code,
        text: why.text,
    };
    let action = |action: crate::Action| wit::Action {
        kind: action.kind,
        subject: action.subject,
        for_ms: action.for_ms,
        text: action.text,
    };
    wit::Judgement {
        ruling: match judgement.ruling {
            crate::Ruling::Abstain => wit::Ruling::Abstain,
            crate::Ruling::Allow => wit::Ruling::Allow,
            crate::Ruling::Deny(why) => wit::Ruling::Deny(reason(why)),
            crate::Ruling::RequireApproval(why) => wit::Ruling::RequireApproval(reason(why)),
        },
        actions: judgement.actions.into_iter().map(action).collect(),
    }
}
