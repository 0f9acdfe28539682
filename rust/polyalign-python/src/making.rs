//! What counts tables until it is finished.

use crate::errors;
use polyalign::Error;
use pyo3::prelude::*;
use std::sync::{Arc, Mutex, PoisonError};

/// A builder that threads of Python share, until one of them takes what it has made.
pub struct Making<B> {
    /// What is made, for messages.
    what: &'static str,
    builder: Mutex<Option<Arc<B>>>,
}

impl<B> Making<B> {
    /// Of a builder.
    pub fn new(what: &'static str, builder: B) -> Self {
        Self { what, builder: Mutex::new(Some(Arc::new(builder))) }
    }

    /// The builder, to count into.
    pub fn shared(&self) -> PyResult<Arc<B>> {
        let builder = self.builder.lock().unwrap_or_else(PoisonError::into_inner).clone();
        builder.ok_or_else(|| self.finished())
    }

    /// The builder, which nobody counts into from now on.
    pub fn take(&self) -> PyResult<Arc<B>> {
        let builder = self.builder.lock().unwrap_or_else(PoisonError::into_inner).take();
        builder.ok_or_else(|| self.finished())
    }

    fn finished(&self) -> PyErr {
        let what = self.what;
        errors::to_py(Error::Input(format!("the {what} is finished: make another builder")))
    }
}
