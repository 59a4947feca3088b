//! Generations: one immutable set of all bindings, and the cell that holds the one in force. A number is never used
//! twice and never falls; whoever pinned one keeps it whole.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use crate::after::Grants;
use crate::breaker::BreakerState;
use crate::hook::{BindingScope, Hook, Isolation, Level, Policy, Scope};
use crate::shadow::Shadowing;
use crate::share::{Share, Site};
use crate::tally::Tally;
use crate::version::Version;

/// A plugin version attached to a hook.
#[derive(Debug, Clone)]
pub struct Binding {
    pub plugin: String,
    pub version: String,
    pub digest: String,
    pub hook: Hook,
    /// Lower runs earlier; equal ones run in the list's order.
    pub order: i32,
    pub scope: BindingScope,
    pub on_failed: Policy,
    pub on_absent: Policy,
    /// Asked where a policy says `fallback`.
    pub fallback: Option<Arc<Version>>,
    pub isolation: Isolation,
    /// Soft budget of a call, microseconds; 0 takes the runtime's.
    pub budget_us: u32,
    /// What the names of a filter's levels mean here, before `mask`, `reject` and `hold` mean themselves.
    pub levels: BTreeMap<String, Level>,
    /// The commands it answers, known even of a version that could not be loaded.
    pub commands: Vec<String>,
    /// What it may do after the commit.
    pub grants: Arc<Grants>,
    /// Where its keys and values are kept: another one after its state was migrated or rebuilt.
    pub namespace: Arc<str>,
    /// The account a responder answers for; empty is the plugin's own.
    pub account: String,
    /// In which conversations it is asked.
    pub share: Share,
    /// Counts what it comes to.
    pub tally: Arc<Tally>,
    /// What serves, or why it could not be loaded.
    pub loaded: Result<Arc<Version>, String>,
}

impl Binding {
    /// A version bound to one of its hooks as it wishes; `None` where it does not export the hook.
    pub fn as_wished(version: &Arc<Version>, hook: Hook) -> Option<Self> {
        let inspection = version.inspection();
        let wish = inspection.defaults.iter().find(|wish| wish.hook == hook)?;
        Some(Self {
            plugin: inspection.name.clone(),
            version: inspection.version.clone(),
            digest: inspection.digest.clone(),
            hook,
            order: wish.order,
            scope: wish.scope,
            on_failed: wish.on_failed,
            on_absent: wish.on_absent,
            fallback: None,
            isolation: Isolation::Reuse,
            budget_us: wish.budget_us,
            levels: BTreeMap::new(),
            commands: version.command_names(),
            grants: Arc::default(),
            namespace: inspection.name.as_str().into(),
            account: String::new(),
            share: Share::All,
            tally: Arc::default(),
            loaded: Ok(version.clone()),
        })
    }

    /// How many of the newest entries what serves wants to see.
    pub(crate) fn recent(&self) -> u32 {
        let Ok(version) = &self.loaded else { return 0 };
        let mut defaults = version.inspection().defaults.iter();
        let wish = defaults.find(|wish| wish.hook == self.hook);
        wish.map_or(0, |wish| wish.recent)
    }
}

/// One immutable set of bindings.
#[derive(Debug, Default)]
pub struct Generation {
    pub number: u64,
    bindings: Vec<Binding>,
    /// By hook and scope: which bindings, in order.
    chains: [[Vec<u16>; 4]; Hook::COUNT],
    /// By scope: how many of the newest entries its strategies want to see.
    recent: [u32; 4],
    /// By name: the bindings that answer a command, in order.
    commands: HashMap<String, Vec<u16>>,
    /// Versions that are shown what others decide about, and decide nothing.
    shadows: Vec<Arc<Shadowing>>,
}

