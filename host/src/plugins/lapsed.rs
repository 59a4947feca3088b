//! What judges on a node that does not know, or cannot follow, the generation in force: nothing is decided, whoever asks is
//! told to try again. What is only told to rules, and decides about nobody, goes to those that are loaded.

use std::sync::Arc;

use super::{
    Command, CommandRuling, CommandVerdict, FilterRuling, Invocation, Judge, Occasion, Rule,
    RuleRuling, Scope, Site, StrategyRuling, Text, Verdict, When,
};

/// Completes "the plugin … could not judge this".
const BY: &str = "generation of this node";

/// A generation that may not judge any more, or not yet.
pub struct Lapsed(pub Arc<dyn Judge>);

impl Judge for Lapsed {
    fn generation(&self) -> u64 {
        self.0.generation()
    }

    fn is_well(&self, _: &str) -> bool {
        false
    }

    fn recent(&self, _: Scope) -> usize {
        0
    }

    fn strategy(&self, _: Scope, _: &Command<'_>) -> StrategyRuling {
        StrategyRuling {
            verdict: Verdict::Unavailable { by: BY.to_owned() },
            content: None,
            audience: None,
            silent: false,
            recall_window_ms: None,
            effects: Vec::new(),
            hooks: Vec::new(),
            reads: Vec::new(),
        }
    }

    fn filter(&self, _: Site<'_>, texts: &[Text<'_>], _: u64) -> FilterRuling {
        FilterRuling {
            verdict: Verdict::Unavailable { by: BY.to_owned() },
            masked: vec![None; texts.len()],
            masked_by: None,
            hooks: Vec::new(),
            reads: Vec::new(),
        }
    }

    fn binds(&self, site: Site<'_>, name: &str) -> bool {
        self.0.binds(site, name)
    }

    fn command(&self, _: Scope, _: &Invocation<'_>) -> CommandRuling {
        CommandRuling {
            verdict: CommandVerdict::Unavailable { by: BY.to_owned() },
            effects: Vec::new(),
            hooks: Vec::new(),
            reads: Vec::new(),
        }
    }

    fn has_rules(&self) -> bool {
        self.0.has_rules()
    }

    fn rule(&self, occasion: &Occasion, decides: bool) -> RuleRuling {
        if !decides {
            return self.0.rule(occasion, decides);
        }
        RuleRuling {
            rule: Rule::Unavailable { by: BY.to_owned() },
            actions: Vec::new(),
        }
    }

    fn rule_schedules(&self) -> Vec<(String, Vec<(String, When)>)> {
        self.0.rule_schedules()
    }

    fn rule_of(&self, plugin: &str, occasion: &Occasion) -> RuleRuling {
        self.0.rule_of(plugin, occasion)
    }
}
