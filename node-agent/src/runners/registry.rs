//! The node types that this agent can run.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use heddle_proto::agent as wire;
use thiserror::Error;

use super::debug::Debug;
use super::evaluate::Evaluator;
use super::net::{HttpDownload, HttpRequest, Job, Llm};
use super::{Blobs, ErrorClass, Failure, Networks, Runner, native};

/// Runners by the id of their type.
#[derive(Default)]
pub struct Registry {
    types: HashMap<String, Entry>,
}

struct Entry {
    version: u32,
    cancels_jobs: bool,
    runner: Arc<dyn Runner>,
    offer: wire::NodeType,
}

/// Why a runner was not taken in.
#[derive(Debug, Error)]
pub enum RegistryError {
    /// Two runners for one type.
    #[error("the node type {id} is registered twice; remove one of its runners")]
    Duplicate {
        /// The type.
        id: String,
    },
    /// The manifest is not JSON.
    #[error("the manifest of {id} cannot be written as JSON; correct it")]
    Manifest {
        /// The type.
        id: String,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

impl Registry {
    /// The types that every agent has.
    ///
    /// # Errors
    /// See [`RegistryError`].
    pub fn built_in() -> Result<Self, RegistryError> {
        let mut registry = Self::default();
        native::ALL.into_iter().try_for_each(|runner| registry.add(runner))?;
        registry.add(Evaluator)?;
        Ok(registry)
    }

    /// Adds the `debug:*` types. `effects` is the folder that `debug:effect` writes to.
    ///
    /// # Errors
    /// See [`RegistryError`].
    pub fn add_debug(&mut self, effects: Option<&Path>) -> Result<(), RegistryError> {
        Debug::all(effects).into_iter().try_for_each(|runner| self.add(runner))
    }

    /// Adds `debug:job`, which asks the sandbox provider that `net` knows.
    ///
    /// # Errors
    /// See [`RegistryError`].
    pub fn add_debug_job(&mut self, net: &Networks) -> Result<(), RegistryError> {
        self.add(Job(net.clone()))
    }

    /// Adds the node types over pictures, which live in `blobs`.
    ///
    /// # Errors
    /// See [`RegistryError`].
    pub fn add_images(&mut self, blobs: &Arc<dyn Blobs>) -> Result<(), RegistryError> {
        native::image::all(blobs).into_iter().try_for_each(|runner| self.add(runner))
    }

    /// Adds the node types that ask servers.
    ///
    /// # Errors
    /// See [`RegistryError`].
    pub fn add_network(&mut self, net: &Networks) -> Result<(), RegistryError> {
        self.add(HttpRequest(net.clone()))?;
        self.add(Llm(net.clone()))
    }

    /// Adds the node types that bring files from servers into `blobs`.
    ///
    /// # Errors
    /// See [`RegistryError`].
    pub fn add_downloads(&mut self, net: &Networks, blobs: &Arc<dyn Blobs>) -> Result<(), RegistryError> {
        self.add(HttpDownload { net: net.clone(), blobs: Arc::clone(blobs) })
    }

    /// Adds one type.
    ///
    /// # Errors
    /// See [`RegistryError`].
    pub fn add(&mut self, runner: impl Runner) -> Result<(), RegistryError> {
        let manifest = runner.manifest();
        let id = manifest.id.clone();
        if self.types.contains_key(&id) {
            return Err(RegistryError::Duplicate { id });
        }
        let manifest_json = match serde_json::to_vec(&manifest) {
            Ok(json) => Bytes::from(json),
            Err(source) => return Err(RegistryError::Manifest { id, source }),
        };
        let (version, cancels_jobs) = (manifest.version, manifest.cancels_jobs);
        let offer = wire::NodeType { id: id.clone(), version, manifest_json, prefetch: manifest.prefetch };
        self.types.insert(id, Entry { version, cancels_jobs, runner: Arc::new(runner), offer });
        Ok(())
    }

    /// Everything this agent can run, as Hello says it, in the order of ids.
    pub(crate) fn offers(&self) -> Vec<wire::NodeType> {
        let mut offers: Vec<_> = self.types.values().map(|entry| entry.offer.clone()).collect();
        offers.sort_by(|left, right| left.id.cmp(&right.id));
        offers
    }

    /// Whether a type can cancel jobs at its provider.
    pub(crate) fn cancels_jobs(&self, id: &str) -> bool {
        self.types.get(id).is_some_and(|entry| entry.cancels_jobs)
    }

    /// The runner of a type.
    ///
    /// # Errors
    /// `node_type_unavailable`.
    pub(crate) fn runner(&self, id: &str, version: u32) -> Result<Arc<dyn Runner>, Failure> {
        match self.types.get(id) {
            Some(entry) if entry.version == version => Ok(Arc::clone(&entry.runner)),
            _ => {
                let message = format!("this agent cannot run {id} version {version}; start an agent that offers it");
                Err(Failure::new(ErrorClass::InvalidRequest, "node_type_unavailable", message))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_types_come_only_when_asked_for() {
        let mut registry = Registry::built_in().unwrap();
        let ids = |registry: &Registry| registry.offers().into_iter().map(|offer| offer.id).collect::<Vec<_>>();
        let built_in = ids(&registry);
        assert!(built_in.iter().any(|id| id == "utility:prompt_concat"));
        assert!(!built_in.iter().any(|id| id.starts_with("debug:")));
        registry.add_debug(None).unwrap();
        let added: Vec<_> = ids(&registry).into_iter().filter(|id| !built_in.contains(id)).collect();
        assert_eq!(
            added,
            [
                "debug:abort",
                "debug:bytes",
                "debug:echo",
                "debug:effect",
                "debug:fail",
                "debug:file",
                "debug:list",
                "debug:measure",
                "debug:noop",
                "debug:panic",
                "debug:sleep",
                "debug:stream",
            ]
        );
    }

    #[test]
    fn another_version_is_another_type() {
        let registry = Registry::built_in().unwrap();
        assert!(registry.runner("utility:prompt_concat", 1).is_ok());
        let failure = registry.runner("utility:prompt_concat", 2).err().unwrap();
        assert_eq!((failure.class, &*failure.code), (ErrorClass::InvalidRequest, "node_type_unavailable"));
    }

    #[test]
    fn a_type_is_registered_once() {
        let mut registry = Registry::built_in().unwrap();
        assert!(matches!(registry.add(native::ALL.into_iter().next().unwrap()), Err(RegistryError::Duplicate { .. })));
    }
}