impl Generation {
    /// Records name a binding by its place in this list.
    ///
    /// # Panics
    /// With more than 65,535 bindings.
    pub fn new(number: u64, bindings: Vec<Binding>) -> Self {
        assert!(
            u16::try_from(bindings.len()).is_ok(),
            "a generation has at most 65,535 bindings"
        );
        let chains = Hook::ALL.map(|hook| Scope::ALL.map(|scope| chain(&bindings, hook, scope)));
        let strategies = &chains[Hook::MessageStrategy as usize];
        let wished = |place: &u16| bindings[usize::from(*place)].recent();
        let recent =
            std::array::from_fn(|scope| strategies[scope].iter().map(wished).max().unwrap_or(0));
        let commands = commands(&bindings, &chains[Hook::Command as usize]);
        Self {
            number,
            bindings,
            chains,
            recent,
            commands,
            shadows: Vec::new(),
        }
    }

    /// The same, with versions in the shadow of those that are bound.
    pub fn with_shadows(mut self, shadows: Vec<Arc<Shadowing>>) -> Self {
        for shadow in &shadows {
            let binding = &shadow.binding;
            for scope in Scope::ALL {
                if binding.hook == Hook::MessageStrategy && binding.scope.covers(scope) {
                    let wanted = &mut self.recent[scope as usize];
                    *wanted = (*wanted).max(binding.recent());
                }
            }
        }
        self.shadows = shadows;
        self
    }

    /// Whether every breaker of a plugin's hooks is closed.
    pub fn is_well(&self, plugin: &str) -> bool {
        let own = self.bindings.iter().filter(|own| own.plugin == plugin);
        let mut breakers = own.filter_map(|own| Some(own.loaded.as_ref().ok()?.breaker(own.hook)));
        breakers.all(|state| state == BreakerState::Closed)
    }

    /// How many of a conversation's newest entries a command's strategies want to see.
    pub fn recent(&self, scope: Scope) -> u32 {
        self.recent[scope as usize]
    }

    pub fn bindings(&self) -> &[Binding] {
        &self.bindings
    }

    /// The bindings of a hook that apply in a scope, in the order they are asked.
    pub fn chain(&self, hook: Hook, scope: Scope) -> &[u16] {
        &self.chains[hook as usize][scope as usize]
    }

    /// Those of a chain that are asked in one conversation.
    pub(crate) fn asked(&self, hook: Hook, site: Site<'_>) -> impl Iterator<Item = u16> {
        let holds = move |place: &u16| {
            let binding = &self.bindings[usize::from(*place)];
            binding.share.holds(site.conversation)
        };
        self.chain(hook, site.scope).iter().copied().filter(holds)
    }

    /// The binding that answers a command somewhere: the first by order, should there be two.
    pub fn command_binding<'a>(&self, site: impl Into<Site<'a>>, name: &str) -> Option<u16> {
        let site = site.into();
        let answering = self.commands.get(name)?;
        let covers = |place: &&u16| {
            let binding = &self.bindings[usize::from(**place)];
            binding.scope.covers(site.scope) && binding.share.holds(site.conversation)
        };
        answering.iter().find(covers).copied()
    }

    /// Who is in the shadow of a binding, if anybody.
    pub(crate) fn shadow_of(&self, binding: &Binding) -> Option<&Arc<Shadowing>> {
        self.shadows.iter().find(|shadow| {
            shadow.binding.hook == binding.hook && shadow.binding.plugin == binding.plugin
        })
    }

    /// Those at a hook whose plugin is not asked there: what they say is compared with nothing being said.
    pub(crate) fn alone(
        &self,
        hook: Hook,
        site: Site<'_>,
    ) -> impl Iterator<Item = &Arc<Shadowing>> {
        self.shadows.iter().filter(move |shadow| {
            let own = &shadow.binding;
            own.hook == hook
                && own.scope.covers(site.scope)
                && !self
                    .asked(hook, site)
                    .any(|place| self.bindings[usize::from(place)].plugin == own.plugin)
        })
    }

    /// Whether anything is in the shadow of a hook.
    pub(crate) fn has_shadows(&self, hook: Hook) -> bool {
        let mut shadows = self.shadows.iter();
        shadows.any(|shadow| shadow.binding.hook == hook)
    }
}

/// By name, and of each name by order: which bindings answer it, whatever their scope.
fn commands(bindings: &[Binding], chains: &[Vec<u16>; 4]) -> HashMap<String, Vec<u16>> {
    let mut commands: HashMap<String, Vec<u16>> = HashMap::new();
    for &place in chains.iter().flatten() {
        for name in &bindings[usize::from(place)].commands {
            commands.entry(name.clone()).or_default().push(place);
        }
    }
    for answering in commands.values_mut() {
        answering.sort_by_key(|place| (bindings[usize::from(*place)].order, *place));
        answering.dedup();
    }
    commands
}

