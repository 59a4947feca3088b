//! What a component exports, held against the contract before it may serve: its functions' types, and the names of the
//! commands it answers.

use crate::card::Named;
use crate::chain::command;
use crate::error::LoadError;
use crate::instance::{Exports, Factory, Instance};

/// Every function a component exports is checked against the contract's types.
pub(crate) fn check_types(instance: &mut Instance, exports: &Exports) -> Result<(), LoadError> {
    let shape = |error: wasmtime::Error| LoadError::WrongShape(format!("{error:#}"));
    exports
        .lifecycle
        .load(&mut instance.store, &instance.component)
        .map_err(shape)?;
    if let Some(preparation) = &exports.preparation {
        preparation
            .load(&mut instance.store, &instance.component)
            .map_err(shape)?;
    }
    if exports.strategy.is_some() {
        instance.strategy(exports).map_err(shape)?;
    }
    if exports.filter.is_some() {
        instance.filter(exports).map_err(shape)?;
    }
    if exports.command.is_some() {
        instance.command(exports).map_err(shape)?;
    }
    if exports.rule.is_some() {
        instance.rule(exports).map_err(shape)?;
    }
    if let Some(upgrade) = &exports.upgrade {
        upgrade
            .load(&mut instance.store, &instance.component)
            .map_err(shape)?;
    }
    if let Some(schedules) = &exports.schedules {
        schedules
            .load(&mut instance.store, &instance.component)
            .map_err(shape)?;
    }
    Ok(())
}

/// The commands a component answers under its configuration.
pub(crate) fn commands_of(factory: &Factory) -> Result<Vec<Named>, LoadError> {
    if factory.exports.command.is_none() {
        return Ok(Vec::new());
    }
    let mut instance = factory.make().map_err(LoadError::Names)?;
    let named = instance
        .command_names(&factory.exports, &factory.settings)
        .map_err(LoadError::Names)?;
    command::check_names(&named).map_err(LoadError::BadNames)?;
    let named = named.into_iter().map(|usage| Named {
        name: usage.name,
        summary: usage.summary,
    });
    Ok(named.collect())
}