fn chain(bindings: &[Binding], hook: Hook, scope: Scope) -> Vec<u16> {
    let applies = |binding: &Binding| {
        binding.hook == hook && binding.scope.covers(scope) && binding.share != Share::Nothing
    };
    let places = 0..u16::try_from(bindings.len()).unwrap_or(u16::MAX);
    let mut chain: Vec<u16> = places
        .filter(|place| applies(&bindings[usize::from(*place)]))
        .collect();
    chain.sort_by_key(|place| bindings[usize::from(*place)].order);
    chain
}

/// The generation in force.
#[derive(Default)]
pub struct GenerationCell {
    current: ArcSwap<Generation>,
    /// One activation at a time, so that numbers are compared and stored as one step.
    activating: Mutex<()>,
}

impl GenerationCell {
    pub fn new(first: Generation) -> Self {
        Self {
            current: ArcSwap::from_pointee(first),
            activating: Mutex::new(()),
        }
    }

    /// The generation in force, for everything about one message.
    pub fn pin(&self) -> Arc<Generation> {
        self.current.load_full()
    }

    /// Puts a generation in force: one pointer store. False, and nothing changes, when its number is not above the
    /// present one's.
    pub fn activate(&self, generation: Generation) -> bool {
        let generation = Arc::new(generation);
        let _one = self.activating.lock();
        if generation.number <= self.current.load().number {
            return false;
        }
        self.current.store(generation);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn absent(hook: Hook, order: i32, scope: BindingScope) -> Binding {
        Binding {
            plugin: "p".into(),
            version: "1.0.0".into(),
            digest: "sha256:0".into(),
            hook,
            order,
            scope,
            on_failed: Policy::Pass,
            on_absent: Policy::Pass,
            fallback: None,
            isolation: Isolation::Reuse,
            budget_us: 0,
            levels: BTreeMap::new(),
            commands: vec!["roll".into()],
            grants: Arc::default(),
            namespace: "p".into(),
            account: String::new(),
            share: Share::All,
            tally: Arc::default(),
            loaded: Err("gone".into()),
        }
    }

    #[test]
    fn a_chain_is_by_order_and_scope() {
        let filter = Hook::ContentFilter;
        let generation = Generation::new(
            1,
            vec![
                absent(filter, 5, BindingScope::All),
                absent(filter, -1, BindingScope::Direct),
                absent(Hook::MessageStrategy, 0, BindingScope::All),
                absent(filter, 5, BindingScope::Group),
            ],
        );
        assert_eq!(generation.chain(filter, Scope::Direct), [1, 0]);
        assert_eq!(generation.chain(filter, Scope::Group), [0, 3]);
        assert_eq!(generation.chain(filter, Scope::Outside), [0]);
        assert_eq!(generation.chain(Hook::MessageStrategy, Scope::Own), [2]);
    }

    #[test]
    fn a_command_is_the_first_bindings_in_its_scope() {
        let generation = Generation::new(
            1,
            vec![
                absent(Hook::Command, 5, BindingScope::Direct),
                absent(Hook::Command, 1, BindingScope::Group),
                absent(Hook::Command, 9, BindingScope::All),
            ],
        );
        assert_eq!(generation.command_binding(Scope::Direct, "roll"), Some(0));
        assert_eq!(generation.command_binding(Scope::Group, "roll"), Some(1));
        assert_eq!(generation.command_binding(Scope::Own, "roll"), Some(2));
        assert_eq!(generation.command_binding(Scope::Own, "rolls"), None);
    }

    #[test]
    fn numbers_only_rise() {
        let cell = GenerationCell::default();
        assert!(cell.activate(Generation::new(3, Vec::new())));
        assert!(!cell.activate(Generation::new(3, Vec::new())));
        assert!(!cell.activate(Generation::new(2, Vec::new())));
        assert_eq!(cell.pin().number, 3);
    }
}
